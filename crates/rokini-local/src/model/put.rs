//! Records come in.

use rokini_wire::shapes::record::{
    PutRecordRequest, PutRecordResponse, PutRecordsRequest, PutRecordsRequestEntry, PutRecordsResponse,
    PutRecordsResultEntry, Record,
};
use rokini_wire::{
    Blob, EncryptionType, ErrorCode, Operation, SequenceNumber, ServiceError, Timestamp, partition_key_hash,
};

use crate::model::account::Model;
use crate::model::changed::Changed;
use crate::model::constraints::{self, Place};
use crate::model::errors::{failed, invalid_argument};
use crate::model::sequence;
use crate::model::shard::shard_id;
use crate::model::stream::Stream;

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
        // How large the data may be the stream says.
        let mut without = request.clone();
        without.data = Blob::default();
        constraints::check(PutRecordRequest::NAME, &without)?;
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
        let count = request.records.len();
        constraints::report(&failures(request))?;
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
        return Err(failed("Value null", &format!("{prefix}partitionKey"), "not be null"));
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

/// What the service model has to say about a PutRecords request. It is asked only about records that are not plainly as they should be.
fn failures(request: &PutRecordsRequest) -> Vec<String> {
    let records = Place::Member(&Place::Request, "Records");
    let mut without = PutRecordsRequest::new(Vec::new());
    without.stream_name.clone_from(&request.stream_name);
    without.stream_arn.clone_from(&request.stream_arn);
    without.stream_id.clone_from(&request.stream_id);
    without.dry_run = request.dry_run;
    let count = request.records.len();
    let mut found = constraints::failures_but(PutRecordsRequest::NAME, &without, &["Records"]);
    if count == 0 || count > MAX_RECORDS {
        let shown = if count == 0 { "[]".to_owned() } else { format!("[{count} records]") };
        let rule = if count == 0 { "greater than or equal to 1" } else { "less than or equal to 500" };
        found.push(format!(
            "Value '{shown}' at '{records}' failed to satisfy constraint: Member must have length {rule}"
        ));
    }
    for (number, entry) in request.records.iter().enumerate().filter(|(_, entry)| !is_plain(entry)) {
        let mut entry = entry.clone();
        entry.data = Blob::default();
        found.extend(constraints::failures_of(
            "PutRecordsRequestEntry",
            &entry,
            Place::Item(&records, number),
        ));
    }
    found
}

/// Whether the keys of a record are as the model wants them; in doubt not.
fn is_plain(entry: &PutRecordsRequestEntry) -> bool {
    let key = |key: &std::sync::Arc<str>| (1..=256).contains(&key.len());
    let hash = |hash: &String| {
        let digits = hash.len() <= 39 && hash.bytes().all(|b| b.is_ascii_digit());
        digits && !hash.is_empty() && (hash == "0" || !hash.starts_with('0'))
    };
    entry.partition_key.as_ref().is_none_or(key) && entry.explicit_hash_key.as_ref().is_none_or(hash)
}

fn check_size(stream: &Stream, entry: &PutRecordsRequestEntry, member: &str) -> Result<(), ServiceError> {
    let most = 1024 * usize::try_from(stream.max_record_kib).unwrap_or(0);
    if size(entry) <= most {
        return Ok(());
    }
    let rule = format!("have length less than or equal to {most}");
    Err(failed("Value 'java.nio.HeapByteBuffer'", member, &rule))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken for plain without the service model is so by it.
    #[test]
    fn keys_are_judged_as_the_service_model_judges_them() {
        let long = |n: usize| "x".repeat(n);
        let keys = [
            None,
            Some(String::new()),
            Some("k".into()),
            Some("é".repeat(200)),
            Some(long(256)),
            Some(long(257)),
        ];
        let digits = |n: usize| format!("1{}", "0".repeat(n - 1));
        let hashes = ["", "0", "00", "01", "7", "-1", "+1", "1 ", "x", "٣"];
        let hashes =
            hashes.into_iter().map(str::to_owned).chain([digits(39), digits(40)]).map(Some).chain([None]);
        for (key, hash) in hashes.flat_map(|hash| keys.clone().map(|key| (key, hash.clone()))) {
            let mut entry = PutRecordsRequestEntry::new(vec![1]);
            entry.partition_key = key.map(Into::into);
            entry.explicit_hash_key = hash;
            let by_model = constraints::failures_of("PutRecordsRequestEntry", &entry, Place::Request);
            assert!(!is_plain(&entry) || by_model.is_empty(), "{entry:?}: {by_model:?}");
            let told = failures(&PutRecordsRequest::new(vec![entry.clone()]).stream_name("s"));
            assert_eq!(told.len(), by_model.len(), "{entry:?}");
            let whole = constraints::failures_but(
                PutRecordsRequest::NAME,
                &PutRecordsRequest::new(vec![entry.clone()]).stream_name("s"),
                &[],
            );
            assert_eq!(told, whole, "{entry:?}");
        }
        for count in [0, 1, 500, 501] {
            let request =
                PutRecordsRequest::new(vec![PutRecordsRequestEntry::new(vec![]); count]).stream_name("a b");
            let whole = constraints::failures_but(PutRecordsRequest::NAME, &request, &[]);
            assert_eq!(failures(&request).len(), whole.len(), "{count}");
        }
    }
}
