//! From records read to records done.

pub(crate) mod retry;
pub(crate) mod tracker;
