//! Any bytes as the CBOR body of any request or answer: no panic, and what was read is written and read again as itself.
#![no_main]

mod bodies;

use libfuzzer_sys::fuzz_target;
use rokini_wire::Codec;

fuzz_target!(|bytes: &[u8]| bodies::survives_as_any(Codec::Cbor, bytes));
