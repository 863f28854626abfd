//! What the targets of both encodings share.

use rokini_wire::Codec;
use rokini_wire::shapes::{consumer::*, record::*, shard::*, stream::*, tags::*};

/// What was read is written and read again as itself. The first byte chooses the request or response.
pub fn survives_as_any(codec: Codec, bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 10 {
        0 => survives::<PutRecordRequest>(codec, body),
        1 => survives::<PutRecordsRequest>(codec, body),
        2 => survives::<GetShardIteratorRequest>(codec, body),
        3 => survives::<GetRecordsResponse>(codec, body),
        4 => survives::<ListShardsRequest>(codec, body),
        5 => survives::<ListShardsResponse>(codec, body),
        6 => survives::<SubscribeToShardEvent>(codec, body),
        7 => survives::<CreateStreamRequest>(codec, body),
        8 => survives::<TagResourceRequest>(codec, body),
        _ => survives::<SubscribeToShardRequest>(codec, body),
    }
}

fn survives<T>(codec: Codec, bytes: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = codec.decode::<T>(bytes) {
        assert_eq!(codec.decode(&codec.encode(&value)), Ok(value));
    }
}
