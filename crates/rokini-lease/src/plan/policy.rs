//! How leases are to be spread.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::row::{GroupView, WorkerRow, WorkerState};
use crate::types::{LeaseKey, WorkerId};

/// How leases are spread over the workers that read their stream. Should be the same for all workers of a group: while it is
/// not, as in a rolling change, all of them spread evenly.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum AssignmentPolicy {
    /// Every worker has as many leases as the others, give or take one. The default.
    #[default]
    Even,
    /// Every worker has about the same sum of bytes a second, as the holders stored them with their positions
    /// ([`CheckpointMetadata::bytes_per_second`](crate::CheckpointMetadata)). A lease moves only where that lowers the higher of two loads by a
    /// good part of the mean load, so that what comes and goes moves nothing. While nothing flows, leases are spread
    /// by their number. A lease whose bytes a second are not stored yet, such as that of a shard that never had a record,
    /// counts as the mean of the others.
    Throughput,
    /// A function of the user's own.
    Custom(CustomAssignment),
}

impl AssignmentPolicy {
    /// A pure function of the user's own, which says which worker should have which lease. Every worker calls it with
    /// its own listing: equal views must give equal results, or leases are passed around for ever.
    ///
    /// A lease that the result does not name stays where it is, and goes to the least loaded worker where nobody has
    /// it. Leases that cannot be worked on (ended, or waiting for their parents) are passed over. A result is
    /// refused as a whole when it names a worker that does not take part or does not read the lease's stream, when it
    /// gives a worker more than its limit, and when the function panics: then nothing moves that somebody has, what
    /// nobody has goes to the least loaded, and a warning says why.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use rokini_lease::AssignmentPolicy;
    /// // Everything to the first worker.
    /// let policy = AssignmentPolicy::custom("first", |view| {
    ///     let first = view.workers.first();
    ///     let all = view.leases.iter().filter_map(|row| Some((row.key.clone(), first?.id.clone())));
    ///     all.collect::<BTreeMap<_, _>>()
    /// });
    /// # let _ = policy;
    /// ```
    pub fn custom(
        name: impl Into<Arc<str>>,
        assign: impl Fn(&GroupView) -> BTreeMap<LeaseKey, WorkerId> + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(CustomAssignment { name: name.into(), assign: Arc::new(assign) })
    }

    /// The policy that a fleet goes by: its own where every worker says the same, and [`AssignmentPolicy::Even`] while they
    /// do not, as in a rolling change: two policies would pass leases to and fro.
    pub(crate) fn agreed(&self, workers: &[WorkerRow]) -> &Self {
        let name = self.name();
        let differs = |row: &WorkerRow| row.state == WorkerState::Alive && row.report.plan.policy != name;
        if workers.iter().any(differs) { &Self::Even } else { self }
    }

    /// Its name, by which workers tell each other how they place leases: `even`, `throughput`, or `custom:` and the name
    /// it was made with.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Even => "even".to_owned(),
            Self::Throughput => "throughput".to_owned(),
            Self::Custom(policy) => format!("custom:{}", policy.name()),
        }
    }
}

/// A policy made by [`AssignmentPolicy::custom`].
#[derive(Clone)]
pub struct CustomAssignment {
    name: Arc<str>,
    #[allow(clippy::type_complexity, reason = "the shape of `AssignmentPolicy::custom`")]
    assign: Arc<dyn Fn(&GroupView) -> BTreeMap<LeaseKey, WorkerId> + Send + Sync>,
}

impl CustomAssignment {
    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says; `None` where it panics.
    pub(super) fn assign(&self, view: &GroupView) -> Option<BTreeMap<LeaseKey, WorkerId>> {
        catch_unwind(AssertUnwindSafe(|| (self.assign)(view))).ok()
    }
}

impl fmt::Debug for CustomAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomAssignment").field(&self.name).finish()
    }
}
