//! The run of a worker, from the first look at its streams to what it says at the end.

use std::pin::pin;

use rokini::lease::{DynamoStore, GroupId, LeaseStore, Position};
use rokini::{ConfigKey, Consumer, ConsumerConfig, Event, EventKind, ShutdownReport, StreamRef};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::settings::EffectiveSettings;
use crate::aws::{Aws, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::ui::Lifecycle;

/// Asks once for the streams and the table, so that a mistake shows at once.
pub(crate) async fn preflight(
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

/// Which worker of which group it is about.
#[derive(Debug, Clone)]
pub(crate) struct WorkerIdentity {
    group: String,
    worker: String,
}

impl WorkerIdentity {
    /// As the settings name it.
    pub(crate) fn of(config: &ConsumerConfig) -> Self {
        let text = |key| config.text(key).unwrap_or_default();
        Self { group: text(ConfigKey::Group), worker: text(ConfigKey::Worker) }
    }

    fn lifecycle(&self, code: &'static str, message: impl Into<String>) -> Lifecycle<'_> {
        Lifecycle {
            code,
            group: &self.group,
            worker: &self.worker,
            stream: None,
            shard: None,
            message: message.into(),
            warns: false,
        }
    }
}

/// Runs until a signal comes, or until `ended`, for example because the reader of standard output went away.
pub(crate) async fn run_until_stopped(
    consumer: Consumer,
    identity: &WorkerIdentity,
    ended: &CancellationToken,
    context: &Context,
) -> Result<ShutdownReport, rokini::Error> {
    let handle = consumer.handle();
    let mut events = Some(handle.events());
    let mut run = pin!(consumer.run());
    let mut stopping = pin!(async {
        tokio::select! {
            () = context.stop.requested() => {
                context.ui.lifecycle(&identity.lifecycle("stopping", "stopping: handing the shards over"));
            }
            () = ended.cancelled() => {}
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
                Ok(event) => show_event(&event, identity, context),
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
fn show_event(event: &Event, identity: &WorkerIdentity, context: &Context) {
    let message = match &event.kind {
        EventKind::MonitoringStarted { address } => {
            format!("answers probes and scrapers at http://{address}")
        }
        EventKind::Joined { worker } => format!("joined the group as `{}`", worker.name),
        EventKind::ShardStarted { epoch, position, .. } => {
            let position = match position {
                Position::AtTimestamp(millis) => rokini::format_time(*millis),
                other => other.to_string(),
            };
            format!("started at {position} (epoch {epoch})")
        }
        EventKind::HandedOver { to: Some(to), .. } => format!("handed over to `{}`", to.name),
        EventKind::HandedOver { to: None, .. } => "given back, for any worker to take".to_owned(),
        EventKind::ShardEnded { children, .. } => {
            let children: Vec<_> = children.iter().map(|id| id.as_str()).collect();
            format!("read to its end; goes on in {}", children.join(", "))
        }
        EventKind::LeaseLost { cause, .. } => format!("the lease is lost: {cause}"),
        _ => return,
    };
    context.ui.lifecycle(&Lifecycle {
        stream: event.stream.as_ref().map(|id| id.as_str()),
        shard: event.shard.as_ref().map(|id| id.as_str()),
        warns: matches!(event.kind, EventKind::LeaseLost { .. }),
        ..identity.lifecycle(event.code().as_str(), message)
    });
}

/// What the command says of how it stopped. `unfinished`: what is the matter with records that are not done.
pub(crate) fn outcome(
    report: &ShutdownReport,
    identity: &WorkerIdentity,
    unfinished: &str,
    context: &Context,
) -> Result<Status, CliError> {
    if report.is_clean() {
        let message = format!("stopped after {:.1} s", report.took.as_secs_f64());
        context.ui.lifecycle(&identity.lifecycle("stopped", message));
        return Ok(Status::DONE);
    }
    let unclean = report.shards.iter().filter(|shard| shard.stored != shard.done || !is_clean(&shard.end));
    let unclean: Vec<_> = unclean.map(|shard| format!("{} at {}", shard.shard, shard.stored)).collect();
    Err(CliError::new(
        Status::FAILED,
        format!("not everything was {unfinished} and stored by the deadline: {}", unclean.join(", ")),
    )
    .next("the group goes on from there, so some records come again; a longer `--shutdown-deadline` gives more time"))
}

fn is_clean(end: &rokini::ShardStop) -> bool {
    use rokini::ShardStop::{Drained, Ended, Lost};
    matches!(end, Drained { .. } | Ended | Lost(_))
}
