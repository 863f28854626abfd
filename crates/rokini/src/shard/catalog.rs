//! Keeps the leases of a group in step with the shards of its stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use rokini_lease::{
    GroupId, LeaseKey, LeaseRow, LeaseStore, Listing, Outcome, Position, ShardId, StreamId, StreamRow,
    WorkerId,
};

use super::graph::{self, Known};
use crate::events::{Event, Events};
use crate::{
    Error, ErrorKind, ShardDescription, ShardEnd, ShardSelection, StartPosition, StreamDescription,
    StreamSource,
};

/// Lease rows written at once.
const WRITES_AT_ONCE: usize = 16;

/// Reads the stream's shards and the group's leases, and writes the leases that are missing.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) source: Arc<dyn StreamSource>,
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) group: GroupId,
    pub(crate) events: Events,
}

/// A stream whose start position is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenStream {
    pub(crate) id: StreamId,
    pub(crate) name: String,
    pub(crate) start: Position,
}

impl Catalog {
    /// Finds out which stream it is and where the group starts, and stores the latter once for the group.
    pub(crate) async fn open(
        &self,
        expected: Option<&str>,
        start: &StartPosition,
    ) -> Result<OpenStream, Error> {
        let stream = self.source.describe().await?;
        if let Some(expected) = expected.filter(|expected| *expected != stream.name) {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "`stream = {expected}` is set, but the source reads stream `{}`: give both the same name",
                    stream.name
                ),
            ));
        }
        let row = match self.store.stream(&self.group, &stream.id).await? {
            Some(row) => row,
            None => {
                let start = resolve(start, &stream)?;
                self.refuse_second_stream(&stream.name).await?;
                let row = StreamRow { id: stream.id, name: stream.name, start };
                match self.store.insert_stream(&self.group, &row).await {
                    Ok(Outcome::Applied { after, .. }) => after,
                    Ok(Outcome::Refused { current: Some(first) }) => first,
                    Ok(Outcome::Refused { current: None }) => {
                        return Err(Error::new(
                            ErrorKind::Retry,
                            "the start position was stored and removed again meanwhile: try again",
                        ));
                    }
                    // Whoever wrote it, the row says where the group starts.
                    Err(error) if error.is_ambiguous() => {
                        self.store.stream(&self.group, &row.id).await?.ok_or(error)?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        self.events.tell(Event::StartResolved { stream: row.id.clone(), position: row.start });
        Ok(OpenStream { id: row.id, name: row.name, start: row.start })
    }

    /// The shards of all streams of a group are spread over all its workers, so a worker that reads one stream
    /// must not join a group that reads another.
    async fn refuse_second_stream(&self, name: &str) -> Result<(), Error> {
        let view = self.store.list(&self.group, Listing::All).await?;
        match view.streams.iter().find(|row| row.name != name) {
            None => Ok(()),
            Some(other) => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "group `{}` consumes stream `{}` already: consume stream `{name}` under another group",
                    self.group, other.name
                ),
            )),
        }
    }

    /// Gives a lease to each shard that was open at the start and has none.
    pub(crate) async fn begin(&self, stream: &OpenStream) -> Result<usize, Error> {
        let leases = self.leases(&stream.id).await?;
        let listing = self.source.list_shards(at_start(&stream.start)).await?;
        let roots = listing.iter().map(|shard| shard.id.clone()).collect();
        self.create_missing(stream, &listing, &roots, &leases).await
    }

    /// Gives a lease to each shard that should have one and has none.
    pub(crate) async fn audit(&self, stream: &OpenStream) -> Result<usize, Error> {
        let leases = self.leases(&stream.id).await?;
        let listing = self.source.list_shards(ShardSelection::All).await?;
        if listing.iter().all(|shard| leases.contains_key(&shard.id)) {
            return Ok(0);
        }
        let at_start = self.source.list_shards(at_start(&stream.start)).await?;
        let roots = at_start.into_iter().map(|shard| shard.id).collect();
        self.create_missing(stream, &listing, &roots, &leases).await
    }

    async fn create_missing(
        &self,
        stream: &OpenStream,
        listing: &[ShardDescription],
        roots: &BTreeSet<ShardId>,
        leases: &BTreeMap<ShardId, LeaseRow>,
    ) -> Result<usize, Error> {
        let known = Known { stream: &stream.id, listing, roots, leases, start: stream.start };
        let mut created = Vec::new();
        for generation in graph::missing(known) {
            let written: Vec<Option<ShardId>> = stream::iter(generation)
                .map(|row| async move { self.insert(&row).await })
                .buffer_unordered(WRITES_AT_ONCE)
                .try_collect()
                .await?;
            created.extend(written.into_iter().flatten());
        }
        let count = created.len();
        if count > 0 {
            created.sort();
            self.events.tell(Event::LeasesCreated { stream: stream.id.clone(), shards: created });
        }
        Ok(count)
    }

    /// The shard, if the lease was not there before.
    async fn insert(&self, row: &LeaseRow) -> Result<Option<ShardId>, Error> {
        match self.store.insert_lease(&self.group, row).await {
            Ok(outcome) => Ok(outcome.is_applied().then(|| row.key.shard.clone())),
            Err(error) if error.is_ambiguous() => {
                let found = self.store.lease(&self.group, &row.key).await?;
                found.map(|found| Some(found.key.shard)).ok_or_else(|| error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn leases(&self, stream: &StreamId) -> Result<BTreeMap<ShardId, LeaseRow>, Error> {
        let view = self.store.list(&self.group, Listing::All).await?;
        let ours = view.leases.into_iter().filter(|row| row.key.stream == *stream);
        Ok(ours.map(|row| (row.key.shard.clone(), row)).collect())
    }

    /// The leases of the children of a shard that ended at `position`, to be stored before its end is.
    pub(crate) async fn children(
        &self,
        stream: &OpenStream,
        shard: &ShardId,
        position: Position,
        end: &ShardEnd,
    ) -> Result<Vec<LeaseRow>, Error> {
        let children = if end.children.is_empty() {
            let listing = self.source.list_shards(ShardSelection::All).await?;
            listing.into_iter().filter(|child| child.parents.contains(shard)).collect()
        } else {
            end.children.clone()
        };
        let mut rows = Vec::with_capacity(children.len());
        for child in &children {
            let mut positions = vec![position];
            for other in child.parents.iter().filter(|parent| *parent != shard) {
                let key = LeaseKey::new(stream.id.clone(), other.clone());
                match self.store.lease(&self.group, &key).await? {
                    Some(row) => positions.push(row.position),
                    // A child does not wait for a parent without a lease, so that one gets its lease first.
                    None => drop(self.audit(stream).await?),
                }
            }
            rows.push(graph::lease_row(&stream.id, child, graph::child_position(&positions)));
        }
        Ok(rows)
    }

    /// Whether the stream, being the same as before, does not know the shard any more.
    pub(crate) async fn is_gone(&self, stream: &OpenStream, shard: &ShardId) -> Result<bool, Error> {
        if self.source.describe().await?.id != stream.id {
            return Ok(false);
        }
        let listing = self.source.list_shards(ShardSelection::All).await?;
        Ok(!listing.iter().any(|listed| listed.id == *shard))
    }
}

/// The stored form of a start position: one that means the same tomorrow.
fn resolve(start: &StartPosition, stream: &StreamDescription) -> Result<Position, Error> {
    start.check(stream.now_millis)?;
    match start {
        StartPosition::TrimHorizon => Ok(Position::TrimHorizon),
        StartPosition::Latest => Ok(Position::AtTimestamp(stream.now_millis)),
        // A listing of the shards at a time past the retention leaves out those whose parents are gone.
        StartPosition::AtTimestamp(millis) if *millis <= oldest_kept(stream) => Ok(Position::TrimHorizon),
        StartPosition::AtTimestamp(millis) => Ok(Position::AtTimestamp(*millis)),
        StartPosition::AtSequence(_) | StartPosition::AfterSequence(_) => Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "a group cannot start at a sequence number yet (`start = {start}`): give the time at which the record \
                 arrived"
            ),
        )),
    }
}

fn oldest_kept(stream: &StreamDescription) -> u64 {
    let retention = u64::try_from(stream.retention.as_millis()).unwrap_or(u64::MAX);
    stream.now_millis.saturating_sub(retention)
}

fn at_start(start: &Position) -> ShardSelection {
    match start {
        Position::AtTimestamp(millis) => ShardSelection::AtTimestamp(*millis),
        _ => ShardSelection::TrimHorizon,
    }
}

/// Whether a duty falls to `me` in the interval of this number: exactly one of those who take part has it. The
/// choice needs no agreement, only the same inputs; where they differ for a while, a duty is done twice or late.
pub(crate) fn on_duty<'a>(
    interval: u64,
    me: &'a WorkerId,
    others: impl IntoIterator<Item = &'a WorkerId>,
) -> bool {
    let mine = (weight(interval, me), me);
    others.into_iter().all(|other| (weight(interval, other), other) <= mine)
}

/// FNV-1a with a final mix: the same on every host and in every version, which the standard hasher is not.
fn weight(interval: u64, worker: &WorkerId) -> u64 {
    let text = worker.to_string();
    let hash =
        interval.to_le_bytes().iter().chain(text.as_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// The number of the interval that this time lies in.
pub(crate) fn interval_number(now_millis: u64, interval: Duration) -> u64 {
    now_millis / u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rokini_lease::WorkerName;

    #[test]
    fn t1_each_interval_has_one_worker_on_duty_and_each_worker_its_turn() {
        let mut rng = StdRng::seed_from_u64(3);
        let workers: Vec<_> =
            (0..50).map(|n| WorkerId::start(WorkerName::new(format!("w{n}")).unwrap(), &mut rng)).collect();
        let mut turns = BTreeMap::new();
        for interval in 0..5_000 {
            let chosen: Vec<_> =
                workers.iter().filter(|worker| on_duty(interval, worker, &workers)).collect();
            assert_eq!(chosen.len(), 1, "interval {interval}");
            *turns.entry(chosen[0]).or_insert(0) += 1;
        }
        assert_eq!(turns.len(), 50);
        assert!(turns.values().all(|turns| (50..200).contains(turns)), "{turns:?}");
    }

    #[test]
    fn a_start_past_the_retention_is_the_oldest_record_kept() {
        let stream = StreamDescription {
            name: "s".to_owned(),
            id: StreamId::new("s@0").unwrap(),
            now_millis: 100_000,
            retention: Duration::from_secs(60),
        };
        for (millis, expected) in [
            (0, Position::TrimHorizon),
            (40_000, Position::TrimHorizon),
            (40_001, Position::AtTimestamp(40_001)),
        ] {
            assert_eq!(resolve(&StartPosition::AtTimestamp(millis), &stream).unwrap(), expected);
        }
    }

    #[test]
    fn intervals_of_zero_length_do_not_divide_by_zero() {
        assert_eq!(interval_number(7, Duration::ZERO), 7);
    }
}
