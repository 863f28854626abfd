//! How far a shard has been processed.

use std::fmt;
use std::str::FromStr;

use rokini_types::SequenceNumber;

use crate::text::serde_as_text;

/// How far a shard has been processed. The order is the order of progress.
///
/// The text form (what stores keep and people read) is `TRIM_HORIZON`, `AT_TIMESTAMP:<ms since epoch>`,
/// `AT:<sequence>`, `AFTER:<sequence>`, `AFTER:<sequence>/<sub-sequence>` or `SHARD_END`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Nothing is done: start at the oldest record the stream still keeps.
    TrimHorizon,
    /// Nothing is done: start at the first record that arrived at or after this time (milliseconds since the
    /// Unix epoch, by the stream's clock).
    AtTimestamp(u64),
    /// Everything before this record is done, and as much of the record itself as [`Progress`] says.
    Sequence(SequenceNumber, Progress),
    /// Every record of the closed shard is done.
    ShardEnd,
}

/// How much of one stream record is done. A record that packs several user records (a KPL aggregate) can be
/// done in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// Nothing of it: reading starts *at* it.
    Nothing,
    /// Its user records up to and including this sub-sequence number (0 is the first): reading starts at the
    /// record and passes over these.
    Through(u64),
    /// All of it: reading starts *after* it.
    Whole,
}

/// The text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a position: expected TRIM_HORIZON, AT_TIMESTAMP:<ms>, AT:<sequence>, AFTER:<sequence>[/<sub>] or SHARD_END, got `{0}`"
)]
pub struct InvalidPosition(String);

impl Position {
    /// The position once the whole record `sequence` is done.
    #[must_use]
    pub fn after(sequence: SequenceNumber) -> Self {
        Self::Sequence(sequence, Progress::Whole)
    }

    /// The position that starts with the record `sequence`.
    #[must_use]
    pub fn at(sequence: SequenceNumber) -> Self {
        Self::Sequence(sequence, Progress::Nothing)
    }

    /// Whether the shard is finished.
    #[must_use]
    pub fn is_shard_end(&self) -> bool {
        matches!(self, Self::ShardEnd)
    }

    /// A text whose byte order is the order of positions, for stores that compare on their side.
    #[must_use]
    pub fn rank(&self) -> String {
        match self {
            Self::TrimHorizon => "0".to_owned(),
            Self::AtTimestamp(millis) => format!("1{millis:020}"),
            Self::Sequence(number, Progress::Nothing) => format!("2{}0", number.padded()),
            Self::Sequence(number, Progress::Through(sub)) => format!("2{}1{sub:020}", number.padded()),
            Self::Sequence(number, Progress::Whole) => format!("2{}2", number.padded()),
            Self::ShardEnd => "3".to_owned(),
        }
    }
}

serde_as_text!(Position);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::AtTimestamp(millis) => write!(f, "AT_TIMESTAMP:{millis}"),
            Self::Sequence(number, Progress::Nothing) => write!(f, "AT:{number}"),
            Self::Sequence(number, Progress::Through(sub)) => write!(f, "AFTER:{number}/{sub}"),
            Self::Sequence(number, Progress::Whole) => write!(f, "AFTER:{number}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once(':') {
            None if text == "TRIM_HORIZON" => Some(Self::TrimHorizon),
            None if text == "SHARD_END" => Some(Self::ShardEnd),
            Some(("AT_TIMESTAMP", millis)) => millis.parse().ok().map(Self::AtTimestamp),
            Some(("AT", number)) => number.parse().ok().map(Self::at),
            Some(("AFTER", rest)) => match rest.split_once('/') {
                None => rest.parse().ok().map(Self::after),
                Some((number, sub)) => number
                    .parse()
                    .ok()
                    .zip(sub.parse().ok())
                    .map(|(number, sub)| Self::Sequence(number, Progress::Through(sub))),
            },
            _ => None,
        };
        parsed.ok_or_else(|| InvalidPosition(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positions() -> impl Strategy<Value = Position> {
        let number = "0|[1-9][0-9]{0,55}".prop_map(|text| text.parse().unwrap());
        prop_oneof![
            Just(Position::TrimHorizon),
            Just(Position::ShardEnd),
            any::<u64>().prop_map(Position::AtTimestamp),
            (
                number,
                prop_oneof![
                    Just(Progress::Nothing),
                    Just(Progress::Whole),
                    any::<u64>().prop_map(Progress::Through)
                ]
            )
                .prop_map(|(number, progress)| Position::Sequence(number, progress)),
        ]
    }

    #[test]
    fn refuses_other_text() {
        for text in
            ["", "LATEST", "AFTER:", "AFTER:x", "AFTER:1/", "AT:1/2", "AT_TIMESTAMP:-1", "trim_horizon"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(position in positions()) {
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }

        #[test]
        fn rank_orders_as_positions_do(a in positions(), b in positions()) {
            prop_assert_eq!(a.rank().cmp(&b.rank()), a.cmp(&b));
        }
    }
}
