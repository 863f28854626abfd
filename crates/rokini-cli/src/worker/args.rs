//! The arguments of every command that runs a worker.

use std::path::PathBuf;

use rokini::{StartPosition, StreamRef};

use crate::args::STARTS;
use crate::aws::AwsArgs;

/// The arguments of every command that runs a worker.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The stream: its name, or its ARN
    pub(crate) stream: Option<StreamRef>,
    /// The group whose workers share the shards
    #[arg(long, short, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// The stable name of this worker, different for each one. Default: host name and process id
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<String>,
    /// Where a group starts that has no position yet. Default: trim_horizon
    #[arg(long, alias = "from", value_name = "POSITION", allow_hyphen_values = true, long_help = start_help())]
    pub(crate) start: Option<StartPosition>,
    /// The DynamoDB table of positions. Default: rokini
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Make the table where it is missing. On by default with a DynamoDB on this machine
    #[arg(long)]
    pub(crate) create_table: bool,
    /// After how long without a heartbeat a worker counts as dead. Default: 10s
    #[arg(long, value_name = "DURATION")]
    pub(crate) failover: Option<String>,
    /// How often this worker says that it is alive. Default: auto, two fifths of `--failover`
    #[arg(long, value_name = "DURATION")]
    pub(crate) heartbeat: Option<String>,
    /// How often the position of a shard is stored at most. Default: 5s
    #[arg(long, value_name = "DURATION")]
    pub(crate) checkpoint_interval: Option<String>,
    /// How long a stop waits for records to be done. Default: 25s
    #[arg(long, value_name = "DURATION")]
    pub(crate) shutdown_deadline: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Any setting by its key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Show every setting, its value and where it comes from, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

fn start_help() -> String {
    format!("Where a group starts that has no position yet: {STARTS}. Default: trim_horizon")
}
