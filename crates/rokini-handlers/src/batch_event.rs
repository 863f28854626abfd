//! The event that Lambda gives a function for records of Kinesis, what an answer to it means, and what becomes of the
//! records then.

pub(crate) mod answer;
pub(crate) mod deliver;
pub(crate) mod kinesis_event;
