//! Writes aggregates.

use std::collections::HashMap;

use super::layout::{CHECK_SUM, MAGIC, field};
use super::protobuf::{bytes_field_len, number_len, put_bytes_field, put_number, put_number_field};
use crate::md5::md5;

/// An aggregate that is being filled. What it makes is read by the KCL and every other library that unpacks aggregates.
#[derive(Debug, Clone, Default)]
pub struct AggregateBuilder {
    partition_keys: Table,
    hash_keys: Table,
    records: Vec<u8>,
    count: usize,
}

/// Texts, each once, and the fields that they become.
#[derive(Debug, Clone, Default)]
struct Table {
    indexes: HashMap<String, usize>,
    encoded: Vec<u8>,
}

impl Table {
    /// The index that the text has or would get, and how many bytes that adds.
    fn index(&self, text: &str) -> (u64, usize) {
        match self.indexes.get(text) {
            Some(index) => (*index as u64, 0),
            None => (self.indexes.len() as u64, bytes_field_len(text.len())),
        }
    }

    fn insert(&mut self, field: u64, text: &str) {
        let next = self.indexes.len();
        if !self.indexes.contains_key(text) {
            self.indexes.insert(text.to_owned(), next);
            put_bytes_field(&mut self.encoded, field, text.as_bytes());
        }
    }
}

impl AggregateBuilder {
    /// How many user records it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes [`AggregateBuilder::build`] would make of what it has.
    #[must_use]
    pub fn len(&self) -> usize {
        MAGIC.len()
            + self.partition_keys.encoded.len()
            + self.hash_keys.encoded.len()
            + self.records.len()
            + CHECK_SUM
    }

    /// Whether it has no user record: then it must not be built, because readers take an aggregate without any for
    /// malformed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes it would have with this user record too.
    #[must_use]
    pub fn len_with(&self, partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> usize {
        let (key, added_key) = self.partition_keys.index(partition_key);
        let hash_key = explicit_hash_key.map(|hash| self.hash_keys.index(&hash.to_string()));
        let added_hash_key = hash_key.map_or(0, |(_, added)| added);
        let record = record_len(key, hash_key.map(|(index, _)| index), data.len());
        self.len() + added_key + added_hash_key + bytes_field_len(record)
    }

    /// Adds a user record, which comes out after those before it.
    pub fn push(&mut self, partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) {
        let (key, _) = self.partition_keys.index(partition_key);
        self.partition_keys.insert(field::PARTITION_KEY, partition_key);
        let hash_key = explicit_hash_key.map(|hash| {
            let text = hash.to_string();
            let (index, _) = self.hash_keys.index(&text);
            self.hash_keys.insert(field::EXPLICIT_HASH_KEY, &text);
            index
        });
        put_number(&mut self.records, field::RECORD << 3 | 2);
        put_number(&mut self.records, record_len(key, hash_key, data.len()) as u64);
        put_number_field(&mut self.records, field::RECORD_PARTITION_KEY, key);
        if let Some(hash_key) = hash_key {
            put_number_field(&mut self.records, field::RECORD_EXPLICIT_HASH_KEY, hash_key);
        }
        put_bytes_field(&mut self.records, field::RECORD_DATA, data);
        self.count += 1;
    }

    /// The data of the stream record.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.len());
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&self.partition_keys.encoded);
        data.extend_from_slice(&self.hash_keys.encoded);
        data.extend_from_slice(&self.records);
        let check_sum = md5(&data[MAGIC.len()..]);
        data.extend_from_slice(&check_sum);
        data
    }
}

fn record_len(key: u64, hash_key: Option<u64>, data: usize) -> usize {
    1 + number_len(key) + hash_key.map_or(0, |index| 1 + number_len(index)) + bytes_field_len(data)
}
