//! When things happen in a run: pure arithmetic over its length, and a seed.

use std::time::Duration;

use super::action::{Action, TAKEOVER_MARGIN};
use super::chaos::{self, Chaos};

/// The actions and their hundredths of the run, in order. The kill is followed by the longest pause: its shards come back
/// only after the failover time.
const SCRIPT: [(Action, u32); 5] =
    [(Action::Split, 15), (Action::Stop, 30), (Action::Kill, 45), (Action::Join, 70), (Action::Quiet, 90)];
/// What part of the run the pause after the kill is: a quarter, see [`SCRIPT`].
const PAUSE_AFTER_KILL: u32 = 4;
/// Below this the other pauses are shorter than a hand-over may take.
const SHORTEST: Duration = Duration::from_secs(16);
/// The library's default.
const FAILOVER: Duration = Duration::from_secs(10);

/// The run does not leave room for a takeover.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a run of {run} s is too short for a failover time of {failover:?}: shards of a killed worker come back after \
     the failover time only; use `--for {least}s` or more{hint}"
)]
pub(crate) struct TooShort {
    run: u64,
    failover: Duration,
    least: u64,
    hint: String,
}

/// The actions of one run with their times since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    actions: Vec<(Duration, Action)>,
    end: Duration,
    failover: Duration,
}

impl Schedule {
    /// Plans a run with chaos instead of the script. See [`Schedule::new`].
    ///
    /// # Errors
    /// [`TooShort`]
    pub(crate) fn with_chaos(
        run: Duration,
        failover: Option<Duration>,
        chaos: &Chaos,
    ) -> Result<Self, TooShort> {
        let mut table = Self::new(run, failover)?;
        table.actions = chaos::actions(chaos, run, table.failover);
        Ok(table)
    }

    /// Plans a run. Without a failover time it takes the library's default, or what a shorter run leaves room for.
    ///
    /// # Errors
    /// [`TooShort`], with the shortest run that would do.
    pub(crate) fn new(run: Duration, failover: Option<Duration>) -> Result<Self, TooShort> {
        let room = (run / PAUSE_AFTER_KILL).saturating_sub(TAKEOVER_MARGIN);
        let wanted = failover.unwrap_or_else(|| FAILOVER.min(room.max(longest_failover(SHORTEST))));
        let least = SHORTEST.max((wanted + TAKEOVER_MARGIN) * PAUSE_AFTER_KILL);
        if run < least {
            let shorter = longest_failover(run);
            let possible = run >= SHORTEST && !shorter.is_zero();
            let hint = possible.then(|| format!(", or `--failover {}s` or less", shorter.as_secs()));
            return Err(TooShort {
                run: run.as_secs(),
                failover: wanted,
                least: least.as_secs() + u64::from(least.subsec_nanos() > 0),
                hint: hint.unwrap_or_default(),
            });
        }
        let actions = SCRIPT.iter().map(|(action, hundredths)| (run * *hundredths / 100, *action)).collect();
        Ok(Self { actions, end: run, failover: wanted })
    }

    /// The actions in order, each with its time since the start.
    pub(crate) fn actions(&self) -> &[(Duration, Action)] {
        &self.actions
    }

    /// When everything should have been handled.
    pub(crate) fn end(&self) -> Duration {
        self.end
    }

    /// The failover time of the workers.
    pub(crate) fn failover(&self) -> Duration {
        self.failover
    }

    /// The heartbeat of the workers: the library's default of 1 s, or less where the failover time asks for it (four
    /// heartbeats must fit).
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_secs(1).min(self.failover / 4)
    }
}

/// In whole seconds.
fn longest_failover(run: Duration) -> Duration {
    Duration::from_secs((run / PAUSE_AFTER_KILL).saturating_sub(TAKEOVER_MARGIN).as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_minute_goes_by_the_defaults() {
        let table = Schedule::new(secs(60), None).unwrap();
        let expected = [
            (9, Action::Split),
            (18, Action::Stop),
            (27, Action::Kill),
            (42, Action::Join),
            (54, Action::Quiet),
        ];
        assert_eq!(table.actions(), expected.map(|(at, action)| (secs(at), action)));
        assert_eq!((table.end(), table.failover(), table.heartbeat()), (secs(60), secs(10), secs(1)));
    }

    #[test]
    fn a_short_run_gets_a_short_failover_time() {
        for (run, failover) in [(16, 2), (20, 3), (40, 8), (48, 10), (600, 10)] {
            let table = Schedule::new(secs(run), None).unwrap();
            assert_eq!(table.failover(), secs(failover), "run of {run} s");
        }
        let table = Schedule::new(secs(20), Some(secs(3))).unwrap();
        assert_eq!(table.heartbeat(), Duration::from_millis(750));
    }

    #[test]
    fn a_run_that_is_too_short_is_refused_with_what_would_do() {
        let refusal = |run, failover| Schedule::new(secs(run), failover).unwrap_err().to_string();
        let text = refusal(30, Some(secs(10)));
        assert!(text.contains("`--for 48s` or more, or `--failover 5s` or less"), "{text}");
        let text = refusal(10, None);
        assert!(text.ends_with("use `--for 16s` or more"), "{text}");
        let text = refusal(15, Some(secs(1)));
        assert!(text.ends_with("use `--for 16s` or more"), "{text}");
    }

    proptest! {
        #[test]
        fn scenes_are_in_order_and_a_takeover_fits(run in 0u64..1000, failover in prop::option::of(1000u64..60_000)) {
            let failover = failover.map(Duration::from_millis);
            let least = match Schedule::new(secs(run), failover) {
                Ok(table) => {
                    let actions = table.actions();
                    prop_assert!(actions.windows(2).all(|pair| pair[0] < pair[1]));
                    prop_assert!(actions.last().unwrap().0 < table.end());
                    let at = |action| actions.iter().find(|(_, s)| *s == action).unwrap().0;
                    prop_assert!(at(Action::Join) >= at(Action::Kill) + table.failover() + TAKEOVER_MARGIN);
                    prop_assert!(table.heartbeat() * 4 <= table.failover());
                    return Ok(());
                }
                Err(refused) => refused.least,
            };
            prop_assert!(least > run);
            prop_assert!(Schedule::new(secs(least), failover).is_ok(), "what it asks for is enough");
            prop_assert!(Schedule::new(secs(least - 1), failover).is_err(), "and the least");
        }
    }
}
