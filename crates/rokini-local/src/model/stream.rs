//! One stream: its shards, its state, and the changes that take time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rokini_wire::shapes::stream::{EnhancedMetrics, StreamModeDetails, StreamSummary};
use rokini_wire::{
    EncryptionType, ErrorCode, MetricsName, ServiceError, StreamMode, StreamStatus, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::model::consumer::RegisteredConsumer;
use crate::model::errors::{resource_in_use, resource_not_found};
use crate::model::queue::Queue;
use crate::model::rate_limiter::{Rate, RateLimiter};
use crate::model::scope::{Scope, StreamKey};
use crate::model::shard::{Shard, shard_id, shard_number};

/// 24 hours, the default the service documents.
const DEFAULT_RETENTION_HOURS: i32 = 24;
/// Shards of a new on-demand stream, as the service documents.
pub(crate) const ON_DEMAND_SHARDS: u32 = 4;
/// One a second, as the service documents.
const DRY_RUNS: Rate = Rate { calls: 1, bytes: u64::MAX };
/// 1 MiB, the default the service documents.
pub(crate) const DEFAULT_RECORD_KIB: i32 = 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// Tells it apart from every other stream there ever was.
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) arn: String,
    pub(crate) created: Timestamp,
    pub(crate) status: StreamStatus,
    pub(crate) mode: StreamMode,
    pub(crate) retention_hours: i32,
    pub(crate) max_record_kib: i32,
    pub(crate) key_id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) metrics: BTreeSet<MetricsName>,
    pub(crate) consumers: BTreeMap<String, RegisteredConsumer>,
    /// When UpdateShardCount was called.
    pub(crate) scalings: Vec<Timestamp>,
    /// When UpdateStreamMode was called.
    pub(crate) mode_changes: Vec<Timestamp>,
    /// When StartStreamEncryption was called.
    pub(crate) encryptions: Vec<Timestamp>,
    /// When StopStreamEncryption was called.
    pub(crate) decryptions: Vec<Timestamp>,
    pub(crate) policy: Option<String>,
    /// Whether the service chooses the shard of a record.
    pub(crate) distributes: bool,
    /// Turns among the open shards while it does.
    pub(crate) next_in_turn: u64,
    /// Throughput asked for, in MiB a second.
    pub(crate) warm_mibps: Option<i32>,
    /// By their ids.
    pub(crate) queues: BTreeMap<String, Queue>,
    #[serde(skip)]
    pub(crate) dry_runs: RateLimiter,
    /// A change was completed since the stream was last kept.
    #[serde(skip)]
    pub(crate) came_due: bool,
    shards: BTreeMap<u32, Shard>,
    /// Open shards by their first hash key.
    open: BTreeMap<u128, u32>,
    next_shard: u32,
    pending: Option<(Timestamp, StreamChange)>,
}

/// What a stream becomes when the time has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum StreamChange {
    Create {
        shards: u32,
    },
    Delete,
    /// Shard and first hash key of the upper child.
    Split(u32, u128),
    /// Two adjacent shards, in order of their hash keys.
    Merge(u32, u32),
    ShardCount(u32),
    /// The mode, and the throughput to keep ready, in MiB a second.
    Mode(StreamMode, Option<i32>),
    RecordSize(i32),
    /// The key, or none.
    Encryption(Option<String>),
    /// Throughput to keep ready, in MiB a second.
    Warm(i32),
}

impl Stream {
    pub(crate) fn new(name: &str, scope: Scope, now: Timestamp, mode: StreamMode) -> Self {
        Self {
            id: 0,
            name: name.to_owned(),
            arn: scope.arn(&format!("stream/{name}")),
            scope,
            created: now,
            status: StreamStatus::Creating,
            mode,
            retention_hours: DEFAULT_RETENTION_HOURS,
            max_record_kib: DEFAULT_RECORD_KIB,
            key_id: None,
            tags: BTreeMap::new(),
            metrics: BTreeSet::new(),
            consumers: BTreeMap::new(),
            scalings: Vec::new(),
            mode_changes: Vec::new(),
            encryptions: Vec::new(),
            decryptions: Vec::new(),
            policy: None,
            distributes: false,
            next_in_turn: 0,
            warm_mibps: None,
            queues: BTreeMap::new(),
            dry_runs: RateLimiter::default(),
            came_due: false,
            shards: BTreeMap::new(),
            open: BTreeMap::new(),
            next_shard: 0,
            pending: None,
        }
    }

    pub(crate) fn key(&self) -> StreamKey {
        StreamKey { scope: self.scope.clone(), name: self.name.clone() }
    }

    /// Ends a call that is only to be checked. As the service documents, one a second for each stream, whatever its operation.
    ///
    /// # Errors
    /// DryRunOperation if `asked`, Throttling for too many.
    pub(crate) fn stop_dry_run(
        &mut self,
        now: Timestamp,
        asked: Option<bool>,
        limited: bool,
    ) -> Result<(), ServiceError> {
        if !asked.unwrap_or(false) {
            return Ok(());
        }
        if limited {
            if !self.dry_runs.is_open(now, DRY_RUNS) {
                let message = format!("Rate of dry runs exceeded for {}.", self.label());
                return Err(ServiceError::new(ErrorCode::Throttling, message));
            }
            self.dry_runs.charge(0);
        }
        let message = "The request would have succeeded, but the DryRun parameter was set.";
        Err(ServiceError::new(ErrorCode::DryRunOperation, message))
    }

    /// `stream X under account Y`, as the service's messages name it.
    pub(crate) fn label(&self) -> String {
        format!("stream {} under account {}", self.name, self.scope.account)
    }

    /// Starts a change that is complete at `due`. Until then the stream is CREATING, DELETING or UPDATING.
    pub(crate) fn begin_change(&mut self, due: Timestamp, change: StreamChange) {
        self.status = match change {
            StreamChange::Create { .. } => StreamStatus::Creating,
            StreamChange::Delete => StreamStatus::Deleting,
            _ => StreamStatus::Updating,
        };
        self.pending = Some((due, change));
    }

    /// Does what has come due. False when the stream is gone.
    pub(crate) fn apply_due_changes(&mut self, now: Timestamp) -> bool {
        self.consumers.retain(|_, consumer| consumer.apply_due_changes(now));
        self.queues.retain(|_, queue| queue.apply_due_changes(now));
        let Some((due, change)) = self.pending.take_if(|(due, _)| *due <= now) else { return true };
        self.status = StreamStatus::Active;
        self.came_due = true;
        match change {
            StreamChange::Create { shards } => self.open_first_shards(due, shards),
            StreamChange::Delete => return false,
            StreamChange::Split(shard, at) => self.split(due, shard, at),
            StreamChange::Merge(low, high) => self.merge(due, low, high),
            StreamChange::ShardCount(target) => self.scale(due, target),
            StreamChange::Mode(mode, warm) => self.change_mode(due, mode, warm),
            StreamChange::Warm(mibps) => self.warm_up(due, mibps),
            StreamChange::RecordSize(kib) => self.max_record_kib = kib,
            StreamChange::Encryption(key_id) => self.key_id = key_id,
        }
        true
    }

    /// Fails unless the stream is ready for a change.
    pub(crate) fn must_be_active(&self) -> Result<(), ServiceError> {
        if self.status == StreamStatus::Active {
            return Ok(());
        }
        Err(resource_in_use(format!(
            "Stream {} under account {} not ACTIVE, instead in state {}",
            self.name, self.scope.account, self.status
        )))
    }

    /// Fails while the stream is being created.
    pub(crate) fn must_be_created(&self) -> Result<(), ServiceError> {
        if self.status == StreamStatus::Creating { self.must_be_active() } else { Ok(()) }
    }

    /// Fails while the stream comes or goes.
    pub(crate) fn must_stand(&self) -> Result<(), ServiceError> {
        let stands = !matches!(self.status, StreamStatus::Creating | StreamStatus::Deleting);
        if stands { Ok(()) } else { self.must_be_active() }
    }

    /// When the change under way is complete.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.pending.as_ref().map(|(due, _)| *due)
    }

    /// Neither a strategy nor a warm throughput is a provisioned stream's.
    fn change_mode(&mut self, now: Timestamp, mode: StreamMode, warm: Option<i32>) {
        self.distributes &= mode == StreamMode::OnDemand;
        self.warm_mibps = None;
        self.mode = mode;
        if let Some(mibps) = warm {
            self.warm_up(now, mibps);
        }
    }

    /// A shard takes 1 MiB a second; an on-demand stream has at least those it begins with.
    fn warm_up(&mut self, now: Timestamp, mibps: i32) {
        self.warm_mibps = Some(mibps);
        self.scale(now, u32::try_from(mibps).unwrap_or(0).max(ON_DEMAND_SHARDS));
    }

    fn open_first_shards(&mut self, now: Timestamp, count: u32) {
        for hashes in equal_ranges(count) {
            self.add_shard(now, hashes, &[]);
        }
    }

    /// Cuts at every wanted border that is none yet, then merges what lies between two of them.
    fn scale(&mut self, now: Timestamp, target: u32) {
        let ranges: Vec<(u128, u128)> = equal_ranges(target).collect();
        for (first, _) in &ranges {
            if let Some(number) = self.shard_for(*first).filter(|_| !self.open.contains_key(first)) {
                self.split(now, number, *first);
            }
        }
        for (first, last) in ranges {
            let mut above =
                self.open.range(first..=last).map(|(_, number)| *number).collect::<Vec<u32>>().into_iter();
            let Some(mut merged) = above.next() else { continue };
            for next in above {
                self.merge(now, merged, next);
                merged = self.next_shard - 1;
            }
        }
    }

    fn split(&mut self, now: Timestamp, number: u32, at: u128) {
        let Some((first, last)) = self.shards.get(&number).map(|shard| shard.hashes) else { return };
        self.close(now, number);
        self.add_shard(now, (first, at - 1), &[number]);
        self.add_shard(now, (at, last), &[number]);
    }

    fn merge(&mut self, now: Timestamp, low: u32, high: u32) {
        let ends = self.shards.get(&low).zip(self.shards.get(&high));
        let Some(hashes) = ends.map(|(low, high)| (low.hashes.0, high.hashes.1)) else { return };
        self.close(now, low);
        self.close(now, high);
        self.add_shard(now, hashes, &[low, high]);
    }

    fn close(&mut self, now: Timestamp, number: u32) {
        if let Some(shard) = self.shards.get_mut(&number) {
            shard.closed = Some(now);
            self.open.remove(&shard.hashes.0);
        }
    }

    fn add_shard(&mut self, now: Timestamp, hashes: (u128, u128), parents: &[u32]) {
        let number = self.next_shard;
        self.next_shard += 1;
        let parents: Vec<&Shard> = parents.iter().filter_map(|parent| self.shards.get(parent)).collect();
        let shard = Shard::new(number, hashes, now, &parents);
        self.open.insert(hashes.0, number);
        self.shards.insert(number, shard);
    }

    /// Records older than this are gone.
    pub(crate) fn trim_horizon(&self, now: Timestamp) -> Timestamp {
        now.minus(self.retention())
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(3600 * u64::try_from(self.retention_hours).unwrap_or(0))
    }

    /// Forgets the shards whose last record can no longer be there.
    pub(crate) fn forget_expired_shards(&mut self, now: Timestamp) {
        let horizon = self.trim_horizon(now);
        self.shards.retain(|_, shard| shard.closed.is_none_or(|closed| closed > horizon));
    }

    /// Trims every shard, as a change of the retention period requires.
    pub(crate) fn trim(&mut self, now: Timestamp) {
        let horizon = self.trim_horizon(now);
        self.forget_expired_shards(now);
        for shard in self.shards.values_mut() {
            shard.trim(horizon);
        }
    }

    /// Shards in order of their ids, open and closed.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    /// Number of the next shard there will be.
    #[cfg(feature = "data")]
    pub(crate) fn next_shard(&self) -> u32 {
        self.next_shard
    }

    #[cfg(feature = "data")]
    pub(crate) fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.shards.values_mut()
    }

    /// The clock was set back by so much while nobody looked: what is under way takes no longer for it.
    #[cfg(feature = "data")]
    pub(crate) fn pull_back(&mut self, now: Timestamp, by: Duration) {
        if let Some((due, _)) = &mut self.pending {
            *due = due.minus(by);
        }
        for consumer in self.consumers.values_mut() {
            consumer.due = consumer.due.minus(by);
        }
        for queue in self.queues.values_mut() {
            queue.pull_back(by);
        }
        let made = [&mut self.scalings, &mut self.mode_changes, &mut self.encryptions, &mut self.decryptions];
        for time in made.into_iter().flatten() {
            *time = (*time).min(now);
        }
    }

    pub(crate) fn open_shards(&self) -> usize {
        self.open.len()
    }

    /// Number of the open shard that takes this hash key.
    pub(crate) fn shard_for(&self, hash: u128) -> Option<u32> {
        self.open.range(..=hash).next_back().map(|(_, number)| *number)
    }

    /// The open shard right above this one.
    pub(crate) fn neighbour_above(&self, shard: &Shard) -> Option<u32> {
        self.open.get(&shard.hashes.1.checked_add(1)?).copied()
    }

    /// The open shards, each once, beginning with the one whose turn it is.
    pub(crate) fn shards_in_turn(&mut self) -> Vec<u32> {
        let open = self.open.len() as u64;
        let first = usize::try_from(self.next_in_turn.checked_rem(open).unwrap_or(0)).unwrap_or(0);
        self.next_in_turn = self.next_in_turn.wrapping_add(1);
        self.open.values().cycle().skip(first).take(self.open.len()).copied().collect()
    }

    pub(crate) fn shard(&self, number: u32) -> Option<&Shard> {
        self.shards.get(&number)
    }

    /// The shard, trimmed to what is kept at `now`.
    pub(crate) fn shard_mut(&mut self, now: Timestamp, number: u32) -> Option<&mut Shard> {
        let horizon = self.trim_horizon(now);
        if self.shards.get(&number)?.closed.is_some_and(|closed| closed <= horizon) {
            self.shards.remove(&number);
            return None;
        }
        let shard = self.shards.get_mut(&number)?;
        shard.trim(horizon);
        Some(shard)
    }

    /// The number of the shard an id names, if the shard is there.
    pub(crate) fn find_shard(&self, id: &str) -> Result<u32, ServiceError> {
        shard_number(id).filter(|number| self.shards.contains_key(number)).ok_or_else(|| {
            let id = shard_number(id).map_or_else(|| id.to_owned(), shard_id);
            resource_not_found(format!("Could not find shard {id} in {}.", self.label()))
        })
    }

    pub(crate) fn children_of(&self, number: u32) -> impl Iterator<Item = &Shard> {
        self.shards
            .range(number..)
            .map(|(_, shard)| shard)
            .filter(move |shard| shard.parents().any(|p| p == number))
    }

    pub(crate) fn encryption(&self) -> EncryptionType {
        if self.key_id.is_some() { EncryptionType::Kms } else { EncryptionType::None }
    }

    pub(crate) fn mode_details(&self) -> StreamModeDetails {
        StreamModeDetails::new(self.mode.clone())
    }

    pub(crate) fn monitoring(&self) -> Vec<EnhancedMetrics> {
        let metrics: Vec<MetricsName> = self.metrics.iter().cloned().collect();
        vec![EnhancedMetrics::new().shard_level_metrics(metrics)]
    }

    pub(crate) fn summary(&self) -> StreamSummary {
        StreamSummary::new(&self.name, &self.arn, self.status.clone())
            .stream_mode_details(self.mode_details())
            .stream_creation_timestamp(self.created)
    }
}

/// The hash keys divided among `count` shards as the service does: equal, the rest to the last.
fn equal_ranges(count: u32) -> impl Iterator<Item = (u128, u128)> {
    let step = if count <= 1 {
        u128::MAX
    } else {
        u128::MAX / u128::from(count) + u128::from(count.is_power_of_two())
    };
    (0..count.max(1)).map(move |i| {
        let first = step.wrapping_mul(u128::from(i));
        let last = if i + 1 >= count { u128::MAX } else { first + (step - 1) };
        (first, last)
    })
}
