//! A link to the stream as the source that a consumer reads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use rokini::{
    Error, ShardDescription, ShardReader, ShardSelection, StreamDescription, StreamSource, select_shards,
};
use rokini_lease::{Position, ShardId, StreamId};
use rokini_local::wire::shapes::shard::ShardFilter;
use rokini_local::wire::shapes::stream::DescribeStreamSummaryRequest;
use rokini_local::wire::{ShardFilterType, Timestamp};

use super::link::Link;
use super::model::unreadable;
use super::reader::Reader;

#[async_trait]
impl StreamSource for Link {
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let request = DescribeStreamSummaryRequest::new().stream_name(self.stream().name().to_owned());
        let summary = self.call(None, &request).await?.stream_description_summary;
        let created = summary.stream_creation_timestamp.millis();
        let name = self.stream().name();
        let id = StreamId::new(format!("{name}@{created}")).map_err(|_| unreadable("a usable name"))?;
        let retention = Duration::from_secs(24 * 3600);
        Ok(StreamDescription::new(name, id, self.stream().now_millis(), retention))
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let filter = |kind, timestamp| {
            let mut filter = ShardFilter::new(kind);
            filter.timestamp = timestamp;
            Some(filter)
        };
        let filter = match which {
            ShardSelection::All => None,
            ShardSelection::Latest => filter(ShardFilterType::AtLatest, None),
            ShardSelection::TrimHorizon => filter(ShardFilterType::AtTrimHorizon, None),
            ShardSelection::AtTimestamp(millis) => {
                filter(ShardFilterType::AtTimestamp, Some(Timestamp::from_millis(millis as i64)))
            }
        };
        self.reach(None).await?;
        self.stream().changes.listings.fetch_add(1, Ordering::Relaxed);
        Ok(select_shards(self.stream().listed(self.stream().list(filter)?), which))
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(Reader::new(self.clone(), shard.clone(), *at)))
    }
}
