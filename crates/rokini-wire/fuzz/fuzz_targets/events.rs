//! Any bytes as event-stream frames: no panic, and what was read is written and read again as itself.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rokini_wire::events::Frame;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = Bytes::copy_from_slice(bytes);
    while let Ok(Some(frame)) = Frame::read(&mut rest) {
        assert_eq!(Frame::read(&mut frame.to_bytes()), Ok(Some(frame)));
    }
});
