//! What to do after a failure, as a function.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::types::failure::OnFailure;

/// When records are given up, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    /// Calls with the same records; `None` for any number.
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// Time since their first failure; `None` for any.
    pub(crate) max_age: Option<Duration>,
    /// Whether the failing one of several records is searched for.
    pub(crate) bisect: bool,
    /// Whether a failing record holds up the records of its partition key only.
    pub(crate) park: bool,
    pub(crate) then: OnFailure,
}

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same records again, before any other.
    Again,
    /// The failing one of them is searched for.
    Search,
    /// The record again, but those of other keys go on.
    Park,
    Halt,
    Skip,
    Bury,
}

impl Policy {
    /// After so many calls with these records failed, the last one now and the first one `age` ago.
    pub(crate) fn judge(&self, records: usize, attempts: u32, age: Duration) -> Verdict {
        let too_often = self.max_attempts.is_some_and(|most| attempts >= most.get());
        let too_old = self.max_age.is_some_and(|most| age >= most);
        let given_up = (too_often || too_old) && self.then != OnFailure::Retry;
        match self.then {
            // To park a key it has to be known.
            _ if records > 1 && (self.park || given_up && self.bisect) => Verdict::Search,
            OnFailure::Halt if given_up => Verdict::Halt,
            OnFailure::Skip if given_up => Verdict::Skip,
            OnFailure::DeadLetter if given_up => Verdict::Bury,
            _ if self.park => Verdict::Park,
            _ => Verdict::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn policy(then: OnFailure) -> Policy {
        Policy { max_attempts: NonZeroU32::new(3), max_age: Some(MINUTE), bisect: true, park: false, then }
    }

    #[test]
    fn verdicts() {
        let none = Duration::ZERO;
        let skip = policy(OnFailure::Skip);
        let forever = policy(OnFailure::Retry);
        let whole = Policy { bisect: false, ..skip };
        let park = Policy { park: true, ..skip };
        for (policy, records, attempts, age, expected) in [
            (Policy::default(), 9, u32::MAX, MINUTE * 9_999, Verdict::Again),
            (forever, 9, 99, MINUTE * 99, Verdict::Again),
            (skip, 9, 2, none, Verdict::Again),
            (skip, 9, 3, none, Verdict::Search),
            (skip, 9, 1, MINUTE, Verdict::Search),
            (skip, 1, 2, none, Verdict::Again),
            (skip, 1, 3, none, Verdict::Skip),
            (skip, 1, 1, MINUTE, Verdict::Skip),
            (policy(OnFailure::Halt), 1, 3, none, Verdict::Halt),
            (policy(OnFailure::DeadLetter), 1, 3, none, Verdict::Bury),
            (whole, 9, 2, none, Verdict::Again),
            (whole, 9, 3, none, Verdict::Skip),
            (park, 9, 1, none, Verdict::Search),
            (park, 1, 1, none, Verdict::Park),
            (park, 1, 3, none, Verdict::Skip),
            (Policy { park: true, ..forever }, 1, 99, MINUTE * 99, Verdict::Park),
        ] {
            assert_eq!(
                policy.judge(records, attempts, age),
                expected,
                "{policy:?} {records} {attempts} {age:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn c1_nothing_is_given_up_that_the_policy_does_not_name(
            max_attempts in proptest::option::of(1..9u32),
            max_age in proptest::option::of(0..9u64),
            (bisect, park) in any::<(bool, bool)>(),
            then in proptest::sample::select(OnFailure::ALL.to_vec()),
            records in 1..9usize,
            attempts in 1..12u32,
            age in 0..12u64,
        ) {
            let max_attempts = max_attempts.and_then(NonZeroU32::new);
            let policy = Policy { max_attempts, max_age: max_age.map(Duration::from_secs), bisect, park, then };
            let verdict = policy.judge(records, attempts, Duration::from_secs(age));
            let named = match verdict {
                Verdict::Halt => OnFailure::Halt,
                Verdict::Skip => OnFailure::Skip,
                Verdict::Bury => OnFailure::DeadLetter,
                Verdict::Again | Verdict::Search | Verdict::Park => return Ok(()),
            };
            prop_assert_eq!(named, then);
            prop_assert!(max_attempts.is_some_and(|most| attempts >= most.get()) || max_age.is_some_and(|most| age >= most));
            prop_assert!(records == 1 || !bisect);
        }
    }
}
