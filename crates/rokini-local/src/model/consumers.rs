//! Registered consumers of enhanced fan-out.

use std::collections::BTreeMap;

use rokini_wire::shapes::consumer::{
    Consumer, ConsumerDescription, DeregisterStreamConsumerRequest, DescribeStreamConsumerRequest,
    DescribeStreamConsumerResponse, ListStreamConsumersRequest, ListStreamConsumersResponse,
    RegisterStreamConsumerRequest, RegisterStreamConsumerResponse,
};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ConsumerStatus, ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::consumer::RegisteredConsumer;
use crate::model::errors::{
    invalid_argument, limit_exceeded, no_consumer, resource_in_use, resource_not_found,
};
use crate::model::stream::Stream;
use crate::model::token::TokenKind;
use crate::model::validation::Validator;

/// Most consumers of a stream, as the service documents.
const MAX_CONSUMERS: usize = 20;
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
        let mut validator = Validator::default();
        validator.name(name, "consumerName");
        validator.finish()?;
        let due = self.due(now);
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        stream.must_be_created()?;
        if stream.consumers.contains_key(name) {
            return Err(resource_in_use(format!("Consumer {name} of {} already exists.", stream.label())));
        }
        let creating =
            stream.consumers.values().filter(|consumer| consumer.status == ConsumerStatus::Creating);
        if stream.consumers.len() >= MAX_CONSUMERS || creating.count() >= MAX_CREATING {
            return Err(limit_exceeded(format!(
                "The {} has {} consumers; at most {MAX_CONSUMERS} can be registered, and {MAX_CREATING} be in state \
                 CREATING.",
                stream.label(),
                stream.consumers.len()
            )));
        }
        let mut consumer = RegisteredConsumer {
            name: name.clone(),
            arn: format!("{}/consumer/{name}:{}", stream.arn, now.secs()),
            created: now,
            status: ConsumerStatus::Creating,
            tags: request.tags.clone().unwrap_or_default(),
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
        if let Some(consumer) = stream.consumers.get_mut(name) {
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
        let mut validator = Validator::default();
        validator.range(request.max_results.unwrap_or(1), "maxResults", 1..=10_000);
        validator.finish()?;
        let token = request.next_token.as_ref();
        let token = token.map(|text| self.open_token(now, text, TokenKind::ConsumerPage)).transpose()?;
        let after = token.map(|token| token.text);
        let limit = usize::try_from(request.max_results.unwrap_or(100)).unwrap_or(100).min(100);
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        stream.must_be_created()?;
        if request.stream_creation_timestamp.is_some_and(|created| created.secs() != stream.created.secs()) {
            return Err(resource_not_found(format!("No {} was created at the given time.", stream.label())));
        }
        let mut rest = stream
            .consumers
            .values()
            .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after));
        let consumers: Vec<Consumer> = rest.by_ref().take(limit).map(RegisteredConsumer::describe).collect();
        let more = rest.next().is_some();
        let last = consumers.last().filter(|_| more).map(|last| last.consumer_name.clone());
        let mut response = ListStreamConsumersResponse::new().consumers(consumers);
        response.next_token = last.map(|last| self.page_token(now, TokenKind::ConsumerPage, &last));
        Ok(response)
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
