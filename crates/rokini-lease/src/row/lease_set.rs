//! Many leases in few bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey, ShardId, StreamId};

/// What the shards of Kinesis are called, before their number of [`DIGITS`] digits.
const PREFIX: &str = "shardId-";
const DIGITS: usize = 12;
/// The longest range that a text may have, far more than a stream has shards: a set is gone through lease by lease.
const LONGEST_RANGE: u64 = 1_000_000;

/// A set of leases, in the order of their streams.
///
/// Its text form is short where shards have neighbouring numbers, as those of a stream mostly have:
/// `orders@1#0-3,7;refunds@2#1` names `shardId-000000000000` and so on. A shard with another kind of name has a colon
/// before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LeaseSet {
    streams: BTreeMap<StreamId, Shards>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Shards {
    /// First and last number of each range; neither overlapping nor adjacent.
    ranges: BTreeMap<u64, u64>,
    names: BTreeSet<ShardId>,
}

impl LeaseSet {
    /// Adds a lease.
    pub fn insert(&mut self, key: LeaseKey) {
        let shards = self.streams.entry(key.stream).or_default();
        match number(&key.shard) {
            Some(number) => shards.insert(number),
            None => _ = shards.names.insert(key.shard),
        }
    }

    /// Whether it has this lease.
    #[must_use]
    pub fn contains(&self, key: &LeaseKey) -> bool {
        self.streams.get(&key.stream).is_some_and(|shards| match number(&key.shard) {
            Some(number) => {
                shards.ranges.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
            }
            None => shards.names.contains(&key.shard),
        })
    }

    /// How many leases it has.
    #[must_use]
    pub fn len(&self) -> usize {
        let ranges = self.streams.values().flat_map(|shards| &shards.ranges);
        let numbered: u64 = ranges.map(|(first, last)| last - first + 1).sum();
        let named: usize = self.streams.values().map(|shards| shards.names.len()).sum();
        usize::try_from(numbered).unwrap_or(usize::MAX).saturating_add(named)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Its leases: stream by stream, numbered shards first.
    pub fn iter(&self) -> impl Iterator<Item = LeaseKey> + '_ {
        self.streams.iter().flat_map(|(stream, shards)| {
            let numbered = shards.ranges.iter().flat_map(|(first, last)| *first..=*last).filter_map(shard);
            let all = numbered.chain(shards.names.iter().cloned());
            all.map(|shard| LeaseKey::new(stream.clone(), shard))
        })
    }

    /// The first of them, as far as their text has at most this many bytes.
    #[must_use]
    pub fn within(&self, bytes: usize) -> Self {
        let (mut cut, mut used) = (Self::default(), 0);
        for (stream, shards) in &self.streams {
            // The separator between streams, and `#`.
            used += stream.as_str().len() + 2;
            for (first, last) in &shards.ranges {
                used += range_text(*first, *last).len() + 1;
                if used > bytes {
                    return cut;
                }
                cut.streams.entry(stream.clone()).or_default().ranges.insert(*first, *last);
            }
            for name in &shards.names {
                used += name.as_str().len() + 2;
                if used > bytes {
                    return cut;
                }
                cut.streams.entry(stream.clone()).or_default().names.insert(name.clone());
            }
        }
        cut
    }
}

impl Shards {
    fn insert(&mut self, number: u64) {
        let (mut first, mut last) = (number, number);
        if let Some((start, end)) = self.ranges.range(..=number).next_back() {
            if *end >= number {
                return;
            }
            if *end + 1 == number {
                first = *start;
            }
        }
        if let Some(end) = self.ranges.remove(&(number + 1)) {
            last = end;
        }
        self.ranges.insert(first, last);
    }
}

impl FromIterator<LeaseKey> for LeaseSet {
    fn from_iter<I: IntoIterator<Item = LeaseKey>>(keys: I) -> Self {
        let mut set = Self::default();
        keys.into_iter().for_each(|key| set.insert(key));
        set
    }
}

fn number(shard: &ShardId) -> Option<u64> {
    let digits = shard.as_str().strip_prefix(PREFIX)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn shard(number: u64) -> Option<ShardId> {
    ShardId::new(format!("{PREFIX}{number:0DIGITS$}")).ok()
}

fn range_text(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

serde_as_text!(LeaseSet);

impl fmt::Display for LeaseSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (stream, shards)) in self.streams.iter().enumerate() {
            write!(f, "{}{stream}#", if n == 0 { "" } else { ";" })?;
            let mut parts: Vec<String> =
                shards.ranges.iter().map(|(first, last)| range_text(*first, *last)).collect();
            parts.extend(shards.names.iter().map(|name| format!(":{name}")));
            f.write_str(&parts.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for LeaseSet {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("a set of leases", text);
        let mut set = Self::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (stream, shards) = part.split_once('#').ok_or_else(invalid)?;
            let stream = StreamId::new(stream).map_err(|_| invalid())?;
            let into = set.streams.entry(stream).or_default();
            for shard in shards.split(',') {
                into.read(shard).ok_or_else(invalid)?;
            }
        }
        Ok(set)
    }
}

impl Shards {
    /// Takes a part of a text, which comes in order.
    fn read(&mut self, part: &str) -> Option<()> {
        if let Some(name) = part.strip_prefix(':') {
            self.names.insert(ShardId::new(name).ok()?);
            return Some(());
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let is_plain = text == "0" || !text.starts_with(['0', '+']);
            text.parse::<u64>().ok().filter(|_| is_plain && text.len() <= DIGITS)
        };
        let (first, last) = (number(first)?, number(last)?);
        let after = self.ranges.last_key_value().is_none_or(|(_, end)| end + 1 < first);
        (after && first <= last && last - first < LONGEST_RANGE).then(|| _ = self.ranges.insert(first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str, shard: &str) -> LeaseKey {
        format!("{stream}#{shard}").parse().unwrap()
    }

    fn numbered(number: u64) -> LeaseKey {
        key("orders@1", &format!("shardId-{number:012}"))
    }

    #[test]
    fn neighbours_are_a_range_whatever_their_order() {
        for order in [[7, 0, 2, 1, 3], [3, 2, 1, 0, 7], [0, 1, 2, 3, 7]] {
            let mut set: LeaseSet = order.into_iter().chain(order).map(numbered).collect();
            set.insert(key("refunds@2", "shard-1"));
            assert_eq!(set.to_string(), "orders@1#0-3,7;refunds@2#:shard-1");
            assert_eq!(set.to_string().parse(), Ok(set.clone()));
            assert_eq!(set.len(), 6);
            assert_eq!(set.iter().collect::<LeaseSet>(), set);
            assert!(order.into_iter().all(|number| set.contains(&numbered(number))));
            assert!(!set.contains(&numbered(4)) && !set.contains(&key("refunds@2", "shard-2")));
        }
        assert_eq!("".parse(), Ok(LeaseSet::default()));
    }

    #[test]
    fn a_shard_of_another_name_is_no_number() {
        let odd = ["7", "shardId-7", "shardId-0000000000007", "shardId-00000000000x"];
        let set: LeaseSet = odd.iter().map(|shard| key("s", shard)).collect();
        assert_eq!(set.to_string().parse(), Ok(set.clone()));
        assert!(odd.iter().all(|shard| set.contains(&key("s", shard))));
        assert!(!set.contains(&key("s", "shardId-000000000007")));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in [
            "s",
            "#1",
            "s#",
            "s#1-",
            "s#2-1",
            "s#1,1",
            "s#3,1",
            "s#1,2",
            "s#:",
            "s#07",
            "s#1-2-3",
            "s#9999999999999",
            "s#0-999999999999",
        ] {
            assert!(bad.parse::<LeaseSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_cut_has_the_first_and_keeps_to_its_bytes() {
        let set: LeaseSet = (0..400).map(|n| numbered(n * 3)).chain([key("t@1", "a")]).collect();
        for bytes in [0, 9, 100, 1_000, 10_000] {
            let cut = set.within(bytes);
            assert!(cut.to_string().len() <= bytes, "{bytes}: {cut}");
            assert_eq!(set.iter().take(cut.len()).collect::<LeaseSet>(), cut);
            assert_eq!(cut.len() == set.len(), bytes == 10_000);
            assert_eq!(cut.to_string().parse(), Ok(cut.clone()));
        }
    }
}
