//! Records come in.

use rokini_wire::shapes::record::{
    PutRecordRequest, PutRecordResponse, PutRecordsRequest, PutRecordsRequestEntry, PutRecordsResponse,
    PutRecordsResultEntry, Record,
};
use rokini_wire::{EncryptionType, ErrorCode, SequenceNumber, ServiceError, Timestamp, partition_key_hash};

use crate::model::account::Model;
use crate::model::changed::Changed;
use crate::model::errors::invalid_argument;
use crate::model::sequence;
use crate::model::shard::shard_id;
use crate::model::stream::Stream;
use crate::model::validation::Validator;

/// Most records in a PutRecords call, as the service documents.
const MAX_RECORDS: usize = 500;
/// Most bytes in a PutRecords call, partition keys included, as the service documents.
const MAX_BYTES: usize = 10 << 20;

impl Model {
    /// Writes one record.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation, ProvisionedThroughputExceeded, the KMS errors.
    pub fn put_record(
        &mut self,
        now: Timestamp,
        request: &PutRecordRequest,
    ) -> Result<PutRecordResponse, ServiceError> {
        let mut entry = PutRecordsRequestEntry::new(request.data.clone());
        entry.partition_key.clone_from(&request.partition_key);
        entry.explicit_hash_key.clone_from(&request.explicit_hash_key);
        let mut validator = Validator::default();
        check_entry(&mut validator, &entry, "");
        validator.finish()?;
        let limited = self.settings.throughput_limits;
        let stream = self.streams.find_readable(now, &request.stream_name, &request.stream_arn)?;
        check_placement(stream, &entry, "")?;
        check_size(stream, &entry, "data")?;
        if stream.distributes && request.sequence_number_for_ordering.is_some() {
            return Err(invalid_argument(format!(
                "SequenceNumberForOrdering must not be specified for {}, which distributes records by itself.",
                stream.label()
            )));
        }
        if let Some(text) = &request.sequence_number_for_ordering {
            check_ordering(now, stream, text)?;
        }
        stream.stop_dry_run(now, request.dry_run, limited)?;
        self.keys.check(stream.key_id.as_ref())?;
        let encryption_type = reported_encryption(stream);
        let (shard_id, sequence_number) = put(stream, now, &entry, limited)?;
        self.count_change();
        let mut response = PutRecordResponse::new(shard_id, sequence_number);
        response.encryption_type = encryption_type;
        Ok(response)
    }

    /// Writes up to 500 records. Each that exceeds the rate of its shard fails by itself.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation, the KMS errors.
    pub fn put_records(
        &mut self,
        now: Timestamp,
        request: &PutRecordsRequest,
    ) -> Result<PutRecordsResponse, ServiceError> {
        let mut validator = Validator::default();
        let count = request.records.len();
        if count == 0 {
            validator.fail("[]", "records", "have length greater than or equal to 1");
        } else if count > MAX_RECORDS {
            validator.fail(
                format_args!("[{count} records]"),
                "records",
                "have length less than or equal to 500",
            );
        }
        for (i, entry) in request.records.iter().enumerate() {
            check_entry(&mut validator, entry, &format!("records.{}.member.", i + 1));
        }
        validator.finish()?;
        let bytes: usize = request.records.iter().map(size).sum();
        if bytes > MAX_BYTES {
            return Err(invalid_argument(format!("Records size exceeds 10 MB limit: {bytes} bytes.")));
        }
        let limited = self.settings.throughput_limits;
        let stream = self.streams.find_readable(now, &request.stream_name, &request.stream_arn)?;
        for (i, entry) in request.records.iter().enumerate() {
            check_placement(stream, entry, &format!("records.{}.member.", i + 1))?;
            check_size(stream, entry, &format!("records.{}.member.data", i + 1))?;
        }
        stream.stop_dry_run(now, request.dry_run, limited)?;
        self.keys.check(stream.key_id.as_ref())?;
        let encryption_type = reported_encryption(stream);
        let mut failed = 0_i32;
        let mut records = Vec::with_capacity(count);
        for entry in &request.records {
            records.push(match put(stream, now, entry, limited) {
                Ok((shard_id, number)) => {
                    PutRecordsResultEntry::new().sequence_number(number).shard_id(shard_id)
                }
                Err(error) => {
                    failed += 1;
                    PutRecordsResultEntry::new().error_code(error.code).error_message(error.message)
                }
            });
        }
        self.count_change();
        let mut response = PutRecordsResponse::new(records).failed_record_count(failed);
        response.encryption_type = encryption_type;
        Ok(response)
    }
}

pub(super) fn written_record(response: &PutRecordResponse) -> Changed {
    Changed::Records(vec![response.sequence_number])
}

/// Those of a PutRecords call that were written.
pub(super) fn written_records(response: &PutRecordsResponse) -> Changed {
    Changed::Records(response.records.iter().filter_map(|result| result.sequence_number).collect())
}

fn put(
    stream: &mut Stream,
    now: Timestamp,
    entry: &PutRecordsRequestEntry,
    limited: bool,
) -> Result<(String, SequenceNumber), ServiceError> {
    let encryption_type = reported_encryption(stream);
    let bytes = size(entry) as u64;
    let number = choose_shard(stream, now, entry, bytes, limited)?;
    let Some(shard) = number.and_then(|number| stream.shard_mut(now, number)) else {
        return Err(ServiceError::new(ErrorCode::InternalFailure, "No shard takes this hash key."));
    };
    let id = shard_id(shard.number);
    if limited {
        if !shard.has_room(now, bytes) {
            return Err(rate_exceeded(&id, stream));
        }
        shard.charge_write(bytes);
    }
    let number = shard.push(now, |sequence_number, arrival| {
        let mut record =
            Record::new(sequence_number, entry.data.clone()).approximate_arrival_timestamp(arrival);
        record.partition_key.clone_from(&entry.partition_key);
        record.encryption_type = encryption_type;
        record
    });
    Ok((id, number))
}

/// The shard that takes a record: by its key or, where the service distributes records, the next in turn that has room.
fn choose_shard(
    stream: &mut Stream,
    now: Timestamp,
    entry: &PutRecordsRequestEntry,
    bytes: u64,
    limited: bool,
) -> Result<Option<u32>, ServiceError> {
    if !stream.distributes {
        return hash_key(entry).map(|hash| stream.shard_for(hash));
    }
    let in_turn = stream.shards_in_turn();
    let has_room = |number: &&u32| {
        let shard = stream.shard_mut(now, **number);
        !limited || shard.is_some_and(|shard| shard.has_room(now, bytes))
    };
    Ok(in_turn.iter().find(has_room).or_else(|| in_turn.first()).copied())
}

/// Fails if nothing says which shard a record belongs to, or something that no shard can be found by.
fn check_placement(
    stream: &Stream,
    entry: &PutRecordsRequestEntry,
    prefix: &str,
) -> Result<(), ServiceError> {
    if stream.distributes {
        return Ok(());
    }
    if entry.partition_key.is_none() {
        let mut validator = Validator::default();
        validator.null(&format!("{prefix}partitionKey"));
        return validator.finish();
    }
    hash_key(entry).map(drop)
}

pub(super) fn rate_exceeded(shard_id: &str, stream: &Stream) -> ServiceError {
    let message = format!("Rate exceeded for shard {shard_id} in {}.", stream.label());
    ServiceError::new(ErrorCode::ProvisionedThroughputExceeded, message)
}

/// The encryption an answer mentions; nothing is said about an unencrypted stream.
pub(super) fn reported_encryption(stream: &Stream) -> Option<EncryptionType> {
    stream.key_id.as_ref().map(|_| EncryptionType::Kms)
}

fn size(entry: &PutRecordsRequestEntry) -> usize {
    entry.data.len() + entry.partition_key.as_ref().map_or(0, |key| key.len())
}

fn check_entry(validator: &mut Validator, entry: &PutRecordsRequestEntry, prefix: &str) {
    if let Some(key) = &entry.partition_key {
        validator.length(key, &format!("{prefix}partitionKey"), 1..=256);
    }
    if let Some(hash) = &entry.explicit_hash_key {
        validator.hash_key(hash, &format!("{prefix}explicitHashKey"));
    }
}

fn check_size(stream: &Stream, entry: &PutRecordsRequestEntry, member: &str) -> Result<(), ServiceError> {
    let most = 1024 * usize::try_from(stream.max_record_kib).unwrap_or(0);
    if size(entry) <= most {
        return Ok(());
    }
    let mut validator = Validator::default();
    validator.fail(
        "java.nio.HeapByteBuffer",
        member,
        format_args!("have length less than or equal to {most}"),
    );
    validator.finish()
}

fn hash_key(entry: &PutRecordsRequestEntry) -> Result<u128, ServiceError> {
    match &entry.explicit_hash_key {
        None => Ok(partition_key_hash(entry.partition_key.as_deref().unwrap_or_default())),
        Some(text) => text.parse().map_err(|_| {
            invalid_argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
            ))
        }),
    }
}

fn check_ordering(now: Timestamp, stream: &Stream, text: &str) -> Result<(), ServiceError> {
    let parts = text.parse().ok().and_then(sequence::parse);
    let now = u64::try_from(now.secs()).unwrap_or(0);
    if parts.is_some_and(|parts| parts.arrived <= now) {
        return Ok(());
    }
    Err(invalid_argument(format!(
        "ExclusiveMinimumSequenceNumber {text} used in PutRecord on {} is invalid.",
        stream.label()
    )))
}
