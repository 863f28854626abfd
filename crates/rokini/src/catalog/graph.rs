//! Which shards need a lease, and where each begins: a pure function of the listing and the leases.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rokini_lease::{LeaseKey, LeaseRow, Position, ShardId, StreamId};

use crate::source::stream_source::ShardDescription;

/// What is known when leases are planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) stream: &'a StreamId,
    /// Shards the stream lists.
    pub(crate) listing: &'a [ShardDescription],
    /// Those that were open at the start position.
    pub(crate) roots: &'a BTreeSet<ShardId>,
    /// The leases of this stream.
    pub(crate) leases: &'a BTreeMap<ShardId, LeaseRow>,
    /// Where the group starts.
    pub(crate) start: Position,
}

/// Where a child begins: at its oldest record, except that the child of a parent that never got past the start
/// time must not bring what is older.
pub(crate) fn child_position<'a>(parents: impl IntoIterator<Item = &'a Position>) -> Position {
    let mut parents = parents.into_iter();
    match parents.next() {
        Some(first @ Position::AtTimestamp(_)) if parents.all(|other| other == first) => *first,
        _ => Position::TrimHorizon,
    }
}

/// The lease of a listed shard.
pub(crate) fn lease_row(stream: &StreamId, shard: &ShardDescription, position: Position) -> LeaseRow {
    let row = LeaseRow::new(LeaseKey::new(stream.clone(), shard.id.clone()), position)
        .with_parents(shard.parents.clone());
    match shard.hash_range {
        Some(range) => row.with_hash_range(range),
        None => row,
    }
}

/// The leases that are missing, in generations: parents stand in an earlier one than their children, and are to
/// be stored first, because a shard whose parent has no lease does not wait for it.
///
/// A listed shard without a lease gets one when a parent has a lease (or gets one here), or when it was open at
/// the start. A shard that is older than the start, or that has a descendant with a lease and no parent with
/// one, is past: it never comes back. Shards that the listing makes their own ancestors are left out.
pub(crate) fn missing(known: Known<'_>) -> Vec<Vec<LeaseRow>> {
    let listed: BTreeMap<&ShardId, &ShardDescription> =
        known.listing.iter().map(|shard| (&shard.id, shard)).collect();
    let order = parents_first(&listed);
    let past = with_leased_descendant(&order, known.leases);

    // Position and generation of what is planned here.
    let mut planned: BTreeMap<&ShardId, (Position, usize)> = BTreeMap::new();
    let mut generations: Vec<Vec<LeaseRow>> = Vec::new();
    for shard in order {
        if known.leases.contains_key(&shard.id) {
            continue;
        }
        let mut parents = Vec::new();
        let mut generation = 0;
        for parent in &shard.parents {
            if let Some((position, level)) = planned.get(parent) {
                parents.push(*position);
                generation = generation.max(level + 1);
            } else if let Some(row) = known.leases.get(parent) {
                parents.push(row.position);
            }
        }
        let position = if !parents.is_empty() {
            // Its lease was there before the ends of its parents, and it has descendants: it was read, and retired since.
            if past.contains(&shard.id) && parents.iter().all(Position::is_shard_end) {
                continue;
            }
            child_position(&parents)
        } else if known.roots.contains(&shard.id) && !past.contains(&shard.id) {
            known.start
        } else {
            continue;
        };
        planned.insert(&shard.id, (position, generation));
        if generations.len() <= generation {
            generations.resize_with(generation + 1, Vec::new);
        }
        generations[generation].push(lease_row(known.stream, shard, position));
    }
    generations
}

/// The listing with parents before children; what stands in a circle, or below one, is left out.
fn parents_first<'a>(listed: &BTreeMap<&'a ShardId, &'a ShardDescription>) -> Vec<&'a ShardDescription> {
    let mut waits_for: BTreeMap<&ShardId, usize> = BTreeMap::new();
    let mut children: BTreeMap<&ShardId, Vec<&'a ShardDescription>> = BTreeMap::new();
    let mut ready = VecDeque::new();
    for shard in listed.values() {
        let parents: BTreeSet<&ShardId> =
            shard.parents.iter().filter(|parent| listed.contains_key(parent)).collect();
        if parents.is_empty() {
            ready.push_back(*shard);
        }
        waits_for.insert(&shard.id, parents.len());
        for parent in parents {
            children.entry(parent).or_default().push(shard);
        }
    }
    let mut order = Vec::with_capacity(listed.len());
    while let Some(shard) = ready.pop_front() {
        order.push(shard);
        for child in children.remove(&shard.id).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(&child.id) {
                *count -= 1;
                if *count == 0 {
                    ready.push_back(child);
                }
            }
        }
    }
    order
}

fn with_leased_descendant<'a>(
    order: &[&'a ShardDescription],
    leases: &'a BTreeMap<ShardId, LeaseRow>,
) -> BTreeSet<&'a ShardId> {
    // The listing may show the parent alone.
    let mut past: BTreeSet<&ShardId> = leases.values().flat_map(|row| &row.parents).collect();
    for shard in order.iter().rev() {
        if leases.contains_key(&shard.id) || past.contains(&shard.id) {
            past.extend(&shard.parents);
        }
    }
    past
}

#[cfg(test)]
mod tests;
