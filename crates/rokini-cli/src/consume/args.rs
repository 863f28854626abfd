//! The arguments of `rokini consume`.

use crate::worker::args::WorkerArgs;

/// Consume a stream as a worker of a group, for looking: each record becomes one line of standard output
///
/// The workers of a group share the shards of the stream; start as many as you like, anywhere. SIGTERM and an interrupt
/// hand the shards over and end the command; so does a reader of standard output that goes away. A second signal ends
/// it at once.
///
/// A record counts as done when its line is in a file or on a terminal, or, where standard output is a pipe or a Unix
/// socket, when the program at the other end has taken it out of there (on Linux; elsewhere, and with TCP, when it is
/// written). What that program
/// had taken and not handled when it died does NOT come again: this command cannot know it, and signals that go to a
/// whole process group, such as Ctrl-C, stop both. For a program that must not miss a record there is
/// `rokini run STREAM --group NAME --handler lines -- PROGRAM`: there a record is done when the program says so.
///
/// Positions are stored in a DynamoDB table, and another worker goes on from there; a line may come twice.
///
/// Plain lines are the data with line breaks as `\n` and `\r`. With --json each line is an object: worker, shard,
/// epoch (the fencing token), sequence, sub_sequence, key, arrival, and data (text) or data_base64 (anything else).
///
/// Every setting has a key. It can be given by `--set KEY=VALUE` or its own option, if it has one below; as ROKINI_<KEY>
/// in the environment; or in a TOML file. The command line wins over the environment, the environment over the file.
/// `--print-config` shows all keys and what is in effect. A setting that cannot act here, such as `dead_letter` or
/// `concurrency`, is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
    /// Handlers take their time and now and then fail: for the demo
    #[arg(long, hide = true, conflicts_with = "print_config")]
    pub(super) chaos: bool,
}

const EXAMPLES: &str = "\
Examples:
  rokini consume orders --group billing > orders.log
  rokini consume orders --group audit --start latest --json | jq -r .data
  rokini consume orders --group audit --create-table --failover 5s
  ROKINI_GROUP=audit rokini consume orders --set max_leases=4
  rokini consume orders --group audit --print-config";
