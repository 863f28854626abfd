//! Streams that outlive the process: a snapshot of the model and the calls since, in one file.
//!
//! The model is deterministic, so the calls that changed something, with their times, are enough to rebuild it. Each is on
//! disk before it is answered. A start replays them, keeps the result as the new snapshot and forgets them; what retention
//! has trimmed by then is gone from the file too. A call that cannot be repeated, since a rule was added or a clock set back, is
//! set aside in the file and said in the log; the others are there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rokini_wire::{AnyRequest, ErrorCode, ServiceError, Timestamp, cbor};
use serde::{Deserialize, Serialize};

use crate::model::{CallModel, Caller, Model, ModelRequest, answer_any, changes_something};
use crate::settings::LocalSettings;

/// Name of the file in its directory.
const FILE_NAME: &str = "kinesis.redb";
/// The snapshot, under the version of its format.
const SNAPSHOT: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("snapshot");
const FORMAT: u32 = 1;
/// The calls since, by their order.
const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls");

/// Calls that could not be repeated, by their order. Nothing reads them but people.
const SET_ASIDE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("set_aside");

/// What to do when the file cannot be written.
const MAKE_ROOM: &str = "make room on its disk";

/// Why the streams kept in a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the streams kept in `{}`: {next}", path.display())]
pub struct DataError {
    action: &'static str,
    next: &'static str,
    path: PathBuf,
    source: BoxError,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    /// A call took effect and could not be kept. What builds on it must not be kept either.
    broken: AtomicBool,
}

/// One call, as it is stored. Read back, its last two members are an [`AnyRequest`].
#[derive(Debug, Serialize)]
struct StoredCall<'a, R> {
    at: Timestamp,
    /// How long state changes took then.
    status_change_millis: u64,
    /// Account and region of the caller, if they were not those of the model.
    caller: (Option<&'a str>, Option<&'a str>),
    operation: &'a str,
    request: &'a R,
}

/// The other members of a [`StoredCall`].
#[derive(Debug, Deserialize)]
struct StoredCallHead {
    at: Timestamp,
    status_change_millis: u64,
    #[serde(default)]
    caller: (Option<String>, Option<String>),
}

impl Store {
    /// Opens the file and rebuilds the model. Nothing to rebuild is no model.
    pub(crate) fn open(
        directory: &Path,
        settings: LocalSettings,
        now: Timestamp,
    ) -> Result<(Option<Self>, Option<Model>), DataError> {
        let path = directory.join(FILE_NAME);
        let failed = |action: &'static str, next: &'static str| {
            let path = path.clone();
            move |source: BoxError| DataError { action, next, path, source }
        };
        let database = create(directory, &path)
            .map_err(failed("open", "end whatever else has it open, or move the file away to begin anew"))?;
        let (mut model, aside) =
            rebuild(&database, settings).map_err(failed("read", "move the file away to begin anew"))?;
        if let Some(model) = &mut model {
            model.trim_all(now);
            compact(&database, model, &aside).map_err(failed("rewrite", MAKE_ROOM))?;
        }
        Ok((Some(Self::new(database)), model))
    }

    /// Keeps this model in place of everything kept so far.
    ///
    /// # Errors
    /// [`DataError`] if the file cannot be written.
    pub(crate) fn replace(&self, directory: &Path, model: &Model) -> Result<(), DataError> {
        compact(&self.database, model, &[]).map_err(|source| DataError {
            action: "rewrite",
            next: MAKE_ROOM,
            path: directory.join(FILE_NAME),
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
    pub(crate) fn check_writable<R: ModelRequest>(&self) -> Result<(), ServiceError> {
        if self.broken.load(Ordering::Relaxed) && changes_something(R::NAME) {
            return Err(unwritable());
        }
        Ok(())
    }

    /// Keeps a call that succeeded, if it changed something.
    ///
    /// # Errors
    /// InternalFailure if the file cannot be written: the call took effect, but only until the end of the process, and
    /// [`Store::check_writable`] refuses every change from then on.
    pub(crate) fn add<R: ModelRequest>(
        &self,
        at: Timestamp,
        caller: &Caller,
        settings: &LocalSettings,
        request: &R,
        response: &R::Response,
    ) -> Result<(), ServiceError> {
        let Some(effect) = request.effect(response) else { return Ok(()) };
        let status_change_millis = u64::try_from(settings.status_change.as_millis()).unwrap_or(u64::MAX);
        let caller = (caller.account.as_deref(), caller.region.as_deref());
        let call =
            StoredCall { at, status_change_millis, caller, operation: R::NAME, request: effect.as_ref() };
        append(&self.database, &cbor::encode(&call)).map_err(|error| {
            tracing::error!(%error, "could not store a call; changes are refused until the next start");
            self.broken.store(true, Ordering::Relaxed);
            unwritable()
        })
    }
}

fn unwritable() -> ServiceError {
    let message = "The file of the streams could not be written, so nothing can be changed any more. Make room on its disk, \
                   then start anew.";
    ServiceError::new(ErrorCode::InternalFailure, message)
}

fn create(directory: &Path, path: &Path) -> Result<Database, BoxError> {
    std::fs::create_dir_all(directory)?;
    let database = Database::create(path)?;
    create_tables(&database)?;
    Ok(database)
}

fn create_tables(database: &Database) -> Result<(), BoxError> {
    let change = database.begin_write()?;
    change.open_table(SNAPSHOT)?;
    change.open_table(CALLS)?;
    change.commit()?;
    Ok(())
}

fn append(database: &Database, body: &[u8]) -> Result<(), BoxError> {
    let change = database.begin_write()?;
    {
        let mut calls = change.open_table(CALLS)?;
        let next = calls.last()?.map_or(0, |(last, _)| last.value() + 1);
        calls.insert(next, body)?;
    }
    change.commit()?;
    Ok(())
}

/// The model, and the calls that could not be repeated. What one call left behind is worth no start: the others are repeated.
fn rebuild(database: &Database, settings: LocalSettings) -> Result<(Option<Model>, Vec<Vec<u8>>), BoxError> {
    let view = database.begin_read()?;
    let snapshot = view.open_table(SNAPSHOT)?.get(FORMAT)?.map(|bytes| bytes.value().to_vec());
    let calls = view.open_table(CALLS)?;
    // What was allowed once is not refused for a limit of today.
    let generous = LocalSettings {
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
    let mut aside = Vec::new();
    for call in calls.iter()? {
        any = true;
        let call = call?;
        let body = call.1.value();
        if let Err(error) = replay(&mut model, body) {
            tracing::warn!(%error, "a call that was kept is set aside, since it cannot be repeated");
            aside.push(body.to_vec());
        }
    }
    *model.settings_mut() = settings;
    Ok((any.then_some(model), aside))
}

fn replay(model: &mut Model, body: &[u8]) -> Result<(), BoxError> {
    let StoredCallHead { at, status_change_millis, caller: (account, region) } = cbor::decode(body)?;
    let caller = Caller { account, region };
    let request: AnyRequest = cbor::decode(body)?;
    // Throttled from its first record to its last: such a call was stored once, and cannot be repeated.
    if matches!(&request, AnyRequest::PutRecords(request) if request.records.is_empty()) {
        return Ok(());
    }
    model.settings_mut().status_change = Duration::from_millis(status_change_millis);
    let response = answer_any(&mut Replay { model, caller, at }, &request);
    response.map(drop).map_err(|error| format!("{} does not repeat: {error}", request.operation()).into())
}

/// Answers calls as of the time they were first made.
struct Replay<'a> {
    model: &'a mut Model,
    caller: Caller,
    at: Timestamp,
}

impl CallModel for Replay<'_> {
    fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError> {
        self.model.call_as(&self.caller, self.at, request)
    }
}

/// The model as it is becomes the snapshot; the calls that led to it are forgotten.
fn compact(database: &Database, model: &Model, aside: &[Vec<u8>]) -> Result<(), BoxError> {
    let change = database.begin_write()?;
    if !aside.is_empty() {
        let mut table = change.open_table(SET_ASIDE)?;
        let first = table.last()?.map_or(0, |(last, _)| last.value() + 1);
        for (number, call) in (first..).zip(aside) {
            table.insert(number, call.as_slice())?;
        }
    }
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
    use rokini_wire::shapes::record::{PutRecordsRequest, PutRecordsRequestEntry};
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
            create_tables(&database).unwrap();
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
        let (model, _) = rebuild(&database, LocalSettings::default()).unwrap();
        let model = model.unwrap_or_else(|| Model::new(LocalSettings::default()));
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
        Service::new(model, clock).with_store(Some(Store::new(database)))
    }

    fn create(name: &str) -> CreateStreamRequest {
        CreateStreamRequest::new(name).shard_count(1)
    }

    fn put(records: &[usize]) -> PutRecordsRequest {
        let entry = |bytes: &usize| PutRecordsRequestEntry::new(vec![0; *bytes]).partition_key("k");
        let entries: Vec<_> = records.iter().map(entry).collect();
        PutRecordsRequest::new(entries).stream_name("orders")
    }

    fn names(service: &Service) -> Vec<String> {
        service.call(&ListStreamsRequest::default()).unwrap().stream_names
    }

    fn kept(database: &Database) -> usize {
        database.begin_read().unwrap().open_table(CALLS).unwrap().iter().unwrap().count()
    }

    fn keep<R: ModelRequest>(database: &Database, request: &R) {
        let at = Timestamp::from_secs(1_700_000_000);
        let body = cbor::encode(&StoredCall {
            at,
            status_change_millis: 0,
            caller: (None, None),
            operation: R::NAME,
            request,
        });
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
        keep(&database, &create("orders"));
        keep(&database, &put(&[]));
        assert_eq!(names(&service(database)), ["orders"]);
    }

    #[test]
    fn a_call_that_cannot_be_repeated_is_set_aside_and_the_others_are_there() {
        let disk = Disk::default();
        let database = disk.open();
        keep(&database, &put(&[1]));
        append(&database, b"no call at all").unwrap();
        keep(&database, &create("orders"));
        keep(&database, &create("orders"));
        keep(&database, &put(&[1]));
        let (model, aside) = rebuild(&database, LocalSettings::default()).unwrap();
        assert_eq!(aside.len(), 3, "a put to no stream, nonsense, and a stream that was there");
        compact(&database, &model.unwrap(), &aside).unwrap();
        let kept = database.begin_read().unwrap().open_table(SET_ASIDE).unwrap().iter().unwrap().count();
        assert_eq!(kept, 3);
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
