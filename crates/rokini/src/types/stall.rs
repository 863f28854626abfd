//! Whether a shard makes progress: the one judgement that events, metrics and health go by. Pure.

use std::fmt;
use std::time::Duration;

use super::shard_state::ShardState;

/// Why a shard makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StallCause {
    /// A call of user code has not returned for long.
    Handler,
    /// User code fails again and again.
    Failing,
    /// User code cannot take records at present, such as a program that does not start, a processor whose `init` fails, or a service
    /// that is down: they wait.
    Unavailable,
    /// Records fail again and again and are parked: their partition keys wait, others go on.
    Parked,
    /// The stream has not answered for long.
    Reading,
    /// The stream's service refuses the reads for want of permission.
    Denied,
    /// The reads are throttled: other consumers take the limits of the shard.
    Throttled,
    /// The stream has no such position in the shard.
    Position,
    /// Records were given up and the policy is to halt.
    Halted,
    /// Records may have been trimmed before they were read, and `on_data_loss` is to halt.
    DataLoss,
    /// Records were handed out and are not acknowledged.
    Acks,
    /// Every record of a closed shard is done, and that cannot be stored: its children wait.
    Ending,
    /// Records come faster than they are processed: the lag grows.
    Behind,
}

impl StallCause {
    const ALL: [Self; 13] = [
        Self::Handler,
        Self::Failing,
        Self::Unavailable,
        Self::Parked,
        Self::Reading,
        Self::Denied,
        Self::Throttled,
        Self::Position,
        Self::Halted,
        Self::DataLoss,
        Self::Acks,
        Self::Ending,
        Self::Behind,
    ];

    /// The cause of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// What to do about it, for people: a sentence without a full stop, with `GROUP`, `SHARD` and `RECORD` in place of their names.
    #[must_use]
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Handler => {
                "see what the handler waits for; `handler_timeout` bounds a call, a restart of the worker gives the \
                 records to another"
            }
            Self::Failing => {
                "mend the handler; `max_attempts` with `dead_letter` gives a record up that never succeeds, \
                 and `rokini group seek GROUP --shard SHARD --to after:RECORD` passes over it"
            }
            Self::Unavailable => {
                "see why the program does not start, or the service takes nothing; the records wait, and none is given up for it"
            }
            Self::Parked => {
                "mend the handler for that record; `max_attempts` with `dead_letter` gives a record up that never succeeds"
            }
            Self::Reading => "check network, proxy and endpoint of that worker; others may be able to read",
            Self::Denied => {
                "allow kinesis:GetRecords, kinesis:GetShardIterator and kinesis:ListShards on the stream to the worker"
            }
            Self::Throttled => "read by fewer consumers, by fan-out, or from more shards",
            Self::Position => {
                "`rokini group seek GROUP --shard SHARD --to trim_horizon`, or to a time, sets a position that the shard has"
            }
            Self::Halted => {
                "look at the record, then restart the worker to try it again, or pass over it: `rokini group seek GROUP --shard \
                 SHARD --to after:RECORD`"
            }
            Self::DataLoss => {
                "`rokini group seek GROUP --shard SHARD --to trim_horizon` goes on with the oldest record that is kept; a restart \
                 halts again"
            }
            Self::Acks => "see why the records handed out are not acknowledged",
            Self::Ending => "see whether the table takes writes; it is tried again all the time",
            Self::Behind => "add workers or shards, raise `concurrency`, or make the handler faster",
        }
    }

    /// What is said of a shard that makes no progress for this cause: for how long, why, and what failed last and how long
    /// ago. The same words wherever it is said; without a full stop.
    #[must_use]
    pub fn sentence(self, lasting: Duration, error: Option<(&str, Duration)>) -> String {
        let seconds = lasting.as_secs_f64();
        let sentence = match self {
            Self::Behind => format!("its lag has grown for {seconds:.0} s: {self}"),
            Self::Parked => format!("its oldest record has waited for {seconds:.0} s: {self}"),
            _ => format!("no progress for {seconds:.0} s: {self}"),
        };
        match error {
            Some((error, ago)) => format!("{sentence}; {:.0} s ago: {error}", ago.as_secs_f64()),
            None => sentence,
        }
    }

    /// The name, for logs and alerts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Failing => "failing",
            Self::Unavailable => "unavailable",
            Self::Parked => "parked",
            Self::Reading => "reading",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Position => "position",
            Self::Halted => "halted",
            Self::DataLoss => "data-loss",
            Self::Acks => "acks",
            Self::Ending => "ending",
            Self::Behind => "behind",
        }
    }
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "its handler does not return",
            Self::Failing => "its handler fails again and again",
            Self::Unavailable => "its handler cannot take records",
            Self::Parked => "a record fails again and again and its partition key waits, others go on",
            Self::Reading => "the stream does not answer",
            Self::Denied => "its reads are not allowed",
            Self::Throttled => "its reads are throttled: others read the same shard",
            Self::Position => "the stream refuses its position",
            Self::Halted => "it is halted, as the failure policy says",
            Self::DataLoss => "it is halted, as `on_data_loss` says: records may have been trimmed unread",
            Self::Acks => "its handler does not acknowledge its records",
            Self::Ending => "its end cannot be stored",
            Self::Behind => "records come faster than they are processed",
        })
    }
}

/// What a read failed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    /// The shard has no such position.
    Position,
    /// It is not allowed.
    Denied,
    /// The shard's limits are used up.
    Throttled,
    /// No answer, or one of another kind.
    Other,
}

/// What the judgement is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StallFacts {
    /// Whether somebody wants it to stand still.
    pub(crate) paused: bool,
    pub(crate) state: ShardState,
    /// Whether it is halted for records that may have been trimmed unread.
    pub(crate) lost: bool,
    /// How long it is in that state.
    pub(crate) since: Duration,
    /// The time since the last read that was answered, or since the work on the shard began.
    pub(crate) unread: Duration,
    /// What the last read failed with; `None` where it was answered.
    pub(crate) failure: Option<ReadFailure>,
    /// How long ago a read was throttled, last.
    pub(crate) throttled: Option<Duration>,
    /// For how long reads were answered one after the other, up to the last answer.
    pub(crate) answering: Duration,
    /// The time since the last handler call returned.
    pub(crate) unreturned: Option<Duration>,
    /// The time since a record was done, last, or since the work on the shard began.
    pub(crate) unmoved: Duration,
    /// Failures of user code in a row.
    pub(crate) failures: u32,
    /// Whether user code takes no records at present.
    pub(crate) unavailable: bool,
    /// Partition keys that wait for a record that fails.
    pub(crate) parked: usize,
    pub(crate) lag: Duration,
    /// The lag [`WINDOW`] ago, where the shard was here then.
    pub(crate) lag_before: Option<Duration>,
    /// For how long everything is read of a closed shard of which everything is done.
    pub(crate) over: Option<Duration>,
}

impl StallFacts {
    /// Counts nothing that lasts from before this long ago: the process stood still then.
    pub(crate) fn count_from(&mut self, ago: Duration) {
        for lasting in [&mut self.since, &mut self.unread, &mut self.unmoved] {
            *lasting = (*lasting).min(ago);
        }
        self.unreturned = self.unreturned.map(|unreturned| unreturned.min(ago));
        if ago <= WINDOW {
            // It grew while nobody could read.
            self.lag_before = None;
        }
    }
}

/// What is compared to see whether the lag grows.
pub(crate) const WINDOW: Duration = Duration::from_secs(4);
/// How much the lag grows in [`WINDOW`], at least, where records come faster than they are processed: a tenth of it.
const GROWTH: Duration = Duration::from_millis(400);

/// Why the shard makes no progress, if it makes none. `before` is what was said last, `after` how long each thing may last,
/// `quiet` how long a reader may hear nothing.
pub(crate) fn judge(
    facts: &StallFacts,
    before: Option<StallCause>,
    after: Duration,
    quiet: Duration,
) -> Option<StallCause> {
    if facts.paused
        && !matches!(facts.state, ShardState::Handling | ShardState::BackingOff | ShardState::Ending)
    {
        return None;
    }
    let calling = facts.unreturned.map_or(facts.since, |returned| returned.min(facts.since));
    // A call may take its time while its records are acknowledged one after the other.
    let (calling, unacknowledged) = (calling.min(facts.unmoved), facts.since.min(facts.unmoved));
    match facts.state {
        ShardState::Handling | ShardState::Starting if calling > after => return Some(StallCause::Handler),
        ShardState::Halted if facts.lost => return Some(StallCause::DataLoss),
        ShardState::Halted => return Some(StallCause::Halted),
        ShardState::AwaitingAcks if unacknowledged > after => return Some(StallCause::Acks),
        ShardState::Ending => return (facts.since > after).then_some(StallCause::Ending),
        // Heartbeats do not arrive, or the shard leaves: neither is about this shard.
        ShardState::Paused | ShardState::Draining => return None,
        _ => {}
    }
    if facts.unavailable && facts.lag > after {
        return Some(StallCause::Unavailable);
    }
    // User code may fail after the last record too.
    if facts.failures > 1 && facts.lag.max(facts.over.unwrap_or_default()) > after {
        return Some(if facts.parked > 0 { StallCause::Parked } else { StallCause::Failing });
    }
    // What fails for good is known at once, and the rest by how long it lasts.
    let patience = match facts.failure {
        Some(ReadFailure::Position | ReadFailure::Denied) => after,
        _ => quiet,
    };
    if facts.state == ShardState::Reading && facts.unread > patience {
        return Some(match facts.failure {
            Some(ReadFailure::Position) => StallCause::Position,
            Some(ReadFailure::Denied) => StallCause::Denied,
            Some(ReadFailure::Throttled) => StallCause::Throttled,
            Some(ReadFailure::Other) | None => StallCause::Reading,
        });
    }
    // One read that slipped through ends nothing: they have to go through for as long as others would be waited for.
    if before == Some(StallCause::Throttled) && facts.answering < after {
        return before;
    }
    let grows = facts.lag_before.is_some_and(|before| facts.lag > before + GROWTH);
    let throttled = facts.throttled.is_some_and(|ago| ago < WINDOW) && facts.state == ShardState::Reading;
    match grows && facts.lag > after {
        true if throttled => Some(StallCause::Throttled),
        // Where nothing is done at all, it is no matter of speed: what holds it up is told once it has lasted.
        true if facts.unmoved <= after => Some(StallCause::Behind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_known_by_their_names() {
        for cause in StallCause::ALL {
            assert_eq!(StallCause::from_name(cause.name()), Some(cause));
        }
        assert_eq!(StallCause::from_name("unknown"), None);
    }

    #[test]
    fn c2_a_shard_without_progress_is_seen() {
        let s = Duration::from_secs;
        let fine = StallFacts {
            paused: false,
            state: ShardState::Reading,
            lost: false,
            since: s(100),
            unread: s(1),
            failure: None,
            throttled: None,
            answering: s(100),
            unreturned: Some(s(100)),
            unmoved: s(100),
            failures: 0,
            unavailable: false,
            parked: 0,
            lag: s(0),
            lag_before: Some(s(0)),
            over: None,
        };
        let handling = StallFacts { state: ShardState::Handling, ..fine };
        let behind = StallFacts { lag: s(9), lag_before: Some(s(6)), unmoved: s(1), ..fine };
        let failing = |failure, unread| StallFacts { failure: Some(failure), unread, ..fine };
        for (facts, expected) in [
            (fine, None),
            (StallFacts { unread: s(7), ..fine }, Some(StallCause::Reading)),
            (failing(ReadFailure::Position, s(6)), Some(StallCause::Position)),
            (failing(ReadFailure::Position, s(1)), None),
            (failing(ReadFailure::Denied, s(6)), Some(StallCause::Denied)),
            (failing(ReadFailure::Throttled, s(6)), None),
            (failing(ReadFailure::Throttled, s(7)), Some(StallCause::Throttled)),
            (failing(ReadFailure::Other, s(7)), Some(StallCause::Reading)),
            (StallFacts { unmoved: s(4), ..handling }, None),
            (StallFacts { throttled: Some(s(1)), ..behind }, Some(StallCause::Throttled)),
            (StallFacts { throttled: Some(s(5)), ..behind }, Some(StallCause::Behind)),
            (StallFacts { unmoved: s(6), ..behind }, None),
            (StallFacts { unreturned: None, since: s(6), ..handling }, Some(StallCause::Handler)),
            (handling, Some(StallCause::Handler)),
            (StallFacts { paused: true, unread: s(7), ..fine }, None),
            (StallFacts { paused: true, ..handling }, Some(StallCause::Handler)),
            // One call after the other.
            (StallFacts { unreturned: Some(s(1)), ..handling }, None),
            // In short calls, which give everything back.
            (
                StallFacts { state: ShardState::BackingOff, unavailable: true, lag: s(6), ..fine },
                Some(StallCause::Unavailable),
            ),
            (
                StallFacts { unreturned: Some(s(0)), unavailable: true, lag: s(6), ..handling },
                Some(StallCause::Unavailable),
            ),
            (StallFacts { state: ShardState::BackingOff, unavailable: true, lag: s(4), ..fine }, None),
            // The reading waits for the handler.
            (StallFacts { unread: s(60), since: s(2), ..handling }, None),
            (
                StallFacts { state: ShardState::BackingOff, failures: 2, lag: s(6), ..fine },
                Some(StallCause::Failing),
            ),
            (
                StallFacts {
                    state: ShardState::Reading,
                    failures: 2,
                    parked: 1,
                    unmoved: s(1),
                    lag: s(6),
                    lag_before: Some(s(2)),
                    ..fine
                },
                Some(StallCause::Parked),
            ),
            (
                StallFacts {
                    state: ShardState::BackingOff,
                    failures: 1,
                    lag: s(6),
                    lag_before: Some(s(6)),
                    ..fine
                },
                None,
            ),
            (behind, Some(StallCause::Behind)),
            // It catches up.
            (StallFacts { lag: s(900), lag_before: Some(s(1_000)), ..fine }, None),
            (StallFacts { lag: s(900), lag_before: None, ..fine }, None),
            (StallFacts { state: ShardState::Halted, since: s(0), ..fine }, Some(StallCause::Halted)),
            (
                StallFacts { state: ShardState::Halted, lost: true, since: s(0), ..fine },
                Some(StallCause::DataLoss),
            ),
            (StallFacts { state: ShardState::AwaitingAcks, since: s(6), ..fine }, Some(StallCause::Acks)),
            (StallFacts { state: ShardState::AwaitingAcks, since: s(4), ..fine }, None),
            (
                StallFacts { state: ShardState::Ending, since: s(6), failures: 9, over: Some(s(9)), ..fine },
                Some(StallCause::Ending),
            ),
            (
                StallFacts { state: ShardState::Ending, since: s(4), failures: 9, over: Some(s(9)), ..fine },
                None,
            ),
            (
                StallFacts { state: ShardState::BackingOff, failures: 2, over: Some(s(6)), ..fine },
                Some(StallCause::Failing),
            ),
            (StallFacts { state: ShardState::BackingOff, failures: 2, over: Some(s(4)), ..fine }, None),
            (StallFacts { state: ShardState::Paused, unread: s(60), lag: s(60), ..fine }, None),
        ] {
            assert_eq!(judge(&facts, None, s(5), s(6)), expected, "{facts:?}");
        }
        // What grew while the process stood still tells nothing; what grows afterwards does.
        for (ago, expected) in [(s(2), None), (s(60), Some(StallCause::Behind))] {
            let mut woken = StallFacts { lag: s(17), lag_before: Some(s(0)), unmoved: s(1), ..fine };
            woken.count_from(ago);
            assert_eq!(judge(&woken, None, s(5), s(6)), expected, "{woken:?}");
        }
        // One lucky read.
        let throttled = StallFacts { throttled: Some(s(1)), answering: s(0), unread: s(0), ..fine };
        for (facts, before, expected) in [
            (throttled, None, None),
            (throttled, Some(StallCause::Throttled), Some(StallCause::Throttled)),
            (
                StallFacts { answering: s(4), ..throttled },
                Some(StallCause::Throttled),
                Some(StallCause::Throttled),
            ),
            (StallFacts { answering: s(5), ..throttled }, Some(StallCause::Throttled), None),
            (throttled, Some(StallCause::Reading), None),
            (
                StallFacts { unread: s(7), ..throttled },
                Some(StallCause::Throttled),
                Some(StallCause::Reading),
            ),
            (
                StallFacts { state: ShardState::Halted, ..throttled },
                Some(StallCause::Throttled),
                Some(StallCause::Halted),
            ),
        ] {
            assert_eq!(judge(&facts, before, s(5), s(6)), expected, "{facts:?} {before:?}");
        }
    }
}
