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
    /// The stream has not answered for long.
    Reading,
    /// The stream has no such position in the shard.
    Position,
    /// Records were given up and the policy is to halt.
    Halted,
    /// Records were handed out and are not acknowledged.
    Acks,
    /// Every record of a closed shard is done, and that cannot be stored: its children wait.
    Ending,
    /// Records come faster than they are processed: the lag grows.
    Behind,
}

impl StallCause {
    /// The name, for logs and alerts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Failing => "failing",
            Self::Reading => "reading",
            Self::Position => "position",
            Self::Halted => "halted",
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
            Self::Reading => "the stream does not answer",
            Self::Position => "the stream refuses its position",
            Self::Halted => "it is halted, as the failure policy says",
            Self::Acks => "acknowledgements do not come",
            Self::Ending => "its end cannot be stored",
            Self::Behind => "records come faster than they are processed",
        })
    }
}

/// What the judgement is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StallFacts {
    /// Whether somebody wants it to stand still.
    pub(crate) paused: bool,
    pub(crate) state: ShardState,
    /// How long it is in that state.
    pub(crate) since: Duration,
    /// The time since the last read that was answered, or since the work on the shard began.
    pub(crate) unread: Duration,
    /// Whether the last read was refused because the shard has no such position.
    pub(crate) refused: bool,
    /// The time since the last handler call returned.
    pub(crate) unreturned: Option<Duration>,
    /// Failures of user code in a row.
    pub(crate) failures: u32,
    pub(crate) lag: Duration,
    /// The lag [`WINDOW`] ago, where the shard was here then.
    pub(crate) lag_before: Option<Duration>,
    /// For how long everything is read of a closed shard of which everything is done.
    pub(crate) over: Option<Duration>,
}

/// What is compared to see whether the lag grows.
pub(crate) const WINDOW: Duration = Duration::from_secs(4);
/// How much the lag grows in [`WINDOW`], at least, where records come faster than they are processed: a tenth of it.
const GROWTH: Duration = Duration::from_millis(400);

/// Why the shard makes no progress, if it makes none. `after` is how long each thing may last; `quiet` how long a
/// reader may hear nothing.
pub(crate) fn judge(facts: &StallFacts, after: Duration, quiet: Duration) -> Option<StallCause> {
    if facts.paused
        && !matches!(facts.state, ShardState::Handling | ShardState::BackingOff | ShardState::Ending)
    {
        return None;
    }
    let calling = facts.unreturned.map_or(facts.since, |returned| returned.min(facts.since));
    match facts.state {
        ShardState::Handling | ShardState::Starting if calling > after => return Some(StallCause::Handler),
        ShardState::Halted => return Some(StallCause::Halted),
        ShardState::AwaitingAcks if facts.since > after => return Some(StallCause::Acks),
        ShardState::Ending => return (facts.since > after).then_some(StallCause::Ending),
        // Heartbeats do not arrive, or the shard leaves: neither is about this shard.
        ShardState::Paused | ShardState::Draining => return None,
        _ => {}
    }
    // User code may fail after the last record too.
    if facts.failures > 1 && facts.lag.max(facts.over.unwrap_or_default()) > after {
        return Some(StallCause::Failing);
    }
    if facts.state == ShardState::Reading && facts.unread > quiet {
        return Some(if facts.refused { StallCause::Position } else { StallCause::Reading });
    }
    let grows = facts.lag_before.is_some_and(|before| facts.lag > before + GROWTH);
    (grows && facts.lag > after).then_some(StallCause::Behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_a_shard_without_progress_is_seen() {
        let s = Duration::from_secs;
        let fine = StallFacts {
            paused: false,
            state: ShardState::Reading,
            since: s(100),
            unread: s(1),
            refused: false,
            unreturned: Some(s(100)),
            failures: 0,
            lag: s(0),
            lag_before: Some(s(0)),
            over: None,
        };
        let handling = StallFacts { state: ShardState::Handling, ..fine };
        for (facts, expected) in [
            (fine, None),
            (StallFacts { unread: s(7), ..fine }, Some(StallCause::Reading)),
            (StallFacts { unread: s(7), refused: true, ..fine }, Some(StallCause::Position)),
            (StallFacts { refused: true, ..fine }, None),
            (StallFacts { unreturned: None, since: s(6), ..handling }, Some(StallCause::Handler)),
            (handling, Some(StallCause::Handler)),
            (StallFacts { paused: true, unread: s(7), ..fine }, None),
            (StallFacts { paused: true, ..handling }, Some(StallCause::Handler)),
            // One call after the other.
            (StallFacts { unreturned: Some(s(1)), ..handling }, None),
            // The reading waits for the handler.
            (StallFacts { unread: s(60), since: s(2), ..handling }, None),
            (
                StallFacts { state: ShardState::BackingOff, failures: 2, lag: s(6), ..fine },
                Some(StallCause::Failing),
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
            (StallFacts { lag: s(9), lag_before: Some(s(6)), ..fine }, Some(StallCause::Behind)),
            // It catches up.
            (StallFacts { lag: s(900), lag_before: Some(s(1_000)), ..fine }, None),
            (StallFacts { lag: s(900), lag_before: None, ..fine }, None),
            (StallFacts { state: ShardState::Halted, since: s(0), ..fine }, Some(StallCause::Halted)),
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
            assert_eq!(judge(&facts, s(5), s(6)), expected, "{facts:?}");
        }
    }
}
