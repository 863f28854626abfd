//! Pausing this worker.

use super::Handle;

impl Handle {
    /// Stops reading in this worker: no read begins any more, and one that is under way is given up. What was read
    /// already is still handled. The leases stay, nothing expires, positions go on being stored; other workers are not
    /// concerned. Lasts until [`Handle::resume`], also over a time in which this worker is declared dead; not over a
    /// restart.
    pub fn pause(&self) {
        self.control.engine.paused.send_replace(true);
    }

    /// Reads again, after the last record that was read.
    pub fn resume(&self) {
        self.control.engine.paused.send_replace(false);
    }
}
