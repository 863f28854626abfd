//! All streams, found by what requests call them.

use std::collections::BTreeMap;

use rokini_wire::{ServiceError, StreamStatus, Timestamp};

use crate::model::caller::Caller;
use crate::model::errors::{failed, invalid_argument, no_consumer, no_queue, resource_not_found};
use crate::model::policy::{authorise, not_authorised};
use crate::model::scope::{Arn, Resource, Scope, StreamKey, partition_fault};
use crate::model::stream::Stream;

/// The streams of every account and region, by name. Whoever finds one here sees what has come due, and may use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    /// Where a caller is who does not say where.
    pub(crate) home: Scope,
    by_scope: BTreeMap<Scope, BTreeMap<String, Stream>>,
    /// The id the next stream gets.
    pub(crate) next_id: u64,
    call: CurrentCall,
    /// What the last call was about, with the ids of the streams.
    touched: Vec<(StreamKey, u64)>,
}

/// The call under way: who asks for what. Outside of calls nobody is asked.
#[derive(Debug, Clone, Default)]
struct CurrentCall {
    caller: Caller,
    action: Option<&'static str>,
}

impl Streams {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { home: Scope::new(account, region), ..Self::default() }
    }

    /// What follows, until [`Streams::end_call`], is for this caller.
    pub(crate) fn begin_call(&mut self, caller: &Caller, action: &'static str) {
        self.call = CurrentCall { caller: caller.clone(), action: Some(action) };
        self.touched.clear();
    }

    pub(crate) fn end_call(&mut self) {
        self.call = CurrentCall::default();
    }

    /// The account and region of the caller.
    pub(crate) fn scope(&self) -> Scope {
        self.call.caller.scope(&self.home)
    }

    /// A stream of the caller's own.
    pub(crate) fn key(&self, name: &str) -> StreamKey {
        StreamKey { scope: self.scope(), name: name.to_owned() }
    }

    /// The streams that the call under way, or else the last one, was about.
    pub(crate) fn touched(&self) -> &[(StreamKey, u64)] {
        &self.touched
    }

    /// Adds a stream, which gets an id that no other ever had.
    pub(crate) fn insert(&mut self, mut stream: Stream) {
        stream.id = self.next_id;
        self.next_id += 1;
        self.take_back(stream);
    }

    /// Adds a stream that has an id.
    pub(crate) fn take_back(&mut self, stream: Stream) {
        self.by_scope.entry(stream.scope.clone()).or_default().insert(stream.name.clone(), stream);
    }

    pub(crate) fn contains(&mut self, now: Timestamp, key: &StreamKey) -> bool {
        self.apply_due_changes(now, key);
        self.by_scope.get(&key.scope).is_some_and(|streams| streams.contains_key(&key.name))
    }

    /// The caller's streams in order of their names, as of the last [`Streams::apply_all_due_changes`].
    pub(crate) fn own(&self) -> impl Iterator<Item = &Stream> {
        self.by_scope.get(&self.scope()).into_iter().flat_map(BTreeMap::values)
    }

    /// The streams of every account and region.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stream> {
        self.by_scope.values().flat_map(BTreeMap::values)
    }

    #[cfg(feature = "data")]
    pub(crate) fn get_mut(&mut self, key: &StreamKey) -> Option<&mut Stream> {
        self.by_scope.get_mut(&key.scope)?.get_mut(&key.name)
    }

    /// The stream of this name as it is, if it is there: nothing is done for it.
    #[cfg(feature = "data")]
    pub(crate) fn get(&self, key: &StreamKey) -> Option<&Stream> {
        self.by_scope.get(&key.scope)?.get(&key.name)
    }

    fn apply_due_changes(&mut self, now: Timestamp, key: &StreamKey) {
        if let Some(streams) = self.by_scope.get_mut(&key.scope)
            && streams.get_mut(&key.name).is_some_and(|stream| !stream.apply_due_changes(now))
        {
            streams.remove(&key.name);
        }
    }

    pub(crate) fn apply_all_due_changes(&mut self, now: Timestamp) {
        for streams in self.by_scope.values_mut() {
            streams.retain(|_, stream| stream.apply_due_changes(now));
        }
    }

    /// The stream of this name, whoever asks.
    pub(crate) fn keyed(&mut self, now: Timestamp, key: &StreamKey) -> Result<&mut Stream, ServiceError> {
        self.apply_due_changes(now, key);
        // Looked for twice because a reference that is given away would borrow the streams in the other case too.
        if !self.by_scope.get(&key.scope).is_some_and(|streams| streams.contains_key(&key.name)) {
            return Err(self.unknown(key));
        }
        let streams = self.by_scope.get_mut(&key.scope);
        let stream = streams.and_then(|streams| streams.get_mut(&key.name)).ok_or_else(|| not_found(key))?;
        touch(&mut self.touched, &self.call, key, stream.id);
        Ok(stream)
    }

    /// Says where a stream is that was looked for in another region.
    fn unknown(&self, key: &StreamKey) -> ServiceError {
        let mut error = not_found(key);
        let elsewhere = self
            .by_scope
            .iter()
            .find(|(scope, streams)| scope.account == key.scope.account && streams.contains_key(&key.name));
        if let Some((scope, _)) = elsewhere {
            error.message +=
                &format!(" (It is in {}; the request is for {}.)", scope.region, key.scope.region);
        }
        error
    }

    /// The stream a request means, by name, by ARN, or by both if they agree.
    pub(crate) fn find(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
    ) -> Result<&mut Stream, ServiceError> {
        let key = self.resolve(name.as_deref(), arn.as_deref())?;
        self.find_keyed(now, &key)
    }

    pub(crate) fn find_by_arn(&mut self, now: Timestamp, arn: &str) -> Result<&mut Stream, ServiceError> {
        let key = self.key_in_arn(arn)?;
        self.find_keyed(now, &key)
    }

    /// A stream that the caller may use.
    pub(crate) fn find_keyed(
        &mut self,
        now: Timestamp,
        key: &StreamKey,
    ) -> Result<&mut Stream, ServiceError> {
        let (action, account) = (self.call.action, self.scope().account);
        let stream = self.keyed(now, key)?;
        if let Some(action) = action {
            authorise(stream.policy.as_deref(), &key.scope.account, &account, action, &stream.arn)?;
        }
        Ok(stream)
    }

    /// The stream that a token or iterator is for. One of another region is refused like one of another account: an endpoint knows
    /// neither.
    pub(crate) fn find_in_token(
        &mut self,
        now: Timestamp,
        key: &StreamKey,
    ) -> Result<&mut Stream, ServiceError> {
        if !self.is_here(&key.scope) {
            let (account, action) = (self.scope().account, self.call.action.unwrap_or_default());
            return Err(not_authorised(&account, action, &key.arn(), "because no statement allows it in"));
        }
        self.find_keyed(now, key)
    }

    /// A stream that takes and gives records: there since its creation was complete.
    pub(crate) fn find_readable(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
    ) -> Result<&mut Stream, ServiceError> {
        let stream = self.find(now, name, arn)?;
        if stream.status == StreamStatus::Creating {
            return Err(not_found(&stream.key()));
        }
        Ok(stream)
    }

    /// The stream and the name of the consumer with this ARN.
    pub(crate) fn find_consumer<'a>(
        &mut self,
        now: Timestamp,
        arn: &'a str,
    ) -> Result<(&mut Stream, &'a str), ServiceError> {
        let parsed = self.arn_here(arn)?;
        let Some(Resource::Consumer { stream, name }) = parsed.as_ref().map(|arn| arn.resource) else {
            return Err(malformed(
                arn,
                "consumerARN",
                r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+",
            ));
        };
        let scope = parsed.map(|arn| arn.scope).unwrap_or_default();
        let key = StreamKey { scope, name: stream.to_owned() };
        let (action, account) = (self.call.action, self.scope().account);
        let stream = self.keyed(now, &key)?;
        // A consumer made anew under the same name has another ARN.
        let Some(consumer) = stream.consumers.get(name).filter(|consumer| consumer.arn == arn) else {
            return Err(no_consumer(arn));
        };
        if let Some(action) = action {
            authorise(consumer.policy.as_deref(), &key.scope.account, &account, action, arn)?;
        }
        Ok((stream, name))
    }

    /// The stream and the id of the queue with this ARN.
    pub(crate) fn find_queue<'a>(
        &mut self,
        now: Timestamp,
        arn: &'a str,
    ) -> Result<(&mut Stream, &'a str), ServiceError> {
        let parsed = self.arn_here(arn)?;
        let Some(Resource::Queue(id)) = parsed.as_ref().map(|arn| arn.resource) else {
            return Err(malformed(arn, "queueARN", r"arn:aws.*:kinesis:.*:\d{12}:queue/\S+"));
        };
        let scope = parsed.map(|arn| arn.scope).unwrap_or_default();
        let (action, account) = (self.call.action, self.scope().account);
        let streams = self.by_scope.get_mut(&scope).into_iter().flat_map(BTreeMap::values_mut);
        for stream in streams {
            stream.apply_due_changes(now);
            let Some(queue) = stream.queues.get(id) else { continue };
            touch(&mut self.touched, &self.call, &stream.key(), stream.id);
            if let Some(action) = action {
                authorise(queue.policy.as_deref(), &scope.account, &account, action, arn)?;
            }
            return Ok((stream, id));
        }
        Err(no_queue(arn))
    }

    /// Which stream names and ARNs mean.
    fn resolve(&self, name: Option<&str>, arn: Option<&str>) -> Result<StreamKey, ServiceError> {
        match (name, arn.map(|arn| self.key_in_arn(arn)).transpose()?) {
            (Some(name), Some(key)) if name != key.name => Err(invalid_argument(format!(
                "StreamName {name} and StreamARN {} do not match.",
                arn.unwrap_or_default()
            ))),
            (_, Some(key)) => Ok(key),
            (Some(name), None) => Ok(self.key(name)),
            (None, None) => Err(invalid_argument("Either StreamName or StreamARN must be specified.")),
        }
    }

    pub(crate) fn key_in_arn(&self, arn: &str) -> Result<StreamKey, ServiceError> {
        match self.arn_here(arn)? {
            Some(Arn { scope, resource: Resource::Stream(name) }) => {
                Ok(StreamKey { scope, name: name.to_owned() })
            }
            _ => Err(malformed(arn, "streamARN", r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+")),
        }
    }

    /// The parts of an ARN that an endpoint of the caller's region can know; none if it is no ARN of Kinesis.
    pub(crate) fn arn_here<'a>(&self, arn: &'a str) -> Result<Option<Arn<'a>>, ServiceError> {
        let parsed = Arn::parse(arn);
        if parsed.as_ref().is_some_and(|found| !self.is_here(&found.scope)) {
            let region = self.scope().region;
            return Err(resource_not_found(format!("{arn} not found: the request is for {region}.")));
        }
        Ok(parsed)
    }

    /// Whether an endpoint of the caller's region can know what is there. A caller who does not say a region may name any.
    pub(crate) fn is_here(&self, scope: &Scope) -> bool {
        self.call.caller.region.as_ref().is_none_or(|region| *scope.region == **region)
    }
}

/// Notes what a call is about.
fn touch(touched: &mut Vec<(StreamKey, u64)>, call: &CurrentCall, key: &StreamKey, id: u64) {
    if call.action.is_some() && touched.iter().all(|(_, known)| *known != id) {
        touched.push((key.clone(), id));
    }
}

fn not_found(key: &StreamKey) -> ServiceError {
    resource_not_found(format!("Stream {} under account {} not found.", key.name, key.scope.account))
}

fn malformed(arn: &str, member: &str, pattern: &str) -> ServiceError {
    let mut error =
        failed(&format!("Value '{arn}'"), member, &format!("satisfy regular expression pattern: {pattern}"));
    // The pattern alone would not show it.
    if let Some(why) = partition_fault(arn) {
        error.message += &format!(" ({why})");
    }
    error
}
