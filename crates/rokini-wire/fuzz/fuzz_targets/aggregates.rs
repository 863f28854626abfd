//! Any bytes as an aggregate, with the check sum that they should have and without: no panic, places within the data, keys
//! that are text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rokini_wire::{md5, read_aggregates};

fuzz_target!(|bytes: &[u8]| {
    let sealed = [&[0xf3, 0x89, 0x9a, 0xc2], bytes, &md5(bytes)].concat();
    let all = [bytes, &sealed];
    read_aggregates(&all, |at, aggregate| {
        let Ok(aggregate) = aggregate else { return };
        assert!(!aggregate.is_empty());
        for record in aggregate.user_records() {
            assert!(all[at].get(record.data()).is_some());
            assert!(std::str::from_utf8(&all[at][record.partition_key()]).is_ok());
            if let Some(hash_key) = record.explicit_hash_key() {
                assert!(all[at][hash_key].iter().all(u8::is_ascii_digit));
            }
        }
        assert!(aggregate.outside(all[at], &(0..=u128::MAX)) == 0);
    });
});
