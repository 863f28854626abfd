//! Circles in a graph of files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An arrow from a file to another, and the line on which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
}

/// One shortest circle for each knot of files that reach each other.
pub(crate) fn circles(files: usize, arrows: &[Arrow]) -> Vec<Vec<Arrow>> {
    let mut found: Vec<Vec<Arrow>> = Vec::new();
    let mut known = BTreeSet::new();
    for start in 0..files {
        if known.contains(&start) {
            continue;
        }
        let there = ways(start, arrows);
        let knot: Vec<usize> =
            there.keys().copied().filter(|file| ways(*file, arrows).contains_key(&start)).collect();
        known.extend(knot.iter().copied());
        let shortest = knot.iter().filter_map(|file| circle(*file, arrows)).min_by_key(Vec::len);
        found.extend(shortest);
    }
    found
}

/// The arrow by which each file was reached first, breadth first.
fn ways(start: usize, arrows: &[Arrow]) -> BTreeMap<usize, Arrow> {
    let mut ways = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(from) = next.pop_front() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == from) {
            if let std::collections::btree_map::Entry::Vacant(entry) = ways.entry(arrow.to) {
                entry.insert(*arrow);
                next.push_back(arrow.to);
            }
        }
    }
    ways
}

/// A shortest way from a file back to itself.
fn circle(start: usize, arrows: &[Arrow]) -> Option<Vec<Arrow>> {
    let ways = ways(start, arrows);
    let mut circle = vec![*ways.get(&start)?];
    while let Some(first) = circle.first().filter(|arrow| arrow.from != start) {
        circle.insert(0, *ways.get(&first.from)?);
    }
    Some(circle)
}
