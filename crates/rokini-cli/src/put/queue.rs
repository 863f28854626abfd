//! Which records go into the next request: in order, and never two of one key where order counts.

use std::collections::{HashSet, VecDeque};

use rokini::StreamRecord;

/// A record to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) record: StreamRecord,
    /// How often the stream has refused it.
    pub(super) refusals: u32,
}

impl From<StreamRecord> for Entry {
    fn from(record: StreamRecord) -> Self {
        Self { record, refusals: 0 }
    }
}

impl Entry {
    /// As the limits of Kinesis count.
    pub(super) fn len(&self) -> usize {
        self.record.partition_key.len() + self.record.data.len()
    }

    /// What its order counts among: the keys of what is in it. Without a key a record has no order.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.record
            .user_records
            .iter()
            .map(|record| record.partition_key.as_str())
            .filter(|key| !key.is_empty())
    }
}

/// Records in one PutRecords request (Kinesis limit).
const MOST_RECORDS: usize = 500;
/// Bytes in one request. Kinesis takes 10 MiB with keys; smaller requests fail and repeat less.
const MOST_BYTES: usize = 4 << 20;
/// Records and bytes that wait here. More would only use memory.
const WAITING_RECORDS: usize = 4 * MOST_RECORDS;
const WAITING_BYTES: usize = 4 * MOST_BYTES;

/// Records that wait to be put.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    bytes: usize,
    /// Whether records of one key may go into one request. When some of them are refused, they change places.
    keys_may_share: bool,
}

impl Queue {
    pub(super) fn new(keys_may_share: bool) -> Self {
        Self { keys_may_share, ..Self::default() }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.len();
        self.waiting.push_back(entry);
    }

    /// How many records of users wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(|entry| entry.record.user_records.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_RECORDS || self.bytes >= WAITING_BYTES
    }

    /// Whether the next request is as large as it can be.
    pub(super) fn fills_a_request(&self) -> bool {
        self.waiting.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }

    /// Takes out what goes into the next request: the first record, and every later one that fits and none of whose keys a
    /// record before it has that stays here or goes along.
    pub(super) fn next_request(&mut self) -> Vec<Entry> {
        let mut keys = HashSet::<String>::new();
        let (mut request, mut bytes) = (Vec::new(), 0);
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for entry in self.waiting.drain(..) {
            let fits =
                request.is_empty() || (request.len() < MOST_RECORDS && bytes + entry.len() <= MOST_BYTES);
            let in_turn = self.keys_may_share || entry.keys().all(|key| !keys.contains(key));
            if !self.keys_may_share {
                for key in entry.keys() {
                    if !keys.contains(key) {
                        keys.insert(key.to_owned());
                    }
                }
            }
            if fits && in_turn {
                bytes += entry.len();
                request.push(entry);
            } else {
                rest.push_back(entry);
            }
        }
        self.waiting = rest;
        self.bytes -= bytes;
        request
    }

    /// Puts back what was refused, in front.
    pub(super) fn put_back(&mut self, refused: Vec<Entry>) {
        for entry in refused.into_iter().rev() {
            self.bytes += entry.len();
            self.waiting.push_front(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use bytes::Bytes;
    use rokini::UserRecord;

    fn entry(key: &str, data: impl Into<Bytes>) -> Entry {
        StreamRecord::from(UserRecord::new(key, data)).into()
    }

    fn data(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| std::str::from_utf8(&entry.record.data).unwrap()).collect()
    }

    #[test]
    fn an_aggregate_waits_for_each_of_its_keys() {
        let mut queue = Queue::new(false);
        for (keys, data) in
            [(&["a"][..], "1"), (&["b", "c"], "2"), (&["d", "a"], "3"), (&["d"], "4"), (&["e"], "5")]
        {
            let mut entry = entry(keys[0], data);
            entry.record.user_records = keys.iter().map(|key| UserRecord::new(*key, "")).collect();
            queue.push(entry);
        }
        assert_eq!(data(&queue.next_request()), ["1", "2", "5"]);
        assert_eq!(
            data(&queue.next_request()),
            ["3"],
            "a record of `d` stays behind the aggregate that has one before it"
        );
        assert_eq!(data(&queue.next_request()), ["4"]);
    }

    #[test]
    fn a_key_has_one_record_in_a_request() {
        let mut queue = Queue::new(false);
        for (key, data) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("c", "5"), ("b", "6")] {
            queue.push(entry(key, data));
        }
        assert_eq!(data(&queue.next_request()), ["1", "3", "5"]);
        assert_eq!(data(&queue.next_request()), ["2", "6"]);
        assert_eq!(data(&queue.next_request()), ["4"]);
        assert!(queue.next_request().is_empty());
    }

    #[test]
    fn records_without_a_key_share_a_request() {
        let mut queue = Queue::new(false);
        for (key, data) in [("", "1"), ("", "2"), ("a", "3"), ("a", "4")] {
            queue.push(entry(key, data));
        }
        assert_eq!(data(&queue.next_request()), ["1", "2", "3"]);
    }

    #[test]
    fn keys_share_a_request_where_they_may() {
        let mut queue = Queue::new(true);
        for n in ["1", "2", "3"] {
            queue.push(entry("a", n));
        }
        assert_eq!(data(&queue.next_request()), ["1", "2", "3"]);
    }

    #[test]
    fn requests_keep_the_limits() {
        let mut queue = Queue::new(true);
        for n in 0..1_200 {
            queue.push(entry(&n.to_string(), "x"));
        }
        let sizes: Vec<_> = (0..3).map(|_| queue.next_request().len()).collect();
        assert_eq!(sizes, [500, 500, 200]);
        for n in 0..5 {
            queue.push(entry(&n.to_string(), vec![0; 3 << 20]));
        }
        queue.push(entry("big", vec![0; 9 << 20]));
        assert!(queue.fills_a_request() && queue.is_full());
        let sizes: Vec<_> = (0..6).map(|_| queue.next_request().len()).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 1, 1], "a record larger than the bound goes alone");
        assert_eq!((queue.bytes, queue.is_empty()), (0, true));
    }

    /// Whatever is refused, the records of a key are accepted in their order.
    #[test]
    fn refusals_keep_the_order_of_a_key() {
        let mut queue = Queue::new(false);
        for n in 0..300 {
            queue.push(entry(&format!("key{}", n % 7), n.to_string()));
        }
        let mut accepted: HashMap<String, Vec<u32>> = HashMap::new();
        let mut n = 0_u32;
        while !queue.is_empty() {
            let (taken, refused): (Vec<_>, Vec<_>) = queue.next_request().into_iter().partition(|_| {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                n > u32::MAX / 3
            });
            for entry in taken {
                let number = std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap();
                accepted.entry(entry.record.partition_key).or_default().push(number);
            }
            queue.put_back(refused);
        }
        assert_eq!(accepted.values().map(Vec::len).sum::<usize>(), 300);
        assert!(accepted.values().all(|numbers| numbers.is_sorted()));
    }
}
