//! What happens to records on their way, as events.

use super::Dispatcher;
use crate::delivery::event::DeliveryEvent;
use crate::events::Event;
use crate::types::failure::HandlerCall;

impl Dispatcher<'_> {
    pub(super) fn tell(&mut self) {
        let context = &self.live.context;
        for event in self.flow.take_events() {
            let (stream, shard) = (context.stream().clone(), context.shard_id().clone());
            self.engine.events.tell(match event {
                DeliveryEvent::Failed { failure, first, failures, retry_in } => {
                    self.live.failed(failures, failure.to_string());
                    let call = HandlerCall::Process;
                    Event::HandlerFailed { stream, shard, call, failure, first, failures, retry_in }
                }
                DeliveryEvent::Bisecting { first, records } => {
                    Event::Bisecting { stream, shard, first, records }
                }
                DeliveryEvent::Parked { first, key } => Event::Parked { stream, shard, first, key },
                DeliveryEvent::Unparked { key } => Event::Unparked { stream, shard, key },
                DeliveryEvent::Skipped { records, failure, failures } => {
                    self.live.given_up(records.len(), 0);
                    context.checkpoints().add_skipped(&records, self.lease.row().metadata.skipped);
                    Event::Skipped { stream, shard, records, failure, failures }
                }
                DeliveryEvent::DeadLettered { records, failures } => {
                    self.live.given_up(0, records.len());
                    Event::DeadLettered { stream, shard, records, failures }
                }
                DeliveryEvent::DeadLetterFailed { first, error, failures, retry_in } => {
                    self.live.failed(failures, error.clone());
                    Event::DeadLetterFailed { stream, shard, first, error, failures, retry_in }
                }
                DeliveryEvent::Halted { first, failure, failures } => {
                    Event::Halted { stream, shard, first, failure, failures }
                }
            });
        }
    }
}
