//! Any bytes as the body of an answer with records: no panic, places within the body, keys that are text. What the reader in
//! place takes, the other one takes too and reads as the same, where it has a form for it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rokini_wire::shapes::record::GetRecordsResponse;
use rokini_wire::{Codec, RecordsAnswer};

fuzz_target!(|bytes: &[u8]| {
    let Ok(answer) = RecordsAnswer::read(Bytes::copy_from_slice(bytes)) else { return };
    for record in &answer.records {
        assert!(answer.body.get(record.data()).is_some());
        if let Some(key) = record.partition_key() {
            assert!(std::str::from_utf8(&answer.body[key]).is_ok());
        }
    }
    let codec = if matches!(bytes.first(), Some(0xa0..=0xbf)) { Codec::Cbor } else { Codec::Json };
    if let Ok(other) = codec.decode::<GetRecordsResponse>(bytes) {
        assert_eq!(other.records.len(), answer.records.len());
        for (one, other) in answer.records.iter().zip(&other.records) {
            assert_eq!(answer.body[one.data()], other.data[..]);
            assert_eq!(one.sequence_number, other.sequence_number);
        }
    }
});
