//! What to do after a failure, as a function.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::types::failure::OnFailure;

/// When records are given up, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FailurePolicy {
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
pub(crate) enum FailureAction {
    /// The same records are delivered again, before any other.
    Retry,
    /// The failing one of them is searched for.
    Bisect,
    /// The record is delivered again; meanwhile records of other keys go on.
    Park,
    Halt,
    Skip,
    DeadLetter,
}

impl FailurePolicy {
    /// What comes after so many failed calls with these records, of which the first failed `age` ago.
    pub(crate) fn after_failure(&self, records: usize, attempts: u32, age: Duration) -> FailureAction {
        let too_often = self.max_attempts.is_some_and(|most| attempts >= most.get());
        let too_old = self.max_age.is_some_and(|most| age >= most);
        let given_up = (too_often || too_old) && self.then != OnFailure::Retry;
        match self.then {
            // Before a key can be parked its record has to be found.
            _ if records > 1 && (self.park || given_up && self.bisect) => FailureAction::Bisect,
            OnFailure::Halt if given_up => FailureAction::Halt,
            OnFailure::Skip if given_up => FailureAction::Skip,
            OnFailure::DeadLetter if given_up => FailureAction::DeadLetter,
            _ if self.park => FailureAction::Park,
            _ => FailureAction::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn policy(then: OnFailure) -> FailurePolicy {
        FailurePolicy {
            max_attempts: NonZeroU32::new(3),
            max_age: Some(MINUTE),
            bisect: true,
            park: false,
            then,
        }
    }

    #[test]
    fn actions() {
        let none = Duration::ZERO;
        let skip = policy(OnFailure::Skip);
        let forever = policy(OnFailure::Retry);
        let whole = FailurePolicy { bisect: false, ..skip };
        let park = FailurePolicy { park: true, ..skip };
        for (policy, records, attempts, age, expected) in [
            (FailurePolicy::default(), 9, u32::MAX, MINUTE * 9_999, FailureAction::Retry),
            (forever, 9, 99, MINUTE * 99, FailureAction::Retry),
            (skip, 9, 2, none, FailureAction::Retry),
            (skip, 9, 3, none, FailureAction::Bisect),
            (skip, 9, 1, MINUTE, FailureAction::Bisect),
            (skip, 1, 2, none, FailureAction::Retry),
            (skip, 1, 3, none, FailureAction::Skip),
            (skip, 1, 1, MINUTE, FailureAction::Skip),
            (policy(OnFailure::Halt), 1, 3, none, FailureAction::Halt),
            (policy(OnFailure::DeadLetter), 1, 3, none, FailureAction::DeadLetter),
            (whole, 9, 2, none, FailureAction::Retry),
            (whole, 9, 3, none, FailureAction::Skip),
            (park, 9, 1, none, FailureAction::Bisect),
            (park, 1, 1, none, FailureAction::Park),
            (park, 1, 3, none, FailureAction::Skip),
            (FailurePolicy { park: true, ..forever }, 1, 99, MINUTE * 99, FailureAction::Park),
        ] {
            assert_eq!(
                policy.after_failure(records, attempts, age),
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
            let policy = FailurePolicy { max_attempts, max_age: max_age.map(Duration::from_secs), bisect, park, then };
            let action = policy.after_failure(records, attempts, Duration::from_secs(age));
            let named = match action {
                FailureAction::Halt => OnFailure::Halt,
                FailureAction::Skip => OnFailure::Skip,
                FailureAction::DeadLetter => OnFailure::DeadLetter,
                FailureAction::Retry | FailureAction::Bisect | FailureAction::Park => return Ok(()),
            };
            prop_assert_eq!(named, then);
            let too_often = max_attempts.is_some_and(|most| attempts >= most.get());
            prop_assert!(too_often || max_age.is_some_and(|most| age >= most));
            prop_assert!(records == 1 || !bisect);
        }
    }
}
