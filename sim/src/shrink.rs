//! Makes a failing run smaller for as long as it fails in the same way.

use clap::ValueEnum;

use crate::check::Check;
use crate::faults::{FaultKind, Limits};
use crate::scenario::{Report, Run};
use crate::world::SimError;

/// The smallest run that was found to fail the same check, and its report; `None` if the run does not fail. `tell` is
/// called with each smaller run that fails.
///
/// # Errors
/// What kept a run from starting.
pub fn shrink(run: &Run, seed: u64, tell: &dyn Fn(&Run)) -> Result<Option<(Run, Report)>, SimError> {
    let report = run.seed(seed)?;
    let Some(check) = report.violations.first().map(|violation| violation.check) else { return Ok(None) };
    let (steps, workers) = (Some(report.steps), Some(report.first_workers));
    let mut smallest = Shrinking { run: run.clone(), report, seed, check, tell };
    smallest.run.limits = Limits { steps, workers, ..run.limits.clone() };
    loop {
        let before = smallest.run.limits.clone();
        for kind in FaultKind::value_variants() {
            let mut limits = smallest.run.limits.clone();
            if limits.without.insert(*kind) {
                smallest.attempt(limits)?;
            }
        }
        smallest.lower(|limits| &mut limits.steps)?;
        smallest.lower(|limits| &mut limits.workers)?;
        if smallest.run.limits == before {
            return Ok(Some((smallest.run, smallest.report)));
        }
    }
}

struct Shrinking<'a> {
    run: Run,
    report: Report,
    seed: u64,
    check: Check,
    tell: &'a dyn Fn(&Run),
}

impl Shrinking<'_> {
    /// Takes these limits if the run fails in the same way under them.
    fn attempt(&mut self, limits: Limits) -> Result<bool, SimError> {
        let run = Run { limits, ..self.run.clone() };
        let report = run.seed(self.seed)?;
        let fails = report.violations.iter().any(|violation| violation.check == self.check);
        if fails {
            (self.tell)(&run);
            (self.run, self.report) = (run, report);
        }
        Ok(fails)
    }

    /// Lowers a number: by half of it, then by a quarter, and so on down to one.
    fn lower(&mut self, number: fn(&mut Limits) -> &mut Option<u32>) -> Result<(), SimError> {
        let mut less = number(&mut self.run.limits).unwrap_or_default() / 2;
        while less > 0 {
            let mut limits = self.run.limits.clone();
            let value = number(&mut limits);
            *value = value.map(|value| value.saturating_sub(less));
            if !self.attempt(limits)? {
                less /= 2;
            }
            less = less.min(number(&mut self.run.limits).unwrap_or_default());
        }
        Ok(())
    }
}
