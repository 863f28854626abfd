//! Which shards of a listing a selection means. Pure.

use std::collections::HashSet;

use rokini_lease::ShardId;

use crate::source::stream_source::{ShardDescription, ShardSelection};

/// The shards of `listed` that `which` means.
///
/// It leaves an answer as it is that was already filtered, and mends one that was not (some servers ignore the
/// filter of ListShards). For [`ShardSelection::AtTimestamp`] a listing does not say when shards were open, so
/// what is left are the shards that come first: reading them from that time on leads to all others.
#[must_use]
pub fn select_shards(listed: Vec<ShardDescription>, which: ShardSelection) -> Vec<ShardDescription> {
    match which {
        ShardSelection::All => listed,
        ShardSelection::Latest => listed.into_iter().filter(|shard| !shard.closed).collect(),
        ShardSelection::TrimHorizon | ShardSelection::AtTimestamp(_) => without_listed_parent(listed),
    }
}

/// A parent and its child are never open at one time, so of a filtered answer every shard stays.
fn without_listed_parent(mut listed: Vec<ShardDescription>) -> Vec<ShardDescription> {
    let ids: HashSet<ShardId> = listed.iter().map(|shard| shard.id.clone()).collect();
    listed.retain(|shard| !shard.parents.iter().any(|parent| ids.contains(parent)));
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id` or `id<parent<parent`; `!` at the end: closed.
    fn shards(text: &str) -> Vec<ShardDescription> {
        let shard = |word: &str| {
            let mut parts = word.trim_end_matches('!').split('<').map(|id| ShardId::new(id).unwrap());
            ShardDescription {
                id: parts.next().unwrap(),
                parents: parts.collect(),
                hash_range: None,
                closed: word.ends_with('!'),
            }
        };
        text.split_whitespace().map(shard).collect()
    }

    #[test]
    fn selects_from_whole_listings() {
        use ShardSelection::{All, AtTimestamp, Latest, TrimHorizon};
        for (listed, which, expected) in [
            ("", All, ""),
            ("", Latest, ""),
            ("", TrimHorizon, ""),
            ("a b", All, "a b"),
            ("a! b<a c<a", All, "a! b<a c<a"),
            // A split, its children split again.
            ("a! b<a! c<a d<b e<b", Latest, "c<a d<b e<b"),
            ("a! b<a! c<a d<b e<b", TrimHorizon, "a!"),
            ("a! b<a! c<a d<b e<b", AtTimestamp(5), "a!"),
            // A merge: either parent keeps the child out.
            ("a! b! c<a<b d", TrimHorizon, "a! b! d"),
            ("b! c<a<b", TrimHorizon, "b!"),
            ("a! c<b<a", TrimHorizon, "a!"),
            ("a! b! c<a<b d", Latest, "c<a<b d"),
            // The parents are past the retention.
            ("c<a<b d", TrimHorizon, "c<a<b d"),
            // Every shard closed: a deleted stream, or one read between two splits.
            ("a!", Latest, ""),
            // The order of the listing does not matter.
            ("c<a b<a a!", TrimHorizon, "a!"),
        ] {
            assert_eq!(select_shards(shards(listed), which), shards(expected), "{which:?} of {listed:?}");
        }
    }

    #[test]
    fn leaves_a_filtered_answer_as_it_is() {
        use ShardSelection::{AtTimestamp, Latest, TrimHorizon};
        for (answer, which) in [
            ("c<a d<b e<b", Latest),
            ("a!", TrimHorizon),
            ("b<a! c<a!", TrimHorizon),
            ("b<a! c<a", AtTimestamp(5)),
        ] {
            assert_eq!(select_shards(shards(answer), which), shards(answer), "{which:?}");
        }
    }
}
