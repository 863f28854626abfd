//! Keeps the leases of a group in step with the shards of its stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use rokini_lease::{
    GroupId, GroupView, HashRange, LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, LeaseUpdate, Listing,
    Position, Progress, ShardId, StoreErrorKind, StreamId, StreamRow, WorkerId, WorkerState, WriteOutcome,
    retirable,
};

use super::graph::{self, Known};
use super::registration::{Registrar, Registration};
use super::streams::OpenStream;
use super::{coverage, record_search};
use crate::events::emitter::Events;
use crate::events::table::EventKind;
use crate::source::stream_identity::{is_older, is_same};
use crate::source::stream_source::{
    ShardDescription, ShardEnd, ShardSelection, StreamDescription, StreamSource,
};
use crate::types::error::{Error, ErrorKind};
use crate::types::start_position::StartPosition;
use crate::types::stream_ref::StreamRef;

/// Lease rows written at once.
const WRITES_AT_ONCE: usize = 16;

/// Reads the shards of streams and the group's leases, and writes the leases that are missing.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) group: GroupId,
    pub(crate) events: Events,
    /// Where the group starts in a stream of which it has no position.
    pub(crate) start: StartPosition,
    /// How the group registers for fan-out.
    pub(crate) registration: Registration,
    /// Whether children start without waiting for their parents.
    pub(crate) ignore_order: bool,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Leases that were missing, or ended without reason, and are there now.
    pub(crate) created: usize,
    /// Hashes that no lease covers all the same.
    pub(crate) holes: Vec<HashRange>,
}

impl Catalog {
    /// Finds out which stream it is and where the group starts, and stores the latter once for the group.
    pub(crate) async fn open(
        &self,
        source: &Arc<dyn StreamSource>,
        expected: &[StreamRef],
    ) -> Result<OpenStream, Error> {
        let stream = source.describe().await?;
        let reads = source.reference();
        let same = |expected: &StreamRef| {
            let arns = expected.arn().zip(reads.and_then(StreamRef::arn));
            expected.name() == stream.name && arns.is_none_or(|(expected, read)| expected == read)
        };
        if !expected.is_empty() && !expected.iter().any(same) {
            let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            return Err(Error::configuration(format!(
                "`stream = {}` is set, but the source reads stream `{}`: give both the same name",
                expected.join(", "),
                reads.map_or_else(|| stream.name.clone(), ToString::to_string)
            )));
        }
        self.open_described(source, stream).await
    }

    /// The ARN of the group's consumer of a stream, which is registered where it is not.
    pub(crate) async fn consumer(&self, stream: &OpenStream) -> Result<Arc<str>, Error> {
        let Self { store, group, events, registration, .. } = self;
        Registrar { store, group, events, registration }.consumer(stream).await
    }

    /// Gives the group's own registration with a stream back.
    pub(super) async fn give_consumer_back(&self, stream: &OpenStream) -> Result<(), Error> {
        let Self { store, group, events, registration, .. } = self;
        Registrar { store, group, events, registration }.give_back(stream).await
    }

    /// The stream that has the name of `old` now, if it was made after that one.
    pub(crate) async fn renewed(&self, old: &OpenStream) -> Result<Option<OpenStream>, Error> {
        let stream = old.source.describe().await?;
        if !is_older(&old.id, &stream.id) {
            old.set_retention(stream.retention);
            return Ok(None);
        }
        self.open_described(&old.source, stream).await.map(Some)
    }

    async fn open_described(
        &self,
        source: &Arc<dyn StreamSource>,
        stream: StreamDescription,
    ) -> Result<OpenStream, Error> {
        let retention = stream.retention;
        let row = match self.store.stream(&self.group, &stream.id).await? {
            Some(row) => row,
            None => {
                let mut known = self.store.list(&self.group, Listing::All).await?.streams;
                if let Some(same) = known.iter().position(|row| is_same(&row.id, &stream.id)) {
                    known.swap_remove(same)
                } else {
                    let start = match known.iter().any(|row| is_older(&row.id, &stream.id)) {
                        // The group reads this stream already: what was put into it since it was made again is new.
                        true => Position::TrimHorizon,
                        false => self.resolve(source, &stream).await?,
                    };
                    self.store_start(StreamRow::new(stream.id, stream.name, start)).await?
                }
            }
        };
        self.events.emit_for_stream(&row.id, EventKind::StartResolved { position: row.start });
        Ok(OpenStream::new(row.id, row.name, row.start, Arc::clone(source), retention))
    }

    /// The start position of the group. One that is a record becomes the time at which it arrived, and the shard that
    /// has it gets a lease of its own, before the start position is stored.
    async fn resolve(
        &self,
        source: &Arc<dyn StreamSource>,
        stream: &StreamDescription,
    ) -> Result<Position, Error> {
        let (number, progress) = match &self.start {
            StartPosition::AtSequence(number) => (*number, Progress::Nothing),
            StartPosition::AfterSequence(number) => (*number, Progress::Whole),
            StartPosition::AfterUserRecord(number, sub) => (*number, Progress::Through(*sub)),
            start => return resolve(start, stream),
        };
        let found = record_search::record(source, number).await?;
        let position = Position::Sequence(number, progress);
        self.insert(graph::lease_row(&stream.id, &found.shard, position)).await?;
        Ok(Position::AtTimestamp(found.arrival_millis))
    }

    /// The first writer decides for the group.
    async fn store_start(&self, row: StreamRow) -> Result<StreamRow, Error> {
        match self.store.insert_stream(&self.group, &row).await {
            Ok(WriteOutcome::Applied { after, .. }) => Ok(after),
            Ok(WriteOutcome::Refused { current: Some(first) }) => Ok(first),
            Ok(WriteOutcome::Refused { current: None }) => Err(Error::new(
                ErrorKind::Retry,
                "the start position was stored and removed again meanwhile: try again",
            )),
            // Whoever wrote it, the row says where the group starts.
            Err(error) if error.is_ambiguous() => {
                Ok(self.store.stream(&self.group, &row.id).await?.ok_or(error)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a lease to each shard that was open at the start and has none.
    pub(crate) async fn begin(&self, stream: &OpenStream) -> Result<usize, Error> {
        let view = self.store.list(&self.group, Listing::All).await?;
        let at_start = stream.source.list_shards(at_start(&stream.start)).await?;
        let roots: BTreeSet<ShardId> = at_start.iter().map(|shard| shard.id.clone()).collect();
        let begun: BTreeSet<&ShardId> = view
            .leases
            .iter()
            .map(|row| &row.key)
            .filter(|key| key.stream == stream.id)
            .map(|key| &key.shard)
            .collect();
        // Where others have leases, one without may have ended and been retired: only what came after it can tell.
        let may_be_past = !begun.is_empty() && roots.iter().any(|root| !begun.contains(root));
        let listing = match self.ignore_order || may_be_past {
            true => stream.source.list_shards(ShardSelection::All).await?,
            // What comes after a shard gets its lease when that one ends.
            false => at_start,
        };
        let leases = of_stream(view, &stream.id, &listing);
        self.create_missing(stream, &listing, &roots, &leases).await
    }

    /// Gives a lease to each shard that should have one and has none, and takes those away whose stream is gone.
    pub(crate) async fn audit(&self, stream: &OpenStream) -> Result<Audit, Error> {
        let view = self.store.list(&self.group, Listing::All).await?;
        self.retire_older(&view, &stream.id).await?;
        let listing = stream.source.list_shards(ShardSelection::All).await?;
        let mut leases = of_stream(view, &stream.id, &listing);
        self.retire_ended(&mut leases, &listing).await?;
        let taken_back = self.take_ends_back(stream, &mut leases, &listing).await?;
        let holes = coverage::holes(leases.values());
        if listing.iter().all(|shard| leases.contains_key(&shard.id)) {
            self.report_holes(stream, &holes, holes.len());
            return Ok(Audit { created: taken_back, holes });
        }
        // By its name, the listing may be that of a stream made again meanwhile.
        if !is_same(&stream.source.describe().await?.id, &stream.id) {
            stream.doubt();
            return Ok(Audit { created: taken_back, holes });
        }
        let at_start = stream.source.list_shards(at_start(&stream.start)).await?;
        let roots = at_start.into_iter().map(|shard| shard.id).collect();
        let known = Known {
            stream: &stream.id,
            listing: &listing,
            roots: &roots,
            leases: &leases,
            start: stream.start,
        };
        let mut generations = graph::missing(known);
        // Whatever became of the leases of its ancestors, an open shard is read.
        let planned = || leases.values().chain(generations.iter().flatten());
        let mended: Vec<LeaseRow> = coverage::open_shards_over(&coverage::holes(planned()), &listing)
            .into_iter()
            .filter(|shard| !planned().any(|row| row.key.shard == shard.id))
            .map(|shard| graph::lease_row(&stream.id, shard, stream.start))
            .collect();
        generations.push(mended);
        let left = coverage::holes(leases.values().chain(generations.iter().flatten()));
        let created = self.create(stream, generations).await?;
        self.report_holes(stream, &holes, left.len());
        Ok(Audit { created: created + taken_back, holes: left })
    }

    fn report_holes(&self, stream: &OpenStream, holes: &[HashRange], left: usize) {
        if !holes.is_empty() {
            self.events.emit_for_stream(&stream.id, EventKind::HolesFound { holes: holes.to_vec(), left });
        }
    }

    /// Removes the leases of an earlier stream of the same name: nothing of it can be read any more. Those that a
    /// live worker has, that worker retires.
    async fn retire_older(&self, view: &GroupView, stream: &StreamId) -> Result<(), Error> {
        let lives =
            |id: &WorkerId| view.workers.iter().any(|row| row.id == *id && row.state != WorkerState::Fenced);
        let older = view.leases.iter().filter(|row| is_older(&row.key.stream, stream));
        for row in older.filter(|row| !row.owner.as_ref().is_some_and(lives)) {
            let removed = self.store.delete_lease(&self.group, &row.key, row.epoch).await?;
            if removed && !row.position.is_shard_end() {
                self.events.emit_for_shard(&row.key, EventKind::ShardGone { position: row.position });
            }
        }
        Ok(())
    }

    /// Begins leases anew that are ended while their shards are open: an answer took them for ended that did not mean it,
    /// or somebody wrote the row. Only where that shows twice, and no children came from the shard. How many.
    async fn take_ends_back(
        &self,
        stream: &OpenStream,
        leases: &mut BTreeMap<ShardId, LeaseRow>,
        listing: &[ShardDescription],
    ) -> Result<usize, Error> {
        let is_parent = |id: &ShardId| listing.iter().any(|shard| shard.parents.contains(id));
        let open = listing.iter().filter(|shard| !shard.closed && !is_parent(&shard.id));
        let ended = |id: &ShardId| {
            leases.get(id).is_some_and(|row| row.position.is_shard_end() && row.children.is_empty())
        };
        let wrong = open.map(|shard| shard.id.clone()).filter(ended).collect();
        let mut mended = 0;
        for shard in stream.ended_but_open(wrong) {
            let Some(row) = leases.get_mut(&shard) else { continue };
            // What had arrived when its last position was stored is done.
            let to = row.metadata.record_arrival_millis.map_or(stream.start, Position::AtTimestamp);
            let update = LeaseUpdate::Seek { seen: row.epoch, to, order: None };
            match self.store.update_lease(&self.group, &row.key, &update).await {
                Ok(WriteOutcome::Applied { after, .. }) => {
                    *row = after;
                    mended += 1;
                    self.events.emit_for_shard(&row.key, EventKind::EndTakenBack { position: to });
                }
                // Somebody else did something with it.
                Ok(WriteOutcome::Refused { .. }) => {}
                Err(error) if error.is_ambiguous() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(mended)
    }

    /// Removes the leases of ended shards that the stream has forgotten and that nothing needs any more.
    async fn retire_ended(
        &self,
        leases: &mut BTreeMap<ShardId, LeaseRow>,
        listing: &[ShardDescription],
    ) -> Result<(), Error> {
        let listed = listing.iter().map(|shard| shard.id.clone()).collect();
        let rows: Vec<LeaseRow> = retirable(leases, &listed).into_iter().cloned().collect();
        for row in rows {
            if !self.store.delete_lease(&self.group, &row.key, row.epoch).await? {
                // An operator has set it back meanwhile: those that follow may be its children.
                break;
            }
            leases.remove(&row.key.shard);
        }
        Ok(())
    }

    async fn create_missing(
        &self,
        stream: &OpenStream,
        listing: &[ShardDescription],
        roots: &BTreeSet<ShardId>,
        leases: &BTreeMap<ShardId, LeaseRow>,
    ) -> Result<usize, Error> {
        let known = Known { stream: &stream.id, listing, roots, leases, start: stream.start };
        self.create(stream, graph::missing(known)).await
    }

    async fn create(&self, stream: &OpenStream, generations: Vec<Vec<LeaseRow>>) -> Result<usize, Error> {
        let mut created = Vec::new();
        for generation in generations {
            let written: Vec<Option<ShardId>> = stream::iter(generation)
                .map(|row| async move { self.insert(row).await })
                .buffer_unordered(WRITES_AT_ONCE)
                .try_collect()
                .await?;
            created.extend(written.into_iter().flatten());
        }
        let count = created.len();
        if count > 0 {
            created.sort();
            self.events.emit_for_stream(&stream.id, EventKind::LeasesCreated { shards: created });
        }
        Ok(count)
    }

    /// A lease without parents waits for nobody.
    fn in_order(&self, row: LeaseRow) -> LeaseRow {
        if self.ignore_order { row.with_parents(Vec::new()) } else { row }
    }

    /// The shard, if the lease was not there before.
    async fn insert(&self, row: LeaseRow) -> Result<Option<ShardId>, Error> {
        let row = &self.in_order(row);
        match self.store.insert_lease_if_missing(&self.group, row).await {
            Ok(inserted) => Ok(inserted.then(|| row.key.shard.clone())),
            Err(error) if error.is_ambiguous() => {
                let found = self.store.lease(&self.group, &row.key).await?;
                found.map(|found| Some(found.key.shard)).ok_or_else(|| error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The leases of the children of a shard that ended at `position`, to be stored before its end is.
    pub(crate) async fn children(
        &self,
        stream: &OpenStream,
        shard: &ShardId,
        position: Position,
        end: &ShardEnd,
    ) -> Result<Vec<LeaseRow>, Error> {
        // The shards of the stream that was made in its place are none of its children.
        let children = if stream.is_replaced() {
            Vec::new()
        } else if self.is_whole(stream, shard, &end.children).await? {
            end.children.clone()
        } else {
            let listing = stream.source.list_shards(ShardSelection::All).await?;
            let mut children: Vec<_> =
                listing.into_iter().filter(|child| child.parents.contains(shard)).collect();
            let told = end.children.iter();
            let unlisted: Vec<_> =
                told.filter(|child| children.iter().all(|listed| listed.id != child.id)).cloned().collect();
            children.extend(unlisted);
            children
        };
        let mut rows = Vec::with_capacity(children.len());
        for child in &children {
            let mut positions = vec![position];
            for other in child.parents.iter().filter(|parent| *parent != shard) {
                let key = LeaseKey::new(stream.id.clone(), other.clone());
                match self.store.lease(&self.group, &key).await {
                    Ok(Some(row)) => positions.push(row.position),
                    // A child does not wait for a parent without a lease, so that one gets its lease first.
                    Ok(None) => {
                        self.audit(stream).await?;
                        self.require_listed(stream, &child.id).await?;
                    }
                    // The child waits for it until it can be read, and this shard does not.
                    Err(error) if error.kind() == StoreErrorKind::InvalidRow => {}
                    Err(error) => return Err(error.into()),
                }
            }
            rows.push(self.in_order(graph::lease_row(&stream.id, child, graph::child_position(&positions))));
        }
        Ok(rows)
    }

    /// Whether these children take every hash of their parent: an answer may have lost one.
    async fn is_whole(
        &self,
        stream: &OpenStream,
        shard: &ShardId,
        children: &[ShardDescription],
    ) -> Result<bool, Error> {
        let key = LeaseKey::new(stream.id.clone(), shard.clone());
        let range = self.store.lease(&self.group, &key).await?.and_then(|row| row.hash_range);
        let parts: Option<Vec<_>> = children.iter().map(|child| child.hash_range).collect();
        Ok(match (range, parts) {
            (Some(range), Some(parts)) => coverage::is_covered(range, &parts),
            _ => !children.is_empty(),
        })
    }

    /// A listing that does not show a child yet, which the end of its parent told of, does not tell of its other parents
    /// either.
    async fn require_listed(&self, stream: &OpenStream, child: &ShardId) -> Result<(), Error> {
        let listing = stream.source.list_shards(ShardSelection::All).await?;
        if listing.iter().any(|shard| shard.id == *child) {
            return Ok(());
        }
        let message = format!(
            "the listing of the stream does not show shard `{child}` yet, so its other parent may be unread: it is tried \
             again"
        );
        Err(Error::new(ErrorKind::Retry, message))
    }

    /// Whether the stream, being the same as before, does not know the shard any more.
    pub(crate) async fn is_gone(&self, stream: &OpenStream, shard: &ShardId) -> Result<bool, Error> {
        Ok(stream.shards().await?.is_some_and(|listed| !listed.contains(shard)))
    }
}

/// The leases of one stream. One whose row cannot be read exists and is not finished: it stands there with what the
/// listing says of its shard.
fn of_stream(
    view: GroupView,
    stream: &StreamId,
    listing: &[ShardDescription],
) -> BTreeMap<ShardId, LeaseRow> {
    let unreadable: BTreeSet<&ShardId> =
        view.unreadable_leases().filter(|key| key.stream == *stream).map(|key| &key.shard).collect();
    let unreadable = listing.iter().filter(|shard| unreadable.contains(&shard.id));
    let unreadable: Vec<LeaseRow> =
        unreadable.map(|shard| graph::lease_row(stream, shard, Position::TrimHorizon)).collect();
    let ours = view.leases.into_iter().filter(|row| row.key.stream == *stream);
    ours.chain(unreadable).map(|row| (row.key.shard.clone(), row)).collect()
}

/// The stored form of a start position: one that means the same tomorrow.
fn resolve(start: &StartPosition, stream: &StreamDescription) -> Result<Position, Error> {
    let start = start.resolve(stream.now_millis);
    start.check(stream.now_millis)?;
    match start {
        StartPosition::TrimHorizon => Ok(Position::TrimHorizon),
        StartPosition::Latest => Ok(Position::AtTimestamp(stream.now_millis)),
        // A listing of the shards at a time past the retention leaves out those whose parents are gone.
        StartPosition::AtTimestamp(millis) if millis <= oldest_kept(stream) => Ok(Position::TrimHorizon),
        StartPosition::AtTimestamp(millis) => Ok(Position::AtTimestamp(millis)),
        // The shard that has the record is searched for first.
        StartPosition::Ago(_)
        | StartPosition::AtSequence(_)
        | StartPosition::AfterSequence(_)
        | StartPosition::AfterUserRecord(..) => Ok(Position::TrimHorizon),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_start_past_the_retention_is_the_oldest_record_kept() {
        let stream = StreamDescription {
            name: "s".to_owned(),
            id: StreamId::new("s@0").unwrap(),
            now_millis: 100_000,
            retention: Duration::from_secs(60),
            on_demand: false,
        };
        for (millis, expected) in [
            (0, Position::TrimHorizon),
            (40_000, Position::TrimHorizon),
            (40_001, Position::AtTimestamp(40_001)),
        ] {
            assert_eq!(resolve(&StartPosition::AtTimestamp(millis), &stream).unwrap(), expected);
        }
    }
}
