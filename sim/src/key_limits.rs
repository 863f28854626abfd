//! A store whose rows are all under one partition key, with what DynamoDB gives such a key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rokini_lease::{
    CountingStore, Counts, GroupId, GroupView, LeaseStore, Listing, ListingPage, ListingQuery, MemoryStore,
    Row, RowKey, RowOutcome, RowWrite, StoreError, StoreErrorKind,
};
use tokio::time::{Instant, sleep};

use crate::process_gate::lock;

/// What DynamoDB gives a partition key in a second ("Best practices for designing and using partition keys", 2026).
const WRITES: f64 = 1_000.0;
const READS: f64 = 3_000.0;
/// The waits of the SDK before its second and third try.
const RETRIES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];

/// What one key gave.
#[derive(Debug, Default)]
struct Key {
    /// Units left, and when: as much as a second brings at most.
    left: Option<(Instant, f64, f64)>,
    throttled: u64,
    is_limited: bool,
    /// Units by the second since the first call.
    begun: Option<Instant>,
    spent: BTreeMap<u64, (f64, f64)>,
}

/// What a key was asked for between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyLoad {
    /// Write units in the busiest second.
    pub writes: f64,
    /// Read units in the busiest second.
    pub reads: f64,
    /// Tries that were refused.
    pub throttled: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyLimits {
    store: CountingStore<MemoryStore>,
    key: Arc<Mutex<Key>>,
}

impl KeyLimits {
    pub(crate) fn new() -> Self {
        Self { store: CountingStore::new(MemoryStore::new()), key: Arc::default() }
    }

    /// From now on it gives no more than DynamoDB does.
    pub(crate) fn limit(&self) {
        lock(&self.key).is_limited = true;
    }

    pub(crate) fn snapshot(&self) -> Counts {
        self.store.snapshot()
    }

    /// Without limits and counts.
    pub(crate) fn inner(&self) -> &MemoryStore {
        self.store.inner()
    }

    /// What it was asked for since the last look.
    pub(crate) fn take_load(&self) -> KeyLoad {
        let mut key = lock(&self.key);
        let spent = std::mem::take(&mut key.spent);
        KeyLoad {
            writes: spent.values().map(|units| units.0).fold(0.0, f64::max),
            reads: spent.values().map(|units| units.1).fold(0.0, f64::max),
            throttled: std::mem::take(&mut key.throttled),
        }
    }

    /// Whether the key has units for a call: what it takes is known afterwards.
    fn admits(&self, is_write: bool) -> bool {
        let mut key = lock(&self.key);
        let now = Instant::now();
        let (at, writes, reads) = key.left.unwrap_or((now, WRITES, READS));
        let passed = (now - at).as_secs_f64();
        let (writes, reads) = ((writes + passed * WRITES).min(WRITES), (reads + passed * READS).min(READS));
        key.left = Some((now, writes, reads));
        let admits = !key.is_limited || if is_write { writes > 0.0 } else { reads > 0.0 };
        key.throttled += u64::from(!admits);
        admits
    }

    async fn around<T>(
        &self,
        is_write: bool,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut retries = RETRIES.into_iter();
        while !self.admits(is_write) {
            let Some(pause) = retries.next() else {
                return Err(StoreError::new(StoreErrorKind::Throttled, "the key is asked for too much"));
            };
            sleep(pause).await;
        }
        // The store in memory answers without waiting, so nothing else is counted meanwhile.
        let before = self.store.snapshot();
        let answer = call.await;
        let spent = self.store.snapshot() - &before;
        let (writes, reads) = (spent.write_units() as f64, spent.read_units());
        let mut key = lock(&self.key);
        if let Some(left) = &mut key.left {
            (left.1, left.2) = (left.1 - writes, left.2 - reads);
        }
        let second = key.begun.get_or_insert_with(Instant::now).elapsed().as_secs();
        let units = key.spent.entry(second).or_default();
        (units.0, units.1) = (units.0 + writes, units.1 + reads);
        answer
    }
}

#[async_trait]
impl LeaseStore for KeyLimits {
    async fn init(&self) -> Result<(), StoreError> {
        self.store.init().await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        self.around(false, self.store.list(group, listing)).await
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        self.around(false, self.store.list_part(group, part)).await
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.around(false, self.store.read(group, key)).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        self.around(true, self.store.write(group, write)).await
    }
}
