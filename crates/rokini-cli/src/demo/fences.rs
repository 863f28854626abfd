//! Which workers were declared dead by the others, as the table of leases shows it.

use std::collections::BTreeMap;

use rokini_history::Process;
use rokini_lease::Incarnation;

/// The incarnations of each process, and whether they are dead.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    known: BTreeMap<Process, BTreeMap<Incarnation, bool>>,
}

impl Fences {
    /// Takes the rows of a process in one view of the table: its incarnations, and whether each is fenced. `stopping` is
    /// whether it was asked to stop: only then does it remove its row itself. True if this shows a death that was not
    /// known.
    pub(crate) fn observe(
        &mut self,
        process: Process,
        rows: &BTreeMap<Incarnation, bool>,
        stopping: bool,
    ) -> bool {
        let known = self.known.entry(process).or_default();
        let joined_anew = rows.keys().any(|incarnation| !known.contains_key(incarnation));
        let mut new_death = false;
        for (incarnation, dead) in known.iter_mut().filter(|(_, dead)| !**dead) {
            // The row of a dead worker may be gone before anyone looks.
            *dead = match rows.get(incarnation) {
                Some(fenced) => *fenced || joined_anew,
                None => joined_anew || !stopping,
            };
            new_death |= *dead;
        }
        for (incarnation, fenced) in rows {
            known.entry(*incarnation).or_insert_with(|| {
                new_death |= *fenced;
                *fenced
            });
        }
        new_death
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_death_is_new_once_by_its_row_or_its_absence_or_a_successor() {
        let incarnation = Incarnation::new;
        let rows = |rows: &[(u64, bool)]| -> BTreeMap<Incarnation, bool> {
            rows.iter().map(|(n, fenced)| (incarnation(*n), *fenced)).collect()
        };
        let (process, mut fences) = (Process(0), Fences::default());
        let mut observe = |now: &[(u64, bool)], stopping| fences.observe(process, &rows(now), stopping);
        assert!(!observe(&[], false), "not joined yet");
        assert!(!observe(&[(5, false)], false));
        assert!(!observe(&[(5, false)], false));
        assert!(observe(&[(5, true)], false));
        assert!(!observe(&[(5, true)], false));
        assert!(!observe(&[(5, true), (3, false)], false), "the death that it follows is known");
        assert!(observe(&[(9, false)], false), "that of the one before is not");
        assert!(observe(&[], false), "its row is gone and it did not remove it");
        assert!(!observe(&[], false));
        assert!(!observe(&[(4, false)], false));
        assert!(!observe(&[], true), "it was asked to stop");
        assert!(!fences.observe(Process(1), &rows(&[(4, false)]), false));
    }
}
