//! Which leases come of the rows of another tool. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rokini::lease::{LeaseKey, LeaseRow, PendingPosition, Position, Progress, ShardId};
use rokini::{ShardDescription, StreamDescription, StreamRef};

use super::row::{OldPosition, OldRow, OldStream};
use crate::text::first_names;

/// What is known when leases are planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) stream: &'a StreamDescription,
    /// Every shard that the stream lists.
    pub(super) listing: &'a [ShardDescription],
    /// Those of this stream.
    pub(super) rows: &'a [OldRow],
    /// Where shards begin whose row does not say it.
    pub(super) start: Option<Position>,
    /// Shards whose position is a record that the KPL packed.
    pub(super) packed: &'a BTreeSet<ShardId>,
}

/// What becomes of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Parents before their children is no matter: nobody reads before all are there.
    pub(super) steps: Vec<Step>,
    /// Shards that the stream lists and that have no row, with what becomes of each.
    pub(super) without_row: Vec<(ShardId, &'static str)>,
    /// Leases of those that come from shards with a row: they wait for their parents.
    pub(super) children: Vec<LeaseRow>,
}

impl Plan {
    /// Everything that is to be written.
    pub(super) fn leases(&self) -> impl Iterator<Item = &LeaseRow> {
        let of_rows = self.steps.iter().filter_map(|step| match &step.outcome {
            Outcome::Lease(lease) => Some(&**lease),
            Outcome::Left(_) => None,
        });
        of_rows.chain(&self.children)
    }
}

/// What becomes of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) row: OldRow,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Lease(Box<LeaseRow>),
    /// No lease comes of it, and why.
    Left(&'static str),
}

/// Which rows of a table are about this stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belongs {
    Here,
    Elsewhere,
    /// To a stream of this name that was deleted.
    ToAnOlderOne,
}

/// `namespace`: what the user says that the rows of this application are under.
pub(super) fn belongs(
    row: &OldRow,
    reference: &StreamRef,
    stream: &StreamDescription,
    namespace: Option<&str>,
) -> Belongs {
    let here = match &row.stream {
        OldStream::TheOnly => true,
        OldStream::Named(name) => {
            *name == stream.name
                || reference.arn() == Some(name)
                || name.ends_with(&format!("/{}", stream.name))
        }
        OldStream::Made { name, seconds } => {
            if *name == stream.name && made_at(stream).is_some_and(|made| made != *seconds) {
                return Belongs::ToAnOlderOne;
            }
            *name == stream.name
        }
        OldStream::Namespace(text) => match namespace {
            Some(namespace) => text == namespace,
            None => text.ends_with(&format!("-{}", stream.name)),
        },
    };
    if here { Belongs::Here } else { Belongs::Elsewhere }
}

/// The second in which a stream was made.
fn made_at(stream: &StreamDescription) -> Option<u64> {
    let (_, millis) = stream.id.as_str().rsplit_once('@')?;
    Some(millis.parse::<u64>().ok()? / 1000)
}

/// # Errors
/// The shards whose rows say neither a record nor that everything is wanted, where `start` does not say it either.
pub(super) fn plan(known: Known<'_>) -> Result<Plan, String> {
    let listed: BTreeMap<&ShardId, &ShardDescription> =
        known.listing.iter().map(|shard| (&shard.id, shard)).collect();
    let unknown: Vec<&ShardId> = known
        .rows
        .iter()
        .filter(|row| listed.contains_key(&row.shard) && position(row.position, row, &known).is_none())
        .map(|row| &row.shard)
        .collect();
    if !unknown.is_empty() {
        return Err(first_names(unknown.into_iter()));
    }
    let mut plan = Plan::default();
    for row in known.rows {
        let outcome = match (listed.get(&row.shard), position(row.position, row, &known)) {
            // Whatever the row says, there is more to read; where it stands is not known.
            (Some(shard), Some(at)) if at.is_shard_end() && is_open(shard, known.listing) => {
                Outcome::Lease(Box::new(lease(shard, Position::TrimHorizon, row, &known)))
            }
            (Some(shard), Some(at)) => Outcome::Lease(Box::new(lease(shard, at, row, &known))),
            (None, _) if row.position == OldPosition::ShardEnd => Outcome::Left("done, and trimmed since"),
            _ => Outcome::Left("its records are trimmed: the stream lists the shard no more"),
        };
        plan.steps.push(Step { row: row.clone(), outcome });
    }
    plan.steps.sort_by(|a, b| a.row.shard.cmp(&b.row.shard));
    (plan.without_row, plan.children) = without_row(&known);
    Ok(plan)
}

/// The shards that rows say are done, and that still take records.
pub(super) fn ended_but_open(rows: &[OldRow], listing: &[ShardDescription]) -> Vec<ShardId> {
    let open = listing.iter().filter(|shard| is_open(shard, listing));
    let says_done = |shard: &&ShardDescription| {
        rows.iter().any(|row| row.shard == shard.id && row.position == OldPosition::ShardEnd)
    };
    open.filter(says_done).map(|shard| shard.id.clone()).collect()
}

fn is_open(shard: &ShardDescription, listing: &[ShardDescription]) -> bool {
    !shard.closed && !listing.iter().any(|child| child.parents.contains(&shard.id))
}

fn lease(shard: &ShardDescription, at: Position, row: &OldRow, known: &Known<'_>) -> LeaseRow {
    let key = LeaseKey::new(known.stream.id.clone(), shard.id.clone());
    let mut lease = LeaseRow::new(key, at).with_parents(shard.parents.clone());
    lease.hash_range = shard.hash_range;
    if at.is_shard_end() {
        let children = known.listing.iter().filter(|child| child.parents.contains(&shard.id));
        lease.children = children.map(|child| child.id.clone()).collect();
    }
    if let Some((announced, state)) = &row.pending
        && let Some(announced) = position(*announced, row, known)
    {
        lease.pending = Some(PendingPosition::new(announced, state.clone()));
    }
    lease
}

/// `None` where the row does not say it, nor `start`.
fn position(old: OldPosition, row: &OldRow, known: &Known<'_>) -> Option<Position> {
    Some(match old {
        // Nothing of it was processed.
        OldPosition::Nothing => known.start.unwrap_or(Position::TrimHorizon),
        OldPosition::TrimHorizon => Position::TrimHorizon,
        OldPosition::Latest | OldPosition::AtTimestamp => known.start?,
        OldPosition::Through(number, None) => Position::after(number),
        // The KCL writes 0 for a record that is not packed, too.
        OldPosition::Through(number, Some(0)) if !known.packed.contains(&row.shard) => {
            Position::after(number)
        }
        // Its own way to say "all of it", as written by an export.
        OldPosition::Through(number, Some(sub)) if sub >= i64::MAX as u64 => Position::after(number),
        OldPosition::Through(number, Some(sub)) => Position::Sequence(number, Progress::Through(sub)),
        OldPosition::ShardEnd => Position::ShardEnd,
    })
}

fn without_row(known: &Known<'_>) -> (Vec<(ShardId, &'static str)>, Vec<LeaseRow>) {
    let with_row: BTreeSet<&ShardId> = known.rows.iter().map(|row| &row.shard).collect();
    let past = reach(known, &with_row, |shard, reached| match reached.contains(&shard.id) {
        true => shard.parents.iter().collect(),
        false => Vec::new(),
    });
    let listed: BTreeSet<&ShardId> = known.listing.iter().map(|shard| &shard.id).collect();
    let rows_listed = with_row.iter().copied().filter(|shard| listed.contains(shard)).collect();
    let descended = reach(known, &rows_listed, |shard, reached| {
        let comes = shard.parents.iter().any(|parent| reached.contains(parent));
        if comes { vec![&shard.id] } else { Vec::new() }
    });
    let (mut said, mut children) = (Vec::new(), Vec::new());
    for shard in known.listing.iter().filter(|shard| !with_row.contains(&shard.id)) {
        let what = if past.contains(&shard.id) {
            "done: a shard that came from it has a row"
        } else if descended.contains(&shard.id) {
            let key = LeaseKey::new(known.stream.id.clone(), shard.id.clone());
            let mut lease = LeaseRow::new(key, Position::TrimHorizon).with_parents(shard.parents.clone());
            lease.hash_range = shard.hash_range;
            children.push(lease);
            "begins at its oldest record once its parents are done"
        } else {
            "begins where the group starts"
        };
        said.push((shard.id.clone(), what));
    }
    (said, children)
}

/// What can be reached from these shards: again until nothing changes, for a listing need not have children behind their
/// parents.
fn reach<'a>(
    known: &Known<'a>,
    from: &BTreeSet<&'a ShardId>,
    next: impl Fn(&'a ShardDescription, &BTreeSet<&'a ShardId>) -> Vec<&'a ShardId>,
) -> BTreeSet<&'a ShardId> {
    let mut reached = from.clone();
    loop {
        let before = reached.len();
        for shard in known.listing {
            let more = next(shard, &reached);
            reached.extend(more);
        }
        if reached.len() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> ShardId {
        name.parse().unwrap()
    }

    fn stream() -> StreamDescription {
        let (id, retention) = ("s@1700000000123".parse().unwrap(), Duration::from_secs(86_400));
        StreamDescription::new("s", id, 1_700_000_100_000, retention)
    }

    /// `id` or `id<parent<parent`.
    fn listing(text: &str) -> Vec<ShardDescription> {
        let shard = |word: &str| {
            let mut parts = word.split('<').map(id);
            let id = parts.next().unwrap();
            ShardDescription::new(id, parts.collect())
        };
        text.split_whitespace().map(shard).collect()
    }

    fn row(shard: &str, position: OldPosition) -> OldRow {
        OldRow::new(OldStream::TheOnly, id(shard), position)
    }

    fn through(number: &str, sub: Option<u64>) -> OldPosition {
        OldPosition::Through(number.parse().unwrap(), sub)
    }

    fn planned(
        listed: &str,
        rows: &[OldRow],
        start: Option<Position>,
        packed: &[&str],
    ) -> Result<Plan, String> {
        let (stream, listing) = (stream(), listing(listed));
        let packed = packed.iter().map(|shard| id(shard)).collect();
        plan(Known { stream: &stream, listing: &listing, rows, start, packed: &packed })
    }

    fn position_of(old: OldPosition, start: Option<Position>, packed: &[&str]) -> Option<Position> {
        match &planned("a b<a", &[row("a", old)], start, packed).ok()?.steps[0].outcome {
            Outcome::Lease(lease) => Some(lease.position),
            Outcome::Left(_) => None,
        }
    }

    #[test]
    fn positions_mean_the_same_afterwards() {
        let seven = "7".parse().unwrap();
        let time = Position::AtTimestamp(5);
        for (old, start, packed, position) in [
            (OldPosition::TrimHorizon, Some(time), &[][..], Some(Position::TrimHorizon)),
            (OldPosition::Nothing, None, &[], Some(Position::TrimHorizon)),
            (OldPosition::Nothing, Some(time), &[], Some(time)),
            (OldPosition::Latest, None, &[], None),
            (OldPosition::AtTimestamp, Some(time), &[], Some(time)),
            (through("7", None), None, &["a"], Some(Position::after(seven))),
            (through("7", Some(0)), None, &[], Some(Position::after(seven))),
            (through("7", Some(0)), None, &["a"], Some(Position::Sequence(seven, Progress::Through(0)))),
            (through("7", Some(3)), None, &[], Some(Position::Sequence(seven, Progress::Through(3)))),
            (through("7", Some(i64::MAX as u64)), None, &["a"], Some(Position::after(seven))),
            (OldPosition::ShardEnd, None, &[], Some(Position::ShardEnd)),
        ] {
            assert_eq!(position_of(old, start, packed), position, "{old:?}");
        }
    }

    #[test]
    fn a_shard_that_is_open_is_not_done() {
        let rows = [row("a", OldPosition::ShardEnd), row("b", OldPosition::ShardEnd)];
        assert_eq!(ended_but_open(&rows, &listing("a b<a")), [id("b")]);
        let closed: Vec<_> = listing("a b<a").into_iter().map(ShardDescription::closed).collect();
        assert!(ended_but_open(&rows, &closed).is_empty());
        let plan = planned("a b<a", &rows, Some(Position::AtTimestamp(5)), &[]).unwrap();
        let positions: Vec<Position> = plan.leases().map(|lease| lease.position).collect();
        assert_eq!(positions, [Position::ShardEnd, Position::TrimHorizon]);
    }

    #[test]
    fn what_does_not_say_where_it_is_is_named() {
        let rows = [row("a", OldPosition::Latest), row("b", OldPosition::TrimHorizon)];
        assert_eq!(planned("a b", &rows, None, &[]), Err("a".to_owned()));
        // One that is gone does not matter.
        assert!(planned("b", &rows, None, &[]).is_ok());
    }

    #[test]
    fn lineage_comes_from_the_stream() {
        let rows = [
            row("a", OldPosition::ShardEnd),
            row("b", through("7", None)),
            row("gone", through("1", None)),
            row("over", OldPosition::ShardEnd),
        ];
        let plan = planned("z a<z b<a c<a d<b new", &rows, None, &[]).unwrap();
        let lease = |n: usize| match &plan.steps[n].outcome {
            Outcome::Lease(lease) => (**lease).clone(),
            Outcome::Left(why) => panic!("{why}"),
        };
        assert_eq!(lease(0).children, [id("b"), id("c")]);
        assert_eq!((lease(1).parents, lease(1).children), (vec![id("a")], vec![]));
        let left = |n: usize| matches!(plan.steps[n].outcome, Outcome::Left(_));
        assert!(left(2) && left(3));
        let said: Vec<(&str, &str)> =
            plan.without_row.iter().map(|(shard, what)| (shard.as_str(), *what)).collect();
        assert_eq!(said[0], ("z", "done: a shard that came from it has a row"));
        assert!(said[1].0 == "c" && said[1].1.contains("once its parents are done"));
        assert!(said[2].0 == "d" && said[2].1.contains("once its parents are done"));
        assert_eq!(said[3], ("new", "begins where the group starts"));
        let children: Vec<&str> = plan.children.iter().map(|row| row.key.shard.as_str()).collect();
        assert_eq!(children, ["c", "d"]);
        assert_eq!(plan.children[1].parents, [id("b")]);
        assert_eq!(plan.leases().count(), 4);
    }

    #[test]
    fn rows_of_other_streams_stay_out() {
        let reference: StreamRef = "arn:aws:kinesis:us-east-1:123456789012:stream/s".parse().unwrap();
        let made = |seconds| OldStream::Made { name: "s".to_owned(), seconds };
        for (named, namespace, belonging) in [
            (OldStream::TheOnly, None, Belongs::Here),
            (OldStream::Named("s".to_owned()), None, Belongs::Here),
            (OldStream::Named(reference.to_string()), None, Belongs::Here),
            (OldStream::Named("t".to_owned()), None, Belongs::Elsewhere),
            (made(1_700_000_000), None, Belongs::Here),
            (made(1_600_000_000), None, Belongs::ToAnOlderOne),
            (OldStream::Namespace("app-s".to_owned()), None, Belongs::Here),
            (OldStream::Namespace("app-t".to_owned()), None, Belongs::Elsewhere),
            (OldStream::Namespace("app-s".to_owned()), Some("other-s"), Belongs::Elsewhere),
        ] {
            let row = OldRow::new(named, id("a"), OldPosition::Nothing);
            assert_eq!(belongs(&row, &reference, &stream(), namespace), belonging, "{row:?}");
        }
    }
}
