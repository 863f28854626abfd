//! `rokini group page`: the page of a group, without being a worker of it.

use std::net::SocketAddr;
use std::sync::Arc;

use rokini::GroupPage;
use rokini::lease::{LeaseStore, WallClock};
use serde_json::json;

use super::group_handle::GroupArgs;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Serve the page of a group until stopped: who has which shard, how far it is and why it does not move
///
/// The page that workers serve with `monitoring_page = true`, from the rows of the group alone: it takes part in nothing, and
/// reads no shard. While somebody looks, the group is listed every 5 seconds (every minute in one of more than 1,000 leases),
/// which reads each of its rows once. Lag and causes are those that workers told with their last heartbeat. It is read only.
///
/// Only this machine reaches it, unless --listen says otherwise; it asks for no password. With --json standard output gets an
/// object with url once it serves.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Where to listen; port 0 for any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
}

const EXAMPLES: &str = "\
Examples:
  rokini group page billing
  rokini group page billing --listen 127.0.0.1:0 --json";

pub(super) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let store: Arc<dyn LeaseStore> = handle.table.store.clone();
    let page = GroupPage::bind(handle.group.clone(), store, WallClock::system(), args.listen).await;
    let page = page.map_err(|error| {
        let mut error = CliError::from(error);
        error.what = format!("the page cannot be served at {}", args.listen);
        error.next("give another address: `--listen 127.0.0.1:0` takes any free port")
    })?;
    let url = format!("http://{}/", page.address());
    if !page.address().ip().is_loopback() {
        context.ui.warn("whoever reaches this address sees the group");
    }
    context.show(&json!({ "url": url }), || format!("{url}\n")).await?;
    context.ui.info(format_args!("serving the page of group `{}` until stopped (Ctrl-C)", handle.group));
    tokio::select! {
        never = page.serve() => match never {},
        // A signal is how it is ended.
        () = context.stop.requested() => Ok(Status::DONE),
    }
}
