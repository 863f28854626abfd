//! Records of a queue: received, acknowledged, hidden, restored.

use rokini_wire::shapes::queue::{
    AcknowledgeDeadLetterQueueRecordsRequest, AcknowledgeQueueRecordsRequest, EntriesResponse, FailedEntry,
    QueueRecord, ReceiptEntry, ReceiveDeadLetterQueueRecordsRequest, ReceiveQueueRecordsRequest,
    ReceiveResponse, RestoreDeadLetterQueueRecordsRequest, UpdateDeadLetterQueueRecordsVisibilityRequest,
    UpdateQueueRecordsVisibilityRequest, VisibilityEntry,
};
use rokini_wire::shapes::record::Record;
use rokini_wire::{ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::changed::Changed;
use crate::model::errors::{invalid_argument, no_queue, resource_not_found};
use crate::model::queue::{Letters, Place, Queue, StaleHandle};
use crate::model::scope::StreamKey;
use crate::model::shard::offset_of;
use crate::model::stream::Stream;
use crate::model::token::{Token, TokenKind};

/// Most records in an answer, as the service documents, and the default.
const MAX_RECORDS: i32 = 10;

impl Model {
    /// Receives records that are visible now. This does not wait; the endpoint does.
    ///
    /// # Errors
    /// ResourceNotFound also while the queue is CREATING or DELETING, AccessDenied, Validation, the KMS errors.
    pub fn receive_queue_records(
        &mut self,
        now: Timestamp,
        request: &ReceiveQueueRecordsRequest,
    ) -> Result<ReceiveResponse, ServiceError> {
        let ReceiveQueueRecordsRequest { queue_arn, limit, visibility_timeout_seconds, .. } = request;
        self.receive(now, queue_arn, *limit, *visibility_timeout_seconds, Letters::Living)
    }

    /// Receives dead letters that are visible now. This does not wait; the endpoint does.
    ///
    /// # Errors
    /// As [`Model::receive_queue_records`].
    pub fn receive_dead_letter_queue_records(
        &mut self,
        now: Timestamp,
        request: &ReceiveDeadLetterQueueRecordsRequest,
    ) -> Result<ReceiveResponse, ServiceError> {
        let ReceiveDeadLetterQueueRecordsRequest { queue_arn, limit, visibility_timeout_seconds, .. } =
            request;
        self.receive(now, queue_arn, *limit, *visibility_timeout_seconds, Letters::Dead)
    }

    /// Acknowledges records: the queue gives them no more.
    ///
    /// # Errors
    /// ResourceNotFound, AccessDenied, Validation. Entries fail by themselves.
    pub fn acknowledge_queue_records(
        &mut self,
        now: Timestamp,
        request: &AcknowledgeQueueRecordsRequest,
    ) -> Result<EntriesResponse, ServiceError> {
        self.acknowledge(now, &request.queue_arn, &request.entries, Letters::Living)
    }

    /// Acknowledges dead letters.
    ///
    /// # Errors
    /// As [`Model::acknowledge_queue_records`].
    pub fn acknowledge_dead_letter_queue_records(
        &mut self,
        now: Timestamp,
        request: &AcknowledgeDeadLetterQueueRecordsRequest,
    ) -> Result<EntriesResponse, ServiceError> {
        self.acknowledge(now, &request.queue_arn, &request.entries, Letters::Dead)
    }

    /// Changes how long records stay hidden, from now on.
    ///
    /// # Errors
    /// As [`Model::acknowledge_queue_records`].
    pub fn update_queue_records_visibility(
        &mut self,
        now: Timestamp,
        request: &UpdateQueueRecordsVisibilityRequest,
    ) -> Result<EntriesResponse, ServiceError> {
        self.change_visibility(now, &request.queue_arn, &request.entries, Letters::Living)
    }

    /// Changes how long dead letters stay hidden, from now on.
    ///
    /// # Errors
    /// As [`Model::acknowledge_queue_records`].
    pub fn update_dead_letter_queue_records_visibility(
        &mut self,
        now: Timestamp,
        request: &UpdateDeadLetterQueueRecordsVisibilityRequest,
    ) -> Result<EntriesResponse, ServiceError> {
        self.change_visibility(now, &request.queue_arn, &request.entries, Letters::Dead)
    }

    /// Makes dead letters records that were never received.
    ///
    /// # Errors
    /// As [`Model::acknowledge_queue_records`].
    pub fn restore_dead_letter_queue_records(
        &mut self,
        now: Timestamp,
        request: &RestoreDeadLetterQueueRecordsRequest,
    ) -> Result<EntriesResponse, ServiceError> {
        let handle = |entry: &ReceiptEntry| entry.receipt_handle.clone();
        self.with_each(now, &request.queue_arn, &request.entries, handle, |queue, place, number, _| {
            queue.check(now, place, number, Letters::Dead)?;
            queue.restore(now, place);
            Ok(())
        })
    }

    fn acknowledge(
        &mut self,
        now: Timestamp,
        arn: &str,
        entries: &[ReceiptEntry],
        letters: Letters,
    ) -> Result<EntriesResponse, ServiceError> {
        let handle = |entry: &ReceiptEntry| entry.receipt_handle.clone();
        self.with_each(now, arn, entries, handle, |queue, place, number, _| {
            queue.check(now, place, number, letters)?;
            queue.forget(place);
            Ok(())
        })
    }

    fn change_visibility(
        &mut self,
        now: Timestamp,
        arn: &str,
        entries: &[VisibilityEntry],
        letters: Letters,
    ) -> Result<EntriesResponse, ServiceError> {
        let handle = |entry: &VisibilityEntry| entry.receipt_handle.clone();
        self.with_each(now, arn, entries, handle, |queue, place, number, entry| {
            if queue.check(now, place, number, letters)?.visible <= now {
                return Err(StaleHandle::Visible);
            }
            queue.hide(place, after(now, entry.visibility_timeout_seconds));
            Ok(())
        })
    }

    fn receive(
        &mut self,
        now: Timestamp,
        arn: &str,
        limit: Option<i32>,
        visibility_secs: Option<i32>,
        letters: Letters,
    ) -> Result<ReceiveResponse, ServiceError> {
        let seed = self.settings.seed;
        let (stream, id) = self.streams.find_queue(now, arn)?;
        self.keys.check(stream.key_id.as_ref())?;
        let most = usize::try_from(limit.unwrap_or(MAX_RECORDS).min(MAX_RECORDS)).unwrap_or(0);
        stream.trim(now);
        // The records are the stream's and the deliveries the queue's, which is a part of it.
        let mut queue = stream.queues.remove(id).ok_or_else(|| no_queue(arn))?;
        let received = if queue.delivers() {
            let secs = visibility_secs.unwrap_or(queue.attributes.visibility_secs);
            Ok(receive_from(stream, &mut queue, now, most, after(now, secs), letters, seed))
        } else {
            Err(no_queue(arn))
        };
        stream.queues.insert(id.to_owned(), queue);
        received.map(ReceiveResponse::new)
    }

    /// Does something with each delivery that entries name.
    fn with_each<E>(
        &mut self,
        now: Timestamp,
        arn: &str,
        entries: &[E],
        handle: impl Fn(&E) -> String,
        mut act: impl FnMut(&mut Queue, Place, u64, &E) -> Result<(), StaleHandle>,
    ) -> Result<EntriesResponse, ServiceError> {
        let seed = self.settings.seed;
        let (stream, id) = self.streams.find_queue(now, arn)?;
        stream.trim(now);
        let mut queue = stream.queues.remove(id).ok_or_else(|| no_queue(arn))?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        let delivers = queue.delivers();
        for entry in entries.iter().filter(|_| delivers) {
            let text = handle(entry);
            let done = open_handle(&text, &queue, seed).and_then(|(place, number)| {
                if record_at(stream, place).is_none() {
                    queue.forget(place);
                }
                act(&mut queue, place, number, entry).map_err(stale)
            });
            match done {
                Ok(()) => successful.push(ReceiptEntry::new(text)),
                Err(error) => {
                    failed.push(FailedEntry::new(text, error.code).error_message(error.message));
                }
            }
        }
        stream.queues.insert(id.to_owned(), queue);
        if !delivers {
            return Err(no_queue(arn));
        }
        self.count_change();
        Ok(EntriesResponse::new(successful, failed))
    }

    /// The stream of a queue.
    pub(crate) fn stream_of_queue(&mut self, now: Timestamp, arn: &str) -> Option<StreamKey> {
        self.streams.find_queue(now, arn).ok().map(|(stream, _)| stream.key())
    }

    /// When a queue may have something to give that it has not now, if nothing is put and nothing changed.
    pub(crate) fn queue_wakes(&mut self, now: Timestamp, arn: &str) -> Option<Timestamp> {
        let (stream, id) = self.streams.find_queue(now, arn).ok()?;
        stream.queues.get(id)?.next_visible(now)
    }
}

/// A receive changed the deliveries of what it gave.
pub(super) fn received(queue_arn: &str, response: &ReceiveResponse) -> Changed {
    let handles = response.queue_records.iter().map(|record| record.receipt_handle.clone()).collect();
    Changed::Deliveries { queue_arn: queue_arn.to_owned(), handles }
}

/// What was said of deliveries changed those it succeeded with.
pub(super) fn handled(queue_arn: &str, response: &EntriesResponse) -> Changed {
    let handles = response.successful.iter().map(|entry| entry.receipt_handle.clone()).collect();
    Changed::Deliveries { queue_arn: queue_arn.to_owned(), handles }
}

/// The record that a receipt handle of this model names.
#[cfg(feature = "data")]
pub(super) fn place_of(handle: &str, seed: u64) -> Option<Place> {
    Token::open(handle, TokenKind::Receipt, seed).map(|token| (token.shard, token.offset))
}

fn receive_from(
    stream: &Stream,
    queue: &mut Queue,
    now: Timestamp,
    most: usize,
    visible: Timestamp,
    letters: Letters,
    seed: u64,
) -> Vec<QueueRecord> {
    let give = |queue: &mut Queue, place: Place, record: &Record| {
        let delivery = queue.deliver(now, place, visible);
        let mut given = QueueRecord::new(
            seal_handle(queue, place, delivery.number, now, seed),
            format!("{:x}{:08x}{:016x}", stream.created.millis(), place.0, place.1),
            record.data.clone(),
            record.approximate_arrival_timestamp.unwrap_or(now),
            delivery.first,
            delivery.receives,
        );
        given.partition_key.clone_from(&record.partition_key);
        given
    };
    let mut received = Vec::new();
    for place in queue.visible(now, letters, most) {
        match record_at(stream, place) {
            Some(record) if queue.has_room(now) => received.push(give(queue, place, record)),
            Some(_) => return received,
            None => drop(queue.forget(place)),
        }
    }
    if letters == Letters::Dead {
        return received;
    }
    // Another shard first each time, so that none waits for another.
    let numbers: Vec<u32> = stream.shards().map(|shard| shard.number).collect();
    let first = usize::try_from(queue.deliveries).unwrap_or(0).checked_rem(numbers.len()).unwrap_or(0);
    for number in numbers.iter().cycle().skip(first).take(numbers.len()) {
        let Some(shard) = stream.shard(*number) else { continue };
        let mut offset = queue.next_offset(shard);
        for record in shard.records_from(offset).take(most.saturating_sub(received.len())) {
            if !queue.has_room(now) {
                break;
            }
            offset = offset_of(record);
            received.push(give(queue, (*number, offset), record));
            offset += 1;
        }
        queue.next.insert(*number, offset);
    }
    received
}

fn record_at(stream: &Stream, (shard, offset): Place) -> Option<&Record> {
    stream.shard(shard)?.record_at(offset)
}

fn after(now: Timestamp, secs: i32) -> Timestamp {
    now.plus(std::time::Duration::from_secs(u64::try_from(secs).unwrap_or(0)))
}

fn seal_handle(queue: &Queue, (shard, offset): Place, number: u64, now: Timestamp, seed: u64) -> String {
    let text = format!("{}/{number}", queue.id);
    let token =
        Token { kind: TokenKind::Receipt, made: now, stream_created: queue.created, shard, offset, text };
    token.seal(seed)
}

/// The record and the number of its delivery.
fn open_handle(text: &str, queue: &Queue, seed: u64) -> Result<(Place, u64), ServiceError> {
    let token = Token::open(text, TokenKind::Receipt, seed);
    let of_queue = token.as_ref().and_then(|token| {
        let (id, number) = token.text.split_once('/')?;
        Some(((token.shard, token.offset), number.parse().ok().filter(|_| id == queue.id)?))
    });
    of_queue.ok_or_else(|| invalid_argument("The ReceiptHandle was not issued by this queue."))
}

fn stale(why: StaleHandle) -> ServiceError {
    match why {
        StaleHandle::Gone => {
            resource_not_found("The record was acknowledged, or is past its retention period.")
        }
        StaleHandle::Older => {
            invalid_argument("The record was received again; use its newest ReceiptHandle.")
        }
        StaleHandle::OtherKind => {
            invalid_argument("Dead-letter records and other records have operations of their own.")
        }
        StaleHandle::Visible => {
            invalid_argument("The record is not in flight: its visibility timeout is over.")
        }
    }
}
