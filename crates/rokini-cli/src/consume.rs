//! `rokini consume`: a worker of a group that writes records to standard output.

mod args;
mod chaos;
mod line_writer;
mod settings;

use std::pin::pin;

use rokini::lease::DynamoStore;
use rokini::lease::{GroupId, LeaseStore};
use rokini::{
    ConfigKey, Consumer, ErrorKind, Event, EventKind, HttpOptions, Monitoring, OtlpTraces, ShutdownReport,
    StreamRef,
};
use tokio::sync::broadcast::error::RecvError;

pub(crate) use self::args::Args;
use self::line_writer::LineWriter;
use self::settings::EffectiveSettings;
use crate::aws::{Aws, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::Format;
use crate::output::Output;

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let effective = settings::read(&args)?;
    let exported = !args.print_config && effective.config.monitoring.contains(&Monitoring::Otlp);
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
    let aws = args.aws.load().await;
    if aws.as_ref().is_ok_and(|aws| aws.is_local(Service::DynamoDb)) {
        effective.set_default(ConfigKey::CreateTable, "true")?;
    }
    effective.check()?;
    if args.print_config {
        Output::stdout()?.write(effective.render(context.json)).await?;
        return Ok(Status::DONE);
    }
    let (streams, group) = effective.required()?;
    let output = Output::stdout()?;
    let aws = aws?;
    let checked = tokio::select! {
        checked = preflight(&effective, &aws, streams, group) => checked,
        () = context.stop.requested() => return Ok(Status::DONE),
    };
    checked?;
    let format = if context.json { Format::Json } else { Format::Text };
    let (lines, ui, chaos) = (output.clone(), context.ui.clone(), args.chaos);
    let consumer = Consumer::builder()
        .config(effective.config)
        .aws(&aws.config)
        .http(aws.http.clone())
        .processor(move |shard| LineWriter::new(shard, format, lines.clone(), ui.clone(), chaos))
        .build()
        .await?;
    let report = run_until_stopped(consumer, &output, context).await.map_err(|error| match error.kind() {
        // The stream and the table are checked by now, so it is a setting of this worker.
        ErrorKind::Configuration => error.into(),
        _ => aws.explain(error, Service::DynamoDb),
    })?;
    outcome(&report, &output, context)
}

/// Asks once for the streams and the table, so that a mistake shows at once.
async fn preflight(
    effective: &EffectiveSettings,
    aws: &Aws,
    streams: &[StreamRef],
    group: GroupId,
) -> Result<(), CliError> {
    let config = &effective.config;
    for stream in streams {
        let (_, described) = aws.open(stream).await?;
        config.start.check(described.now_millis)?;
    }
    let store = DynamoStore::new(&aws.config, config.table.as_str()).check_group(group);
    match store.init().await {
        Err(error) if config.create_table && error.kind() == rokini::lease::StoreErrorKind::MissingTable => {
            Ok(())
        }
        checked => checked.map_err(|error| aws.explain(error.into(), Service::DynamoDb)),
    }
}

/// Runs until a signal comes or the reader of standard output goes away.
async fn run_until_stopped(
    consumer: Consumer,
    output: &Output,
    context: &Context,
) -> Result<ShutdownReport, rokini::Error> {
    let handle = consumer.handle();
    let mut events = Some(handle.events());
    let mut run = pin!(consumer.run());
    let mut stopping = pin!(async {
        tokio::select! {
            () = context.stop.requested() => context.ui.info("stopping: handing the shards over"),
            () = output.closed().cancelled() => {}
        }
        handle.stop().await
    });
    loop {
        let event = async {
            match &mut events {
                Some(events) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = event => match event {
                Ok(event) => show_event(&event, context),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => events = None,
            },
            ended = &mut run => return ended,
            // Only where the run itself does not return by the deadline.
            report = &mut stopping => return Ok(report),
        }
    }
}

/// Says when the worker joins, and when shards come and go. What fails and is tried again, the library logs.
fn show_event(event: &Event, context: &Context) {
    let ui = &context.ui;
    match event {
        Event { kind: EventKind::MonitoringStarted { address }, .. } => {
            ui.info(format_args!("answers probes and scrapers at http://{address}"));
        }
        Event { kind: EventKind::Joined { worker }, .. } => {
            ui.info(format_args!("joined the group as `{}`", worker.name));
        }
        Event { shard: Some(shard), kind: EventKind::ShardStarted { epoch, position, .. }, .. } => {
            ui.info(format_args!("{shard}: started at {position} (epoch {epoch})"));
        }
        Event { shard: Some(shard), kind: EventKind::HandedOver { to: Some(to), .. }, .. } => {
            ui.info(format_args!("{shard}: handed over to `{}`", to.name));
        }
        Event { shard: Some(shard), kind: EventKind::HandedOver { to: None, .. }, .. } => {
            ui.info(format_args!("{shard}: given back, for any worker to take"));
        }
        Event { shard: Some(shard), kind: EventKind::ShardEnded { children, .. }, .. } => {
            let children: Vec<_> = children.iter().map(|id| id.as_str()).collect();
            ui.info(format_args!("{shard}: read to its end; goes on in {}", children.join(", ")));
        }
        Event { shard: Some(shard), kind: EventKind::LeaseLost { cause, .. }, .. } => {
            ui.warn(format_args!("{shard}: the lease is lost: {cause}"));
        }
        _ => {}
    }
}

fn outcome(report: &ShutdownReport, output: &Output, context: &Context) -> Result<Status, CliError> {
    if let Some(failure) = output.failure().filter(|failure| !failure.reader_gone) {
        return Err(failure);
    }
    if report.is_clean() {
        context.ui.info(format_args!("stopped after {:.1} s", report.took.as_secs_f64()));
        return Ok(Status::DONE);
    }
    let unclean = report.shards.iter().filter(|shard| shard.stored != shard.done || !is_clean(&shard.end));
    let unclean: Vec<_> = unclean.map(|shard| format!("{} at {}", shard.shard, shard.stored)).collect();
    Err(CliError::new(
        Status::FAILED,
        format!("not everything was flushed and stored by the deadline: {}", unclean.join(", ")),
    )
    .next("the group goes on from there, so some lines come again; a longer `--shutdown-deadline` gives more time"))
}

fn is_clean(end: &rokini::ShardStop) -> bool {
    use rokini::ShardStop::{Drained, Ended, Lost};
    matches!(end, Drained { .. } | Ended | Lost(_))
}
