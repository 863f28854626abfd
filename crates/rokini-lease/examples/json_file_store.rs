//! A lease store in one JSON file, written from the documentation of `LeaseStore` alone, and the suite that tells whether it
//! keeps the contract. For one process: two processes would overwrite each other's changes.
//!
//! ```sh
//! cargo run -p rokini-lease --features conformance --example json_file_store
//! ```
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rokini_lease::conformance::{ConformanceSuite, Report};
use rokini_lease::{
    GroupId, GroupView, LeaseStore, Listing, Row, RowKey, RowOutcome, RowWrite, StoreError, StoreErrorKind,
};

type Groups = BTreeMap<GroupId, BTreeMap<RowKey, Row>>;

/// All rows of all groups in one file, which is read and written as a whole.
#[derive(Debug, Clone)]
struct JsonFileStore {
    path: PathBuf,
    /// Held from the reading of the file to its writing, so that each write is one atomic change.
    file: Arc<Mutex<()>>,
}

impl JsonFileStore {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Arc::default() }
    }

    fn error(
        &self,
        kind: StoreErrorKind,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> StoreError {
        StoreError::new(kind, format!("cannot use the lease file `{}`", self.path.display()))
            .with_source(error)
    }

    fn load(&self) -> Result<Groups, StoreError> {
        match std::fs::read(&self.path) {
            Ok(json) => {
                serde_json::from_slice(&json).map_err(|error| self.error(StoreErrorKind::InvalidRow, error))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Groups::new()),
            Err(error) => Err(self.error(StoreErrorKind::Unavailable, error)),
        }
    }

    /// Replaces the file by one that is whole, so that a crash leaves the old or the new one.
    fn save(&self, groups: &Groups) -> Result<(), StoreError> {
        let new = self.path.with_extension("new");
        let json = serde_json::to_vec_pretty(groups)
            .map_err(|error| self.error(StoreErrorKind::InvalidRow, error))?;
        std::fs::write(&new, json)
            .and_then(|()| std::fs::rename(&new, &self.path))
            .map_err(|error| self.error(StoreErrorKind::Unavailable, error))
    }
}

#[async_trait]
impl LeaseStore for JsonFileStore {
    async fn init(&self) -> Result<(), StoreError> {
        self.load().map(drop)
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.load()?.remove(group).unwrap_or_default();
        Ok(rows.into_iter().filter(|(key, _)| listing.includes(key)).map(|(_, row)| row).collect())
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.load()?.get(group).and_then(|rows| rows.get(key)).cloned())
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups = self.load()?;
        let rows = groups.entry(group.clone()).or_default();
        let outcome = write.apply(rows.get(&write.key()));
        match &outcome {
            RowOutcome::Stored { after, .. } => drop(rows.insert(write.key(), after.clone())),
            RowOutcome::Deleted => drop(rows.remove(&write.key())),
            RowOutcome::Refused { .. } => return Ok(outcome),
        }
        self.save(&groups)?;
        Ok(outcome)
    }
}

/// Runs the suite, with few races: each of their writes writes the whole file.
async fn run(directory: &Path) -> Report {
    let store = JsonFileStore::new(&directory.join("leases.json"));
    ConformanceSuite::new(Arc::new(store)).races(20).sequences(8).listed(50).run().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let directory = std::env::temp_dir().join(format!("json-file-store-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let report = run(&directory).await;
    println!("the store keeps the contract: {} updates applied, {} refused", report.applied, report.refused);
    std::fs::remove_dir_all(&directory)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let report = super::run(directory.path()).await;
        assert!(report.applied > 0 && report.refused > 0);
    }
}
