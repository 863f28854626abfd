//! What programs hold besides a processor: values, streams of records, and the like. On the paused clock.

mod broadcast;
mod prepared;
mod records;
mod typed;
