//! Streams that outlive the process: a snapshot of the model and the calls since, in one file.
//!
//! The model is deterministic, so the calls that changed something, with their times, are enough to rebuild it. Each is on
//! disk before it is answered. A start replays them, keeps the result as the new snapshot and forgets them; what retention
//! has trimmed by then is gone from the file too.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What to do when the file cannot be written.
const ROOM: &str = "make room on its disk";

/// Why kept streams cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} the kept streams; {next}: `path`={}", path.display())]
pub struct DataError {
    action: &'static str,
    next: &'static str,
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    /// A call took effect and could not be kept. What builds on it must not be kept either.
    broken: AtomicBool,
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
        let failed = |action: &'static str, next: &'static str| {
            let path = path.clone();
            move |source: Cause| DataError { action, next, path, source }
        };
        let database = create(directory, &path)
            .map_err(failed("open", "end whatever else has it open, or move the file away to begin anew"))?;
        let mut model =
            rebuild(&database, settings).map_err(failed("read", "move the file away to begin anew"))?;
        if let Some(model) = &mut model {
            model.trim_all(now);
            compact(&database, model).map_err(failed("rewrite", ROOM))?;
        }
        Ok((Some(Self::new(database)), model))
    }

    /// Keeps this model in place of everything kept so far.
    ///
    /// # Errors
    /// [`DataError`] if the file cannot be written.
    pub(crate) fn replace(&self, directory: &Path, model: &Model) -> Result<(), DataError> {
        compact(&self.database, model).map_err(|source| DataError {
            action: "rewrite",
            next: ROOM,
            path: directory.join(FILE),
            source,
        })
    }

    fn new(database: Database) -> Self {
        Self { database, broken: AtomicBool::new(false) }
    }

    /// Asked before a call is carried out.
    ///
    /// # Errors
    /// InternalFailure if the call would change something after an earlier one could not be kept.
    pub(crate) fn admit<R: Operation>(&self) -> Result<(), ServiceError> {
        if self.broken.load(Ordering::Relaxed) && changes::<R>() { Err(unwritable()) } else { Ok(()) }
    }

    /// Keeps a call that succeeded, if it changed something.
    ///
    /// # Errors
    /// InternalFailure if the file cannot be written: the call took effect, but only until the end of the process, and
    /// [`Store::admit`] refuses every change from then on.
    pub(crate) fn add<R: Operation>(
        &self,
        at: Timestamp,
        settings: &Settings,
        request: &R,
        response: &R::Response,
    ) -> Result<(), ServiceError> {
        if !changes::<R>() {
            return Ok(());
        }
        let status_change_millis = u64::try_from(settings.status_change.as_millis()).unwrap_or(u64::MAX);
        let operation = R::NAME.to_owned();
        let body = match written(request, response) {
            Some(request) if request.records.is_empty() => return Ok(()),
            Some(request) => cbor::encode(&Kept { at, operation, status_change_millis, request }),
            None => cbor::encode(&Kept { at, operation, status_change_millis, request }),
        };
        append(&self.database, &body).map_err(|error| {
            tracing::error!(%error, "could not keep a call; changes are refused until a new start");
            self.broken.store(true, Ordering::Relaxed);
            unwritable()
        })
    }
}

fn changes<R: Operation>() -> bool {
    !["Describe", "Get", "List"].iter().any(|reads| R::NAME.starts_with(reads))
}

fn unwritable() -> ServiceError {
    let message = "The streams' file could not be written, so nothing can be changed any more: make room on its disk, then start \
                   anew.";
    ServiceError::new(ErrorCode::InternalFailure, message)
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
    prepare(&database)?;
    Ok(database)
}

fn prepare(database: &Database) -> Result<(), Cause> {
    let change = database.begin_write()?;
    change.open_table(SNAPSHOT)?;
    change.open_table(CALLS)?;
    change.commit()?;
    Ok(())
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
        if wrote_nothing(&kept.request) {
            return Ok(());
        }
        self.model.settings_mut().status_change = Duration::from_millis(kept.status_change_millis);
        let answer = self.model.serve(kept.at, &kept.request);
        if let Err(error) = answer {
            return Err(format!("{} does not repeat: {error}", kept.operation).into());
        }
        Ok(())
    }
}

/// A PutRecords call that was throttled from its first record to its last: earlier versions kept it, and it cannot repeat.
fn wrote_nothing(request: &dyn Any) -> bool {
    request.downcast_ref::<PutRecordsRequest>().is_some_and(|request| request.records.is_empty())
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use rokini_wire::shapes::record::PutRecordsRequestEntry;
    use rokini_wire::shapes::stream::{CreateStreamRequest, ListStreamsRequest};

    use super::*;
    use crate::clock::ManualClock;
    use crate::service::Service;

    /// A disk that can be full.
    #[derive(Debug, Default, Clone)]
    struct Disk(Arc<Memory>);

    #[derive(Debug, Default)]
    struct Memory {
        bytes: InMemoryBackend,
        full: AtomicBool,
    }

    impl Disk {
        fn fill(&self, full: bool) {
            self.0.full.store(full, Ordering::Relaxed);
        }

        fn room(&self) -> io::Result<()> {
            if self.0.full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn open(&self) -> Database {
            let database = Database::builder().create_with_backend(self.clone()).unwrap();
            prepare(&database).unwrap();
            database
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.bytes.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.bytes.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.0.bytes.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.bytes.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.0.bytes.write(offset, data)
        }
    }

    fn service(database: Database) -> Service {
        let model = rebuild(&database, Settings::default()).unwrap();
        let model = model.unwrap_or_else(|| Model::new(Settings::default()));
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
        Service::new(model, clock).stored(Some(Store::new(database)))
    }

    fn create(name: &str) -> CreateStreamRequest {
        CreateStreamRequest {
            stream_name: name.into(),
            shard_count: Some(1),
            ..CreateStreamRequest::default()
        }
    }

    fn put(records: &[usize]) -> PutRecordsRequest {
        let entry = |bytes: &usize| PutRecordsRequestEntry {
            data: vec![0; *bytes].into(),
            partition_key: "k".into(),
            explicit_hash_key: None,
        };
        PutRecordsRequest {
            stream_name: Some("orders".into()),
            stream_arn: None,
            records: records.iter().map(entry).collect(),
        }
    }

    fn names(service: &Service) -> Vec<String> {
        service.call(&ListStreamsRequest::default()).unwrap().stream_names
    }

    fn kept(database: &Database) -> usize {
        database.begin_read().unwrap().open_table(CALLS).unwrap().iter().unwrap().count()
    }

    fn keep<R: Operation>(database: &Database, request: R) {
        let (at, operation) = (Timestamp::from_secs(1_700_000_000), R::NAME.to_owned());
        let body = cbor::encode(&Kept { at, operation, status_change_millis: 0, request });
        append(database, &body).unwrap();
    }

    #[test]
    fn a_call_that_wrote_nothing_is_not_kept() {
        let disk = Disk::default();
        let service = service(disk.open());
        service.call(&create("orders")).unwrap();
        // A record as large as the rate of a second leaves nothing for those after it.
        service.call(&put(&[(1 << 20) - 1])).unwrap();
        assert_eq!(service.call(&put(&[1, 1])).unwrap().failed_record_count, Some(2));
        drop(service);
        assert_eq!(kept(&disk.open()), 2);
    }

    #[test]
    fn a_kept_call_without_records_is_passed_over() {
        let database = Disk::default().open();
        keep(&database, create("orders"));
        keep(&database, put(&[]));
        assert_eq!(names(&service(database)), ["orders"]);
    }

    #[test]
    fn once_a_call_was_not_kept_nothing_is_changed_any_more() {
        let disk = Disk::default();
        let first = service(disk.open());
        first.call(&create("orders")).unwrap();
        disk.fill(true);
        assert_eq!(first.call(&create("lost")).unwrap_err().code, ErrorCode::InternalFailure);
        disk.fill(false);
        let error = first.call(&create("later")).unwrap_err();
        assert!(error.message.contains("start anew"), "{error}");
        assert_eq!(names(&first), ["lost", "orders"], "and what is there can be read");
        drop(first);
        let second = service(disk.open());
        assert_eq!(names(&second), ["orders"]);
        second.call(&put(&[1])).unwrap();
    }
}
