//! Wakes those who wait for a stream, and only those.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::StreamKey;

/// Who waits for which stream. Names without anyone are forgotten.
#[derive(Debug, Default)]
pub(crate) struct WakeUps {
    streams: Mutex<HashMap<Arc<StreamKey>, watch::Sender<()>>>,
    /// Those who wait for anything at all.
    anything: watch::Sender<u64>,
}

impl WakeUps {
    /// Tells of changes of a stream, and of jumps of the clock, from now on.
    pub(crate) fn of_stream(&self, key: &StreamKey) -> watch::Receiver<()> {
        let mut streams = self.streams.lock();
        if let Some(sender) = streams.get(key) {
            return sender.subscribe();
        }
        streams.retain(|_, sender| sender.receiver_count() > 0);
        streams.entry(Arc::new(key.clone())).or_default().subscribe()
    }

    /// Tells of every change.
    pub(crate) fn of_anything(&self) -> watch::Receiver<u64> {
        self.anything.subscribe()
    }

    /// These streams changed.
    pub(crate) fn wake(&self, touched: &[(StreamKey, u64)]) {
        {
            let streams = self.streams.lock();
            if !streams.is_empty() {
                touched.iter().filter_map(|(key, _)| streams.get(key)).for_each(|sender| {
                    sender.send_replace(());
                });
            }
        }
        self.count();
    }

    /// Everything may have changed: the time, above all.
    pub(crate) fn wake_all(&self) {
        for sender in self.streams.lock().values() {
            sender.send_replace(());
        }
        self.count();
    }

    fn count(&self) {
        self.anything.send_modify(|count| *count = count.wrapping_add(1));
    }
}
