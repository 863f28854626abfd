//! A stream in memory, on the paused clock, with faults.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{HashRange, Position, Progress, SequenceNumber, ShardId, StreamId};
use rokini::{
    Error, ErrorKind, ReadResponse, Record, ShardDescription, ShardEnd, ShardReader, ShardSelection,
    StreamDescription, StreamRef, StreamSource,
};
use rokini_wire::AggregateBuilder;
use tokio::time::{Instant, sleep};

/// The time at which every test begins, in milliseconds since the Unix epoch.
pub const BEGIN: u64 = 1_700_000_000_000;
const POLL: Duration = Duration::from_millis(200);
/// Records older than this are trimmed.
pub const RETENTION: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Describe,
    List,
    Open,
    Read,
}

#[derive(Debug)]
struct Shard {
    description: ShardDescription,
    opened: u64,
    closed: Option<u64>,
    records: Vec<Record>,
}

#[derive(Debug)]
struct State {
    name: &'static str,
    began: Instant,
    created: u64,
    shards: Vec<Shard>,
    next: u128,
    /// Records in one response.
    per_read: usize,
    /// Between two reads at the tip.
    poll: Duration,
    /// How long reads say that they took.
    took: Option<Duration>,
    /// What empty reads say of how far the shard is read.
    read_to: Option<Position>,
    /// Listings from a time show every shard.
    all_at_start: bool,
    /// Ends do not name children.
    silent_end: bool,
    /// Keys do not say where records are.
    spreads: bool,
    faults: HashMap<Op, VecDeque<ErrorKind>>,
    broken: HashMap<ShardId, ErrorKind>,
    panics: HashSet<ShardId>,
    calls: HashMap<Op, usize>,
    /// Reads of these shards never return.
    hung: HashSet<ShardId>,
    /// Shards that no listing shows.
    hidden: HashSet<ShardId>,
}

/// Clones are the same stream.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Mutex<State>>, Arc<Mutex<Link>>, Option<StreamRef>);

/// What is wrong with one worker's way to the stream.
#[derive(Debug, Default)]
struct Link {
    /// Reads fail with this, or never return.
    cut: Option<Option<ErrorKind>>,
    panics: bool,
}

pub fn shard_id(number: usize) -> ShardId {
    ShardId::new(format!("shard-{number}")).unwrap()
}

impl Stream {
    pub fn new(shards: usize) -> Self {
        let state = Arc::new(Mutex::new(State {
            name: "orders",
            began: Instant::now(),
            created: BEGIN - 1_000,
            shards: Vec::new(),
            next: 1,
            per_read: 100,
            poll: POLL,
            took: None,
            read_to: None,
            all_at_start: false,
            silent_end: false,
            spreads: false,
            faults: HashMap::new(),
            broken: HashMap::new(),
            panics: HashSet::new(),
            calls: HashMap::new(),
            hung: HashSet::new(),
            hidden: HashSet::new(),
        }));
        let stream = Self(state, Arc::default(), None);
        {
            let mut state = stream.state();
            for number in 0..shards {
                let width = u128::MAX / shards as u128;
                let range =
                    HashRange { start: width * number as u128, end: width * (number as u128 + 1) - 1 };
                let range = if number + 1 == shards { HashRange { end: u128::MAX, ..range } } else { range };
                state.open_shard(Vec::new(), range, BEGIN - 1_000);
            }
        }
        stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn id(&self) -> StreamId {
        StreamId::new({
            let state = self.state();
            format!("{}@{}", state.name, state.created)
        })
        .unwrap()
    }

    pub fn now(&self) -> u64 {
        self.state().now()
    }

    pub fn named(self, name: &'static str) -> Self {
        self.state().name = name;
        self
    }

    /// It is named like this.
    pub fn known_as(mut self, reference: &str) -> Self {
        self.2 = Some(reference.parse().unwrap());
        self
    }

    pub fn per_read(self, records: usize) -> Self {
        self.state().per_read = records;
        self
    }

    /// Reads at the tip wait this long.
    pub fn poll(self, poll: Duration) -> Self {
        self.state().poll = poll;
        self
    }

    /// Reads say that they took this long.
    #[allow(dead_code, reason = "only tests of metrics ask")]
    pub fn took(self, took: Duration) -> Self {
        self.state().took = Some(took);
        self
    }

    /// Empty reads say from now on that everything before this place is read, as the events of subscriptions do.
    pub fn say_read_to(&self, place: Position) {
        self.state().read_to = Some(place);
    }

    /// Listings from a time on show every shard, as those of servers do that ignore the filter.
    pub fn all_at_start(&self) {
        self.state().all_at_start = true;
    }

    /// The ends of shards do not name their children.
    pub fn silent_end(&self) {
        self.state().silent_end = true;
    }

    /// Puts a record with this text, which is its partition key too.
    pub fn put(&self, shard: usize, text: &str) -> SequenceNumber {
        self.put_keyed(shard, text, text)
    }

    pub fn put_keyed(&self, shard: usize, key: &str, text: &str) -> SequenceNumber {
        self.add(shard, |sequence, now| Record::new(sequence, key, text, now))
    }

    /// Puts a record without a partition key.
    pub fn put_keyless(&self, shard: usize, text: &str) -> SequenceNumber {
        self.add(shard, |sequence, now| Record::without_key(sequence, text, now))
    }

    /// Puts an aggregate with user records of these texts, which are their partition keys too.
    pub fn put_aggregate(&self, shard: usize, texts: &[&str]) -> SequenceNumber {
        let mut builder = AggregateBuilder::default();
        texts.iter().for_each(|text| builder.push(text, None, text.as_bytes()));
        self.put_bytes(shard, &builder.build())
    }

    pub fn put_bytes(&self, shard: usize, data: &[u8]) -> SequenceNumber {
        self.add(shard, |sequence, now| Record::new(sequence, "container", data, now))
    }

    /// It places records by itself from now on, whatever their keys are.
    pub fn spread_by_itself(&self) {
        self.state().spreads = true;
    }

    fn add(&self, shard: usize, record: impl Fn(SequenceNumber, u64) -> Record) -> SequenceNumber {
        let mut state = self.state();
        let sequence = SequenceNumber::from(state.next);
        state.next += 1;
        let record = record(sequence, state.now());
        let shard = &mut state.shards[shard];
        assert!(shard.closed.is_none(), "the shard is closed");
        shard.records.push(record);
        sequence
    }

    pub fn put_all(&self, shard: usize, texts: &[&str]) {
        for text in texts {
            self.put(shard, text);
        }
    }

    /// One record into each of the first shards.
    pub fn put_each(&self, shards: usize, text: &str) {
        (0..shards).for_each(|shard| {
            self.put(shard, text);
        });
    }

    pub fn split(&self, shard: usize) -> (usize, usize) {
        let mut state = self.state();
        let range = state.close(shard);
        let middle = range.start + (range.end - range.start) / 2;
        let (parents, now) = (vec![shard_id(shard)], state.now());
        let low = state.open_shard(parents.clone(), HashRange { end: middle, ..range }, now);
        let high = state.open_shard(parents, HashRange { start: middle + 1, ..range }, now);
        (low, high)
    }

    pub fn merge(&self, one: usize, other: usize) -> usize {
        let mut state = self.state();
        let (a, b) = (state.close(one), state.close(other));
        let range = HashRange { start: a.start.min(b.start), end: a.end.max(b.end) };
        let (parents, now) = (vec![shard_id(one), shard_id(other)], state.now());
        state.open_shard(parents, range, now)
    }

    /// Makes it another stream of the same name, with this many empty shards.
    pub fn recreate(&self, shards: usize) {
        let fresh = Self::new(shards);
        let mut state = self.state();
        let now = state.now();
        std::mem::swap(&mut state.shards, &mut fresh.state().shards);
        state.created = now;
    }

    /// The next so many calls of this kind fail, and those after them go well.
    pub fn fail(&self, op: Op, kind: ErrorKind, times: usize) {
        self.state().faults.insert(op, std::iter::repeat_n(kind, times).collect());
    }

    /// Every read of this shard fails from now on, or no longer.
    pub fn break_shard(&self, shard: usize, kind: Option<ErrorKind>) {
        let mut state = self.state();
        match kind {
            Some(kind) => drop(state.broken.insert(shard_id(shard), kind)),
            None => drop(state.broken.remove(&shard_id(shard))),
        }
    }

    /// Readers of this shard panic from now on, or no longer.
    pub fn panic_in(&self, shard: usize, on: bool) {
        let mut state = self.state();
        if on {
            state.panics.insert(shard_id(shard));
        } else {
            state.panics.clear();
        }
    }

    /// The shard ages out: no listing shows it, no read finds it.
    pub fn forget(&self, shard: usize) {
        self.break_shard(shard, Some(ErrorKind::Data));
        self.state().shards[shard].opened = u64::MAX;
    }

    /// Another way to the same stream, with faults of its own.
    pub fn link(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::default(), self.2.clone())
    }

    /// Reads over this link fail from now on, or never return; or they work again.
    pub fn cut(&self, on: bool, kind: Option<ErrorKind>) {
        self.1.lock().unwrap().cut = on.then_some(kind);
    }

    /// Readers over this link panic from now on, or no longer.
    pub fn panic_on_read(&self, on: bool) {
        self.1.lock().unwrap().panics = on;
    }

    /// Readers that are open now never answer again where `on`; those opened later do if it is off by then.
    pub fn hang(&self, shard: usize, on: bool) {
        let mut state = self.state();
        match on {
            true => state.hung.insert(shard_id(shard)),
            false => state.hung.remove(&shard_id(shard)),
        };
    }

    fn hangs(&self, shard: usize) -> bool {
        self.state().hung.contains(&shard_id(shard))
    }

    /// No listing shows the shard from now on, or they do again.
    pub fn hide(&self, shard: usize, on: bool) {
        let mut state = self.state();
        match on {
            true => state.hidden.insert(shard_id(shard)),
            false => state.hidden.remove(&shard_id(shard)),
        };
    }

    pub fn calls(&self, op: Op) -> usize {
        self.state().calls.get(&op).copied().unwrap_or(0)
    }

    fn called(&self, op: Op) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state();
        *state.calls.entry(op).or_default() += 1;
        match state.faults.get_mut(&op).and_then(VecDeque::pop_front) {
            Some(kind) => Err(Error::new(kind, format!("injected into {op:?}"))),
            None => Ok(state),
        }
    }
}

impl State {
    fn now(&self) -> u64 {
        BEGIN + self.began.elapsed().as_millis() as u64
    }

    fn keeps(&self, record: &Record) -> bool {
        Duration::from_millis(self.now() - record.arrival_millis) < RETENTION
    }

    fn open_shard(&mut self, parents: Vec<ShardId>, range: HashRange, opened: u64) -> usize {
        let number = self.shards.len();
        let description = ShardDescription::new(shard_id(number), parents).hash_range(range);
        self.shards.push(Shard { description, opened, closed: None, records: Vec::new() });
        number
    }

    fn close(&mut self, shard: usize) -> HashRange {
        let now = self.now();
        let shard = &mut self.shards[shard];
        assert!(shard.closed.is_none(), "the shard is closed already");
        shard.closed = Some(now);
        shard.description.closed = true;
        shard.description.hash_range.unwrap()
    }
}

#[async_trait]
impl StreamSource for Stream {
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let (now_millis, name) = {
            let state = self.called(Op::Describe)?;
            (state.now(), state.name.to_owned())
        };
        Ok(StreamDescription::new(name, self.id(), now_millis, RETENTION))
    }

    fn reference(&self) -> Option<&StreamRef> {
        self.2.as_ref()
    }

    fn now_millis(&self) -> Option<u64> {
        Some(self.now())
    }

    fn places_by_hash(&self) -> bool {
        !self.state().spreads
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let state = self.called(Op::List)?;
        let chosen = |shard: &&Shard| match which {
            ShardSelection::All => shard.opened != u64::MAX,
            ShardSelection::Latest => shard.closed.is_none(),
            ShardSelection::TrimHorizon => shard.description.parents.is_empty(),
            ShardSelection::AtTimestamp(_) if state.all_at_start => true,
            ShardSelection::AtTimestamp(time) => {
                shard.opened <= time && shard.closed.is_none_or(|closed| closed >= time)
            }
        };
        let shown = |shard: &&Shard| !state.hidden.contains(&shard.description.id);
        Ok(state.shards.iter().filter(chosen).filter(shown).map(|shard| shard.description.clone()).collect())
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        let state = self.called(Op::Open)?;
        let known = state.shards.iter().position(|known| known.description.id == *shard);
        let number = known.ok_or_else(|| Error::new(ErrorKind::Data, "no such shard"))?;
        let before = |record: &&Record| match at {
            Position::TrimHorizon => false,
            Position::AtTimestamp(time) => record.arrival_millis < *time,
            Position::Sequence(sequence, Progress::Whole) => record.sequence_number <= *sequence,
            Position::Sequence(sequence, _) => record.sequence_number < *sequence,
            Position::ShardEnd => true,
        };
        let cursor = state.shards[number].records.iter().take_while(before).count();
        let created = state.created;
        Ok(Box::new(Reader { stream: self.clone(), created, shard: number, cursor, hung: false }))
    }
}

#[derive(Debug)]
struct Reader {
    stream: Stream,
    /// The incarnation of the stream.
    created: u64,
    shard: usize,
    cursor: usize,
    hung: bool,
}

impl Reader {
    /// What there is, or `None` at the tip.
    fn take(&mut self) -> Result<Option<ReadResponse>, Error> {
        let state = self.stream.called(Op::Read)?;
        if state.created != self.created {
            return Err(Error::new(ErrorKind::Data, "the stream is gone"));
        }
        let shard = &state.shards[self.shard];
        if let Some(kind) = state.broken.get(&shard.description.id) {
            return Err(Error::new(*kind, "this shard is broken"));
        }
        assert!(!state.panics.contains(&shard.description.id), "this reader panics");
        let trimmed = shard.records.iter().take_while(|record| !state.keeps(record)).count();
        self.cursor = self.cursor.max(trimmed);
        let rest = &shard.records[self.cursor..];
        let records: Vec<Record> = rest.iter().take(state.per_read).cloned().collect();
        let last = records.len() == rest.len();
        if records.is_empty() && shard.closed.is_none() {
            return Ok(None);
        }
        self.cursor += records.len();
        let children = || {
            let mine = |child: &&Shard| {
                !state.silent_end && child.description.parents.contains(&shard.description.id)
            };
            state.shards.iter().filter(mine).map(|child| child.description.clone()).collect()
        };
        let end = (last && shard.closed.is_some()).then(|| ShardEnd::new(children()));
        let behind = shard.records.get(self.cursor).map_or(0, |next| state.now() - next.arrival_millis);
        let mut response = ReadResponse::new(records, behind);
        (response.end, response.took) = (end, state.took);
        Ok(Some(response))
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<ReadResponse, Error> {
        // A call that hangs once hangs for ever, as one on a dead connection does.
        let cut = self.stream.1.lock().unwrap().cut;
        if let Some(Some(kind)) = cut {
            sleep(POLL).await;
            return Err(Error::new(kind, "the link is cut"));
        }
        assert!(!self.stream.1.lock().unwrap().panics, "this link panics");
        if self.hung || cut.is_some() || self.stream.hangs(self.shard) {
            self.hung = true;
            return std::future::pending().await;
        }
        if let Some(fetched) = self.take()? {
            return Ok(fetched);
        }
        let (poll, took, read_to) = {
            let state = self.stream.state();
            (state.poll, state.took, state.read_to)
        };
        sleep(poll).await;
        let mut empty = ReadResponse::default();
        (empty.took, empty.read_to) = (took, read_to);
        Ok(self.take()?.unwrap_or(empty))
    }
}
