//! What was asked, by whom, and what came of it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use rokini_wire::{ErrorCode, Timestamp};
use serde::{Serialize, Serializer};

/// Calls remembered; the oldest are forgotten first.
const MAX_CALLS: usize = 10_000;
/// Longest name remembered of a stream, shard or caller; the rest is cut off.
const MAX_NAME_BYTES: usize = 256;

/// One call that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallRecord {
    /// When, by the model's clock. In JSON, milliseconds since the epoch.
    #[serde(rename = "at_millis", serialize_with = "millis")]
    pub at: Timestamp,
    /// Name of the operation; `SubscribeToShardEvent` is an event pushed.
    pub operation: String,
    /// Access key id of the caller.
    pub caller: Option<String>,
    /// Name of the stream.
    pub stream: Option<String>,
    /// ARN of the stream, which says in whose account and in which region it is, or of the queue.
    pub stream_arn: Option<String>,
    /// Id of the shard.
    pub shard: Option<String>,
    /// Records written or read.
    pub records: usize,
    /// The error it was answered with.
    pub error: Option<ErrorCode>,
    /// Whether a fault was applied to it.
    pub fault: bool,
}

fn millis<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.millis())
}

/// Cuts a name that is none: those of AWS are shorter.
fn shorten(name: &mut String) {
    if name.len() > MAX_NAME_BYTES {
        let end = (0..=MAX_NAME_BYTES).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
        name.shrink_to_fit();
    }
}

/// The calls a server answered, shared by all who hold a clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    calls: Arc<Mutex<VecDeque<CallRecord>>>,
}

impl Journal {
    pub(crate) fn add(&self, mut call: CallRecord) {
        for name in
            [&mut call.stream, &mut call.stream_arn, &mut call.shard, &mut call.caller].into_iter().flatten()
        {
            shorten(name);
        }
        let mut calls = self.calls.lock();
        if calls.len() >= MAX_CALLS {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// The calls so far, the oldest first.
    pub(crate) fn list(&self) -> Vec<CallRecord> {
        self.calls.lock().iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.calls.lock().clear();
    }
}
