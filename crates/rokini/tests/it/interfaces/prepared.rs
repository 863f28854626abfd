//! Checkpoints in two phases.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{FaultyStore, LeaseRow, MemoryStore, SequenceNumber, StoreFault, StoreOperation};
use rokini::{Batch, ErrorKind, HandlerError, RecordProcessor, ShardContext};
use tokio::sync::oneshot;

use crate::harness::{Running, after, builder, leases, position, until_leases};
use crate::stream::{Stream, shard_id};

/// Where the work goes: to a system of its own, under an id, in one step.
type Elsewhere = Arc<Mutex<Vec<(u64, Vec<String>)>>>;

/// When a worker dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Dies {
    Never,
    BeforeTheWork,
    AfterTheWork,
}

/// Does each batch once: prepares it under an id, does it under that id, commits.
struct Once {
    elsewhere: Elsewhere,
    dies: Dies,
    next: u64,
    /// Prepared by a holder before, and known to be done.
    done: Option<rokini::PendingCheckpoint>,
    found: Arc<Mutex<Vec<(u64, bool)>>>,
}

impl RecordProcessor for Once {
    async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        let elsewhere = self.elsewhere.lock().unwrap().clone();
        self.next = elsewhere.iter().map(|(id, _)| id + 1).max().unwrap_or(0);
        if let Some(pending) = shard.pending_checkpoint() {
            let id = u64::from_be_bytes(pending.state()[..].try_into()?);
            let is_done = elsewhere.iter().any(|(done, _)| *done == id);
            self.found.lock().unwrap().push((id, is_done));
            self.done = Some(pending).filter(|_| is_done);
        }
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        let is_new = |record: &&rokini::Record| self.done.as_ref().is_none_or(|done| !done.covers(record));
        let texts: Vec<_> = batch
            .iter()
            .filter(is_new)
            .map(|record| String::from_utf8_lossy(record.data()).into_owned())
            .collect();
        let last = batch.records().last().unwrap();
        let prepared = batch.prepare_checkpoint(last, self.next.to_be_bytes().to_vec()).await?;
        assert_eq!(prepared.position(), last.position());
        if self.dies == Dies::BeforeTheWork && self.next > 0 {
            std::future::pending::<()>().await;
        }
        self.elsewhere.lock().unwrap().push((self.next, texts));
        self.next += 1;
        if self.dies == Dies::AfterTheWork && self.next > 1 {
            std::future::pending::<()>().await;
        }
        prepared.commit().await?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn c4_a_death_between_the_phases_leaves_what_was_prepared_to_the_successor() {
    for dies in [Dies::BeforeTheWork, Dies::AfterTheWork] {
        let (stream, store) = (Stream::new(1).per_read(2), MemoryStore::new());
        let (elsewhere, found) = (Elsewhere::default(), Arc::new(Mutex::new(Vec::new())));
        let once = |dies| {
            let (elsewhere, found) = (Arc::clone(&elsewhere), Arc::clone(&found));
            move |_: &ShardContext| Once {
                elsewhere: Arc::clone(&elsewhere),
                dies,
                next: 0,
                done: None,
                found: Arc::clone(&found),
            }
        };
        stream.put_all(0, &["a", "b", "c", "d"]);
        let first = builder(&stream, store.clone(), "w1").auto_checkpoint(false).processor(once(dies));
        let first = Running::start(first).await;
        let is_prepared =
            |row: &LeaseRow| row.pending.as_ref().is_some_and(|pending| pending.position == after(4));
        let prepared = until_leases(&store, |rows| rows.iter().any(is_prepared));
        assert_eq!(prepared.await[0].position, after(2), "prepared is not stored");
        if dies == Dies::AfterTheWork {
            while elsewhere.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
        }
        first.kill().await;

        let second =
            builder(&stream, store.clone(), "w2").auto_checkpoint(false).processor(once(Dies::Never));
        let second = Running::start(second).await;
        let rows = until_leases(&store, |rows| rows[0].position == after(4)).await;
        assert_eq!(rows[0].pending, None, "a commit removes it");
        second.stop().await;
        assert_eq!(*found.lock().unwrap(), [(1, dies == Dies::AfterTheWork)]);
        let done: Vec<_> = elsewhere.lock().unwrap().iter().flat_map(|(_, texts)| texts.clone()).collect();
        assert_eq!(done, ["a", "b", "c", "d"], "each once, {dies:?}");
    }
}

/// Runs one call with a batch of four records, outside of the handler.
async fn with_batch(store: FaultyStore<MemoryStore>) -> (Stream, Running, Batch) {
    let stream = Stream::new(1);
    stream.put_all(0, &["a", "b", "c", "d"]);
    let (give, batch) = oneshot::channel();
    let give = Arc::new(Mutex::new(Some(give)));
    let running = builder(&stream, store, "w").auto_checkpoint(false).for_each_batch(move |batch| {
        if let Some(give) = give.lock().unwrap().take() {
            let _ = give.send(batch);
        }
        async { Ok(()) }
    });
    (stream, Running::start(running).await, batch.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn c4_what_is_behind_or_too_large_is_refused_and_a_checkpoint_removes_what_it_passes() {
    let store = FaultyStore::new(MemoryStore::new(), 1);
    let (_stream, running, batch) = with_batch(store.clone()).await;
    let records = batch.records();
    let pending = || async { leases(&store).await[0].pending.clone().map(|pending| pending.position) };

    let first = batch.prepare_checkpoint(&records[1], "x").await.unwrap();
    assert_eq!(pending().await, Some(after(2)));
    // Another one replaces it.
    let _second = batch.prepare_checkpoint(&records[2], "y").await.unwrap();
    assert_eq!(pending().await, Some(after(3)));
    first.commit().await.unwrap();
    assert_eq!((position(&store, &shard_id(0)).await, pending().await), (after(2), Some(after(3))));
    batch.checkpoint_at(&records[3]).await.unwrap();
    assert_eq!((position(&store, &shard_id(0)).await, pending().await), (after(4), None));

    let behind = batch.prepare_checkpoint(&records[0], "z").await.unwrap_err();
    assert_eq!(behind.kind(), ErrorKind::Data, "{behind}");
    let large = batch.prepare_checkpoint(&records[3], vec![0; 2 << 20]).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::Configuration, "{large}");
    let mine = rokini::Record::new(SequenceNumber::from(9), "k", "x", 1);
    let foreign = batch.prepare_checkpoint(&mine, "x").await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Fenced, "{foreign}");
    running.stop().await;
    let over = batch.prepare_checkpoint(&records[3], "x").await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::Fenced, "{over}");
}

#[tokio::test(start_paused = true)]
async fn c13_an_outage_and_a_lost_reply_delay_the_first_phase_and_no_more() {
    let store = FaultyStore::new(MemoryStore::new(), 1);
    let (_stream, running, batch) = with_batch(store.clone()).await;
    store.next(StoreOperation::Prepare, StoreFault::LoseReply, 1);
    let prepared = batch.prepare_checkpoint(&batch.records()[0], "x").await.unwrap();
    store.next(StoreOperation::Prepare, StoreFault::FailBefore, 3);
    let begun = tokio::time::Instant::now();
    let replaced = batch.prepare_checkpoint(&batch.records()[1], "y").await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(100));
    prepared.commit().await.unwrap();
    store.next(StoreOperation::Checkpoint, StoreFault::LoseReply, 1);
    replaced.commit().await.unwrap();
    let row = leases(&store).await.remove(0);
    assert_eq!((row.position, row.pending), (after(2), None));
    assert_eq!(store.injected(), 5);
    running.stop().await;
}
