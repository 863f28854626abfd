//! What all shard tasks of a consumer share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_types::SdkConfig;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::WallClock;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::catalog::leases::Catalog;
use crate::catalog::streams::Streams;
use crate::delivery::failure_policy::FailurePolicy;
use crate::delivery::flow::DeliverySettings;
use crate::delivery::lane::BatchLimits;
use crate::events::Events;
use crate::processor::factory::Factory;
use crate::source::kinesis::KinesisSource;
use crate::telemetry::{Telemetry, peek::Backlogs, sampler::Looks};
use crate::types::stream_ref::tell_apart;
use crate::{ConsumerConfig, DeadLetterSink, Error, ErrorKind, StreamRef, StreamSource};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: ConsumerConfig,
    pub(crate) catalog: Catalog,
    pub(crate) factory: Factory,
    pub(crate) events: Events,
    pub(crate) tracker: TaskTracker,
    pub(crate) clock: WallClock,
    /// How the group spreads its leases.
    pub(crate) policy: rokini_lease::AssignmentPolicy,
    pub(crate) looks: Looks,
    pub(crate) backlogs: Backlogs,
    /// Where records go that are given up.
    pub(crate) dead_letter: Option<Arc<dyn DeadLetterSink>>,
    pub(crate) streams: Streams,
    pub(crate) sources: Sources,
    /// Whether this worker is paused.
    pub(crate) paused: watch::Sender<bool>,
}

impl Engine {
    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        self.events.telemetry()
    }
}

/// Where streams come from.
#[derive(Debug)]
pub(crate) struct Sources {
    aws: Option<SdkConfig>,
    clock: WallClock,
    rng: Mutex<StdRng>,
    /// To be opened at the start.
    wanted: Mutex<Vec<Arc<dyn StreamSource>>>,
}

impl Sources {
    pub(crate) fn new(aws: Option<SdkConfig>, clock: WallClock, rng: StdRng) -> Self {
        Self { aws, clock, rng: Mutex::new(rng), wanted: Mutex::default() }
    }

    pub(crate) fn has_aws(&self) -> bool {
        self.aws.is_some()
    }

    /// Amazon Kinesis as the source of a stream.
    pub(crate) fn kinesis(
        &self,
        stream: StreamRef,
        config: &ConsumerConfig,
    ) -> Result<Arc<dyn StreamSource>, Error> {
        let Some(aws) = &self.aws else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "stream `{stream}` has no source: give the builder `aws`, or add a source of your own"
                ),
            ));
        };
        let seed = self.fork().random();
        let source = KinesisSource::new(aws, stream, config, seed)?;
        Ok(Arc::new(source.wall_clock(self.clock.clone())))
    }

    pub(crate) fn fork(&self) -> StdRng {
        StdRng::from_rng(&mut lock(&self.rng))
    }

    /// # Errors
    /// Where another stream of the same name is wanted.
    pub(crate) fn want(&self, source: Arc<dyn StreamSource>) -> Result<(), Error> {
        let mut wanted = lock(&self.wanted);
        wanted.iter().try_for_each(|other| apart(other.as_ref(), source.as_ref()))?;
        wanted.push(source);
        Ok(())
    }

    pub(crate) fn take_wanted(&self) -> Vec<Arc<dyn StreamSource>> {
        std::mem::take(&mut *lock(&self.wanted))
    }
}

/// Refuses two streams that positions could not tell apart.
pub(crate) fn apart(one: &dyn StreamSource, other: &dyn StreamSource) -> Result<(), Error> {
    one.reference().zip(other.reference()).map_or(Ok(()), |(one, other)| tell_apart(one, other))
}

/// Refuses a source that reads where dead letters go.
pub(crate) fn refuse_dead_letters(config: &ConsumerConfig, source: &dyn StreamSource) -> Result<(), Error> {
    let both = config.dead_letter.as_ref().zip(source.reference());
    both.map_or(Ok(()), |(target, read)| target.is_apart_from(read))
}

impl Engine {
    /// How records go through user code.
    pub(crate) fn delivery_settings(&self) -> DeliverySettings {
        let config = &self.config;
        let limits = BatchLimits {
            records: self.factory.records_per_call.unwrap_or_else(|| config.batch_max_records.get()),
            bytes: config.batch_max_bytes.get(),
            wait: config.batch_max_wait,
        };
        let policy = FailurePolicy {
            max_attempts: config.max_attempts,
            max_age: config.max_failure_age,
            bisect: config.bisect,
            park: config.park,
            then: config.on_failure,
        };
        DeliverySettings {
            lanes: config.concurrency.get(),
            limits,
            window_records: config.max_outstanding_records.get(),
            window_bytes: config.max_outstanding_bytes.get(),
            policy,
            ack_timeout: config.handler_timeout,
        }
    }
}

/// What is behind the lock is whole after each statement, so a poisoned lock is taken over.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
