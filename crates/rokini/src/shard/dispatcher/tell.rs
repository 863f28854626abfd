//! What a flow tells, as events.

use super::Dispatcher;
use crate::delivery::flow::Told;
use crate::events::Event;
use crate::types::failure::HandlerCall;

impl Dispatcher<'_> {
    pub(super) fn tell(&mut self) {
        let context = &self.live.context;
        for told in self.flow.told() {
            let (stream, shard) = (context.stream().clone(), context.shard_id().clone());
            self.engine.events.tell(match told {
                Told::Failed { failure, first, failures, retry_in } => {
                    self.live.failed(failures, failure.to_string());
                    let call = HandlerCall::Process;
                    Event::HandlerFailed { stream, shard, call, failure, first, failures, retry_in }
                }
                Told::Searching { first, records } => Event::Bisecting { stream, shard, first, records },
                Told::Parked { first, key } => Event::Parked { stream, shard, first, key },
                Told::Unparked { key } => Event::Unparked { stream, shard, key },
                Told::Skipped { records, failure, failures } => {
                    self.live.given_up(records.len(), 0);
                    context.checkpoints().skipped(&records, self.lease.row().metadata.skipped);
                    Event::Skipped { stream, shard, records, failure, failures }
                }
                Told::Buried { records, failures } => {
                    self.live.given_up(0, records.len());
                    Event::DeadLettered { stream, shard, records, failures }
                }
                Told::BuryFailed { first, error, failures, retry_in } => {
                    self.live.failed(failures, error.clone());
                    Event::DeadLetterFailed { stream, shard, first, error, failures, retry_in }
                }
                Told::Halted { first, failure, failures } => {
                    Event::Halted { stream, shard, first, failure, failures }
                }
            });
        }
    }
}
