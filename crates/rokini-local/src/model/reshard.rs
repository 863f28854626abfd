//! Splitting and merging.

use rokini_wire::shapes::shard::{MergeShardsRequest, SplitShardRequest};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::errors::invalid_argument;
use crate::model::scale::must_be_provisioned;
use crate::model::shard::{Shard, shard_id};
use crate::model::stream::{Stream, StreamChange};

impl Model {
    /// Splits a shard. The stream is UPDATING, and its parent stays open, for
    /// [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, LimitExceeded, Validation.
    pub fn split_shard(
        &mut self,
        now: Timestamp,
        request: &SplitShardRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        must_be_provisioned(stream, "SplitShard")?;
        let number = stream.find_shard(&request.shard_to_split)?;
        let id = shard_id(number);
        let shard = open_shard(stream, number)?;
        let (first, last) = shard.hashes;
        let text = &request.new_starting_hash_key;
        let at = text.parse::<u128>().ok().filter(|at| *at > first.saturating_add(1) && *at < last);
        let Some(at) = at else {
            return Err(invalid_argument(format!(
                "NewStartingHashKey {text} used in SplitShard() on shard {id} in {} is not both greater than one plus the \
                 shard's StartingHashKey {first} and less than the shard's EndingHashKey {last}.",
                stream.label()
            )));
        };
        stream.must_be_active()?;
        let key = stream.key();
        self.check_shard_limit(1)?;
        self.begin_change(now, &key, StreamChange::Split(number, at))
    }

    /// Merges two adjacent shards. The stream is UPDATING, and both stay open, for
    /// [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, Validation.
    pub fn merge_shards(
        &mut self,
        now: Timestamp,
        request: &MergeShardsRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        must_be_provisioned(stream, "MergeShards")?;
        let one = stream.find_shard(&request.shard_to_merge)?;
        let two = stream.find_shard(&request.adjacent_shard_to_merge)?;
        let above_one = stream.neighbour_above(open_shard(stream, one)?);
        let above_two = stream.neighbour_above(open_shard(stream, two)?);
        let (low, high) = match (above_one, above_two) {
            (Some(above), _) if above == two => (one, two),
            (_, Some(above)) if above == one => (two, one),
            _ => {
                return Err(invalid_argument(format!(
                    "Shards {} and {} in {} are not an adjacent pair of shards eligible for merging",
                    shard_id(one),
                    shard_id(two),
                    stream.label()
                )));
            }
        };
        stream.must_be_active()?;
        let key = stream.key();
        self.begin_change(now, &key, StreamChange::Merge(low, high))
    }
}

fn open_shard(stream: &Stream, number: u32) -> Result<&Shard, ServiceError> {
    stream.shard(number).filter(|shard| shard.closed.is_none()).ok_or_else(|| {
        invalid_argument(format!(
            "Shard {} in {} is closed and cannot be resharded.",
            shard_id(number),
            stream.label()
        ))
    })
}
