//! The arguments of `rokini consume`.

use std::path::PathBuf;

use rokini::{StartPosition, StreamRef};

use crate::args::STARTS;
use crate::aws::AwsArgs;

/// Consume a stream as a worker of a group
///
/// The workers of a group share the shards of the stream; start as many as you like, anywhere. Each record becomes one
/// line of standard output. SIGTERM and an interrupt hand the shards over and end the command; so does a reader of
/// standard output that goes away. A second signal ends it at once.
///
/// A record counts as done once its line is flushed. Positions are stored in a DynamoDB table, and another worker goes
/// on from there: what was not flushed comes again, and a line may come twice. A line in a pipe is flushed before the
/// program at the other end has read it, so what that program had not handled when it died does not come again. A
/// program that must not miss a record uses the `rokini` library.
///
/// Plain lines are the data with line breaks as `\n` and `\r`. With --json each line is an object: worker, shard,
/// epoch (the fencing token), sequence, sub_sequence, key, arrival, and data (text) or data_base64 (anything else).
///
/// Every setting has a key. It can be given by `--set KEY=VALUE` or its own option, if it has one below; as ROKINI_<KEY>
/// in the environment; or in a TOML file. The command line wins over the environment, the environment over the file.
/// `--print-config` shows all keys and what is in effect.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    pub(super) stream: Option<StreamRef>,
    /// The group whose workers share the shards
    #[arg(long, short, value_name = "NAME")]
    pub(super) group: Option<String>,
    /// The stable name of this worker, different for each one. Default: host name and process id
    #[arg(long, value_name = "NAME")]
    pub(super) worker: Option<String>,
    /// Where a group starts that has no position yet. Default: trim_horizon
    #[arg(long, alias = "from", value_name = "POSITION", allow_hyphen_values = true, long_help = start_help())]
    pub(super) start: Option<StartPosition>,
    /// The DynamoDB table of positions. Default: rokini
    #[arg(long, value_name = "NAME")]
    pub(super) table: Option<String>,
    /// Make the table where it is missing. On by default with a DynamoDB on this machine
    #[arg(long)]
    pub(super) create_table: bool,
    /// After how long without a heartbeat a worker counts as dead. Default: 10s
    #[arg(long, value_name = "DURATION")]
    pub(super) failover: Option<String>,
    /// How often this worker says that it is alive. Default: 1s
    #[arg(long, value_name = "DURATION")]
    pub(super) heartbeat: Option<String>,
    /// How often the position of a shard is stored at most. Default: 5s
    #[arg(long, value_name = "DURATION")]
    pub(super) checkpoint_interval: Option<String>,
    /// How long a stop waits for lines to be flushed. Default: 25s
    #[arg(long, value_name = "DURATION")]
    pub(super) shutdown_deadline: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Any setting by its key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// Show every setting, its value and where it comes from, and end
    #[arg(long)]
    pub(super) print_config: bool,
    /// Handlers take their time and now and then fail: for the demo
    #[arg(long, hide = true, conflicts_with = "print_config")]
    pub(super) chaos: bool,
    #[command(flatten)]
    pub(super) aws: AwsArgs,
}

fn start_help() -> String {
    format!("Where a group starts that has no position yet: {STARTS}. Default: trim_horizon")
}

const EXAMPLES: &str = "\
Examples:
  rokini consume orders --group billing > orders.log
  rokini consume orders --group audit --start latest --json | jq -r .data
  rokini consume orders --group audit --create-table --failover 5s
  ROKINI_GROUP=audit rokini consume orders --set max_leases=4
  rokini consume orders --group audit --print-config";
