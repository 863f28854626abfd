//! `rokini consume`: a worker of a group that writes records to standard output.

mod args;
mod chaos;
mod line_writer;
mod pipe_acks;

use rokini::{ConfigKey, Consumer, ErrorKind, HttpOptions, Monitoring, OtlpTraces};

pub(crate) use self::args::Args;
use self::line_writer::{LineWriter, Lines};
use self::pipe_acks::PipeAcks;
use crate::aws::Service;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::{Format, LineStyle};
use crate::output::{Output, refuse_closed_stdout};
use crate::worker::run::{WorkerIdentity, outcome, preflight, run_until_stopped};
use crate::worker::settings::{EffectiveSettings, Ineffective, read};

const ONE_OUTPUT: &str =
    "writing a line fails only when standard output is closed, and then the command ends";

/// Settings that only matter where there is a handler that can fail, or that shares nothing.
const INEFFECTIVE: Ineffective = Ineffective {
    settings: &[
        (ConfigKey::AutoCheckpoint, "a record is done once its line is flushed"),
        (ConfigKey::Broadcast, "`consume` shares the shards; `rokini tail STREAM` shows every record"),
        (ConfigKey::Concurrency, "all lines go to one standard output, one after another"),
        (
            ConfigKey::HandlerTimeout,
            "a line that waits for its reader does not get on by being written again",
        ),
        (ConfigKey::DeadLetter, ONE_OUTPUT),
        (ConfigKey::OnFailure, ONE_OUTPUT),
        (ConfigKey::MaxAttempts, ONE_OUTPUT),
        (ConfigKey::MaxFailureAge, ONE_OUTPUT),
        (ConfigKey::Bisect, ONE_OUTPUT),
        (ConfigKey::Park, ONE_OUTPUT),
    ],
    instead: "it acts where a program confirms its records: `rokini run STREAM --group NAME --handler lines -- PROGRAM`",
};

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let effective = read(&args.worker, "consume", INEFFECTIVE)?;
    let exported = !args.worker.print_config && effective.config.monitoring.contains(&Monitoring::Otlp);
    let traces = || OtlpTraces::new(&effective.config, "rokini", &HttpOptions::from_env()?);
    let traces = exported.then(traces).transpose()?;
    context.ui.install_tracing(traces.as_ref());
    let result = consume(args, effective, context).await;
    if let Some(traces) = traces
        && let Err(error) = traces.shutdown().await
    {
        context.ui.warn(error);
    }
    result
}

async fn consume(
    args: Args,
    mut effective: EffectiveSettings,
    context: &Context,
) -> Result<Status, CliError> {
    let aws = args.worker.aws.load().await;
    if aws.as_ref().is_ok_and(|aws| aws.is_local(Service::DynamoDb)) {
        effective.set_default(ConfigKey::CreateTable, "true")?;
    }
    effective.check()?;
    if args.worker.print_config {
        Output::stdout()?.write(effective.render(context.json)).await?;
        return Ok(Status::DONE);
    }
    let (streams, group) = effective.required()?;
    refuse_closed_stdout()?;
    let output = Output::stdout()?;
    let aws = aws?;
    let checked = tokio::select! {
        checked = preflight(&effective, &aws, streams, group) => checked,
        () = context.stop.requested() => return Ok(Status::DONE),
    };
    checked?;
    let format = if context.json { Format::Json } else { Format::Text };
    let acks = output.taken().is_some().then(|| PipeAcks::start(output.clone()));
    let (ui, chaos) = (context.ui.clone(), args.chaos);
    let style = LineStyle::stdout(format);
    let identity = WorkerIdentity::of(&effective.config);
    let lines = Lines { style, output: output.clone(), ui, chaos, acks };
    let consumer = Consumer::builder()
        .config(effective.config)
        .aws(&aws.config)
        .http(aws.http.clone())
        .processor(move |shard| LineWriter::new(shard, lines.clone()))
        .build()
        .await?;
    let report =
        run_until_stopped(consumer, &identity, output.closed(), context).await.map_err(
            |error| match error.kind() {
                // The stream and the table are checked by now, so it is a setting of this worker.
                ErrorKind::Configuration => error.into(),
                _ => aws.explain(error, Service::DynamoDb),
            },
        )?;
    if let Some(failure) = output.failure().filter(|failure| !failure.reader_gone) {
        return Err(failure);
    }
    outcome(&report, &identity, "flushed", context)
}
