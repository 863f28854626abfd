//! What reading an answer allocates. An allocator of its own counts that, so this is a program of its own.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement, and there is no other way to count")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use rokini_wire::shapes::record::{GetRecordsResponse, Record};
use rokini_wire::{RecordsAnswer, Timestamp, cbor, json};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn answer(records: u128) -> GetRecordsResponse {
    let record = |number: u128| {
        Record::new(u128::MAX - records + number, vec![b'x'; 100])
            .partition_key(format!("key-{number}"))
            .approximate_arrival_timestamp(Timestamp::from_millis(1_700_000_000_123))
    };
    GetRecordsResponse::new((0..records).map(record).collect::<Vec<_>>()).next_shard_iterator("AAAA")
}

fn allocations(body: Vec<u8>, records: usize) -> usize {
    let body = Bytes::from(body);
    let before = ALLOCATIONS.with(Cell::get);
    let read = RecordsAnswer::read(body);
    let allocated = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(read.map(|answer| answer.records.len()), Ok(records));
    allocated
}

#[test]
fn p11_reading_an_answer_allocates_for_the_answer_and_not_for_its_records() {
    for (name, encode) in
        [("CBOR", cbor::encode as fn(&GetRecordsResponse) -> Vec<u8>), ("JSON", json::encode)]
    {
        let few = allocations(encode(&answer(10)), 10);
        let many = allocations(encode(&answer(10_000)), 10_000);
        assert!(many <= few + 1 && few <= 8, "{name}: {few} for 10 records, {many} for 10,000");
    }
}
