//! Wakes those who wait for a stream, or for a shard of it, and only those.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::StreamKey;

/// Who waits for which stream. Names without anyone are forgotten.
#[derive(Debug, Default)]
pub(crate) struct WakeUps {
    streams: Mutex<HashMap<Arc<StreamKey>, OfStream>>,
    /// Those who wait for anything at all.
    anything: watch::Sender<u64>,
}

/// Those who wait for a stream.
#[derive(Debug, Default)]
struct OfStream {
    whole: watch::Sender<()>,
    /// By the numbers of shards.
    shards: HashMap<u32, watch::Sender<()>>,
}

impl OfStream {
    /// Forgets shards that nobody waits for any more.
    fn is_awaited(&mut self) -> bool {
        self.shards.retain(|_, sender| sender.receiver_count() > 0);
        self.whole.receiver_count() > 0 || !self.shards.is_empty()
    }

    fn wake(&self) {
        self.whole.send_replace(());
        for sender in self.shards.values() {
            sender.send_replace(());
        }
    }
}

impl WakeUps {
    /// Tells of changes of a stream, records among them, and of jumps of the clock, from now on.
    pub(crate) fn of_stream(&self, key: &StreamKey) -> watch::Receiver<()> {
        self.subscribe(key, |stream| stream.whole.subscribe())
    }

    /// Tells of records in a shard, of changes of its stream that are no records, and of jumps of the clock, from now on.
    pub(crate) fn of_shard(&self, key: &StreamKey, shard: u32) -> watch::Receiver<()> {
        self.subscribe(key, |stream| stream.shards.entry(shard).or_default().subscribe())
    }

    fn subscribe(
        &self,
        key: &StreamKey,
        subscribe: impl FnOnce(&mut OfStream) -> watch::Receiver<()>,
    ) -> watch::Receiver<()> {
        let mut streams = self.streams.lock();
        if let Some(stream) = streams.get_mut(key) {
            return subscribe(stream);
        }
        streams.retain(|_, stream| stream.is_awaited());
        subscribe(streams.entry(Arc::new(key.clone())).or_default())
    }

    /// Tells of every change.
    pub(crate) fn of_anything(&self) -> watch::Receiver<u64> {
        self.anything.subscribe()
    }

    /// These streams changed: by records in these shards alone, where they are given.
    pub(crate) fn wake(&self, touched: &[(StreamKey, u64)], shards: Option<&[u32]>) {
        {
            let streams = self.streams.lock();
            for stream in touched.iter().filter_map(|(key, _)| streams.get(key)) {
                let Some(shards) = shards else {
                    stream.wake();
                    continue;
                };
                stream.whole.send_replace(());
                for sender in shards.iter().filter_map(|shard| stream.shards.get(shard)) {
                    sender.send_replace(());
                }
            }
        }
        self.count();
    }

    /// Everything may have changed: the time, above all.
    pub(crate) fn wake_all(&self) {
        self.streams.lock().values().for_each(OfStream::wake);
        self.count();
    }

    fn count(&self) {
        self.anything.send_modify(|count| *count = count.wrapping_add(1));
    }
}
