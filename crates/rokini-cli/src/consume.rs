//! `rokini consume`: a full member of a group that writes records to standard output.

mod settings;
mod trouble;
mod writer;

use std::path::PathBuf;
use std::pin::pin;

use rokini::lease::store::dynamo::DynamoStore;
use rokini::lease::{GroupId, LeaseStore};
use rokini::{ConfigKey, Consumer, ErrorKind, Event, Monitoring, OtlpTraces, ShutdownReport, StreamRef};
use tokio::sync::broadcast::error::RecvError;

use crate::aws::{Aws, AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::from::{self, From};
use crate::line::Format;
use crate::output::Output;
use settings::Effective;
use writer::Writer;

/// Consume a stream as a member of a group
///
/// The members of a group share the shards of the stream; start as many as you like, anywhere. Each record becomes
/// one line of standard output and counts as done once that line is flushed: positions are stored in a DynamoDB
/// table, and another member goes on from there. SIGTERM and an interrupt hand the shards over and end the command;
/// so does a reader of standard output that goes away. A second signal ends it at once.
///
/// Plain lines are the data with line breaks as `\n` and `\r`. With --json each line is an object: worker, shard,
/// epoch (the fencing token), sequence, sub_sequence, key, arrival, and data (text) or data_base64 (anything else).
///
/// Every setting can be given by an option, by `--set`, as ROKINI_<KEY> in the environment, or in a TOML file; the
/// former win over the latter. `--print-config` shows what is in effect and all the keys.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: Option<StreamRef>,
    /// The group whose members share the shards
    #[arg(long, short, value_name = "NAME")]
    group: Option<String>,
    /// The stable name of this member, different for each one. Default: host name and process id
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Where a group begins that has no position yet. Default: horizon
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, long_help = from_help())]
    from: Option<From>,
    /// The DynamoDB table of positions. Default: rokini
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Make the table where it is missing. On by default with a DynamoDB on this machine
    #[arg(long)]
    create_table: bool,
    /// After how long without a heartbeat a member counts as dead. Default: 10s
    #[arg(long, value_name = "DURATION")]
    failover: Option<String>,
    /// How often this member says that it is alive. Default: 1s
    #[arg(long, value_name = "DURATION")]
    heartbeat: Option<String>,
    /// How often the position of a shard is stored at most. Default: 5s
    #[arg(long, value_name = "DURATION")]
    checkpoint_interval: Option<String>,
    /// How long a stop waits for lines to be flushed. Default: 25s
    #[arg(long, value_name = "DURATION")]
    shutdown_deadline: Option<String>,
    /// A file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Show the settings in effect, and where each comes from, and end
    #[arg(long)]
    print_config: bool,
    /// Handlers take their time and now and then fail: for the demo
    #[arg(long, hide = true, conflicts_with = "print_config")]
    trouble: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

fn from_help() -> String {
    format!("Where a group begins that has no position yet: {}. Default: horizon", from::HELP)
}

const EXAMPLES: &str = "\
Examples:
  rokini consume orders --group billing | ./bill
  rokini consume orders --group audit --from latest --json | jq -r .data
  rokini consume orders --group audit --create-table --failover 5s
  ROKINI_GROUP=audit rokini consume orders --config consume.toml --set max_leases=4
  rokini consume orders --group audit --print-config";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let effective = settings::read(&args)?;
    let wanted = !args.print_config && effective.config.monitoring.contains(&Monitoring::Otlp);
    let traces = wanted.then(|| OtlpTraces::new(&effective.config, "rokini")).transpose()?;
    context.talk.install_tracing(traces.as_ref());
    let ended = consume(args, effective, context).await;
    if let Some(traces) = traces
        && let Err(error) = traces.shutdown().await
    {
        context.talk.warn(error);
    }
    ended
}

async fn consume(args: Args, mut effective: Effective, context: &Context) -> Result<Status, CliError> {
    let aws = args.aws.load().await;
    if aws.as_ref().is_ok_and(|aws| aws.is_local(Service::DynamoDb)) {
        effective.default(ConfigKey::CreateTable, "true")?;
    }
    let (streams, group) = effective.check()?;
    let output = Output::stdout()?;
    if args.print_config {
        output.write(effective.shown(context.json)).await?;
        return Ok(Status::DONE);
    }
    let aws = aws?;
    let checked = tokio::select! {
        checked = preflight(&effective, &aws, streams, group) => checked,
        () = context.stop.requested() => return Ok(Status::DONE),
    };
    checked?;
    let format = if context.json { Format::Json } else { Format::Text };
    let (lines, talk, trouble) = (output.clone(), context.talk.clone(), args.trouble);
    let consumer = Consumer::builder()
        .config(effective.config)
        .aws(&aws.config)
        .processor(move |shard| Writer::new(shard, format, lines.clone(), talk.clone(), trouble))
        .build()
        .await?;
    let report = work(consumer, &output, context).await.map_err(|error| match error.kind() {
        // The stream and the table are checked: it is this worker's own settings.
        ErrorKind::Configuration => error.into(),
        _ => aws.explain(error, Service::DynamoDb),
    })?;
    judge(&report, &output, context)
}

/// Asks once for what the command cannot do without, so that a mistake shows at once.
async fn preflight(
    effective: &Effective,
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
async fn work(
    consumer: Consumer,
    output: &Output,
    context: &Context,
) -> Result<ShutdownReport, rokini::Error> {
    let handle = consumer.handle();
    let mut events = Some(handle.events());
    let mut run = pin!(consumer.run());
    let mut stopping = pin!(async {
        tokio::select! {
            () = context.stop.requested() => context.talk.say("stopping: handing the shards over"),
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
                Ok(event) => tell(&event, context),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => events = None,
            },
            ended = &mut run => return ended,
            // Only where the run itself does not return by the deadline.
            report = &mut stopping => return Ok(report),
        }
    }
}

/// The turns in a member's life. What fails and is tried again, the library logs.
fn tell(event: &Event, context: &Context) {
    let talk = &context.talk;
    match event {
        Event::MonitoringStarted { address } => {
            talk.say(format_args!("answers probes and scrapers at http://{address}"));
        }
        Event::Joined { worker } => talk.say(format_args!("joined the group as `{}`", worker.name)),
        Event::ShardStarted { shard, epoch, position, .. } => {
            talk.say(format_args!("{shard}: started at {position} (epoch {epoch})"));
        }
        Event::HandedOver { shard, to: Some(to), .. } => {
            talk.say(format_args!("{shard}: handed over to `{}`", to.name));
        }
        Event::HandedOver { shard, to: None, .. } => talk.say(format_args!("{shard}: given back")),
        Event::ShardEnded { shard, children, .. } => {
            let children: Vec<_> = children.iter().map(|id| id.as_str()).collect();
            talk.say(format_args!("{shard}: read to its end; goes on in {}", children.join(", ")));
        }
        Event::LeaseLost { shard, cause, .. } => talk.warn(format_args!("{shard}: lost: {cause}")),
        _ => {}
    }
}

fn judge(report: &ShutdownReport, output: &Output, context: &Context) -> Result<Status, CliError> {
    if let Some(failure) = output.failure().filter(|failure| !failure.reader_gone) {
        return Err(failure);
    }
    if report.is_clean() {
        context.talk.say(format_args!("stopped after {:.1} s", report.took.as_secs_f64()));
        return Ok(Status::DONE);
    }
    let unclean = report.shards.iter().filter(|shard| shard.stored != shard.done || !is_clean(&shard.end));
    let unclean: Vec<_> = unclean.map(|shard| format!("{} at {}", shard.shard, shard.stored)).collect();
    Err(CliError::new(
        Status::FAILED,
        format!("not everything was flushed and stored by the deadline: {}", unclean.join(", ")),
    )
    .next("the group goes on from there, and some lines come again; a larger `--shutdown-deadline` gives more time"))
}

fn is_clean(end: &rokini::ShardStop) -> bool {
    use rokini::ShardStop::{Drained, Ended, Lost};
    matches!(end, Drained { .. } | Ended | Lost(_))
}
