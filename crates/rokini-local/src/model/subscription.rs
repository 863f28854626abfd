//! SubscribeToShard: what is pushed, and when.

use std::time::Duration;

use rokini_wire::shapes::consumer::{SubscribeToShardEvent, SubscribeToShardRequest};
use rokini_wire::{ConsumerStatus, Operation, ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::constraints;
use crate::model::consumer::ActiveSubscription;
use crate::model::errors::{no_consumer, resource_in_use, resource_not_found};
use crate::model::rate_limiter::{FAN_OUT, RateLimiter};
use crate::model::read::{find_start, read};
use crate::model::scope::StreamKey;
use crate::model::shard::{Shard, shard_id};
use crate::settings::EndOfShard;

/// How long a subscription owns its shard before another may take it over, as the service documents.
const TAKEOVER_GUARD: Duration = Duration::from_secs(5);
/// Most bytes in one event: the rate of a consumer and shard for a second.
const MAX_BYTES: usize = 2 << 20;
/// Most records in one event, that of GetRecords.
const MAX_RECORDS: usize = 10_000;

/// One subscription of a consumer to a shard. [`Model::poll_subscription`] says what to push.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    stream: StreamKey,
    stream_created: Timestamp,
    consumer: String,
    shard: u32,
    /// Offset of the next record.
    offset: u64,
    ends: Timestamp,
    next_idle_event: Timestamp,
    limiter: RateLimiter,
    ended: bool,
}

impl Subscription {
    /// Name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream.name
    }

    pub(crate) fn key(&self) -> &StreamKey {
        &self.stream
    }

    /// Its shard, and the offset of the next record.
    pub(crate) fn position(&self) -> (u32, u64) {
        (self.shard, self.offset)
    }

    /// Name of the consumer.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Id of the shard.
    #[must_use]
    pub fn shard(&self) -> String {
        shard_id(self.shard)
    }
}

/// What a subscription does next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionPoll {
    /// This event is pushed; ask again at once.
    Event(SubscribeToShardEvent),
    /// Nothing yet. Ask again when records were put or a shard was closed, and at the latest at this time.
    Wait(Timestamp),
    /// The stream of events ends without an error: after five minutes, or after the last event of a closed shard.
    End,
    /// The stream of events ends with this exception.
    Fail(ServiceError),
}

impl Model {
    /// Begins a subscription, which ends after [`LocalSettings::subscription_life`](crate::LocalSettings::subscription_life).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse within 5 seconds of an earlier call or while the consumer is not ACTIVE,
    /// InvalidArgument, Validation, the KMS errors.
    pub fn subscribe_to_shard(
        &mut self,
        now: Timestamp,
        request: &SubscribeToShardRequest,
    ) -> Result<Subscription, ServiceError> {
        let start = &request.starting_position;
        constraints::check(SubscribeToShardRequest::NAME, request)?;
        let life = self.settings.subscription_life;
        let idle = self.settings.idle_event;
        let limited = self.settings.throughput_limits;
        let id = self.next_subscription;
        let (stream, name) = self.streams.find_consumer(now, &request.consumer_arn)?;
        let (shard, offset) = find_start(start, now, stream, &request.shard_id, "SubscribeToShard")?;
        let (key, stream_created) = (stream.key(), stream.created);
        let Some(consumer) = stream.consumers.get(name) else { return Err(no_consumer(name)) };
        if consumer.status != ConsumerStatus::Active {
            return Err(resource_in_use(format!(
                "Consumer {name} is not ACTIVE, instead in state {}.",
                consumer.status
            )));
        }
        if consumer.subscriptions.get(&shard).is_some_and(|active| now < active.since.plus(TAKEOVER_GUARD)) {
            return Err(taken_over(name, shard));
        }
        stream.stop_dry_run(now, request.dry_run, limited)?;
        self.keys.check(stream.key_id.as_ref())?;
        let Some(consumer) = stream.consumers.get_mut(name) else { return Err(no_consumer(name)) };
        consumer.subscriptions.insert(shard, ActiveSubscription { id, since: now });
        self.next_subscription += 1;
        self.count_change();
        Ok(Subscription {
            id,
            stream: key,
            stream_created,
            consumer: name.to_owned(),
            shard,
            offset,
            ends: now.plus(life),
            next_idle_event: now.plus(idle),
            limiter: RateLimiter::default(),
            ended: false,
        })
    }

    /// What the subscription does next.
    pub fn poll_subscription(&mut self, now: Timestamp, subscription: &mut Subscription) -> SubscriptionPoll {
        if subscription.ended {
            return SubscriptionPoll::End;
        }
        let poll = self.poll(now, subscription).unwrap_or_else(SubscriptionPoll::Fail);
        subscription.ended |= matches!(poll, SubscriptionPoll::End | SubscriptionPoll::Fail(_));
        poll
    }

    fn poll(
        &mut self,
        now: Timestamp,
        subscription: &mut Subscription,
    ) -> Result<SubscriptionPoll, ServiceError> {
        let (limited, end_of_shard, idle) =
            (self.settings.throughput_limits, self.settings.end_of_shard, self.settings.idle_event);
        let shard = subscription.shard;
        let stream = self.streams.keyed(now, &subscription.stream)?;
        if stream.created != subscription.stream_created {
            return Err(resource_not_found(format!("The {} was deleted.", stream.label())));
        }
        let consumer = stream
            .consumers
            .get(&subscription.consumer)
            .ok_or_else(|| no_consumer(&subscription.consumer))?;
        if consumer.subscriptions.get(&shard).is_none_or(|active| active.id != subscription.id) {
            return Err(taken_over(&subscription.consumer, shard));
        }
        if now >= subscription.ends {
            return Ok(SubscriptionPoll::End);
        }
        self.keys.check(stream.key_id.as_ref())?;
        let due = stream.due();
        let Some(open) = stream.shard_mut(now, shard) else {
            return Err(resource_not_found(format!(
                "Shard {} in {} does not exist",
                shard_id(shard),
                stream.label()
            )));
        };
        if limited && !subscription.limiter.is_open(now, FAN_OUT) {
            return Ok(SubscriptionPoll::Wait(
                subscription.limiter.reopens_at(FAN_OUT).min(subscription.ends),
            ));
        }
        let read = read(now, open, subscription.offset, MAX_RECORDS, MAX_BYTES);
        let ended = read.at_end && (end_of_shard == EndOfShard::WithLastRecords || read.records.is_empty());
        if read.records.is_empty() && !ended && now < subscription.next_idle_event {
            let until = subscription.next_idle_event.min(subscription.ends);
            return Ok(SubscriptionPoll::Wait(due.map_or(until, |due| until.min(due))));
        }
        open.count_read(read.records.len(), read.bytes);
        let mut event = SubscribeToShardEvent::new(read.records, read.behind);
        if ended {
            event.child_shards = Some(stream.children_of(shard).map(Shard::describe_as_child).collect());
        } else {
            event.continuation_sequence_number = Some(open.number_between(read.next, now).to_string());
        }
        subscription.limiter.charge(read.bytes as u64);
        subscription.offset = read.next;
        subscription.next_idle_event = now.plus(idle);
        subscription.ended = ended;
        Ok(SubscriptionPoll::Event(event))
    }
}

fn taken_over(consumer: &str, shard: u32) -> ServiceError {
    resource_in_use(format!(
        "Another active subscription exists for this consumer: {consumer}, {}.",
        shard_id(shard)
    ))
}
