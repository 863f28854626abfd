//! What is served, and how whoever starts it learns of that.

use std::io::Write;

use rokini_local::wire::shapes::stream::ListStreamsRequest;
use rokini_local::{LocalDynamo, LocalKinesis};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::local::proxy::Proxy;
use crate::output::Output;

/// What runs, and how clients find it.
pub(super) struct Serving {
    kinesis: String,
    dynamodb: String,
    streams: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Serving {
    pub(super) fn new(kinesis: &LocalKinesis, dynamo: &LocalDynamo, proxy: &Proxy) -> Self {
        let listed = kinesis.model().call(&ListStreamsRequest::new().limit(10_000));
        let [endpoint, rest @ ..] = kinesis.environment();
        let [beside, ..] = dynamo.environment();
        let (kinesis, dynamodb) = (endpoint.1.clone(), beside.1.clone());
        let exceptions = proxy.exceptions.iter().filter(|_| proxy.is_set).cloned();
        let variables = [endpoint, beside].into_iter().chain(rest).chain(exceptions).collect();
        Self {
            kinesis,
            dynamodb,
            streams: listed.map(|listed| listed.stream_names).unwrap_or_default(),
            variables,
        }
    }

    fn json(&self) -> serde_json::Value {
        let environment: serde_json::Map<_, _> =
            self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        json!({
            "kinesis": self.kinesis, "dynamodb": self.dynamodb,
            "streams": self.streams, "environment": environment,
        })
    }

    /// Writes the object to a descriptor that whoever started this process opened, at the end where that is a file. It is opened anew by
    /// its path: to take over a number that somebody else opened is unsafe in Rust, since nothing proves that it is nobody's.
    pub(super) fn tell(&self, descriptor: u32) -> Result<(), CliError> {
        let opened = std::fs::OpenOptions::new().append(true).open(format!("/dev/fd/{descriptor}"));
        opened.and_then(|mut file| writeln!(file, "{}", self.json())).map_err(|error| {
            CliError::usage(format!("`--ready-fd {descriptor}` cannot be written to")).because(&error).next(
                "give the number of a descriptor that is open for writing, such as `--ready-fd 3 3>ready`, and no socket",
            )
        })
    }

    pub(super) async fn announce(&self, context: &Context) -> Result<(), CliError> {
        let output = Output::stdout()?;
        if context.json {
            return output.json(&self.json()).await;
        }
        let lines = self.variables.iter().map(|(name, value)| format!("export {name}={value}\n"));
        output.write(lines.collect::<String>().into_bytes()).await?;
        context.ui.info(
            "serving Kinesis and DynamoDB until stopped (Ctrl-C); copy the lines above into other terminals",
        );
        if self.streams.is_empty() {
            context.ui.info("there is no stream yet: `rokini stream create orders --shards 4` makes one");
        }
        Ok(())
    }
}
