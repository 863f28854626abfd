//! What handlers in other processes do, for people.

use std::time::Duration;

use rokini_handlers::{HandlerEvent, HandlerObserver};

use crate::ui::Ui;

fn again(retry_in: Duration) -> String {
    if retry_in.is_zero() { "again after a pause".to_owned() } else { format!("again in {retry_in:.1?}") }
}

/// Shows their output and their ends on standard error.
#[derive(Debug)]
pub(super) struct ShowEvents(pub(super) Ui);

impl HandlerObserver for ShowEvents {
    fn event(&self, event: &HandlerEvent) {
        let ui = &self.0;
        let of = |shard: &Option<std::sync::Arc<str>>| shard.clone().unwrap_or_else(|| "no shard".into());
        match event {
            HandlerEvent::Output { pid, shard, line, .. } => {
                ui.info(format_args!("[{} {pid}] {line}", of(shard)));
            }
            HandlerEvent::OutputSuppressed { pid, shard, lines } => {
                ui.warn(format_args!(
                    "[{} {pid}] {lines} lines of output are not shown, or not to their end",
                    of(shard)
                ));
            }
            HandlerEvent::StartFailed { shard, error, retry_in } => {
                ui.warn(format_args!(
                    "{}: the handler does not start: {error}; {}",
                    of(shard),
                    again(*retry_in)
                ));
            }
            HandlerEvent::Exited { pid, shard, status, asked: false } => {
                ui.warn(format_args!("{}: process {pid} ended by itself: {status}", of(shard)));
            }
            HandlerEvent::Killed { pid, shard, reason } => {
                ui.warn(format_args!("{}: process {pid} is ended by force: {reason}", of(shard)));
            }
            HandlerEvent::Unavailable { shard, error, retry_in } => {
                ui.warn(format_args!(
                    "{}: the service takes no records: {error}; {}",
                    of(shard),
                    again(*retry_in)
                ));
            }
            HandlerEvent::EndNotCheckpointed { shard, times } => {
                ui.warn(format_args!(
                    "{}: the application did not checkpoint the end of the shard, {times} times in a row: it is \
                     finished without",
                    of(shard)
                ));
            }
            HandlerEvent::TaskPanicked { task, error } => {
                ui.warn(format_args!(
                    "a task that looks after handlers panicked ({task}): {error}; please report it"
                ));
            }
            _ => {}
        }
    }
}
