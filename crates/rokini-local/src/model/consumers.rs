//! Registered consumers of enhanced fan-out.

use std::collections::BTreeMap;

use rokini_wire::shapes::consumer::{
    Consumer, ConsumerDescription, DeregisterStreamConsumerRequest, DescribeStreamConsumerRequest,
    DescribeStreamConsumerResponse, ListStreamConsumersRequest, ListStreamConsumersResponse,
    RegisterStreamConsumerRequest, RegisterStreamConsumerResponse,
};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ConsumerStatus, ServiceError, StreamStatus, Timestamp};

use crate::model::account::Model;
use crate::model::consumer::RegisteredConsumer;
use crate::model::errors::{
    invalid_argument, limit_exceeded, no_consumer, resource_in_use, resource_not_found,
};
use crate::model::list_shards::invalid_token;
use crate::model::scope::StreamKey;
use crate::model::stream::Stream;
use crate::model::tags::check_tags;
use crate::model::token::{Token, TokenKind};

/// Most consumers of a stream in state CREATING, as the service documents.
const MAX_CREATING: usize = 5;

impl Model {
    /// Registers a consumer. It is CREATING for [`LocalSettings::status_change`](crate::LocalSettings::status_change).
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
        let due = self.due(now);
        check_tags(request.tags.as_ref().unwrap_or(&BTreeMap::new()))?;
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        stream.must_be_created()?;
        if stream.status == StreamStatus::Deleting {
            return stream.must_be_active().and_then(|()| Err(no_consumer(name)));
        }
        if stream.consumers.contains_key(name) {
            return Err(resource_in_use(format!("Consumer {name} of {} already exists.", stream.label())));
        }
        let creating =
            stream.consumers.values().filter(|consumer| consumer.status == ConsumerStatus::Creating);
        if creating.count() >= MAX_CREATING {
            return Err(limit_exceeded(format!(
                "At most {MAX_CREATING} consumers of the {} can be in state CREATING.",
                stream.label()
            )));
        }
        let key = stream.key();
        self.check_readers(now, &key)?;
        let stream = self.streams.keyed(now, &key)?;
        let mut consumer = RegisteredConsumer {
            name: name.clone(),
            arn: format!("{}/consumer/{name}:{}", stream.arn, now.secs()),
            created: now,
            status: ConsumerStatus::Creating,
            tags: request.tags.clone().unwrap_or_default(),
            policy: None,
            due,
            subscriptions: BTreeMap::new(),
        };
        let answer = consumer.describe();
        consumer.apply_due_changes(now);
        stream.consumers.insert(name.clone(), consumer);
        Ok(RegisterStreamConsumerResponse::new(answer))
    }

    /// Removes a consumer. It is DELETING for [`LocalSettings::status_change`](crate::LocalSettings::status_change); its
    /// subscriptions end with the state.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument.
    pub fn deregister_stream_consumer(
        &mut self,
        now: Timestamp,
        request: &DeregisterStreamConsumerRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let due = self.due(now);
        let (stream, name) =
            self.consumer(now, &request.stream_arn, &request.consumer_name, &request.consumer_arn)?;
        // A call for a consumer that is on its way out changes nothing.
        let staying = |consumer: &&mut RegisteredConsumer| consumer.status != ConsumerStatus::Deleting;
        if let Some(consumer) = stream.consumers.get_mut(name).filter(staying) {
            consumer.status = ConsumerStatus::Deleting;
            consumer.due = due;
        }
        stream.apply_due_changes(now);
        self.count_change();
        Ok(EmptyResponse::new())
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
        let (stream, name) =
            self.consumer(now, &request.stream_arn, &request.consumer_name, &request.consumer_arn)?;
        let consumer = stream.consumers.get(name).ok_or_else(|| no_consumer(name))?;
        Ok(DescribeStreamConsumerResponse::new(ConsumerDescription::new(
            &consumer.name,
            &consumer.arn,
            consumer.status.clone(),
            consumer.created,
            &stream.arn,
        )))
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
        let token = request.next_token.as_ref();
        let token = token.map(|text| self.open_token(now, text, TokenKind::ConsumerPage)).transpose()?;
        let limit = usize::try_from(request.max_results.unwrap_or(100)).unwrap_or(100).min(100);
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        stream.must_be_created()?;
        if request.stream_creation_timestamp.is_some_and(|created| created.secs() != stream.created.secs()) {
            return Err(resource_not_found(format!("No {} was created at the given time.", stream.label())));
        }
        let key = stream.key();
        let after = match &token {
            Some(token) => Some(after_consumer(token, &key).ok_or_else(invalid_token)?),
            None => None,
        };
        let mut rest = stream
            .consumers
            .values()
            .filter(|consumer| after.as_ref().is_none_or(|after| *consumer.name > **after));
        let consumers: Vec<Consumer> = rest.by_ref().take(limit).map(RegisteredConsumer::describe).collect();
        let more = rest.next().is_some();
        let last =
            consumers.last().filter(|_| more).map(|last| format!("{}/{}", key.to_text(), last.consumer_name));
        let mut response = ListStreamConsumersResponse::new().consumers(consumers);
        response.next_token = last.map(|last| self.page_token(now, TokenKind::ConsumerPage, &last));
        Ok(response)
    }

    /// Fails if a stream has as many consumers and queues as it may.
    pub(super) fn check_readers(&mut self, now: Timestamp, key: &StreamKey) -> Result<(), ServiceError> {
        let stream = self.streams.keyed(now, key)?;
        let (mode, present) = (stream.mode.clone(), stream.consumers.len() + stream.queues.len());
        let most = self.max_readers(now, &key.scope, &mode);
        if present < most {
            return Ok(());
        }
        Err(limit_exceeded(format!(
            "The stream {} under account {} has {present} consumers and queues; at most {most} can be registered.",
            key.name, key.scope.account
        )))
    }

    /// The stream and the name of a consumer, by the consumer's ARN or by the stream's ARN and the consumer's name.
    fn consumer<'a>(
        &mut self,
        now: Timestamp,
        stream_arn: &Option<String>,
        name: &'a Option<String>,
        consumer_arn: &'a Option<String>,
    ) -> Result<(&mut Stream, &'a str), ServiceError> {
        let (stream, name) = match (consumer_arn, stream_arn.as_ref().zip(name.as_ref())) {
            (Some(arn), None) => return self.streams.find_consumer(now, arn),
            (None, Some((stream_arn, name))) => (self.streams.find_by_arn(now, stream_arn)?, name),
            (Some(arn), Some((stream_arn, name))) => {
                let (stream, found) = self.streams.find_consumer(now, arn)?;
                if stream.arn != *stream_arn || found != name {
                    return Err(invalid_argument("ConsumerARN does not match StreamARN and ConsumerName."));
                }
                (stream, name)
            }
            (None, None) => {
                return Err(invalid_argument(
                    "Either ConsumerARN or both StreamARN and ConsumerName must be specified.",
                ));
            }
        };
        if !stream.consumers.contains_key(name) {
            return Err(no_consumer(name));
        }
        Ok((stream, name.as_str()))
    }
}

/// The consumer a page begins after, if the token is one of this stream.
fn after_consumer<'a>(token: &'a Token, key: &StreamKey) -> Option<&'a str> {
    token.text.strip_prefix(&key.to_text())?.strip_prefix('/')
}
