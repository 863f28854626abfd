//! Keeps the shards of the streams that are read in step with their leases: audits them, and notices when a stream was
//! made again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{HashRange, Member, StreamId};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::leases::Catalog;
use super::streams::{OpenStream, Streams};
use super::unused_consumer::UnusedConsumer;
use super::{coverage, duty};
use crate::events::table::EventKind;
use crate::source::stream_identity::is_older;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::error::Error;

/// Audit intervals in which a worker without duty asks once for the description of a stream, so that it knows the retention:
/// warnings of data loss go by it.
const LOOK_EVERY: usize = 10;
/// Workers that ask so often at most; larger fleets ask less often. By the default interval these make 2 calls a second,
/// of the 20 that an account has.
const LOOKING: usize = 1_200;

/// What all syncers of a worker share.
#[derive(Debug, Clone)]
pub(crate) struct ShardSyncers {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) member: Member,
    pub(crate) tracker: TaskTracker,
    pub(crate) audit_interval: Duration,
}

impl ShardSyncers {
    /// Keeps one syncer for each stream that is read, for as long as it is polled.
    pub(crate) async fn run(&self, rng: &mut StdRng) -> Infallible {
        let mut changes = self.streams.subscribe();
        let mut syncers: BTreeMap<StreamId, AbortOnDropHandle<()>> = BTreeMap::new();
        loop {
            let open = Arc::clone(&changes.borrow_and_update());
            self.member.set_streams(Some(open.keys().cloned().collect()));
            syncers.retain(|id, _| open.contains_key(id));
            for (id, stream) in open.iter() {
                syncers.entry(id.clone()).or_insert_with(|| {
                    let syncer = ShardSyncer {
                        shared: self.clone(),
                        stream: Arc::clone(stream),
                        retry: Retry::new(COORDINATION, StdRng::from_rng(rng)),
                        rng: StdRng::from_rng(rng),
                        holes: Vec::new(),
                        unused_consumer: UnusedConsumer::default(),
                    };
                    let events = self.catalog.events.clone();
                    let run = events.supervise("shard sync", syncer, |syncer| Box::pin(syncer.run()));
                    AbortOnDropHandle::new(self.tracker.spawn(run))
                });
            }
            if changes.changed().await.is_err() {
                std::future::pending::<Infallible>().await;
            }
        }
    }
}

struct ShardSyncer {
    shared: ShardSyncers,
    stream: Arc<OpenStream>,
    retry: Retry,
    rng: StdRng,
    /// As this worker's listing showed them last.
    holes: Vec<HashRange>,
    unused_consumer: UnusedConsumer,
}

impl ShardSyncer {
    async fn run(&mut self) {
        let mut due = self.next();
        loop {
            let doubted = tokio::select! {
                biased;
                () = self.stream.doubted() => true,
                () = sleep_until(due) => false,
            };
            if !doubted {
                due = self.next();
                self.note_holes();
            }
            let on_duty = !doubted && self.is_on_duty();
            let looks = doubted || on_duty || self.newer_is_stored() || self.looks_now();
            if looks && self.with_patience(Step::Renew).await {
                return;
            }
            if on_duty {
                self.with_patience(Step::Audit).await;
                self.give_unused_consumer_back().await;
            } else if !doubted {
                self.unused_consumer.reset();
            }
        }
    }

    /// Spread, so that a fleet started at once does not wake at once for ever.
    fn next(&mut self) -> Instant {
        Instant::now() + self.shared.audit_interval.mul_f64(self.rng.random_range(0.9..1.1))
    }

    /// One worker is enough. Where holes stay although it should have mended them, the next one audits too.
    fn is_on_duty(&self) -> bool {
        let rank = duty::rank(&self.stream.id, self.shared.member.id(), &self.shared.member.fleet());
        rank == 0 || rank == 1 && !self.stream.holes().is_empty()
    }

    /// Whether a worker without duty asks for the stream's description now.
    fn looks_now(&mut self) -> bool {
        let alive = self.shared.member.snapshot().workers.len();
        self.rng.random_range(0..(LOOK_EVERY * alive / LOOKING).max(LOOK_EVERY)) == 0
    }

    /// Notes the holes in this worker's own listing. A listing may lag, so only what it shows twice counts.
    fn note_holes(&mut self) {
        let fleet = self.shared.member.snapshot();
        // A lease that cannot be read covers hashes that this listing does not tell.
        let unreadable = fleet.unreadable_leases().any(|key| key.stream == self.stream.id);
        let rows = fleet.leases.iter().filter(|row| row.key.stream == self.stream.id);
        let seen = if unreadable { Vec::new() } else { coverage::holes(rows) };
        let before = std::mem::replace(&mut self.holes, seen);
        self.stream.set_holes(if before == self.holes { before } else { Vec::new() });
    }

    /// Whether another worker found a newer stream of the same name.
    fn newer_is_stored(&self) -> bool {
        self.shared.member.snapshot().streams.iter().any(|row| is_older(&self.stream.id, &row.id))
    }

    /// Tries until it went through. `true` ends this syncer.
    async fn with_patience(&mut self, step: Step) -> bool {
        loop {
            let done = match step {
                Step::Renew => self.renew().await,
                Step::Audit => self.audit().await.map(|()| false),
            };
            match done {
                Ok(over) => {
                    self.retry.succeeded();
                    return over;
                }
                // A stream that is not there may be made again, which the next audit notices.
                Err(error) if !error.is_retryable() => {
                    self.failed(&error);
                    return false;
                }
                Err(error) => {
                    let retry_in = self.retry.failed();
                    self.failed(&error);
                    tokio::time::sleep(retry_in).await;
                }
            }
        }
    }

    fn failed(&self, error: &Error) {
        let failed = EventKind::AuditFailed { error: error.to_string() };
        self.shared.catalog.events.emit_for_stream(&self.stream.id, failed);
    }

    async fn audit(&self) -> Result<(), Error> {
        let audit = self.shared.catalog.audit(&self.stream).await?;
        self.stream.set_holes(audit.holes);
        if audit.created > 0 {
            self.shared.member.request_reconcile();
        }
        Ok(())
    }

    /// With `retrieval = auto` a registration that no shard uses is given back. Should one subscribe in this very moment, it is told
    /// that the consumer is gone, and registers again.
    async fn give_unused_consumer_back(&mut self) {
        let catalog = &self.shared.catalog;
        if !catalog.registration.is_on_demand() {
            return;
        }
        let fleet = self.shared.member.snapshot();
        let mut ours = fleet.leases.iter().filter(|row| row.key.stream == self.stream.id);
        let used = ours.any(|row| row.metadata.fan_out == Some(true) && !row.position.is_shard_end());
        if self.unused_consumer.observe(used, Instant::now()) {
            match catalog.give_consumer_back(&self.stream).await {
                Ok(()) => self.unused_consumer.given_back(),
                Err(error) => {
                    self.failed(&error);
                    if !error.is_retryable() {
                        // Without the permission it stays, and saying so once is enough.
                        self.unused_consumer.given_back();
                    }
                }
            }
        }
    }

    /// Reads the stream that has this name now. `true` where that is another one.
    async fn renew(&self) -> Result<bool, Error> {
        let (catalog, old) = (&self.shared.catalog, &self.stream);
        let Some(new) = catalog.renewed(old).await? else { return Ok(false) };
        catalog.begin(&new).await?;
        catalog.events.emit_for_stream(&old.id, EventKind::StreamReplaced { by: new.id.clone() });
        // Ends this syncer, among others.
        self.shared.streams.replace(old, new);
        Ok(true)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Renew,
    Audit,
}
