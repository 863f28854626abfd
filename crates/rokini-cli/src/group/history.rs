//! `rokini group history`: what was ordered.

use rokini::format_time;
use rokini::lease::WallClock;
use serde::Serialize;

use super::group_handle::GroupArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::position_text;
use crate::text_table::TextTable;

/// List the last orders to a group: seeks, pauses, moves, and what took them back
///
/// The group remembers the last 20. `rokini group undo GROUP ORDER` takes one back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group history billing";

#[derive(Debug, Serialize)]
struct Shown {
    order: String,
    at: String,
    #[serde(skip)]
    given: u64,
    kind: &'static str,
    what: String,
    shards: u32,
    leases: Vec<String>,
    undoes: Option<String>,
    undone_by: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let orders = &handle.view.group.orders;
    let shown: Vec<Shown> = orders
        .iter()
        .map(|order| Shown {
            order: order.id.to_string(),
            at: format_time(order.id.0),
            given: order.id.0,
            kind: order.kind.name(),
            what: order.what.clone(),
            shards: order.shards,
            leases: order.leases.iter().map(|key| key.to_string()).collect(),
            undoes: order.undoes.map(|id| id.to_string()),
            undone_by: orders
                .iter()
                .find(|later| later.undoes == Some(order.id))
                .map(|later| later.id.to_string()),
        })
        .collect();
    let now = WallClock::system().millis();
    let mut table = TextTable::new(["ORDER", "AT", "SHARDS", "WHAT"]);
    for order in &shown {
        let undone = order.undone_by.as_ref().map(|by| format!(" (taken back by {by})")).unwrap_or_default();
        // By its id: in words it would read as if it led where the other order did.
        let what = match &order.undoes {
            Some(undoes) => format!("takes back {undoes}{undone}"),
            None => format!("{} {}{undone}", order.kind, position_text::in_words(&order.what, now)),
        };
        table.row([
            order.order.clone(),
            position_text::time(order.given, now),
            order.shards.to_string(),
            what,
        ]);
    }
    if shown.is_empty() && !context.json {
        context.ui.info(format_args!("nothing was ordered to group {} yet", handle.group));
    }
    let json = serde_json::json!({ "group": handle.group.to_string(), "orders": shown });
    context
        .show(&json, || if shown.is_empty() { String::new() } else { table.text(context.ui.stdout_colors()) })
        .await?;
    Ok(Status::DONE)
}
