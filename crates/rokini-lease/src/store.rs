//! Lease stores: the contract, and what comes with the crate.

mod billing_mode;
#[cfg(feature = "conformance")]
pub mod conformance;
mod contract;
mod counting;
#[cfg(feature = "dynamo")]
mod dynamo;
mod ext;
mod faults;
mod listing;
mod memory;
mod operation;

pub use billing_mode::BillingMode;
pub use contract::LeaseStore;
pub use counting::{CountingStore, Counts};
#[cfg(feature = "dynamo")]
pub use dynamo::DynamoStore;
#[cfg(feature = "dynamo")]
pub use dynamo::repartition::{
    LeaseKeys, Repartition, RepartitionError, RepartitionPhase, RepartitionProgress, RepartitionReport,
};
pub use ext::LeaseStoreExt;
pub use faults::{FaultTarget, FaultyStore, StoreFault};
pub use listing::{Listing, ListingPage, ListingQuery};
pub use memory::MemoryStore;
pub use operation::StoreOperation;
