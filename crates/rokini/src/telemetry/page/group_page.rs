//! What the page shows, and what keeps it up to date.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use parking_lot::Mutex;
use rokini_lease::{GroupId, GroupView, LeaseStore, Listing, Member, WallClock, WorkerId};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::document::{Facts, OwnShard, document};

use crate::config::Settings;
use crate::events::emitter::EventSink;
use crate::events::event::Event;
use crate::events::table::EventCode;
use crate::shard::worker_state::WorkerState;
use crate::telemetry::group_changes::{GroupChange, group_changes};
use crate::telemetry::monitor::Monitor;
use crate::types::error::Error;

/// Events that a page which is opened now still shows.
const KEPT: usize = 200;
/// Between two documents for one page.
const EVERY: Duration = Duration::from_secs(2);
/// Pages that are kept up to date at once: each holds a connection that probes could need.
const PAGES: usize = 8;
/// In a group of so many leases documents are large and listings dear, so they come less often.
const LARGE: usize = 1_000;
/// Between two listings of the group, while somebody looks.
const LISTING: Duration = Duration::from_secs(5);
/// The same in a large group.
const LARGE_LISTING: Duration = Duration::from_secs(60);

/// What the page shows, and who looks at it.
#[derive(Debug)]
pub(crate) struct Page {
    group: GroupId,
    store: Arc<dyn LeaseStore>,
    /// The worker that serves it; `None` where none of the group does.
    own: Option<OwnWorker>,
    clock: WallClock,
    recent: Arc<RecentEvents>,
    /// The group as it was listed last for a page: workers list it seldom by themselves.
    listed: tokio::sync::Mutex<Option<(Instant, Arc<GroupView>)>>,
    /// Where no worker tells it: the counter of each worker, and between which listings it stood.
    beats: Mutex<BTreeMap<WorkerId, (u64, Instant, Instant)>>,
    watching: Arc<AtomicUsize>,
}

/// What the worker that serves a page knows by itself.
#[derive(Debug)]
struct OwnWorker {
    worker: Arc<WorkerState>,
    monitor: Arc<Monitor>,
}

impl Page {
    pub(crate) fn new(
        (group, store): (GroupId, Arc<dyn LeaseStore>),
        worker: Arc<WorkerState>,
        monitor: Arc<Monitor>,
        clock: WallClock,
        recent: Arc<RecentEvents>,
    ) -> Self {
        Self::with(group, store, Some(OwnWorker { worker, monitor }), clock, recent)
    }

    /// The page of a group for a process that is none of its workers: it knows what the rows say.
    pub(crate) fn of_rows(group: GroupId, store: Arc<dyn LeaseStore>, clock: WallClock) -> Self {
        Self::with(group, store, None, clock, Arc::default())
    }

    fn with(
        group: GroupId,
        store: Arc<dyn LeaseStore>,
        own: Option<OwnWorker>,
        clock: WallClock,
        recent: Arc<RecentEvents>,
    ) -> Self {
        Self {
            group,
            store,
            own,
            clock,
            recent,
            listed: tokio::sync::Mutex::default(),
            beats: Mutex::default(),
            watching: Arc::default(),
        }
    }

    /// The group as it is now, as JSON.
    pub(super) async fn document(&self) -> Value {
        let member = self.own.as_ref().and_then(|own| own.worker.member());
        let view = self.view(member.as_ref()).await;
        let fleet = match (&member, &self.own) {
            (Some(member), _) => member.fleet(),
            (None, Some(_)) => Arc::default(),
            (None, None) => Arc::new(view.workers.clone()),
        };
        let own: Vec<_> = self.own.iter().flat_map(OwnWorker::shards).collect();
        let silences = match &member {
            Some(member) => member.silences(),
            None => self.silences(),
        };
        document(&Facts {
            group: &self.group,
            me: member.as_ref().map(Member::id),
            phase: self.own.as_ref().map_or("observing", |own| own.worker.phase().name()),
            view: &view,
            fleet: &fleet,
            silences: &silences,
            own: &own,
            now_millis: self.clock.millis(),
        })
    }

    /// The leases as they were a few seconds ago. Where they cannot be listed, as the worker listed them last.
    async fn view(&self, member: Option<&Member>) -> Arc<GroupView> {
        let mut listed = self.listed.lock().await;
        let fresh = |(at, view): &(Instant, Arc<GroupView>)| {
            at.elapsed() < if view.leases.len() > LARGE { LARGE_LISTING } else { LISTING }
        };
        if let Some((_, view)) = listed.as_ref().filter(|listed| fresh(listed)) {
            return Arc::clone(view);
        }
        match timeout(LISTING, self.store.list(&self.group, Listing::All)).await {
            Ok(Ok(view)) => {
                if self.own.is_none() {
                    self.note_beats(&view);
                    if let Some((_, before)) = listed.as_ref() {
                        let now = self.clock.millis();
                        let changes = group_changes(before, &view);
                        self.recent.tell(changes.iter().map(|change| event(change, now)).collect());
                    }
                }
                Arc::clone(&listed.insert((Instant::now(), Arc::new(view))).1)
            }
            failed => {
                tracing::debug!(?failed, "the page shows the group as it was listed before");
                let before = listed.as_ref().map(|(_, view)| Arc::clone(view));
                before.or_else(|| member.map(Member::snapshot)).unwrap_or_default()
            }
        }
    }

    fn note_beats(&self, view: &GroupView) {
        let (mut beats, now) = (self.beats.lock(), Instant::now());
        beats.retain(|id, _| view.workers.iter().any(|row| row.id == *id));
        for row in &view.workers {
            let beat = beats.entry(row.id.clone()).or_insert((row.heartbeat, now, now));
            *beat = if beat.0 == row.heartbeat { (beat.0, beat.1, now) } else { (row.heartbeat, now, now) };
        }
    }

    /// For how long each counter stood, from one listing to another.
    fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        let beats = self.beats.lock();
        beats.iter().map(|(id, (_, first, last))| (id.clone(), last.duration_since(*first))).collect()
    }

    /// What keeps a page up to date, as server-sent events: the group every two seconds, and what happens as it happens,
    /// after `last` where the page had shown that already. `None` where enough pages are open.
    pub(super) fn events(self: &Arc<Self>, last: Option<u64>) -> Option<impl Stream<Item = Bytes> + use<>> {
        let watching = Watching::begin(&self.watching)?;
        let state = Feed {
            page: Arc::clone(self),
            next: last.map_or(0, |last| last + 1),
            due: Instant::now(),
            watching,
        };
        Some(stream::unfold(state, |mut feed| async {
            let text = feed.next().await;
            Some((Bytes::from(text), feed))
        }))
    }
}

/// A change in the form of an event.
fn event(change: &GroupChange, at_millis: u64) -> Value {
    let GroupChange { code, key, worker, what } = change;
    let text = match worker {
        Some(worker) if key.is_none() => format!("{worker} {what}"),
        _ => what.clone(),
    };
    json!({
        "at": at_millis,
        "code": code,
        "text": text,
        "stream": key.as_ref().map(|key| key.stream.as_str()),
        "shard": key.as_ref().map(|key| key.shard.as_str()),
        "detail": "",
    })
}

impl OwnWorker {
    fn shards(&self) -> Vec<OwnShard> {
        let stalled = self.monitor.stalled();
        let shards = self.worker.shards().into_iter().map(|(key, shard)| {
            let (handled, handling) = shard.handled_so_far();
            OwnShard { status: shard.snapshot().status, stall: stalled.get(&key).copied(), handled, handling }
        });
        shards.collect()
    }
}

/// One open page.
struct Feed {
    page: Arc<Page>,
    /// The number of the next event.
    next: u64,
    due: Instant,
    #[expect(dead_code, reason = "counts while it lives")]
    watching: Watching,
}

impl Feed {
    async fn next(&mut self) -> String {
        let recent = Arc::clone(&self.page.recent);
        let mut arrived = recent.arrived.subscribe();
        loop {
            let events = recent.since(self.next);
            if let Some((number, _)) = events.last() {
                self.next = number + 1;
                return events
                    .iter()
                    .map(|(number, event)| {
                        format!("id: {number}\nevent: happened\ndata: {}\n\n", event.shown())
                    })
                    .collect();
            }
            let now = Instant::now();
            if now >= self.due {
                let document = self.page.document().await;
                let large = document["streams"].as_array().is_some_and(|streams| {
                    streams
                        .iter()
                        .filter_map(|stream| stream["shards"].as_array())
                        .map(Vec::len)
                        .sum::<usize>()
                        > LARGE
                });
                self.due = now + if large { EVERY * 5 } else { EVERY };
                return format!("retry: 1000\nevent: group\ndata: {document}\n\n");
            }
            tokio::select! {
                () = sleep(self.due - now) => {}
                _ = arrived.changed() => {}
            }
        }
    }
}

/// Something that happened, as it is kept for pages.
#[derive(Debug, Clone)]
enum Happened {
    /// In this worker.
    Event(Event),
    /// In the group, as two listings show it.
    Change(Value),
}

impl Happened {
    fn shown(&self) -> Value {
        match self {
            Self::Event(event) => json!({
                "at": event.at_millis,
                "code": event.code().as_str(),
                "text": event.kind.message(),
                "stream": event.stream.as_ref().map(|stream| stream.as_str()),
                "shard": event.shard.as_ref().map(|shard| shard.as_str()),
                "detail": format!("{:?}", event.kind),
            }),
            Self::Change(change) => change.clone(),
        }
    }
}

/// Counts an open page while it lives.
struct Watching(Arc<AtomicUsize>);

impl Watching {
    fn begin(count: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count: usize| (count < PAGES).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last events, numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct RecentEvents {
    events: Mutex<(u64, VecDeque<Happened>)>,
    arrived: watch::Sender<()>,
}

impl RecentEvents {
    /// What the page shows of the past, where there is a page.
    pub(crate) fn wanted(settings: &Settings) -> Result<Option<Arc<Self>>, Error> {
        Ok(settings.monitoring_page.then(Arc::default))
    }

    fn since(&self, number: u64) -> Vec<(u64, Happened)> {
        let recent = self.events.lock();
        let (end, events) = &*recent;
        let first = end - events.len() as u64;
        let numbered = (first..).zip(events.iter().cloned());
        // A page of an earlier process asks for numbers that are not there yet.
        let number = if number > *end { first } else { number };
        numbered.filter(|(n, _)| *n >= number).collect()
    }
}

impl RecentEvents {
    fn tell(&self, changes: Vec<Value>) {
        self.keep(changes.into_iter().map(Happened::Change));
    }

    fn keep(&self, happened: impl IntoIterator<Item = Happened>) {
        {
            let mut recent = self.events.lock();
            let (end, events) = &mut *recent;
            for happened in happened {
                *end += 1;
                events.push_back(happened);
                if events.len() > KEPT {
                    events.pop_front();
                }
            }
        }
        self.arrived.send_replace(());
    }
}

impl EventSink for RecentEvents {
    fn event(&self, event: &Event) {
        // Several a second, which would push out all else.
        if event.code() == EventCode::Checkpointed {
            return;
        }
        self.keep([Happened::Event(event.clone())]);
    }
}
