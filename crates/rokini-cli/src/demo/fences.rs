//! Which workers were declared dead by the others, as the table of leases shows it.

use std::collections::BTreeMap;

use rokini_lease::Incarnation;

use super::ledger::Process;

/// The incarnations of each process, and whether they are dead.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    known: BTreeMap<Process, BTreeMap<Incarnation, bool>>,
}

impl Fences {
    /// Takes a worker's row. True if it shows a death that was not known.
    pub(crate) fn notice(&mut self, process: Process, incarnation: Incarnation, fenced: bool) -> bool {
        let known = self.known.entry(process).or_default();
        let mut news = false;
        if !known.contains_key(&incarnation) {
            // A process joins anew only because it was declared dead. The row may be gone by now.
            for dead in known.values_mut() {
                news |= !std::mem::replace(dead, true);
            }
        }
        let dead = known.entry(incarnation).or_default();
        news |= fenced && !*dead;
        *dead |= fenced;
        news
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_death_is_news_once_by_its_row_or_by_a_successor() {
        let incarnation = |n: u64| Incarnation::random(&mut StdRng::seed_from_u64(n));
        let (process, mut fences) = (Process(0), Fences::default());
        assert!(!fences.notice(process, incarnation(5), false));
        assert!(!fences.notice(process, incarnation(5), false));
        assert!(fences.notice(process, incarnation(5), true));
        assert!(!fences.notice(process, incarnation(5), true));
        assert!(!fences.notice(process, incarnation(3), false), "the death that it follows is known");
        assert!(!fences.notice(process, incarnation(5), true));
        assert!(fences.notice(process, incarnation(9), false), "that of the one before is not");
        assert!(!fences.notice(Process(1), incarnation(4), false));
    }
}
