use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;
use crate::delivery::acks::{Ack, AckOutcome};
use crate::types::failure::OnFailure;

mod acks;
mod failures;
mod order;
mod random;

const ALL: BatchLimits = BatchLimits { records: usize::MAX, bytes: usize::MAX, wait: Duration::ZERO };

fn settings(lanes: usize, policy: FailurePolicy) -> DeliverySettings {
    DeliverySettings {
        lanes,
        one_by_one: false,
        limits: ALL,
        window_records: 1_000,
        window_bytes: 1 << 20,
        policy,
        ack_timeout: None,
    }
}

fn scheduler(settings: DeliverySettings) -> Scheduler {
    let mut scheduler = Scheduler::new(settings, Position::TrimHorizon, StdRng::seed_from_u64(1));
    (0..settings.lanes).for_each(|lane| scheduler.open(lane));
    scheduler
}

/// Records with these keys; the first has the sequence number `from` + 1.
fn records(from: u64, keys: &[&str]) -> Vec<Record> {
    let record = |(index, key): (usize, &&str)| {
        Record::new(SequenceNumber::from(u128::from(from) + index as u128 + 1), *key, "data", 0)
    };
    keys.iter().enumerate().map(record).collect()
}

fn add(scheduler: &mut Scheduler, records: Vec<Record>, now: Instant) {
    let bytes = records.iter().map(|record| record.data().len()).sum();
    scheduler.add(records, bytes, 0, None, now);
}

fn after(number: u64) -> Position {
    Position::after(SequenceNumber::from(u128::from(number)))
}

fn no() -> HandlerFailure {
    HandlerFailure::Error("no".to_owned())
}

fn nothing() -> Position {
    Position::TrimHorizon
}

fn numbers(step: Option<DeliveryStep>) -> Vec<u64> {
    match step {
        Some(DeliveryStep::CallHandler { records, .. }) => records.numbers().collect(),
        Some(DeliveryStep::DeadLetter { .. }) | None => Vec::new(),
    }
}

fn policies() -> impl Strategy<Value = FailurePolicy> {
    (1..4u32, any::<bool>(), any::<bool>(), 0..OnFailure::ALL.len()).prop_map(|(most, bisect, park, then)| {
        let (max_attempts, then) = (NonZeroU32::new(most), OnFailure::ALL[then]);
        FailurePolicy { max_attempts, max_age: None, bisect, park, then }
    })
}
