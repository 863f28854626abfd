//! A held lease: the right to work on one shard, and the only way to store its position.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::{Duration, Instant, sleep};

use super::ability::StreamAbility;
use super::acquire::take_children;
use super::calls::{notify, update_lease};
use super::hold::Hold;
use super::state::MemberState;
use crate::error::{LeaseError, LeaseLostReason, StoreError, StoreErrorKind};
use crate::position::Position;
use crate::row::{CheckpointMetadata, LeaseRow, PendingPosition, WorkerNotification, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{Epoch, LeaseKey, WorkerId};
use crate::update::{LeaseUpdate, PENDING_STATE_LIMIT};
use crate::write::WriteOutcome;

/// How long to wait before a write that moves a lease is tried again.
const MOVE_RETRY: Duration = Duration::from_millis(100);
/// Children inserted at once when a shard with very many of them ends.
const INSERTS_AT_ONCE: usize = 16;

/// Where a lease went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// The worker that has it now; `None` where it is free for whoever looks first.
    pub to: Option<WorkerId>,
}

/// A lease this worker holds. There is one value per hold; it cannot be cloned.
///
/// Dropping it without [`Lease::hand_over`] or [`Lease::finish`] means that its task died: the member grants
/// the lease again, under a new epoch.
pub struct Lease {
    state: Arc<MemberState>,
    hold: Arc<Hold>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.hold.key)
            .field("epoch", &self.hold.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.released(&self.hold);
    }
}

/// Whether a worker may use a lease. Cheap to clone; for tasks beside the one that has the lease.
#[derive(Clone)]
pub struct LeaseValidity {
    state: Arc<MemberState>,
    hold: Arc<Hold>,
}

impl LeaseValidity {
    /// Whether the lease may be used now, as [`Lease::is_valid`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.hold.lost().is_none() && self.state.is_valid()
    }

    /// Waits out a time in which heartbeats do not arrive. Never ends once the member is over. Cancel safe.
    pub async fn until_valid(&self) {
        self.state.until_valid().await;
    }

    /// Resolves once heartbeats do not arrive any more, and at the latest when the waiting task is woken after that.
    /// Cancel safe.
    pub async fn until_invalid(&self) {
        self.state.until_invalid().await;
    }
}

impl fmt::Debug for LeaseValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseValidity").field(&self.is_valid()).finish()
    }
}

impl Lease {
    pub(super) fn new(state: Arc<MemberState>, hold: Arc<Hold>) -> Self {
        Self { state, hold }
    }

    /// What it is for.
    #[must_use]
    pub fn key(&self) -> &LeaseKey {
        &self.hold.key
    }

    /// The fencing token of this hold.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.hold.epoch
    }

    /// The position last stored.
    #[must_use]
    pub fn position(&self) -> Position {
        self.hold.stored()
    }

    /// The row as it was when the lease was granted: parents, hash range, where to start.
    #[must_use]
    pub fn row(&self) -> &LeaseRow {
        &self.hold.row
    }

    /// Whether the lease may be used now: heartbeats arrive and nobody took it. To be asked before every
    /// handler call.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.hold.lost().is_none() && self.state.is_valid()
    }

    /// Whether this lease may be used, for other tasks. Its waits are for heartbeats: they know nothing of the loss of
    /// this lease alone.
    #[must_use]
    pub fn validity(&self) -> LeaseValidity {
        LeaseValidity { state: Arc::clone(&self.state), hold: Arc::clone(&self.hold) }
    }

    /// This worker's ability to read the stream, for those who find out.
    #[must_use]
    pub fn ability(&self) -> StreamAbility {
        StreamAbility::new(Arc::clone(&self.state), self.hold.key.stream.clone())
    }

    /// Waits out a time in which heartbeats do not arrive.
    ///
    /// # Errors
    /// Why the lease is lost, once it is.
    pub async fn until_valid(&self) -> Result<(), LeaseLostReason> {
        tokio::select! {
            biased;
            cause = self.lost() => Err(cause),
            () = self.state.until_valid() => Ok(()),
        }
    }

    /// Resolves once the lease is lost. Cancel safe.
    pub async fn lost(&self) -> LeaseLostReason {
        let mut lost = self.hold.lost.subscribe();
        loop {
            if let Some(cause) = *lost.borrow_and_update() {
                return cause;
            }
            if lost.changed().await.is_err() {
                return LeaseLostReason::Stopped;
            }
        }
    }

    /// Resolves once the lease is to be handed over, to a worker that claimed it or because this one leaves:
    /// stop fetching, let the handler finish, then [`Lease::hand_over`]. Cancel safe.
    pub async fn yield_requested(&self) {
        let mut yielding = self.hold.yielding.subscribe();
        // The sender lives in `self.hold`, so waiting cannot fail.
        let _ = yielding.wait_for(Option::is_some).await;
    }

    /// How long a hand-over that was asked for may keep the shard from being read: the failover time, after which a worker
    /// that died would have been replaced. After that, [`Lease::withdraw_hand_over`].
    #[must_use]
    pub fn hand_over_limit(&self) -> Duration {
        self.state.config.failover
    }

    /// Ends a hand-over that is not done in its time, so that the shard is read on: the claim on the lease goes, and
    /// further ones wait for a minute, longer after each. `false` where the lease has to leave in any case: this worker
    /// leaves, or does not read the stream any more, or nothing was asked for. [`Lease::yield_requested`] resolves again
    /// with the next claim that counts.
    pub async fn withdraw_hand_over(&self) -> bool {
        let (state, hold) = (&self.state, &self.hold);
        if state.leaving.is_cancelled() || !state.reads(&hold.key.stream) {
            return false;
        }
        let Some(by) = hold.withdraw() else { return false };
        tracing::debug!(lease = %hold.key, to = %by, "a hand-over was not done in its time, and is withdrawn");
        // A claim that stays is left waiting as well.
        if let Err(error) = self.write(&LeaseUpdate::Unclaim { by }).await {
            tracing::debug!(lease = %hold.key, %error, "the claim on a lease could not be removed");
        }
        // Between the look above and now it may have been asked to leave after all.
        if state.leaving.is_cancelled() || !state.reads(&hold.key.stream) {
            hold.request_yield(None);
        }
        true
    }

    /// Asks for this lease to go to the least loaded live worker that reads the stream and has room:
    /// [`Lease::yield_requested`] resolves then. For a holder that does not get on with the shard. `false` where there
    /// is no such worker.
    #[must_use]
    pub fn give_away(&self) -> bool {
        self.state.set_successors(&self.state.view().workers);
        let to = self.state.next_successor(&self.hold.key.stream);
        let found = to.is_some();
        if found && !self.hold.is_yielding() {
            self.hold.request_yield(to);
        }
        found
    }

    /// Says that everything that arrived in the shard before this time, in milliseconds since the Unix epoch, is done.
    /// Costs no write: it goes out with the worker's next heartbeat, so that a successor can tell an idle shard from one
    /// that was not read.
    pub fn set_caught_up(&self, until: u64) {
        self.hold.set_caught_up(until);
    }

    /// Whether an operator stopped the reading of this shard or of the group. The lease is held all the same: stop
    /// fetching, let what was fetched be done, and wait.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.hold.pause.borrow().is_on()
    }

    /// Resolves once the lease is paused, or not paused any more. Cancel safe.
    pub async fn until_paused(&self, paused: bool) {
        let mut pause = self.hold.pause.subscribe();
        // The sender lives in `self.hold`, so waiting cannot fail.
        let _ = pause.wait_for(|pause| pause.is_on() == paused).await;
    }

    /// The position that was announced, by this holder or an earlier one, and is not reached yet.
    #[must_use]
    pub fn pending(&self) -> Option<PendingPosition> {
        self.hold.with_stored(|stored| stored.pending.clone())
    }

    /// Announces a position with the application's own bytes, before the work that leads to it is made final
    /// elsewhere: whoever holds the lease next finds both by [`Lease::pending`], and can finish or undo that work.
    /// A checkpoint at or past the position removes them; another call replaces them; a seek removes them.
    ///
    /// # Errors
    /// As [`Lease::checkpoint`], and [`LeaseError::StateTooLarge`] with more than [`PENDING_STATE_LIMIT`] bytes.
    pub async fn prepare(&self, position: Position, state: Bytes) -> Result<(), LeaseError> {
        if state.len() > PENDING_STATE_LIMIT {
            return Err(LeaseError::StateTooLarge { given: state.len(), limit: PENDING_STATE_LIMIT });
        }
        let _one_at_a_time = self.hold.writing.lock().await;
        self.may_store(position)?;
        let pending = PendingPosition { position, state };
        if self.pending().as_ref() == Some(&pending) {
            return Ok(());
        }
        let (owner, epoch) = (self.state.me.clone(), self.hold.epoch);
        let update = LeaseUpdate::Prepare { owner, epoch, pending: pending.clone() };
        match self.write(&update).await {
            Ok(WriteOutcome::Applied { .. }) => {
                self.hold.with_stored(|stored| (stored.pending, stored.uncertain) = (Some(pending), None));
                Ok(())
            }
            Ok(WriteOutcome::Refused { current }) => Err(self.refused(current.as_ref())),
            Err(error) => {
                // It may be there, or arrive later: a checkpoint past it must remove it.
                self.hold.with_stored(|stored| stored.uncertain = stored.uncertain.max(Some(position)));
                Err(error.into())
            }
        }
    }

    /// Whether a position may be stored now, as far as this worker knows.
    fn may_store(&self, position: Position) -> Result<(), LeaseError> {
        let stored = self.hold.stored();
        if position < stored {
            return Err(LeaseError::Behind { given: position, stored });
        }
        if let Some(cause) = self.hold.lost() {
            return Err(LeaseError::Lost(cause));
        }
        if !self.state.is_valid() {
            return Err(LeaseError::Store(StoreError::new(
                StoreErrorKind::Unavailable,
                "heartbeats do not arrive, so positions cannot be stored: wait until the lease store answers again",
            )));
        }
        Ok(())
    }

    /// Stores a position, with what is known of the shard. Nothing is written where the position is stored already.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when the lease is not held any more or heartbeats do not arrive;
    /// [`LeaseError::Behind`] when a later position is stored; [`LeaseError::Store`] when the store failed and
    /// the write is not known to have taken effect: the lease is still held, try again.
    pub async fn checkpoint(
        &self,
        position: Position,
        metadata: CheckpointMetadata,
    ) -> Result<(), LeaseError> {
        let _one_at_a_time = self.hold.writing.lock().await;
        if position == self.hold.stored() {
            return Ok(());
        }
        self.store(position, metadata).await
    }

    /// Stores what is known of the shard beside the position that is stored: for what others have to know although nothing comes.
    ///
    /// # Errors
    /// As [`Lease::checkpoint`].
    pub async fn restate(&self, metadata: CheckpointMetadata) -> Result<(), LeaseError> {
        let _one_at_a_time = self.hold.writing.lock().await;
        self.store(self.hold.stored(), metadata).await
    }

    /// To be called by one at a time.
    async fn store(&self, position: Position, metadata: CheckpointMetadata) -> Result<(), LeaseError> {
        self.may_store(position)?;
        let settles = self.hold.settles(position);
        let update = LeaseUpdate::Checkpoint {
            owner: self.state.me.clone(),
            epoch: self.hold.epoch,
            position,
            at: self.state.clock.millis(),
            metadata,
            settles,
        };
        match self.write(&update).await? {
            WriteOutcome::Applied { .. } => {
                self.hold.with_stored(|stored| {
                    stored.position = position;
                    if settles {
                        (stored.pending, stored.uncertain) = (None, None);
                    }
                });
                Ok(())
            }
            WriteOutcome::Refused { current } => Err(self.refused(current.as_ref())),
        }
    }

    /// Moves the lease, with its final position, to the worker that claimed it, or, when this worker leaves, to
    /// the least loaded one, in one write; then notifies that worker. `None` keeps the stored position.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when it was not held any more; [`LeaseError::Store`] when the store failed for as
    /// long as the lease was valid: the position may not be stored.
    pub async fn hand_over(
        self,
        position: Option<Position>,
        metadata: CheckpointMetadata,
    ) -> Result<HandedOver, LeaseError> {
        if let Some(cause) = self.hold.lost() {
            return Err(LeaseError::Lost(cause));
        }
        let to = self.successor().await;
        self.state.give_up(&self.hold);
        let stored = self.hold.stored();
        let update = LeaseUpdate::HandOver {
            owner: self.state.me.clone(),
            epoch: self.hold.epoch,
            to: to.clone(),
            position: position.filter(|position| *position > stored),
            at: self.state.clock.millis(),
            metadata,
            settles: position.is_some_and(|position| self.hold.settles(position)),
        };
        self.write_until_settled(&update).await?;
        match &to {
            Some(to) => {
                let _ = notify(&self.state, to, WorkerNotification::Assigned(self.hold.key.clone())).await;
            }
            // The claimer is gone: without it nobody would take the lease before the next regular reconciliation.
            None => {
                self.state.left_unassigned(&self.hold.key);
                self.state.request_reconcile();
            }
        }
        Ok(HandedOver { to })
    }

    /// Stores the end of the shard: first the leases of its children, then the end itself; then takes up those
    /// children that are ready.
    ///
    /// # Errors
    /// As [`Lease::hand_over`]. After an error the lease is granted again and the end can be stored then.
    pub async fn finish(self, children: Vec<LeaseRow>) -> Result<(), LeaseError> {
        if let Some(cause) = self.hold.lost() {
            return Err(LeaseError::Lost(cause));
        }
        let (store, group) = (&self.state.store, &self.state.group);
        let inserts: Vec<_> =
            children.iter().map(|child| store.insert_lease_if_missing(group, child)).collect();
        stream::iter(inserts).buffer_unordered(INSERTS_AT_ONCE).try_collect::<Vec<_>>().await?;
        self.state.give_up(&self.hold);
        let update = LeaseUpdate::Finish {
            owner: self.state.me.clone(),
            epoch: self.hold.epoch,
            children: children.iter().map(|child| child.key.shard.clone()).collect(),
            at: self.state.clock.millis(),
        };
        self.write_until_settled(&update).await?;
        take_children(&self.state, &children).await;
        Ok(())
    }

    /// The claimer, or the successor a leaver chooses. A claimer that is gone meanwhile gets nothing.
    async fn successor(&self) -> Option<WorkerId> {
        let asked = self.hold.yielding.borrow().clone().and_then(|request| request.to);
        let stream = &self.hold.key.stream;
        let leaves = self.state.leaving.is_cancelled() || !self.state.reads(stream);
        let to = if leaves { self.state.next_successor(stream) } else { asked }?;
        match self.state.store.worker(&self.state.group, &to).await {
            Ok(Some(row)) if row.state == WorkerState::Alive && row.reads(stream) => Some(to),
            _ => None,
        }
    }

    async fn write(&self, update: &LeaseUpdate) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        update_lease(&self.state, &self.hold.key, update).await
    }

    /// A write that ends the hold: tried until it is settled or the validity has passed.
    async fn write_until_settled(&self, update: &LeaseUpdate) -> Result<(), LeaseError> {
        let deadline = Instant::now() + self.state.config.validity();
        let mut tried = false;
        loop {
            match self.write(update).await {
                Ok(WriteOutcome::Applied { .. }) => return Ok(()),
                Ok(WriteOutcome::Refused { current: Some(row) }) if tried && update.took_effect(&row) => {
                    return Ok(());
                }
                Ok(WriteOutcome::Refused { current }) => return Err(self.refused(current.as_ref())),
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    tracing::debug!(lease = %self.hold.key, %error, "could not move the lease, trying again");
                    tried = true;
                    sleep(MOVE_RETRY).await;
                }
                Err(error) => {
                    // Whether it moved is unknown: the next reconciliation finds out.
                    self.state.request_reconcile();
                    return Err(error.into());
                }
            }
        }
    }

    /// The condition did not hold: the lease is somebody else's, or at another epoch.
    fn refused(&self, current: Option<&LeaseRow>) -> LeaseError {
        let cause = match current {
            None => LeaseLostReason::Deleted,
            Some(row) if row.owner.as_ref() == Some(&self.state.me) => {
                if row.epoch == self.hold.epoch {
                    // Still held: the stored position is ahead, so another process writes as this worker.
                    return LeaseError::Behind { given: self.hold.stored(), stored: row.position };
                }
                LeaseLostReason::Seek
            }
            Some(_) => LeaseLostReason::Taken,
        };
        self.state.lose(&self.hold, cause);
        LeaseError::Lost(cause)
    }
}
