//! `rokini group why`: what does not move, and what to do about it.

use std::time::Duration;

use rokini::lease::{LeaseRow, WorkerId, pins};
use serde::Serialize;

use super::diagnosis::{DiagnosisInput, ShardDiagnosis, ShardState};
use super::group_handle::{ScopedGroupArgs, keys};
use super::observe::observe;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Show why shards of a group do not move, and what to do next
///
/// Reads the group's rows, and watches for two and a half heartbeats at most which workers are alive. Why a shard makes no
/// progress and how far it is behind its worker tells, with its heartbeat; only shards that no live worker has are read. Shows
/// the shards that do not move or are behind, unless --shard names them, and workers that are not ready, as their `/readyz` says.
/// The exit status is 1 if a shard does not move, if the lag of one is not known, or if a worker is not ready; a shard that is
/// behind and catches up moves.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group why billing
  rokini group why billing --shard 3";

#[derive(Debug, Serialize)]
struct Reason {
    stream: String,
    shard: String,
    state: ShardState,
    why: Option<String>,
    next: Option<String>,
    /// As in events and metrics, where the worker tells it.
    cause: Option<String>,
    /// For how long it has made no progress, as its worker tells.
    lasting_millis: Option<u64>,
    /// What failed last, and how long ago.
    error: Option<String>,
    error_age_millis: Option<u64>,
    /// The code by which a service refused.
    error_code: Option<String>,
    /// The first record of those that are in hand.
    record: Option<String>,
    /// The worker that an operator keeps it with, while that binds anybody.
    pinned_to: Option<String>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Reason {
    fn new(lease: &LeaseRow, diagnosis: &ShardDiagnosis, pin: Option<&WorkerId>) -> Self {
        let told = diagnosis.told.as_ref();
        let error = told.and_then(|told| told.error.as_ref());
        Self {
            stream: lease.key.stream.to_string(),
            shard: lease.key.shard.to_string(),
            state: diagnosis.state,
            why: diagnosis.why.clone(),
            next: diagnosis.next.clone(),
            cause: diagnosis.cause.clone(),
            lasting_millis: told.map(|told| millis(told.lasting)),
            error: error.map(|(text, _)| text.clone()),
            error_age_millis: error.map(|(_, age)| millis(*age)),
            error_code: told.and_then(|told| told.error_code.clone()),
            record: told.and_then(|told| told.record).map(|record| record.to_string()),
            pinned_to: pin.map(|pin| pin.name.to_string()),
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let wanted = keys(&handle.leases()?);
    let named = !handle.scope.shards.is_empty();
    let observations = observe(&handle, &wanted, None).await?;
    let unknown = observations.warn_of_unknown_lags(context);
    let input =
        DiagnosisInput { group: handle.group.as_str(), view: &handle.view, observations: &observations };
    let leases = handle.view.leases.iter().filter(|row| wanted.contains(&row.key));
    let diagnosed: Vec<_> = leases.map(|lease| (lease, input.diagnose(lease))).collect();
    let is_shown =
        |diagnosis: &ShardDiagnosis| named || !diagnosis.moves() || diagnosis.state == ShardState::Behind;
    let shown = diagnosed.iter().filter(|(_, diagnosis)| is_shown(diagnosis));
    let pins = pins(&handle.view);
    let reasons: Vec<Reason> =
        shown.map(|(lease, diagnosis)| Reason::new(lease, diagnosis, pins.get(&lease.key))).collect();
    let any = diagnosed.iter().any(|(_, diagnosis)| !diagnosis.moves());
    let troubles = input.troubles();
    let shown = serde_json::json!({
        "group": handle.group.to_string(), "moves": !any, "shards": reasons, "workers": troubles,
    });
    let text = || {
        let mut text = String::new();
        if reasons.is_empty() {
            text += &match diagnosed.len() {
                1 => "the only shard moves or is finished\n".to_owned(),
                several => format!("all {several} shards move or are finished\n"),
            };
        }
        for trouble in &troubles {
            text += &format!("{}\n  next: {}\n", trouble.sentence(), trouble.next);
        }
        for reason in &reasons {
            text += &format!("{} is {}", reason.shard, reason.state.name());
            text += &reason.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            text += "\n";
            text += &reason.next.as_ref().map(|next| format!("  next: {next}\n")).unwrap_or_default();
            if let Some(pin) = &reason.pinned_to {
                text += &format!(
                    "  an operator keeps it with {pin}: `rokini group move {} {} --unpin` ends that\n",
                    handle.group, reason.shard
                );
            }
        }
        text
    };
    context.show(&shown, text).await?;
    Ok(if any || unknown || !troubles.is_empty() { Status::FAILED } else { Status::DONE })
}
