//! Queues come, are described, change and go.

use std::collections::BTreeMap;

use rokini_wire::shapes::channel::StreamFilter;
use rokini_wire::shapes::queue::{
    CreateQueueRequest, DeleteQueueRequest, DescribeQueueRequest, ListQueuesRequest, ListQueuesResponse,
    QueueResponse, QueueStartingPosition, UpdateQueueRequest,
};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{QueueStartingPositionType, QueueStatus, ServiceError, StreamMode, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, limit_exceeded, no_queue, resource_in_use, validation};
use crate::model::queue::{Attributes, Queue};
use crate::model::stream::Stream;
use crate::model::tags::check_tags;
use crate::model::token::TokenKind;

/// Most queues of an account in state CREATING or DELETING, as the service documents.
const MAX_CHANGING: usize = 5;
/// Largest page; the service documents no other.
const PAGE_SIZE: i32 = 100;

impl Model {
    /// Creates a queue on an on-demand stream. It is CREATING for
    /// [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse if the name is taken or the stream is not ACTIVE, LimitExceeded, InvalidArgument,
    /// Validation.
    pub fn create_queue(
        &mut self,
        now: Timestamp,
        request: &CreateQueueRequest,
    ) -> Result<QueueResponse, ServiceError> {
        let [source] = &request.stream_configuration_list[..] else {
            return Err(validation("StreamConfigurationList must contain exactly one entry."));
        };
        let start = source.starting_position.clone();
        let start = start.unwrap_or_else(|| QueueStartingPosition::new(QueueStartingPositionType::Latest));
        check_start(now, &start)?;
        let attributes = match &request.queue_attributes {
            Some(given) => Attributes::default().with(given).ok_or_else(no_receive_count)?,
            None => Attributes::default(),
        };
        let tags = request.tags.clone().unwrap_or_default();
        check_tags(&tags)?;
        let scope = self.streams.scope();
        let due = self.due(now);
        self.streams.apply_all_due_changes(now);
        if self
            .streams
            .own()
            .any(|stream| stream.queues.values().any(|queue| queue.name == request.queue_name))
        {
            return Err(resource_in_use(format!(
                "Queue {} under account {} already exists.",
                request.queue_name, scope.account
            )));
        }
        self.check_changing_queues()?;
        let stream = self.streams.find_by_arn(now, &source.stream_arn)?;
        if stream.scope != scope {
            return Err(invalid_argument("A queue can only be created on a stream of the same account."));
        }
        if stream.mode != StreamMode::OnDemand {
            return Err(validation("Queues are not supported for streams in PROVISIONED mode."));
        }
        stream.must_be_active()?;
        let key = stream.key();
        self.check_readers(now, &key)?;
        let id = format!("{:x}{:08x}", now.millis(), self.next_queue);
        self.next_queue += 1;
        let stream = self.streams.keyed(now, &key)?;
        let starts_at = match start.kind {
            QueueStartingPositionType::Latest => now,
            QueueStartingPositionType::AtTimestamp => {
                start.timestamp.unwrap_or(now).max(earliest(stream, now))
            }
            _ => earliest(stream, now),
        };
        let arn = scope.arn(&format!("queue/{id}"));
        let name = request.queue_name.clone();
        let mut queue =
            Queue::new(id.clone(), name, arn, now, due, attributes, start.kind.clone(), starts_at, tags);
        queue.next = first_offsets(stream, now, &start);
        let answer = QueueResponse::new(queue.describe(&stream.arn));
        queue.apply_due_changes(now);
        stream.queues.insert(id, queue);
        self.count_change();
        Ok(answer)
    }

    /// Changes how a queue behaves. It is UPDATING for [`LocalSettings::status_change`](crate::LocalSettings::status_change),
    /// and goes on giving records meanwhile.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse unless it is ACTIVE, Validation.
    pub fn update_queue(
        &mut self,
        now: Timestamp,
        request: &UpdateQueueRequest,
    ) -> Result<QueueResponse, ServiceError> {
        let due = self.due(now);
        let (stream, queue) = self.queue(now, &request.queue_arn)?;
        if queue.status != QueueStatus::Active {
            return Err(not_active(queue));
        }
        let attributes = queue.attributes.with(&request.queue_attributes).ok_or_else(no_receive_count)?;
        let before = std::mem::replace(&mut queue.attributes, attributes);
        queue.status = QueueStatus::Updating;
        let answer = QueueResponse::new(queue.describe(&stream));
        queue.attributes = before;
        queue.pending = Some(attributes);
        queue.due = due;
        queue.apply_due_changes(now);
        Ok(answer)
    }

    /// Describes a queue.
    ///
    /// # Errors
    /// ResourceNotFound, Validation.
    pub fn describe_queue(
        &mut self,
        now: Timestamp,
        request: &DescribeQueueRequest,
    ) -> Result<QueueResponse, ServiceError> {
        let (stream, queue) = self.queue(now, &request.queue_arn)?;
        Ok(QueueResponse::new(queue.describe(&stream)))
    }

    /// Deletes a queue. It is DELETING for [`LocalSettings::status_change`](crate::LocalSettings::status_change), and gives no
    /// records meanwhile.
    ///
    /// # Errors
    /// ResourceNotFound, LimitExceeded, Validation.
    pub fn delete_queue(
        &mut self,
        now: Timestamp,
        request: &DeleteQueueRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let due = self.due(now);
        let (_, queue) = self.queue(now, &request.queue_arn)?;
        if queue.status == QueueStatus::Deleting {
            return Ok(EmptyResponse::new());
        }
        self.check_changing_queues()?;
        let (stream, id) = self.streams.find_queue(now, &request.queue_arn)?;
        if let Some(queue) = stream.queues.get_mut(id) {
            queue.status = QueueStatus::Deleting;
            queue.due = due;
        }
        stream.apply_due_changes(now);
        self.count_change();
        Ok(EmptyResponse::new())
    }

    /// Lists the account's queues in order of their names.
    ///
    /// # Errors
    /// InvalidArgument, ExpiredNextToken, Validation.
    pub fn list_queues(
        &mut self,
        now: Timestamp,
        request: &ListQueuesRequest,
    ) -> Result<ListQueuesResponse, ServiceError> {
        let wanted = request.stream_filter.as_deref().unwrap_or_default();
        let page = request.next_token.as_ref();
        let after = page.map(|text| self.name_in_token(now, text, TokenKind::QueuePage)).transpose()?;
        self.streams.apply_all_due_changes(now);
        let mut all: BTreeMap<&str, (&Stream, &Queue)> = BTreeMap::new();
        for stream in self.streams.own().filter(|stream| passes(wanted, stream)) {
            all.extend(stream.queues.values().map(|queue| (&*queue.name, (stream, queue))));
        }
        let most = usize::try_from(request.max_results.unwrap_or(PAGE_SIZE).min(PAGE_SIZE)).unwrap_or(1);
        let mut rest = all.into_iter().filter(|(name, _)| after.as_deref().is_none_or(|after| *name > after));
        let page: Vec<_> = rest.by_ref().take(most).collect();
        let last = page.last().filter(|_| rest.next().is_some()).map(|(name, _)| (*name).to_owned());
        let summaries = page.iter().map(|(_, (stream, queue))| queue.summary(&stream.arn, stream.created));
        let mut response = ListQueuesResponse::new(summaries.collect::<Vec<_>>());
        let last = last.map(|name| self.streams.key(&name).to_text());
        response.next_token = last.map(|last| self.page_token(now, TokenKind::QueuePage, &last));
        Ok(response)
    }

    /// The ARN of the stream, and the queue.
    fn queue(&mut self, now: Timestamp, arn: &str) -> Result<(String, &mut Queue), ServiceError> {
        let (stream, id) = self.streams.find_queue(now, arn)?;
        let stream_arn = stream.arn.clone();
        stream.queues.get_mut(id).map(|queue| (stream_arn, queue)).ok_or_else(|| no_queue(arn))
    }

    fn check_changing_queues(&self) -> Result<(), ServiceError> {
        let queues = self.streams.own().flat_map(|stream| stream.queues.values());
        let changing = queues
            .filter(|queue| matches!(queue.status, QueueStatus::Creating | QueueStatus::Deleting))
            .count();
        if changing >= MAX_CHANGING {
            return Err(limit_exceeded(format!(
                "{changing} queues are in state CREATING or DELETING; at most {MAX_CHANGING} may be."
            )));
        }
        Ok(())
    }
}

fn passes(wanted: &[StreamFilter], stream: &Stream) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|filter| {
            filter.stream_arn == stream.arn
                && filter
                    .stream_creation_timestamp
                    .is_none_or(|created| created.secs() == stream.created.secs())
        })
}

fn check_start(now: Timestamp, start: &QueueStartingPosition) -> Result<(), ServiceError> {
    match (&start.kind, start.timestamp) {
        (QueueStartingPositionType::AtTimestamp, None) => {
            Err(validation("Timestamp must be specified for StartingPosition AT_TIMESTAMP."))
        }
        (QueueStartingPositionType::AtTimestamp, Some(time)) if time > now => {
            Err(invalid_argument("The Timestamp of StartingPosition must not be in the future."))
        }
        (QueueStartingPositionType::AtTimestamp, Some(_)) | (_, None) => Ok(()),
        (kind, Some(_)) => {
            Err(validation(format!("Timestamp must not be specified for StartingPosition {kind}.")))
        }
    }
}

/// The earliest time the stream can be read from.
fn earliest(stream: &Stream, now: Timestamp) -> Timestamp {
    stream.trim_horizon(now).max(stream.created)
}

/// Where delivery begins in the shards there are.
fn first_offsets(stream: &mut Stream, now: Timestamp, start: &QueueStartingPosition) -> BTreeMap<u32, u64> {
    stream.trim(now);
    let offset = |shard: &crate::model::shard::Shard| match (&start.kind, start.timestamp) {
        (QueueStartingPositionType::AtTimestamp, Some(time)) => shard.offset_at_time(time),
        (QueueStartingPositionType::TrimHorizon, _) => shard.oldest_offset(),
        _ => shard.next_offset(),
    };
    stream.shards().map(|shard| (shard.number, offset(shard))).collect()
}

fn no_receive_count() -> ServiceError {
    validation("MaxReceiveCount must be specified when TargetType is BUILT_IN.")
}

fn not_active(queue: &Queue) -> ServiceError {
    resource_in_use(format!("Queue {} not ACTIVE, instead in state {}", queue.name, queue.status))
}
