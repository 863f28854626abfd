//! Kinesis and DynamoDB in a child process.

use std::process::Stdio;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use rokini::AwsOptions;
use rokini_local::{LocalDynamo, LocalKinesis};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::error::Result;

/// The stream's name.
pub(crate) const STREAM: &str = "bench";

/// A child that serves both endpoints, and ends with this value.
pub(crate) struct Endpoints {
    _child: Child,
    kinesis: String,
    dynamo: String,
}

impl Endpoints {
    pub(crate) async fn start(shards: i32) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--shards", &shards.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().ok_or("the child has no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let kinesis = lines.next_line().await?.ok_or("the child ended")?;
        let dynamo = lines.next_line().await?.ok_or("the child ended")?;
        Ok(Self { _child: child, kinesis, dynamo })
    }

    pub(crate) async fn kinesis(&self) -> Result<SdkConfig> {
        aws(&self.kinesis).await
    }

    pub(crate) async fn dynamo(&self) -> Result<SdkConfig> {
        aws(&self.dynamo).await
    }
}

pub(crate) async fn serve(shards: i32) -> Result<()> {
    let kinesis = LocalKinesis::builder().stream(STREAM, shards).start().await?;
    let dynamo = LocalDynamo::in_memory().await?;
    println!("{}", kinesis.endpoint_url());
    println!("{}", dynamo.endpoint_url());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn aws(endpoint: &str) -> Result<SdkConfig> {
    let aws = AwsOptions::default().region("us-east-1").endpoint_url(endpoint).load().await?;
    let keys = SharedCredentialsProvider::new(Credentials::from_keys("local", "local", None));
    Ok(aws.into_builder().credentials_provider(keys).build())
}
