//! Parents before their children. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::row::LeaseRow;
use crate::types::LeaseKey;

/// The rows, each after its parents as far as they are among them; those of a circle come last.
pub(super) fn parents_first<'a>(rows: &[&'a LeaseRow]) -> Vec<&'a LeaseRow> {
    let mut waiting: BTreeMap<&LeaseKey, &LeaseRow> = rows.iter().map(|row| (&row.key, *row)).collect();
    let mut ordered = Vec::with_capacity(rows.len());
    while !waiting.is_empty() {
        let waits = |row: &&LeaseRow| {
            row.parents
                .iter()
                .any(|parent| waiting.contains_key(&LeaseKey::new(row.key.stream.clone(), parent.clone())))
        };
        let mut next: Vec<&LeaseRow> = waiting.values().copied().filter(|row| !waits(row)).collect();
        if next.is_empty() {
            next = waiting.values().copied().collect();
        }
        let done: BTreeSet<&LeaseKey> = next.iter().map(|row| &row.key).collect();
        waiting.retain(|key, _| !done.contains(key));
        ordered.extend(next);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn row(shard: &str, parents: &[&str]) -> LeaseRow {
        let parents = parents.iter().map(|parent| parent.parse().unwrap()).collect();
        LeaseRow::new(format!("s#{shard}").parse().unwrap(), Position::TrimHorizon).with_parents(parents)
    }

    #[test]
    fn parents_come_first_and_circles_do_not_hang() {
        let rows =
            [row("a", &["c", "x"]), row("b", &["a"]), row("c", &[]), row("y", &["z"]), row("z", &["y"])];
        let ordered = parents_first(&rows.iter().collect::<Vec<_>>());
        let names: Vec<&str> = ordered.iter().map(|row| row.key.shard.as_str()).collect();
        assert_eq!(names, ["c", "a", "b", "y", "z"]);
    }
}
