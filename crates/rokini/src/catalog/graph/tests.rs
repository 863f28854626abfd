use super::*;
use proptest::prelude::*;

fn id(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

fn stream() -> StreamId {
    StreamId::new("s@1").unwrap()
}

/// `id` or `id<parent<parent`.
fn shards(text: &str) -> Vec<ShardDescription> {
    let shard = |word: &str| {
        let mut parts = word.split('<').map(id);
        let id = parts.next().unwrap();
        ShardDescription { id, parents: parts.collect(), hash_range: None, closed: false }
    };
    text.split_whitespace().map(shard).collect()
}

/// `id=position` or `id<parent=position`, where the position is `T` (trim horizon), `@7` (a time), `5` (a record) or `E` (the end).
fn leases(text: &str) -> BTreeMap<ShardId, LeaseRow> {
    let lease = |word: &str| {
        let (name, position) = word.split_once('=').unwrap();
        let position = match position {
            "T" => Position::TrimHorizon,
            "E" => Position::ShardEnd,
            _ => match position.strip_prefix('@') {
                Some(time) => Position::AtTimestamp(time.parse().unwrap()),
                None => Position::after(position.parse().unwrap()),
            },
        };
        let mut names = name.split('<').map(id);
        let key = LeaseKey::new(stream(), names.next().unwrap());
        (key.shard.clone(), LeaseRow::new(key, position).with_parents(names.collect()))
    };
    text.split_whitespace().map(lease).collect()
}

fn shown(generations: &[Vec<LeaseRow>]) -> String {
    let row = |row: &LeaseRow| {
        let position = match row.position {
            Position::TrimHorizon => "T".to_owned(),
            Position::AtTimestamp(time) => format!("@{time}"),
            other => other.to_string(),
        };
        format!("{}={position}", row.key.shard)
    };
    let generation = |rows: &Vec<LeaseRow>| rows.iter().map(row).collect::<Vec<_>>().join(" ");
    generations.iter().map(generation).collect::<Vec<_>>().join(" | ")
}

fn planned(listing: &str, roots: &str, held: &str, start: Position) -> String {
    let (stream, listing, leases) = (stream(), shards(listing), leases(held));
    let roots = roots.split_whitespace().map(id).collect();
    shown(&missing(Known { stream: &stream, listing: &listing, roots: &roots, leases: &leases, start }))
}

#[test]
fn leases_that_are_missing() {
    let (oldest, time) = (Position::TrimHorizon, Position::AtTimestamp(7));
    for (what, listing, roots, held, start, expected) in [
        ("a new group", "a b", "a b", "", oldest, "a=T b=T"),
        ("a new group from a time", "a b", "a b", "", time, "a=@7 b=@7"),
        ("nothing is missing", "a b", "a b", "a=5 b=T", oldest, ""),
        ("an interrupted start", "a b", "a b", "a=5", time, "b=@7"),
        ("shards closed before the start are past", "old a<old b<old", "a b", "", time, "a=@7 b=@7"),
        ("children of a finished shard", "a b<a c<a", "a", "a=E", oldest, "b=T c=T"),
        ("one child is missing", "a b<a c<a", "a", "a=E b=5", time, "c=T"),
        ("children wait for their parent", "a b<a c<a", "a", "a=5", time, "b=T c=T"),
        ("a parent that never got past the start", "a b<a", "a", "a=@7", time, "b=@7"),
        ("a listing without a filter", "a b<a c<b", "a b c", "", time, "a=@7 | b=@7 | c=@7"),
        ("parents come first", "d<b<c c<a b<a a", "a", "", oldest, "a=T | b=T c=T | d=T"),
        ("a merge whose other parent is behind", "a b c<a d<c<b", "a b", "a=5 b=E", oldest, "c=T | d=T"),
        ("a merge of one at the start and one past it", "a b c<a<b", "a b", "a=@7 b=9", time, "c=T"),
        ("a merge of two at the start", "a b c<a<b", "a b", "a=@7 b=@7", time, "c=@7"),
        ("a retired shard does not come back", "a b<a", "a", "b=5", oldest, ""),
        ("also where its child is not listed", "a", "a", "b<a=5", oldest, ""),
        ("nor do its ancestors", "x<w a<x b<a w", "w", "b=5", oldest, ""),
        ("a trimmed parent", "b<gone", "b", "", oldest, "b=T"),
        ("a circle delays only itself", "a b<c c<b d", "a b c d", "", oldest, "a=T d=T"),
        ("its own parent", "a<a b", "a b", "", oldest, "b=T"),
        ("nothing listed", "", "", "a=5", oldest, ""),
    ] {
        assert_eq!(planned(listing, roots, held, start), expected, "{what}");
    }
}

#[test]
fn rows_carry_parents_and_range() {
    let range = rokini_lease::HashRange { start: 1, end: 2 };
    let shard =
        ShardDescription { id: id("c"), parents: vec![id("a")], hash_range: Some(range), closed: true };
    let row = lease_row(&stream(), &shard, Position::TrimHorizon);
    assert_eq!((row.parents, row.hash_range, row.owner), (vec![id("a")], Some(range), None));
}

/// A stream that was split and merged at random: shards in the order they were made, and which are open.
#[derive(Debug, Clone, Default)]
struct Tree {
    shards: Vec<ShardDescription>,
    open: Vec<usize>,
}

impl Tree {
    fn add(&mut self, parents: &[usize]) {
        let parents = parents.iter().map(|parent| self.shards[*parent].id.clone()).collect();
        self.open.push(self.shards.len());
        let id = id(&format!("s{:03}", self.shards.len()));
        self.shards.push(ShardDescription { id, parents, hash_range: None, closed: false });
    }
}

/// A tree whose `open` are the shards that were open at the start.
fn trees() -> impl Strategy<Value = Tree> {
    // Each step splits a shard or merges two, picked by number; the start lies between two of them.
    (1..4usize, proptest::collection::vec((any::<bool>(), 0..64usize, 0..64usize), 0..24), any::<usize>())
        .prop_map(|(first, steps, start)| {
            let mut tree = Tree::default();
            (0..first).for_each(|_| tree.add(&[]));
            let start = start % (steps.len() + 1);
            let mut roots = Vec::new();
            for (step, (split, one, other)) in steps.into_iter().enumerate() {
                if step == start {
                    roots.clone_from(&tree.open);
                }
                let one = tree.open.remove(one % tree.open.len());
                if split || tree.open.is_empty() {
                    tree.add(&[one]);
                    tree.add(&[one]);
                } else {
                    let other = tree.open.remove(other % tree.open.len());
                    tree.add(&[one, other]);
                }
            }
            let open = if roots.is_empty() { tree.open } else { roots };
            Tree { open, ..tree }
        })
}

proptest! {
    #[test]
    fn r1_every_shard_from_the_start_on_gets_one_lease_after_its_parents(tree in trees()) {
        let stream = stream();
        let roots: BTreeSet<ShardId> = tree.open.iter().map(|&index| tree.shards[index].id.clone()).collect();
        // What descends from the roots, by the definition.
        let mut expected = roots.clone();
        for shard in &tree.shards {
            if shard.parents.iter().any(|parent| expected.contains(parent)) {
                expected.insert(shard.id.clone());
            }
        }
        let start = Position::AtTimestamp(7);
        let mut leases = BTreeMap::new();
        let known = Known { stream: &stream, listing: &tree.shards, roots: &roots, leases: &leases, start };
        for generation in missing(known) {
            for row in &generation {
                let waits = row.parents.iter().filter(|parent| expected.contains(*parent));
                for parent in waits {
                    prop_assert!(leases.contains_key(parent), "{} before {parent}", row.key.shard);
                }
            }
            leases.extend(generation.into_iter().map(|row| (row.key.shard.clone(), row)));
        }
        prop_assert_eq!(leases.keys().cloned().collect::<BTreeSet<_>>(), expected);
        let again = Known { stream: &stream, listing: &tree.shards, roots: &roots, leases: &leases, start };
        prop_assert!(missing(again).is_empty());
    }

    #[test]
    fn r6_what_is_behind_every_lease_never_comes_back(tree in trees()) {
        // All shards were read and their leases removed, but for the open ones.
        let stream = stream();
        let parents: BTreeSet<&ShardId> = tree.shards.iter().flat_map(|shard| &shard.parents).collect();
        let leases: BTreeMap<ShardId, LeaseRow> = tree.shards.iter()
            .filter(|shard| !parents.contains(&shard.id))
            .map(|shard| (shard.id.clone(), lease_row(&stream, shard, Position::TrimHorizon)))
            .collect();
        let roots = tree.open.iter().map(|&index| tree.shards[index].id.clone()).collect();
        let start = Position::TrimHorizon;
        let known = Known { stream: &stream, listing: &tree.shards, roots: &roots, leases: &leases, start };
        prop_assert!(missing(known).is_empty());
    }
}
