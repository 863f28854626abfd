//! How a table is paid for.

/// How a DynamoDB table that is made is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BillingMode {
    /// By request. Nothing to size, nothing to pay while idle.
    #[default]
    PayPerRequest,
    /// By capacity set aside. At one heartbeat and one look at the fleet a second, each worker needs 1 write unit
    /// and half a read unit for every 20 workers or so in its group (a worker's row is about 200 bytes, and half
    /// a read unit covers 4 KB). Both are at least 1.
    Provisioned {
        /// Read capacity units.
        read_units: u32,
        /// Write capacity units.
        write_units: u32,
    },
}
