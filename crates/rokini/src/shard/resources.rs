//! What the tasks of all shards of a consumer share.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rokini_lease::WallClock;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::budget::ByteBudget;
use crate::catalog::leases::Catalog;
use crate::config::{KplHashRange, OnDataLoss, Retrieval, Settings};
use crate::dead_letter::DeadLetterSink;
use crate::delivery::failure_policy::FailurePolicy;
use crate::delivery::lane::BatchLimits;
use crate::delivery::scheduler::DeliverySettings;
use crate::processor::factory::Factory;
use crate::processor::one_by_one::RECORDS_PER_CALL;

#[derive(Debug)]
pub(crate) struct ShardResources {
    pub(crate) settings: ShardSettings,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) factory: Factory,
    /// Where records go that are given up.
    pub(crate) dead_letter: Option<Arc<dyn DeadLetterSink>>,
    /// For what all shards have read and not done.
    pub(crate) budget: Arc<ByteBudget>,
    pub(crate) clock: WallClock,
    pub(crate) tracker: TaskTracker,
    /// Whether this worker is paused.
    pub(crate) paused: watch::Receiver<bool>,
}

/// A subscription brings an event about every 5 s, also where there are no records; twice that is none missing.
const EVENT_INTERVAL: Duration = Duration::from_secs(10);

/// The settings that the work on a shard goes by.
#[derive(Debug, Clone)]
pub(crate) struct ShardSettings {
    /// How records go through user code.
    pub(crate) delivery: DeliverySettings,
    pub(crate) retrieval: Retrieval,
    pub(crate) auto_checkpoint: bool,
    pub(crate) checkpoint_interval: Duration,
    /// Whether positions outlive the process: not those of a broadcast.
    pub(crate) stores_positions: bool,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) halt_on_data_loss: bool,
    pub(crate) deaggregate: bool,
    pub(crate) kpl_hash_range: KplHashRange,
    /// The share of the retention from which on records that are not done are warned of.
    pub(crate) data_loss_warning: f64,
    /// How long a stream may be asked without an answer before something is done about it.
    pub(crate) silence_limit: Duration,
    /// How long a healthy reader may hear nothing.
    pub(crate) quiet: Duration,
}

impl ShardSettings {
    /// `one_by_one`: whether user code sees the records of a call so.
    pub(crate) fn new(settings: &Settings, one_by_one: bool) -> Self {
        let most = |limit: Option<NonZeroUsize>| limit.map_or(usize::MAX, NonZeroUsize::get);
        let limits = BatchLimits {
            records: if one_by_one { RECORDS_PER_CALL } else { most(settings.batch_max_records) },
            bytes: most(settings.batch_max_bytes),
            wait: settings.batch_max_wait,
        };
        let policy = FailurePolicy {
            max_attempts: settings.max_attempts,
            max_age: settings.max_failure_age,
            bisect: settings.bisect,
            park: settings.park,
            then: settings.on_failure,
        };
        let delivery = DeliverySettings {
            lanes: settings.concurrency.get(),
            one_by_one,
            limits,
            window_records: settings.max_outstanding_records.get(),
            window_bytes: settings.max_outstanding_bytes.get(),
            policy,
            ack_timeout: settings.handler_timeout,
        };
        // A reader may wait so long by itself, between two reads of a quiet shard, or two events of one.
        let pause = match settings.retrieval {
            Retrieval::Polling => settings.poll_ceiling,
            Retrieval::FanOut | Retrieval::Auto => settings.poll_ceiling.max(EVENT_INTERVAL),
        };
        Self {
            delivery,
            retrieval: settings.retrieval,
            auto_checkpoint: settings.auto_checkpoint,
            checkpoint_interval: settings.checkpoint_interval,
            stores_positions: !settings.broadcast,
            handler_timeout: settings.handler_timeout,
            halt_on_data_loss: settings.on_data_loss == OnDataLoss::Halt,
            deaggregate: settings.deaggregate,
            kpl_hash_range: settings.kpl_hash_range,
            data_loss_warning: f64::from(settings.data_loss_warning) / 100.0,
            silence_limit: settings.stall_timeout + pause,
            quiet: pause + settings.stall_after,
        }
    }
}
