//! Registered consumers of enhanced fan-out.

use std::collections::BTreeMap;

use rokini_wire::shapes::consumer::{
    Consumer, ConsumerDescription, DeregisterStreamConsumerRequest, DescribeStreamConsumerRequest,
    DescribeStreamConsumerResponse, ListStreamConsumersRequest, ListStreamConsumersResponse,
    RegisterStreamConsumerRequest, RegisterStreamConsumerResponse,
};
use rokini_wire::shapes::stream::Empty;
use rokini_wire::{ConsumerStatus, ServiceError, Timestamp};
use serde::{Deserialize, Serialize};

use super::Model;
use super::errors::{Checks, in_use, invalid, limit, not_found};
use super::stream::Stream;
use super::token::Kind;

/// Most consumers of a stream, as the service documents.
const MOST_CONSUMERS: usize = 20;
/// Most consumers of a stream in state CREATING, as the service documents.
const MOST_CREATING: usize = 5;

/// A consumer with its subscriptions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: Timestamp,
    pub(crate) status: ConsumerStatus,
    pub(crate) tags: BTreeMap<String, String>,
    /// When CREATING or DELETING ends.
    due: Timestamp,
    /// The last subscription to each shard.
    pub(crate) subscriptions: BTreeMap<u32, Active>,
}

/// The subscription that owns a shard for a consumer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Active {
    pub(crate) id: u64,
    pub(crate) since: Timestamp,
}

impl Registered {
    /// Does what has come due. False when the consumer is gone.
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let due = self.due <= now;
        if due && self.status == ConsumerStatus::Creating {
            self.status = ConsumerStatus::Active;
        }
        !(due && self.status == ConsumerStatus::Deleting)
    }

    fn describe(&self) -> Consumer {
        Consumer {
            consumer_name: self.name.clone(),
            consumer_arn: self.arn.clone(),
            consumer_status: self.status.clone(),
            consumer_creation_timestamp: self.created,
        }
    }
}

impl Model {
    /// Registers a consumer. It is CREATING for [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is being created or if the name is taken, LimitExceeded,
    /// InvalidArgument, Validation.
    pub fn register_stream_consumer(
        &mut self,
        now: Timestamp,
        request: &RegisterStreamConsumerRequest,
    ) -> Result<RegisterStreamConsumerResponse, ServiceError> {
        let name = &request.consumer_name;
        let mut checks = Checks::default();
        checks.name(name, "consumerName");
        checks.done()?;
        let due = self.due(now);
        let stream = self.streams.find(now, None, Some(&request.stream_arn))?;
        stream.must_be_created()?;
        if stream.consumers.contains_key(name) {
            return Err(in_use(format!("Consumer {name} of {} already exists.", stream.place())));
        }
        let creating =
            stream.consumers.values().filter(|consumer| consumer.status == ConsumerStatus::Creating);
        if stream.consumers.len() >= MOST_CONSUMERS || creating.count() >= MOST_CREATING {
            return Err(limit(format!(
                "The {} has {} consumers; at most {MOST_CONSUMERS} can be registered, and {MOST_CREATING} be in state \
                 CREATING.",
                stream.place(),
                stream.consumers.len()
            )));
        }
        let mut consumer = Registered {
            name: name.clone(),
            arn: format!("{}/consumer/{name}:{}", stream.arn, now.secs()),
            created: now,
            status: ConsumerStatus::Creating,
            tags: request.tags.clone().unwrap_or_default(),
            due,
            subscriptions: BTreeMap::new(),
        };
        let answer = consumer.describe();
        consumer.settle(now);
        stream.consumers.insert(name.clone(), consumer);
        Ok(RegisterStreamConsumerResponse { consumer: answer })
    }

    /// Removes a consumer. It is DELETING for [`Settings::status_change`](crate::Settings::status_change); its
    /// subscriptions end with the state.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument.
    pub fn deregister_stream_consumer(
        &mut self,
        now: Timestamp,
        request: &DeregisterStreamConsumerRequest,
    ) -> Result<Empty, ServiceError> {
        let due = self.due(now);
        let (arn, name) = (request.stream_arn.as_deref(), request.consumer_name.as_deref());
        let (stream, name) = self.consumer(now, arn, name, request.consumer_arn.as_deref())?;
        if let Some(consumer) = stream.consumers.get_mut(&name) {
            consumer.status = ConsumerStatus::Deleting;
            consumer.due = due;
        }
        stream.settle(now);
        self.changed();
        Ok(Empty::default())
    }

    /// Describes a consumer.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument.
    pub fn describe_stream_consumer(
        &mut self,
        now: Timestamp,
        request: &DescribeStreamConsumerRequest,
    ) -> Result<DescribeStreamConsumerResponse, ServiceError> {
        let (arn, name) = (request.stream_arn.as_deref(), request.consumer_name.as_deref());
        let (stream, name) = self.consumer(now, arn, name, request.consumer_arn.as_deref())?;
        let consumer = stream.consumers.get(&name).ok_or_else(|| no_consumer(&name))?;
        let Consumer { consumer_name, consumer_arn, consumer_status, consumer_creation_timestamp } =
            consumer.describe();
        let stream_arn = stream.arn.clone();
        let consumer_description = ConsumerDescription {
            consumer_name,
            consumer_arn,
            consumer_status,
            consumer_creation_timestamp,
            stream_arn,
        };
        Ok(DescribeStreamConsumerResponse { consumer_description })
    }

    /// Lists consumers in order of their names.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is being created, InvalidArgument, ExpiredNextToken, Validation.
    pub fn list_stream_consumers(
        &mut self,
        now: Timestamp,
        request: &ListStreamConsumersRequest,
    ) -> Result<ListStreamConsumersResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.range(request.max_results.unwrap_or(1), "maxResults", 1..=10_000);
        checks.done()?;
        let after = match &request.next_token {
            Some(word) => Some(self.open_token(now, word, Kind::ConsumerPage)?.text),
            None => None,
        };
        let limit = usize::try_from(request.max_results.unwrap_or(100)).unwrap_or(100).min(100);
        let stream = self.streams.find(now, None, Some(&request.stream_arn))?;
        stream.must_be_created()?;
        if request.stream_creation_timestamp.is_some_and(|created| created.secs() != stream.created.secs()) {
            return Err(not_found(format!("No {} was created at the given time.", stream.place())));
        }
        let mut rest = stream
            .consumers
            .values()
            .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after));
        let consumers: Vec<Consumer> = rest.by_ref().take(limit).map(Registered::describe).collect();
        let more = rest.next().is_some();
        let last = consumers.last().filter(|_| more).map(|last| last.consumer_name.clone());
        let next_token = last.map(|last| self.page_token(now, Kind::ConsumerPage, &last));
        Ok(ListStreamConsumersResponse { consumers: Some(consumers), next_token })
    }

    /// The stream and the name of a consumer, by the consumer's ARN or by the stream's ARN and the consumer's name.
    fn consumer(
        &mut self,
        now: Timestamp,
        stream_arn: Option<&str>,
        name: Option<&str>,
        consumer_arn: Option<&str>,
    ) -> Result<(&mut Stream, String), ServiceError> {
        let (stream, name) = match (consumer_arn, stream_arn.zip(name)) {
            (Some(arn), None) => {
                let (stream, name) = self.streams.find_consumer(now, arn)?;
                return Ok((stream, name.to_owned()));
            }
            (None, Some((stream_arn, name))) => (self.streams.find(now, None, Some(stream_arn))?, name),
            (Some(arn), Some((stream_arn, name))) => {
                let (stream, found) = self.streams.find_consumer(now, arn)?;
                if stream.arn != stream_arn || found != name {
                    return Err(invalid("ConsumerARN does not match StreamARN and ConsumerName."));
                }
                (stream, name)
            }
            (None, None) => {
                return Err(invalid(
                    "Either ConsumerARN or both StreamARN and ConsumerName must be specified.",
                ));
            }
        };
        if !stream.consumers.contains_key(name) {
            return Err(no_consumer(name));
        }
        Ok((stream, name.to_owned()))
    }
}

pub(crate) fn no_consumer(name: &str) -> ServiceError {
    not_found(format!("Consumer {name} not found."))
}
