//! One queue: what it has delivered of its stream, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rokini_wire::shapes::queue::{
    DeadLetterConfiguration, QueueAttributes, QueueDescription, QueueStartingPosition, QueueStream,
    QueueStreamConfiguration, QueueSummary,
};
use rokini_wire::{QueueStartingPositionType, QueueStatus, TargetType, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::shard::{FIRST_OFFSET, Shard};

/// How long a record stays hidden, in seconds, unless something else is said; the default the service documents.
const DEFAULT_VISIBILITY_SECS: i32 = 30;
/// After how many receives a record is a dead letter, the default the service documents.
const DEFAULT_RECEIVES: i32 = 6;
/// Most records hidden at a time, as the service documents.
const MAX_IN_FLIGHT: usize = 120_000;

/// Shard and offset of a record.
pub(crate) type Place = (u32, u64);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Queue {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: Timestamp,
    pub(crate) status: QueueStatus,
    /// When CREATING, UPDATING or DELETING ends.
    pub(crate) due: Timestamp,
    pub(crate) attributes: Attributes,
    /// What the attributes become when UPDATING ends.
    pub(crate) pending: Option<Attributes>,
    pub(crate) start: QueueStartingPositionType,
    /// The time the start means.
    pub(crate) starts_at: Timestamp,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: Option<String>,
    // What each delivery changes is kept apart from what describes the queue.
    /// Offset of the first record never delivered, by shard. A shard that is not here has come since.
    #[serde(skip)]
    pub(crate) next: BTreeMap<u32, u64>,
    /// Records delivered and not acknowledged.
    #[serde(skip)]
    delivered: BTreeMap<Place, Delivery>,
    /// The same by when they are seen again.
    #[serde(skip)]
    by_time: BTreeSet<(Timestamp, Place)>,
    /// Deliveries so far.
    #[serde(skip)]
    pub(crate) deliveries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) visibility_secs: i32,
    /// After how many receives a record is a dead letter; never if absent.
    pub(crate) max_receives: Option<i32>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { visibility_secs: DEFAULT_VISIBILITY_SECS, max_receives: Some(DEFAULT_RECEIVES) }
    }
}

impl Attributes {
    /// What is said changes, the rest stays. `None` if it says that there are dead letters and not when.
    pub(crate) fn with(self, changes: &QueueAttributes) -> Option<Self> {
        let visibility_secs = changes.visibility_timeout_seconds.unwrap_or(self.visibility_secs);
        let max_receives = match &changes.dead_letter_configuration {
            None => self.max_receives,
            Some(letters) if letters.target_type == TargetType::None => None,
            Some(letters) => Some(letters.max_receive_count?),
        };
        Some(Self { visibility_secs, max_receives })
    }

    fn describe(self) -> QueueAttributes {
        let letters = match self.max_receives {
            Some(count) => DeadLetterConfiguration::new(TargetType::BuiltIn).max_receive_count(count),
            None => DeadLetterConfiguration::new(TargetType::None),
        };
        QueueAttributes::new()
            .visibility_timeout_seconds(self.visibility_secs)
            .dead_letter_configuration(letters)
    }
}

/// The last delivery of a record.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Names it among the deliveries of the queue.
    pub(crate) number: u64,
    pub(crate) receives: i32,
    pub(crate) first: Timestamp,
    /// When the record is seen again.
    pub(crate) visible: Timestamp,
    pub(crate) dead: bool,
}

/// Which of a queue's records a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    Living,
    Dead,
}

/// Why a delivery cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleHandle {
    /// Acknowledged, or past the retention of the stream.
    Gone,
    /// Received again since.
    Older,
    /// A dead letter where a living record is wanted, or the other way round.
    OtherKind,
    /// Seen again already, so that there is nothing to change.
    Visible,
}

impl Queue {
    #[allow(clippy::too_many_arguments, reason = "called once")]
    pub(crate) fn new(
        id: String,
        name: String,
        arn: String,
        now: Timestamp,
        due: Timestamp,
        attributes: Attributes,
        start: QueueStartingPositionType,
        starts_at: Timestamp,
        tags: BTreeMap<String, String>,
    ) -> Self {
        Self {
            id,
            name,
            arn,
            created: now,
            status: QueueStatus::Creating,
            due,
            attributes,
            pending: None,
            start,
            starts_at,
            tags,
            policy: None,
            next: BTreeMap::new(),
            delivered: BTreeMap::new(),
            by_time: BTreeSet::new(),
            deliveries: 0,
        }
    }

    /// Does what has come due. False when the queue is gone.
    pub(crate) fn apply_due_changes(&mut self, now: Timestamp) -> bool {
        if self.due > now {
            return true;
        }
        if let Some(attributes) = self.pending.take() {
            self.attributes = attributes;
        }
        if self.status == QueueStatus::Deleting {
            return false;
        }
        self.status = QueueStatus::Active;
        true
    }

    /// Whether it gives records.
    pub(crate) fn delivers(&self) -> bool {
        matches!(self.status, QueueStatus::Active | QueueStatus::Updating)
    }

    pub(crate) fn describe(&self, stream_arn: &str) -> QueueDescription {
        let mut start = QueueStartingPosition::new(self.start.clone());
        let known =
            self.status != QueueStatus::Creating || self.start == QueueStartingPositionType::AtTimestamp;
        start.timestamp = known.then_some(self.starts_at);
        let stream = QueueStreamConfiguration::new(stream_arn).starting_position(start);
        QueueDescription::new(&self.name, &self.arn, self.status.clone(), self.created, [stream])
            .queue_attributes(self.attributes.describe())
    }

    pub(crate) fn summary(&self, stream_arn: &str, stream_created: Timestamp) -> QueueSummary {
        let stream = QueueStream::new(stream_arn, stream_created);
        QueueSummary::new(&self.name, &self.arn, self.status.clone(), self.created, [stream])
    }

    /// Offset of the first record of a shard that was never delivered.
    pub(crate) fn next_offset(&self, shard: &Shard) -> u64 {
        let begun = self.next.get(&shard.number).copied().unwrap_or(FIRST_OFFSET);
        begun.max(shard.oldest_offset())
    }

    /// Whether one more record may be hidden.
    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        self.delivered.len() < MAX_IN_FLIGHT || self.in_flight(now) < MAX_IN_FLIGHT
    }

    fn in_flight(&self, now: Timestamp) -> usize {
        self.by_time.iter().rev().take_while(|(visible, _)| *visible > now).count()
    }

    /// Up to `most` places of records that were delivered before and are seen again. What was received too often becomes a
    /// dead letter with this look.
    pub(crate) fn visible(&mut self, now: Timestamp, letters: Letters, most: usize) -> Vec<Place> {
        let mut found = Vec::new();
        for (_, place) in self.by_time.iter().take_while(|(visible, _)| *visible <= now) {
            if found.len() >= most {
                break;
            }
            let Some(delivery) = self.delivered.get_mut(place) else { continue };
            delivery.dead |= self.attributes.max_receives.is_some_and(|most| delivery.receives >= most);
            if delivery.dead == (letters == Letters::Dead) {
                found.push(*place);
            }
        }
        found
    }

    /// Delivers a record: hidden until `visible`.
    pub(crate) fn deliver(&mut self, now: Timestamp, place: Place, visible: Timestamp) -> Delivery {
        let number = self.deliveries;
        self.deliveries += 1;
        let before = self.forget(place);
        let delivery = Delivery {
            number,
            receives: before.map_or(0, |before| before.receives).saturating_add(1),
            first: before.map_or(now, |before| before.first),
            visible,
            dead: before.is_some_and(|before| before.dead),
        };
        self.keep(place, delivery);
        delivery
    }

    /// The record is acknowledged, or gone from the stream.
    pub(crate) fn forget(&mut self, place: Place) -> Option<Delivery> {
        let delivery = self.delivered.remove(&place)?;
        self.by_time.remove(&(delivery.visible, place));
        Some(delivery)
    }

    /// The records that are delivered and not acknowledged.
    #[cfg(feature = "data")]
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.delivered.keys().copied()
    }

    /// The last delivery of a record that is not acknowledged.
    #[cfg(feature = "data")]
    pub(crate) fn delivery(&self, place: Place) -> Option<Delivery> {
        self.delivered.get(&place).copied()
    }

    /// How many records are delivered and not acknowledged: hidden now, and of all of them those that are dead letters.
    pub(crate) fn counts(&self, now: Timestamp) -> (usize, usize) {
        (self.in_flight(now), self.delivered.values().filter(|delivery| delivery.dead).count())
    }

    /// Takes back a delivery that was kept elsewhere.
    pub(crate) fn keep(&mut self, place: Place, delivery: Delivery) {
        self.by_time.insert((delivery.visible, place));
        self.delivered.insert(place, delivery);
    }

    /// Hides a record until another time.
    pub(crate) fn hide(&mut self, place: Place, until: Timestamp) {
        if let Some(delivery) = self.forget(place) {
            self.keep(place, Delivery { visible: until, ..delivery });
        }
    }

    /// Makes a dead letter a record that was never received.
    pub(crate) fn restore(&mut self, now: Timestamp, place: Place) {
        if let Some(delivery) = self.forget(place) {
            self.keep(place, Delivery { receives: 0, dead: false, visible: now, ..delivery });
        }
    }

    /// Whether a delivery can still be used.
    pub(crate) fn check(
        &mut self,
        now: Timestamp,
        place: Place,
        number: u64,
        letters: Letters,
    ) -> Result<Delivery, StaleHandle> {
        let most = self.attributes.max_receives;
        let delivery = self.delivered.get_mut(&place).ok_or(StaleHandle::Gone)?;
        if delivery.number != number {
            return Err(StaleHandle::Older);
        }
        let seen = delivery.visible <= now;
        delivery.dead |= seen && most.is_some_and(|most| delivery.receives >= most);
        if delivery.dead != (letters == Letters::Dead) {
            return Err(StaleHandle::OtherKind);
        }
        Ok(*delivery)
    }

    /// As [`Stream::pull_back`](crate::model::stream::Stream::pull_back).
    #[cfg(feature = "data")]
    pub(crate) fn pull_back(&mut self, by: Duration) {
        self.due = self.due.minus(by);
        self.by_time.clear();
        for (place, delivery) in &mut self.delivered {
            delivery.visible = delivery.visible.minus(by);
            self.by_time.insert((delivery.visible, *place));
        }
    }

    /// When a record that is hidden now is seen again, the first of all.
    pub(crate) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        let after = (now.plus(Duration::from_millis(1)), (0, 0));
        self.by_time.range(after..).next().map(|(visible, _)| *visible)
    }
}
