//! Point-in-time recovery: remembered and told, as the KCL's option wants it. Nothing is ever recovered.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// The tables with point-in-time recovery.
#[derive(Debug, Clone, Default)]
pub(super) struct Backups {
    enabled: Arc<Mutex<BTreeSet<String>>>,
}

impl Backups {
    /// Whether an operation is answered here.
    pub(super) fn knows(operation: &str) -> bool {
        matches!(operation, "DescribeContinuousBackups" | "UpdateContinuousBackups")
    }

    /// The answer about a table that is there.
    pub(super) fn answer(&self, table: &str, request: &Value) -> Value {
        let mut enabled = self.enabled.lock();
        match request["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"].as_bool() {
            Some(true) => drop(enabled.insert(table.to_owned())),
            Some(false) => drop(enabled.remove(table)),
            None => {}
        }
        let status = if enabled.contains(table) { "ENABLED" } else { "DISABLED" };
        json!({ "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": status },
        } })
    }
}
