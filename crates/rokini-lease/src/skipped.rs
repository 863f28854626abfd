//! What is kept of skipped records.

use std::fmt;
use std::str::FromStr;

use rokini_types::SequenceNumber;

use crate::text::serde_as_text;
use crate::types::InvalidKey;

/// Records of a shard that its consumers passed over, for people: how many since the lease was made, and the last of
/// them. The text form (what stores keep) is `<count>:<sequence>,<sequence>,...`, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct SkippedRecords {
    /// How many.
    pub count: u64,
    last: [Option<SequenceNumber>; Self::KEPT],
}

impl SkippedRecords {
    /// How many are named.
    pub const KEPT: usize = 8;

    /// One more.
    #[must_use]
    pub fn and(mut self, record: SequenceNumber) -> Self {
        self.count = self.count.saturating_add(1);
        match self.last.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(record),
            None => {
                self.last.rotate_left(1);
                self.last[Self::KEPT - 1] = Some(record);
            }
        }
        self
    }

    /// The last of them, the oldest first.
    pub fn last(&self) -> impl Iterator<Item = SequenceNumber> + '_ {
        self.last.iter().copied().flatten()
    }
}

serde_as_text!(SkippedRecords);

impl fmt::Display for SkippedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.count)?;
        for (index, record) in self.last().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{record}")?;
        }
        Ok(())
    }
}

impl FromStr for SkippedRecords {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidKey::new("a list of skipped records", text);
        let (count, last) = text.split_once(':').ok_or_else(invalid)?;
        let mut skipped = Self::default();
        for record in last.split(',').filter(|record| !record.is_empty()) {
            skipped = skipped.and(record.parse().map_err(|_| invalid())?);
        }
        skipped.count = count.parse().map_err(|_| invalid())?;
        Ok(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_and_counts_all_and_its_text_round_trips() {
        let mut skipped = SkippedRecords::default();
        assert_eq!(skipped.to_string(), "0:");
        for number in 1..=11_u128 {
            skipped = skipped.and(SequenceNumber::from(number));
            assert_eq!(skipped.to_string().parse::<SkippedRecords>(), Ok(skipped));
        }
        assert_eq!(skipped.to_string(), "11:4,5,6,7,8,9,10,11");
        for wrong in ["", "1", "x:", "1:a", ":1"] {
            assert!(wrong.parse::<SkippedRecords>().is_err(), "{wrong}");
        }
    }
}
