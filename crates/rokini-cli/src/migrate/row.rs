//! What a row of another tool says of a shard.

use std::fmt;

use rokini::lease::{SequenceNumber, ShardId};

/// How far a shard is, in the words of the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldPosition {
    /// Nothing is stored.
    Nothing,
    /// The oldest record that the stream keeps.
    TrimHorizon,
    /// What was put since a time that the row does not say.
    Latest,
    /// A time that the row does not say.
    AtTimestamp,
    /// A record is done; of a record that the KPL packed, the user records up to this one.
    Through(SequenceNumber, Option<u64>),
    /// The shard is read to its end.
    ShardEnd,
}

impl fmt::Display for OldPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing stored"),
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest => f.write_str("LATEST"),
            Self::AtTimestamp => f.write_str("AT_TIMESTAMP"),
            Self::Through(number, None | Some(0)) => write!(f, "{number}"),
            Self::Through(number, Some(sub)) => write!(f, "{number}/{sub}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

/// Which stream a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OldStream {
    /// The table is about one stream only.
    TheOnly,
    /// By name or ARN.
    Named(String),
    /// By name and the second in which it was made.
    Made { name: String, seconds: u64 },
    /// By a text that ends with the name, behind the application's.
    Namespace(String),
}

/// A row that says how far a shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OldRow {
    pub(super) stream: OldStream,
    pub(super) shard: ShardId,
    pub(super) position: OldPosition,
    /// Who has the shard, as far as the row says.
    pub(super) owner: Option<String>,
    /// Who asks for it.
    pub(super) claim: Option<String>,
    /// Until when the owner has it, in milliseconds since the Unix epoch by its clock.
    pub(super) lease_until: Option<u64>,
    /// Whatever changes while a worker of the tool lives.
    pub(super) pulse: String,
    /// A position that was announced, with the application's state.
    pub(super) pending: Option<(OldPosition, Vec<u8>)>,
}

impl OldRow {
    pub(super) fn new(stream: OldStream, shard: ShardId, position: OldPosition) -> Self {
        let pulse = position.to_string();
        Self { stream, shard, position, owner: None, claim: None, lease_until: None, pulse, pending: None }
    }
}

/// What an item of a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OldItem {
    Shard(Box<OldRow>),
    /// Something of the tool's own that has no position.
    Other,
    /// Not as the tool writes it.
    Foreign(String),
}

impl From<OldRow> for OldItem {
    fn from(row: OldRow) -> Self {
        Self::Shard(Box::new(row))
    }
}

/// A sequence number that an item has under this name, or what is wrong with it.
pub(super) fn sequence(text: &str, attribute: &str) -> Result<SequenceNumber, String> {
    text.parse().map_err(|_| {
        format!(
            "its `{attribute}` is `{text}`, and `{text}` is not a sequence number, which has digits alone"
        )
    })
}

/// The digits behind the word, as Kinesis names shards.
const SHARD: (&str, usize) = ("shardId-", 12);

/// The shard that an item is about, or what is wrong with it.
pub(super) fn shard(text: Option<&str>, attribute: &str) -> Result<ShardId, String> {
    let text = text.ok_or_else(|| format!("it has no `{attribute}`"))?;
    let wrong = |why: &str| format!("its `{attribute}` is `{text}`, which is not the id of a shard: {why}");
    let id = text.parse().map_err(|_| wrong("Kinesis has no such names"))?;
    let (word, digits) = SHARD;
    match text.strip_prefix(word) {
        Some(number) if number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id),
        Some(_) => Err(wrong("behind `shardId-` there are 12 digits")),
        None => Err(wrong("it begins with `shardId-`")),
    }
}
