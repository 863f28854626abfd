//! SubscribeToShard: what is pushed, and when.

use std::time::Duration;

use rokini_wire::shapes::consumer::{SubscribeToShardEvent, SubscribeToShardRequest};
use rokini_wire::{ConsumerStatus, ServiceError, ShardIteratorType, Timestamp};

use super::Model;
use super::consumers::{Active, no_consumer};
use super::errors::{Checks, in_use, not_found};
use super::meter::{FAN_OUT, Meter};
use super::read::{Start, read};
use super::shard::{Shard, shard_id};
use crate::settings::EndOfShard;

/// How long a subscription owns its shard before another may take it over, as the service documents.
const GUARD: Duration = Duration::from_secs(5);
/// Most bytes in one event: the rate of a consumer and shard for a second.
const MOST_BYTES: usize = 2 << 20;
/// Most records in one event, that of GetRecords.
const MOST_RECORDS: usize = 10_000;

/// One subscription of a consumer to a shard. [`Model::poll_subscription`] says what to push.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    stream: String,
    stream_created: Timestamp,
    consumer: String,
    shard: u32,
    /// Place of the next record.
    place: u64,
    ends: Timestamp,
    next_idle_event: Timestamp,
    meter: Meter,
    ended: bool,
}

impl Subscription {
    /// Name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
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
pub enum Push {
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
    /// Begins a subscription, which ends after [`Settings::subscription_life`](crate::Settings::subscription_life).
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
        let mut checks = Checks::default();
        checks.name(&request.shard_id, "shardId");
        checks.one_of(&start.kind, "startingPosition.type", ShardIteratorType::KNOWN);
        checks.done()?;
        let life = self.settings.subscription_life;
        let idle = self.settings.idle_event;
        let id = self.next_subscription;
        let (stream, name) = self.streams.find_consumer(now, &request.consumer_arn)?;
        self.keys.check(stream.key_id.as_ref())?;
        let start =
            Start { kind: &start.kind, number: start.sequence_number.as_deref(), time: start.timestamp };
        let (shard, place) = start.find(now, stream, &request.shard_id, "SubscribeToShard")?;
        let (stream_name, stream_created) = (stream.name.clone(), stream.created);
        let Some(consumer) = stream.consumers.get_mut(name) else { return Err(no_consumer(name)) };
        if consumer.status != ConsumerStatus::Active {
            return Err(in_use(format!(
                "Consumer {name} is not ACTIVE, instead in state {}.",
                consumer.status
            )));
        }
        if consumer.subscriptions.get(&shard).is_some_and(|active| now < active.since.plus(GUARD)) {
            return Err(taken(name, shard));
        }
        consumer.subscriptions.insert(shard, Active { id, since: now });
        self.next_subscription += 1;
        self.changed();
        Ok(Subscription {
            id,
            stream: stream_name,
            stream_created,
            consumer: name.to_owned(),
            shard,
            place,
            ends: now.plus(life),
            next_idle_event: now.plus(idle),
            meter: Meter::default(),
            ended: false,
        })
    }

    /// What the subscription does next.
    pub fn poll_subscription(&mut self, now: Timestamp, subscription: &mut Subscription) -> Push {
        if subscription.ended {
            return Push::End;
        }
        let push = self.push(now, subscription).unwrap_or_else(Push::Fail);
        subscription.ended |= matches!(push, Push::End | Push::Fail(_));
        push
    }

    fn push(&mut self, now: Timestamp, subscription: &mut Subscription) -> Result<Push, ServiceError> {
        let (limited, end_of_shard, idle) =
            (self.settings.throughput_limits, self.settings.end_of_shard, self.settings.idle_event);
        let shard = subscription.shard;
        let stream = self.streams.named(now, &subscription.stream)?;
        if stream.created != subscription.stream_created {
            return Err(not_found(format!("The {} was deleted.", stream.place())));
        }
        let consumer = stream
            .consumers
            .get(&subscription.consumer)
            .ok_or_else(|| no_consumer(&subscription.consumer))?;
        if consumer.subscriptions.get(&shard).is_none_or(|active| active.id != subscription.id) {
            return Err(taken(&subscription.consumer, shard));
        }
        if now >= subscription.ends {
            return Ok(Push::End);
        }
        self.keys.check(stream.key_id.as_ref())?;
        let due = stream.due();
        let Some(open) = stream.shard_mut(now, shard) else {
            return Err(not_found(format!("Shard {} in {} does not exist", shard_id(shard), stream.place())));
        };
        if limited && !subscription.meter.open(now, FAN_OUT) {
            return Ok(Push::Wait(subscription.meter.reopens(FAN_OUT).min(subscription.ends)));
        }
        let read = read(now, open, subscription.place, MOST_RECORDS, MOST_BYTES);
        let ended = read.at_end && (end_of_shard == EndOfShard::WithLastRecords || read.records.is_empty());
        if read.records.is_empty() && !ended && now < subscription.next_idle_event {
            let until = subscription.next_idle_event.min(subscription.ends);
            return Ok(Push::Wait(due.map_or(until, |due| until.min(due))));
        }
        let continuation = (!ended).then(|| open.number_between(read.next, now).to_string());
        let child_shards = ended.then(|| stream.children_of(shard).map(Shard::describe_as_child).collect());
        subscription.meter.charge(read.bytes as u64);
        subscription.place = read.next;
        subscription.next_idle_event = now.plus(idle);
        subscription.ended = ended;
        Ok(Push::Event(SubscribeToShardEvent {
            records: read.records,
            continuation_sequence_number: continuation,
            millis_behind_latest: read.behind,
            child_shards,
        }))
    }
}

fn taken(consumer: &str, shard: u32) -> ServiceError {
    in_use(format!("Another active subscription exists for this consumer: {consumer}, {}.", shard_id(shard)))
}
