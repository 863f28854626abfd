//! Any bytes as the body of any request or answer: no panic, and what was read is written and read again as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rokini_wire::cbor::{decode, encode};
use rokini_wire::shapes::{consumer::*, record::*, shard::*, stream::*, tags::*};

fn survives<T>(bytes: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = decode::<T>(bytes) {
        assert_eq!(decode(&encode(&value)), Ok(value));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 10 {
        0 => survives::<PutRecordRequest>(body),
        1 => survives::<PutRecordsRequest>(body),
        2 => survives::<GetShardIteratorRequest>(body),
        3 => survives::<GetRecordsResponse>(body),
        4 => survives::<ListShardsRequest>(body),
        5 => survives::<ListShardsResponse>(body),
        6 => survives::<SubscribeToShardEvent>(body),
        7 => survives::<CreateStreamRequest>(body),
        8 => survives::<TagResourceRequest>(body),
        _ => survives::<SubscribeToShardRequest>(body),
    }
});
