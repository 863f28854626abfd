//! Dead letters in another Kinesis stream.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;

use super::entry;
use super::letter::DeadLetter;
use super::send_all::{RefusedEntries, RequestLimits, SizedEntry, client_config, send_all};
use super::sink::DeadLetterSink;
use crate::aws;
use crate::aws::error::{ApiCall, from_sdk};
use crate::types::error::{Error, ErrorKind};
use crate::types::stream_ref::StreamRef;

/// Records of a PutRecords request (Kinesis limit), and bytes with keys. Kinesis takes 10 MiB; smaller requests lose
/// less when they are refused.
const REQUEST: RequestLimits = RequestLimits { entries: 500, bytes: 4 << 20 };
/// What every stream takes in one record with its partition key (Kinesis limit, unless the stream allows more).
const RECORD_DEFAULT: usize = 1 << 20;
/// What a stream can allow at most (Kinesis limit).
const RECORD_MOST: usize = 10 << 20;

/// Keeps dead letters in another Kinesis stream, under the partition keys the records had.
///
/// A record arrives as a JSON object ([`DeadLetterEntry`](crate::DeadLetterEntry)) that also says where it comes from
/// and why it was given up; one that is too large for that, in several objects. With [`DeadLetterStream::raw`] it
/// arrives as it was, and nothing says why. What the stream refuses for its rate is put again, and nothing else of
/// the letter with it.
///
/// The credentials need `kinesis:PutRecords` on the stream.
#[derive(Clone)]
pub struct DeadLetterStream {
    client: Client,
    stream: StreamRef,
    region: String,
    /// The largest record; `None` for records as they were.
    entry_limit: Option<usize>,
}

impl fmt::Debug for DeadLetterStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl DeadLetterStream {
    /// Keeps them in `stream` with this AWS configuration: region, credentials, endpoint and HTTP client are taken
    /// over, timeouts and retries are the library's own. Calls nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] without a region, or with another region than the stream's ARN names.
    pub fn new(aws: &SdkConfig, stream: StreamRef) -> Result<Self, Error> {
        let region = aws::region(aws, Some(&stream))?;
        let client = Client::new(&client_config(aws)?);
        Ok(Self { client, stream, region, entry_limit: Some(RECORD_DEFAULT) })
    }

    /// The largest record the stream takes, in bytes and with its partition key: its `MaxRecordSizeInKiB`. Default
    /// 1 MiB, which every stream takes; from 64 KiB to 10 MiB. Larger entries come in parts.
    #[must_use]
    pub fn max_record_size(mut self, bytes: usize) -> Self {
        self.entry_limit = Some(bytes.clamp(entry::LIMIT_LEAST, RECORD_MOST));
        self
    }

    /// Puts the data as they were, in place of JSON. The stream must take records as large as the ones that are
    /// read.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.entry_limit = None;
        self
    }

    /// What goes into the stream.
    fn records(&self, letter: &DeadLetter) -> Result<Vec<SizedEntry<PutRecordsRequestEntry>>, Error> {
        let mut records = Vec::new();
        for record in &letter.records {
            // Every record that is put has a key. Those without one are spread, as they were.
            let number = record.sequence_number.to_string();
            let key = record.partition_key().unwrap_or(&number);
            let mut add = |data: Blob| {
                let size = key.len() + data.as_ref().len();
                let put = PutRecordsRequestEntry::builder().partition_key(key).data(data).build();
                let put = put.map_err(|error| {
                    Error::new(ErrorKind::Bug, "a dead letter is no record").with_source(error)
                })?;
                records.push((size, put));
                Ok::<(), Error>(())
            };
            match self.entry_limit {
                None => add(Blob::from_maybe_shared(record.data_bytes()))?,
                Some(limit) => {
                    for part in entry::parts(letter, record, limit - key.len())? {
                        add(Blob::new(part))?;
                    }
                }
            }
        }
        Ok(records)
    }

    async fn send(
        &self,
        records: Vec<SizedEntry<PutRecordsRequestEntry>>,
    ) -> Result<Option<RefusedEntries<PutRecordsRequestEntry>>, Error> {
        let request = records.iter().map(|(_, record)| record.clone()).collect();
        let call = self.client.put_records().set_records(Some(request));
        let call = match self.stream.arn() {
            Some(arn) => call.stream_arn(arn),
            None => call.stream_name(self.stream.name()),
        };
        let named = ApiCall {
            action: "kinesis:PutRecords",
            stream: &self.stream,
            shard: None,
            region: &self.region,
            endpoint: None,
        };
        let answer = match Box::pin(call.send()).await {
            Ok(answer) => answer,
            Err(error)
                if matches!(error.code(), Some("ValidationException" | "InvalidArgumentException")) =>
            {
                return Err(Error::configuration(format!(
                    "{named} was refused for a dead letter: raise the stream's largest record size \
                         (`MaxRecordSizeInKiB`) to that of the stream that is read"
                ))
                .with_source(error));
            }
            Err(error) => return Err(from_sdk(error, &named)),
        };
        if answer.records.len() != records.len() {
            return Err(named.malformed(format_args!(
                "has {} results for {} records",
                answer.records.len(),
                records.len()
            )));
        }
        let (mut refused, mut why) = (Vec::new(), None);
        for (record, result) in records.into_iter().zip(answer.records) {
            if result.sequence_number.is_none() {
                why = result.error_code.or(why);
                refused.push(record);
            }
        }
        if refused.is_empty() {
            return Ok(None);
        }
        let code = why.unwrap_or_else(|| "no code".to_owned());
        let kind = match code.as_str() {
            "ProvisionedThroughputExceededException" => ErrorKind::Throttled,
            _ => ErrorKind::Retry,
        };
        let why =
            Error::new(kind, format!("{named} did not take every dead letter ({code}): it is tried again"));
        Ok(Some(RefusedEntries { entries: refused, why }))
    }
}

#[async_trait]
impl DeadLetterSink for DeadLetterStream {
    /// # Errors
    /// The kinds of Kinesis calls: [`ErrorKind::Permission`], [`ErrorKind::Configuration`] (the stream does not
    /// exist, or takes no record of that size), [`ErrorKind::Throttled`], [`ErrorKind::Retry`].
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        send_all(letter, self.records(letter)?, REQUEST, |request| self.send(request)).await
    }
}
