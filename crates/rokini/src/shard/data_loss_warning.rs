//! When to warn that records will be trimmed before they are done. Pure.

/// Warns once, and again only after the danger had clearly passed.
#[derive(Debug)]
pub(super) struct DataLossWarning {
    threshold: f64,
    warned: bool,
}

/// A share of the threshold: below it the danger has passed. A shard that is as fast as its stream goes up and down
/// around the threshold itself.
const PASSED: f64 = 0.9;

impl DataLossWarning {
    /// Warns from this share of the retention on.
    pub(super) fn new(threshold: f64) -> Self {
        Self { threshold, warned: false }
    }

    /// Takes the share of the retention that the oldest record not done has used. True when that is to be told.
    pub(super) fn observe(&mut self, used: f64) -> bool {
        let warns = used >= self.threshold && !self.warned;
        self.warned = used >= self.threshold || (self.warned && used >= self.threshold * PASSED);
        warns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_a_warning_comes_once_until_the_danger_has_passed() {
        for (used, expected) in [
            (vec![0.1, 0.49, 0.4], vec![false, false, false]),
            (vec![0.5, 0.6, 0.99], vec![true, false, false]),
            // Up and down around the threshold.
            (vec![0.51, 0.49, 0.51, 0.46, 0.5], vec![true, false, false, false, false]),
            (vec![0.51, 0.44, 0.51], vec![true, false, true]),
        ] {
            let mut warning = DataLossWarning::new(0.5);
            let told: Vec<bool> = used.iter().map(|used| warning.observe(*used)).collect();
            assert_eq!(told, expected, "{used:?}");
        }
    }
}
