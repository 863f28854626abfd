//! Which shards exist, kept as leases.

pub(crate) mod coverage;
pub(crate) mod duty;
mod graph;
pub(crate) mod leases;
mod record_search;
pub(crate) mod registration;
pub(crate) mod streams;
pub(crate) mod syncer;
mod unused_consumer;
