//! `rokini group repartition`.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rokini::lease::{Repartition, RepartitionError, RepartitionPhase, RepartitionProgress};

use super::group_handle::{GroupArgs, GroupHandle};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Spread a group's leases over another number of the table's partition keys, while its workers run
///
/// DynamoDB gives a partition key 1,000 write units and 3,000 read units a second. A group begins with one key, or with
/// `table_partitions` of them; one that outgrows that, for example with more than 4,000 shards that store a position every 5 s, gets
/// more by this. Its workers go on meanwhile, and nothing is read again. It takes a second for each 100 shards, then as long as
/// the failover time, and costs about 5 write units for each shard. If it is interrupted, the group goes on as it is, and the same
/// command goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Over how many keys: 1 to 65535
    keys: NonZeroU16,
    /// Only show what would be done
    #[arg(long, conflicts_with = "rows_per_second")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// How many rows go in a second at most: each takes 2 write units of the key it leaves
    #[arg(long, value_name = "N", default_value = "100")]
    rows_per_second: NonZeroU32,
}

const EXAMPLES: &str = "\
Examples:
  rokini group repartition billing 8 --dry-run
  rokini group repartition billing 8 --yes";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let now = handle.lease_keys().await?;
    let rows = handle.view.leases.len() + handle.view.workers.len();
    let (from, to) = (now.now, args.keys);
    let keys = count(usize::from(to.get()), "partition key");
    if args.dry_run {
        let shown = serde_json::json!({
            "group": handle.group.to_string(), "from": from, "to": to, "next": now.next, "rows": rows, "dry_run": true,
        });
        let text = || match now.next {
            Some(next) => format!("the leases are on their way from {from} to {next} already\n"),
            None if from == to => format!("the leases are under {keys} already\n"),
            None => {
                let seconds = rows.div_ceil(args.rows_per_second.get() as usize);
                format!(
                    "would spread {} over {keys}, in place of {from}, in about {seconds} s and a failover time\n",
                    count(rows, "row")
                )
            }
        };
        context.show(&shown, text).await?;
        return Ok(Status::DONE);
    }
    if now.next.is_some() || from != to {
        let group = &handle.group;
        let action =
            format!("spread {} of group {group} over {keys}, in place of {from}", count(rows, "row"));
        let next = format!("`rokini group repartition {group} {to} --yes` does it without asking");
        confirm(context, args.yes, &action, &next).await?;
    }
    repartition(&handle, &args, rows, context).await
}

async fn repartition(
    handle: &GroupHandle,
    args: &Args,
    of: usize,
    context: &Context,
) -> Result<Status, CliError> {
    let mut how = Repartition::default();
    how.rows_per_second = args.rows_per_second.get();
    let (begun, shown_at) = (Instant::now(), AtomicU64::new(0));
    let progress = |progress: RepartitionProgress| {
        let tenths = u64::try_from(begun.elapsed().as_millis() / 100).unwrap_or(u64::MAX);
        if shown_at.swap(tenths, Ordering::Relaxed) == tenths && progress.rows > 0 {
            return;
        }
        match progress.phase {
            RepartitionPhase::Settling => {
                context.ui.progress("every row has moved; the workers learn of it for a failover time ...");
            }
            phase => context.ui.progress(format_args!("{phase}: {} of {of} rows ...", progress.rows)),
        }
    };
    let report = handle.table.store.repartition(&handle.group, args.keys, &how, progress).await;
    context.ui.progress_done();
    let report = report.map_err(|error| refusal(handle, args.keys, error))?;
    let seconds = begun.elapsed().as_secs_f64();
    let shown = serde_json::json!({
        "group": handle.group.to_string(), "from": report.from, "to": report.to, "rows": report.rows,
        "resumed": report.resumed, "seconds": seconds, "dry_run": false,
    });
    let keys = count(usize::from(report.to.get()), "partition key");
    let text = || match report.rows {
        0 if !report.resumed => format!("the leases of group {} are under {keys} already\n", handle.group),
        rows => format!(
            "moved {} of group {} to {keys}, in place of {}, in {seconds:.1} s; its workers did not pause\n",
            count(usize::try_from(rows).unwrap_or(usize::MAX), "row"),
            handle.group,
            report.from
        ),
    };
    context.show(&shown, text).await?;
    Ok(Status::DONE)
}

fn refusal(handle: &GroupHandle, keys: NonZeroU16, error: RepartitionError) -> CliError {
    let group = &handle.group;
    match error {
        RepartitionError::Store(error) => handle.table.explain(error).next(format!(
            "the group goes on as it is; `rokini group repartition {group} {keys} --yes` goes on where this ended"
        )),
        error @ RepartitionError::Begun { .. } => CliError::usage(error.to_string()),
        error => CliError::new(Status::FAILED, error.to_string()),
    }
}
