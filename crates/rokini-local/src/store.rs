//! Streams that outlive the process: a snapshot of the model and the calls since, in one file.
//!
//! The model is deterministic, so the calls that changed something, with their times, are enough to rebuild it. Each is on
//! disk before it is answered. A start replays them, keeps the result as the new snapshot and forgets them; what retention
//! has trimmed by then is gone from the file too.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rokini_wire::shapes::record::{PutRecordsRequest, PutRecordsResponse};
use rokini_wire::{ErrorCode, Operation, ServiceError, Timestamp, cbor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Model, OperationVisitor, Serve};
use crate::settings::Settings;

/// Name of the file in its directory.
const FILE: &str = "kinesis.redb";
/// The snapshot, under the version of its format.
const SNAPSHOT: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("snapshot");
const FORMAT: u32 = 1;
/// The calls since, by their order.
const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls");

/// Why kept streams cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} the kept streams: `path`={}", path.display())]
pub struct DataError {
    action: &'static str,
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
}

/// One call, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    at: Timestamp,
    operation: String,
    /// How long state changes took then.
    status_change_millis: u64,
    request: T,
}

impl Store {
    /// Opens the file and rebuilds the model. Nothing to rebuild is no model.
    pub(crate) fn open(
        directory: &Path,
        settings: Settings,
        now: Timestamp,
    ) -> Result<(Option<Self>, Option<Model>), DataError> {
        let path = directory.join(FILE);
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source: Cause| DataError { action, path, source }
        };
        let database = create(directory, &path).map_err(failed("open"))?;
        let mut model = rebuild(&database, settings).map_err(failed("read"))?;
        if let Some(model) = &mut model {
            model.trim_all(now);
            compact(&database, model).map_err(failed("rewrite"))?;
        }
        Ok((Some(Self { database }), model))
    }

    /// Keeps a call that succeeded, if it changed something.
    ///
    /// # Errors
    /// InternalFailure if the file cannot be written: the call took effect, but only until the end of the process.
    pub(crate) fn add<R: Operation>(
        &self,
        at: Timestamp,
        settings: &Settings,
        request: &R,
        response: &R::Response,
    ) -> Result<(), ServiceError> {
        if ["Describe", "Get", "List"].iter().any(|reads| R::NAME.starts_with(reads)) {
            return Ok(());
        }
        let status_change_millis = u64::try_from(settings.status_change.as_millis()).unwrap_or(u64::MAX);
        let operation = R::NAME.to_owned();
        let body = match written(request, response) {
            Some(request) => cbor::encode(&Kept { at, operation, status_change_millis, request }),
            None => cbor::encode(&Kept { at, operation, status_change_millis, request }),
        };
        append(&self.database, &body).map_err(|error| {
            tracing::error!(%error, "could not keep a call");
            ServiceError::new(ErrorCode::InternalFailure, "The streams' file could not be written.")
        })
    }
}

/// Of a PutRecords call only the records that were written are kept.
fn written(request: &dyn Any, response: &dyn Any) -> Option<PutRecordsRequest> {
    let request = request.downcast_ref::<PutRecordsRequest>()?;
    let results = &response.downcast_ref::<PutRecordsResponse>()?.records;
    let pairs = request.records.iter().zip(results);
    let records =
        pairs.filter(|(_, result)| result.sequence_number.is_some()).map(|(record, _)| record.clone());
    Some(PutRecordsRequest { records: records.collect(), ..request.clone() })
}

fn create(directory: &Path, path: &Path) -> Result<Database, Cause> {
    std::fs::create_dir_all(directory)?;
    let database = Database::create(path)?;
    let change = database.begin_write()?;
    change.open_table(SNAPSHOT)?;
    change.open_table(CALLS)?;
    change.commit()?;
    Ok(database)
}

fn append(database: &Database, body: &[u8]) -> Result<(), Cause> {
    let change = database.begin_write()?;
    {
        let mut calls = change.open_table(CALLS)?;
        let next = calls.last()?.map_or(0, |(last, _)| last.value() + 1);
        calls.insert(next, body)?;
    }
    change.commit()?;
    Ok(())
}

fn rebuild(database: &Database, settings: Settings) -> Result<Option<Model>, Cause> {
    let view = database.begin_read()?;
    let snapshot = view.open_table(SNAPSHOT)?.get(FORMAT)?.map(|bytes| bytes.value().to_vec());
    let calls = view.open_table(CALLS)?;
    // What was allowed once is not refused for a limit of today.
    let generous = Settings {
        throughput_limits: false,
        shard_limit: u32::MAX,
        on_demand_stream_limit: u32::MAX,
        ..settings.clone()
    };
    let mut model = match &snapshot {
        Some(snapshot) => Model::restore(snapshot, generous)?,
        None => Model::new(generous),
    };
    let mut any = snapshot.is_some();
    for call in calls.iter()? {
        any = true;
        replay(&mut model, call?.1.value())?;
    }
    *model.settings_mut() = settings;
    Ok(any.then_some(model))
}

/// The head of a kept call; the request is read by its operation.
#[derive(Deserialize)]
struct Head {
    operation: String,
}

fn replay(model: &mut Model, body: &[u8]) -> Result<(), Cause> {
    let Head { operation } = cbor::decode(body)?;
    let unknown = || format!("an unknown operation was kept: {operation}");
    Model::visit_operation(&operation, Replay { model, body }).ok_or_else(unknown)?
}

struct Replay<'a> {
    model: &'a mut Model,
    body: &'a [u8],
}

impl OperationVisitor for Replay<'_> {
    type Output = Result<(), Cause>;

    fn visit<R: Operation>(self) -> Self::Output
    where
        Model: Serve<R>,
    {
        let kept: Kept<R> = read(self.body)?;
        self.model.settings_mut().status_change = Duration::from_millis(kept.status_change_millis);
        let answer = self.model.serve(kept.at, &kept.request);
        if let Err(error) = answer {
            return Err(format!("{} does not repeat: {error}", kept.operation).into());
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Cause> {
    Ok(cbor::decode(body)?)
}

/// The model as it is becomes the snapshot; the calls that led to it are forgotten.
fn compact(database: &Database, model: &Model) -> Result<(), Cause> {
    let change = database.begin_write()?;
    change.open_table(SNAPSHOT)?.insert(FORMAT, model.snapshot().as_slice())?;
    change.delete_table(CALLS)?;
    change.open_table(CALLS)?;
    change.commit()?;
    Ok(())
}
