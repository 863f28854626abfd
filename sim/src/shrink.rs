//! Makes a failing run smaller for as long as it fails the same check.

use std::time::Duration;

use crate::check::Check;
use crate::scenario::{Report, Run};
use crate::step::{Script, Step};
use crate::worker::{DeliveryMode, WorkerSpec};
use crate::world::SimError;

/// The smallest run that was found to fail the same check; `None` if the run does not fail. `tell` is called with each
/// smaller run that fails.
///
/// # Errors
/// What kept a run from starting.
pub fn shrink(run: &Run, script: Script, tell: &dyn Fn(&Script)) -> Result<Option<Report>, SimError> {
    let report = run.script(script)?;
    let Some(check) = report.violations.first().map(|violation| violation.check) else { return Ok(None) };
    let mut smallest = Shrinking { run, report, check, tell };
    loop {
        let before = smallest.steps();
        smallest.leave_out()?;
        smallest.simplify()?;
        if smallest.steps() == before {
            return Ok(Some(smallest.report));
        }
    }
}

struct Shrinking<'a> {
    run: &'a Run,
    report: Report,
    check: Check,
    tell: &'a dyn Fn(&Script),
}

impl Shrinking<'_> {
    fn steps(&self) -> usize {
        self.report.script.steps.len()
    }

    /// Takes these steps if the run fails in the same way with them.
    fn attempt(&mut self, steps: Vec<Step>) -> Result<bool, SimError> {
        let script = Script { steps, ..self.report.script.clone() };
        // A run that cannot start does not fail in the same way.
        let Ok(report) = self.run.script(script) else { return Ok(false) };
        let fails = report.violations.iter().any(|violation| violation.check == self.check);
        if fails {
            (self.tell)(&report.script);
            self.report = report;
        }
        Ok(fails)
    }

    /// Leaves out half of the steps, then a quarter of them, and so on down to one.
    fn leave_out(&mut self) -> Result<(), SimError> {
        let mut length = self.steps() / 2;
        while length > 0 {
            let mut at = 0;
            while at < self.steps() {
                let mut steps = self.report.script.steps.clone();
                steps.drain(at..(at + length).min(steps.len()));
                if !self.attempt(steps)? {
                    at += length;
                }
            }
            length /= 2;
        }
        Ok(())
    }

    /// Makes each step a plainer one.
    fn simplify(&mut self) -> Result<(), SimError> {
        for at in 0..self.steps() {
            for plainer in plainer(&self.report.script.steps[at]) {
                let mut steps = self.report.script.steps.clone();
                steps[at] = plainer;
                if self.attempt(steps)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Plainer steps than this one, the plainest first.
fn plainer(step: &Step) -> Vec<Step> {
    match step {
        Step::Put { stream, records, keys, seed, packed } if *records > 1 => {
            let put =
                |records| Step::Put { stream: *stream, records, keys: *keys, seed: *seed, packed: *packed };
            vec![put(1), put(records / 4), put(records / 2)]
        }
        Step::Join { worker, spec } => {
            let join = |change: &dyn Fn(&mut WorkerSpec)| {
                let mut plainer = spec.clone();
                change(&mut plainer);
                (plainer != *spec).then_some(Step::Join { worker: *worker, spec: plainer })
            };
            let plain = |spec: &mut WorkerSpec| {
                (spec.faults, spec.handlers.fails) = (0.0, 0.0);
                (spec.delivery, spec.skew) = (DeliveryMode::Batches, Duration::ZERO);
                (spec.failover, spec.by_throughput) = (None, false);
            };
            let variants: [Option<Step>; 5] = [
                join(&plain),
                join(&|spec| spec.faults = 0.0),
                join(&|spec| spec.handlers.fails = 0.0),
                join(&|spec| spec.delivery = DeliveryMode::Batches),
                join(&|spec| spec.skew = Duration::ZERO),
            ];
            variants.into_iter().flatten().collect()
        }
        Step::Operate { stream, command, nth, faults, seed } if *faults > 0.0 => {
            vec![Step::Operate { stream: *stream, command: *command, nth: *nth, faults: 0.0, seed: *seed }]
        }
        _ => Vec::new(),
    }
}
