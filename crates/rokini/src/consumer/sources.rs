//! Where the streams of a consumer come from.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::WallClock;

use crate::aws::{SdkConfig, check_credentials};
use crate::catalog::streams::apart;
use crate::config::ConsumerConfig;
use crate::source::stream_source::StreamSource;
use crate::types::error::Error;
use crate::types::stream_ref::StreamRef;

#[derive(Debug)]
pub(super) struct Sources {
    aws: Option<SdkConfig>,
    clock: WallClock,
    rng: Mutex<StdRng>,
    /// To be opened at the start.
    wanted: Mutex<Vec<Arc<dyn StreamSource>>>,
}

impl Sources {
    pub(super) fn new(aws: Option<SdkConfig>, clock: WallClock, rng: StdRng) -> Self {
        Self { aws, clock, rng: Mutex::new(rng), wanted: Mutex::default() }
    }

    pub(super) fn has_aws(&self) -> bool {
        self.aws.is_some()
    }

    /// Whether credentials can be had, where calls of AWS need some.
    pub(super) async fn check_credentials(&self) -> Result<(), Error> {
        match &self.aws {
            Some(aws) => check_credentials(aws).await,
            None => Ok(()),
        }
    }

    /// Amazon Kinesis as the source of a stream.
    pub(super) fn kinesis(
        &self,
        stream: StreamRef,
        config: &ConsumerConfig,
    ) -> Result<Arc<dyn StreamSource>, Error> {
        let Some(aws) = &self.aws else {
            return Err(Error::configuration(format!(
                "stream `{stream}` has no source: give the builder `aws`, or add a source of your own"
            )));
        };
        kinesis(aws, stream, config, self.fork().random(), &self.clock)
    }

    pub(super) fn fork(&self) -> StdRng {
        StdRng::from_rng(&mut self.rng.lock())
    }

    /// # Errors
    /// Where another stream of the same name is wanted.
    pub(super) fn want(&self, source: Arc<dyn StreamSource>) -> Result<(), Error> {
        let mut wanted = self.wanted.lock();
        wanted.iter().try_for_each(|other| apart(other.as_ref(), source.as_ref()))?;
        wanted.push(source);
        Ok(())
    }

    pub(super) fn take_wanted(&self) -> Vec<Arc<dyn StreamSource>> {
        std::mem::take(&mut *self.wanted.lock())
    }
}

#[cfg(feature = "aws")]
fn kinesis(
    aws: &SdkConfig,
    stream: StreamRef,
    config: &ConsumerConfig,
    seed: u64,
    clock: &WallClock,
) -> Result<Arc<dyn StreamSource>, Error> {
    let source = crate::source::kinesis::KinesisSource::new(aws, stream, config, seed)?;
    Ok(Arc::new(source.wall_clock(clock.clone())))
}

#[cfg(not(feature = "aws"))]
fn kinesis(
    aws: &SdkConfig,
    _: StreamRef,
    _: &ConsumerConfig,
    _: u64,
    _: &WallClock,
) -> Result<Arc<dyn StreamSource>, Error> {
    match *aws {}
}

/// Refuses a source that reads where dead letters go.
pub(super) fn refuse_dead_letters(config: &ConsumerConfig, source: &dyn StreamSource) -> Result<(), Error> {
    let both = config.dead_letter.as_ref().zip(source.reference());
    both.map_or(Ok(()), |(target, read)| target.is_apart_from(read))
}
