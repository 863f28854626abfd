//! What a member tells the consumer it works for.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::lease::Lease;
use super::state::{MemberState, StateEvent};

/// What a member tells the consumer it works for.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A lease to work on. Dropping it without `hand_over` or `finish` gives it back to the member, which
    /// grants it again.
    Granted(Lease),
    /// This incarnation was declared dead. Its leases are lost; join again.
    Fenced,
    /// Another process sends heartbeats under this incarnation, such as a copy of the machine this one runs on. Both
    /// stop: this one at once, the other with its next heartbeat. Its leases are lost; join again, which takes a fresh
    /// incarnation, and tells whether the other one goes on under this name.
    SharedIncarnation,
    /// Heartbeats have not arrived for so long that handlers pause.
    OutageBegan {
        /// The last error, for people.
        error: String,
    },
    /// Heartbeats arrive again; nothing was lost.
    OutageEnded,
    /// One of the loops of this member panicked, most likely in the store, and begins anew.
    TaskPanicked {
        /// `heartbeat`, `watch` or `control`.
        task: &'static str,
        /// What the panic said.
        error: String,
    },
}

/// The events of a member, in order.
#[derive(Debug)]
pub struct MemberEvents {
    state: Arc<MemberState>,
    events: UnboundedReceiver<StateEvent>,
}

impl MemberEvents {
    pub(super) fn new(state: Arc<MemberState>, events: UnboundedReceiver<StateEvent>) -> Self {
        Self { state, events }
    }

    /// The next event; `None` once the member is over. Cancel safe.
    pub async fn recv(&mut self) -> Option<MemberEvent> {
        let event = self.events.recv().await?;
        Some(self.event(event))
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<MemberEvent> {
        let event = self.events.try_recv().ok()?;
        Some(self.event(event))
    }

    fn event(&self, event: StateEvent) -> MemberEvent {
        match event {
            StateEvent::Granted(hold) => MemberEvent::Granted(Lease::new(Arc::clone(&self.state), hold)),
            StateEvent::Fenced => MemberEvent::Fenced,
            StateEvent::SharedIncarnation => MemberEvent::SharedIncarnation,
            StateEvent::OutageBegan { error } => MemberEvent::OutageBegan { error },
            StateEvent::OutageEnded => MemberEvent::OutageEnded,
            StateEvent::TaskPanicked { task, error } => MemberEvent::TaskPanicked { task, error },
        }
    }
}

/// Leases that nobody took up are released.
impl Drop for MemberEvents {
    fn drop(&mut self) {
        self.events.close();
        while self.try_recv().is_some() {}
    }
}
