//! Splitting and merging.

use rokini_wire::shapes::shard::{MergeShardsRequest, SplitShardRequest};
use rokini_wire::shapes::stream::Empty;
use rokini_wire::{ServiceError, StreamStatus, Timestamp};

use super::Model;
use super::errors::{Checks, invalid};
use super::scale::must_be_provisioned;
use super::shard::{Shard, shard_id};
use super::stream::{Change, Stream};

impl Model {
    /// Splits a shard. The stream is UPDATING, and its parent stays open, for
    /// [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, LimitExceeded, Validation.
    pub fn split_shard(
        &mut self,
        now: Timestamp,
        request: &SplitShardRequest,
    ) -> Result<Empty, ServiceError> {
        let mut checks = Checks::default();
        checks.name(&request.shard_to_split, "shardToSplit");
        checks.hash_key(&request.new_starting_hash_key, "newStartingHashKey");
        checks.done()?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        must_be_provisioned(stream, "SplitShard")?;
        let number = stream.find_shard(&request.shard_to_split)?;
        let id = shard_id(number);
        let shard = open_shard(stream, number)?;
        let (first, last) = shard.hashes;
        let text = &request.new_starting_hash_key;
        let at = text.parse::<u128>().ok().filter(|at| *at > first.saturating_add(1) && *at < last);
        let Some(at) = at else {
            return Err(invalid(format!(
                "NewStartingHashKey {text} used in SplitShard() on shard {id} in {} is not both greater than one plus the \
                 shard's StartingHashKey {first} and less than the shard's EndingHashKey {last}.",
                stream.place()
            )));
        };
        stream.must_be_active()?;
        let name = stream.name.clone();
        self.room_for_shards(1)?;
        self.begin(now, &name, StreamStatus::Updating, Change::Split(number, at))?;
        Ok(Empty::default())
    }

    /// Merges two adjacent shards. The stream is UPDATING, and both stay open, for
    /// [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, Validation.
    pub fn merge_shards(
        &mut self,
        now: Timestamp,
        request: &MergeShardsRequest,
    ) -> Result<Empty, ServiceError> {
        let mut checks = Checks::default();
        checks.name(&request.shard_to_merge, "shardToMerge");
        checks.name(&request.adjacent_shard_to_merge, "adjacentShardToMerge");
        checks.done()?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        must_be_provisioned(stream, "MergeShards")?;
        let one = stream.find_shard(&request.shard_to_merge)?;
        let two = stream.find_shard(&request.adjacent_shard_to_merge)?;
        let above_one = stream.neighbour_above(open_shard(stream, one)?);
        let above_two = stream.neighbour_above(open_shard(stream, two)?);
        let (low, high) = match (above_one, above_two) {
            (Some(above), _) if above == two => (one, two),
            (_, Some(above)) if above == one => (two, one),
            _ => {
                return Err(invalid(format!(
                    "Shards {} and {} in {} are not an adjacent pair of shards eligible for merging",
                    shard_id(one),
                    shard_id(two),
                    stream.place()
                )));
            }
        };
        stream.must_be_active()?;
        let name = stream.name.clone();
        self.begin(now, &name, StreamStatus::Updating, Change::Merge(low, high))?;
        Ok(Empty::default())
    }
}

fn open_shard(stream: &Stream, number: u32) -> Result<&Shard, ServiceError> {
    stream.shard(number).filter(|shard| shard.closed.is_none()).ok_or_else(|| {
        invalid(format!(
            "Shard {} in {} is closed and cannot be resharded.",
            shard_id(number),
            stream.place()
        ))
    })
}
