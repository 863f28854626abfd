//! Packs records into aggregates, where that is wanted.

use std::time::{Duration, Instant};

use rokini::{
    AggregateLimits, Aggregator, KinesisSource, ShardSelection, StreamRecord, StreamSource, UserRecord,
};

use super::send::Accepted;
use crate::aws::{Aws, Service};
use crate::error::CliError;

/// How long a request, and an aggregate, waits for more records to go along.
pub(super) const LINGER: Duration = Duration::from_millis(50);

/// Makes records of the stream out of those of users.
pub(super) struct Packer {
    /// `None`: each becomes one.
    aggregates: Option<Aggregates>,
    aws: Aws,
}

struct Aggregates {
    aggregator: Aggregator,
    source: KinesisSource,
}

impl Packer {
    /// `source` where records are to be packed.
    pub(super) async fn new(aws: Aws, source: Option<KinesisSource>) -> Result<Self, CliError> {
        let mut packer = Self { aggregates: None, aws };
        if let Some(source) = source {
            let mut limits = AggregateLimits::default();
            limits.wait = LINGER;
            packer.aggregates = Some(Aggregates { aggregator: Aggregator::new(limits), source });
            packer.look_at_shards().await?;
        }
        Ok(packer)
    }

    /// Which shards there are now. Returns what was packed for shards that are gone.
    async fn look_at_shards(&mut self) -> Result<Vec<StreamRecord>, CliError> {
        let Some(Aggregates { aggregator, source }) = &mut self.aggregates else { return Ok(Vec::new()) };
        let listed = source.list_shards(ShardSelection::All).await;
        let listed = listed.map_err(|error| self.aws.explain(error, Service::Kinesis))?;
        Ok(aggregator.set_shards(&listed))
    }

    pub(super) fn push(&mut self, record: UserRecord) -> Vec<StreamRecord> {
        match &mut self.aggregates {
            None => vec![record.into()],
            Some(aggregates) => aggregates.aggregator.push(record, Instant::now().into()),
        }
    }

    /// What has waited for long enough; `all`: whatever waits.
    pub(super) fn take(&mut self, all: bool) -> Vec<StreamRecord> {
        match &mut self.aggregates {
            None => Vec::new(),
            Some(aggregates) if all => aggregates.aggregator.flush(),
            Some(aggregates) => aggregates.aggregator.take_due(Instant::now().into()),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.aggregates.as_ref().map_or(0, |aggregates| aggregates.aggregator.waiting())
    }

    /// Takes out what landed in a shard where some of its records do not belong, and packs that anew: consumers with the rule
    /// of the KCL would leave it out. Returns what is to be put for it.
    pub(super) async fn repack(
        &mut self,
        accepted: &mut Vec<Accepted>,
    ) -> Result<Vec<StreamRecord>, CliError> {
        if self.aggregates.is_none() || accepted.iter().all(Accepted::is_where_it_was_meant) {
            return Ok(Vec::new());
        }
        let mut again = self.look_at_shards().await?;
        let Some(Aggregates { aggregator, .. }) = &mut self.aggregates else { return Ok(again) };
        let misplaced = accepted.extract_if(.., |accepted| {
            accepted.shard.parse().is_ok_and(|shard| aggregator.is_misplaced(&accepted.entry.record, &shard))
        });
        let misplaced: Vec<Accepted> = misplaced.collect();
        for record in misplaced.into_iter().flat_map(|accepted| accepted.entry.record.user_records) {
            again.extend(aggregator.push(record, Instant::now().into()));
        }
        Ok(again)
    }
}
