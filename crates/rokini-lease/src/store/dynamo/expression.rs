//! Updates as expressions of DynamoDB. What they mean is said by `LeaseUpdate::apply` and
//! `WorkerUpdate::apply`; the conformance suite holds the two together.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{
    BYTES_PER_SECOND, CALL, CAUGHT_UP_AT, CHECKPOINTED_AT, CHILDREN, CLAIM, CONSUMER, EPOCH, FAN_OUT, GROUP,
    HEARTBEAT, Item, LAST_ORDER, LAYOUT_ATTRIBUTES, LEASE_ATTRIBUTES, LEASES, MAILBOX, MOVED, ORDER, ORDERS,
    OWNER, PAUSE_ORDER, PAUSED, PAUSED_AT, PENDING_POSITION, PENDING_STATE, PINNED_TO, POSITION, PREVIOUS,
    RANK, RECORD_ARRIVED_AT, RECORD_BYTES, ROW, SKIPPED, STATE, STREAMS, WORKER_ATTRIBUTES, blob, list,
    number, text, time,
};
use super::items;
use crate::position::Position;
use crate::row::{CheckpointMetadata, WorkerState};
use crate::types::{Epoch, WorkerId};
use crate::update::{GroupUpdate, LeaseUpdate, MAILBOX_LIMIT, StreamUpdate, WorkerUpdate};

/// An update expression with its condition. Every attribute goes by a placeholder: `owner`, `state` and others
/// are reserved words.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expression {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    condition: Vec<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, placeholder: String, value: AttributeValue) -> String {
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let (name, value) = (self.name(attribute), self.value(format!(":{attribute}"), value));
        self.set.push(format!("{name} = {value}"));
        self
    }

    /// Sets the attribute where there is a value.
    fn learn(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self,
        }
    }

    /// Sets the attribute, or removes it where there is no value.
    fn put(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    /// Sets the attribute where it is not there yet.
    fn set_first(mut self, attribute: &str, value: AttributeValue) -> Self {
        let (name, value) = (self.name(attribute), self.value(format!(":{attribute}"), value));
        self.set.push(format!("{name} = if_not_exists({name}, {value})"));
        self
    }

    /// Adds to the end of a list, and makes it where there is none.
    fn append(mut self, attribute: &str, values: AttributeValue) -> Self {
        let name = self.name(attribute);
        let none = self.value(format!(":no_{attribute}"), AttributeValue::L(Vec::new()));
        let values = self.value(format!(":{attribute}"), values);
        self.set.push(format!("{name} = list_append(if_not_exists({name}, {none}), {values})"));
        self
    }

    fn copy(mut self, to: &str, from: &str) -> Self {
        let (to, from) = (self.name(to), self.name(from));
        self.set.push(format!("{to} = {from}"));
        self
    }

    fn remove(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.remove.push(name);
        self
    }

    fn add(mut self, attribute: &str, value: AttributeValue) -> Self {
        let (name, value) = (self.name(attribute), self.value(format!(":{attribute}"), value));
        self.add.push(format!("{name} {value}"));
        self
    }

    /// Holds while `attribute operator value`.
    fn when(mut self, attribute: &str, operator: &str, value: AttributeValue) -> Self {
        let (name, value) = (self.name(attribute), self.value(format!(":when_{attribute}"), value));
        self.condition.push(format!("{name} {operator} {value}"));
        self
    }

    fn when_exists(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.condition.push(format!("attribute_exists({name})"));
        self
    }

    fn when_absent(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.condition.push(format!("attribute_not_exists({name})"));
        self
    }

    /// Joins the last two conditions by `OR`.
    fn either(mut self) -> Self {
        if let (Some(second), Some(first)) = (self.condition.pop(), self.condition.pop()) {
            self.condition.push(format!("({first} OR {second})"));
        }
        self
    }

    pub(super) fn condition(&self) -> String {
        self.condition.join(" AND ")
    }

    /// None where there are none: an empty map is refused.
    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        Some(self.values.clone()).filter(|values| !values.is_empty())
    }

    pub(super) fn update(&self) -> String {
        let clauses =
            [("SET", self.set.join(", ")), ("REMOVE", self.remove.join(", ")), ("ADD", self.add.join(", "))];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        clauses.map(|(verb, parts)| format!("{verb} {parts}")).collect::<Vec<_>>().join(" ")
    }

    fn when_held(self, owner: &WorkerId, epoch: Epoch) -> Self {
        self.when(OWNER, "=", text(owner)).when(EPOCH, "=", number(epoch))
    }

    fn move_to(self, position: Position) -> Self {
        self.set(POSITION, text(position)).set(RANK, text(position.rank()))
    }

    /// What the holder says together with a position.
    fn with_metadata(self, metadata: &CheckpointMetadata, settles: bool) -> Self {
        let known = self
            .learn(RECORD_ARRIVED_AT, metadata.record_arrival_millis.map(time))
            .learn(CAUGHT_UP_AT, metadata.caught_up_millis.map(time))
            .learn(BYTES_PER_SECOND, metadata.bytes_per_second.map(number))
            .learn(RECORD_BYTES, metadata.record_bytes.map(number))
            .learn(SKIPPED, metadata.skipped.map(text))
            .learn(FAN_OUT, metadata.fan_out.map(AttributeValue::Bool));
        if settles { known.without_pending() } else { known }
    }

    fn without_pending(self) -> Self {
        self.remove(PENDING_POSITION).remove(PENDING_STATE)
    }

    /// Stores a position that is not below the stored one.
    fn progress_to(self, position: Position, at: u64) -> Self {
        self.when(RANK, "<=", text(position.rank())).move_to(position).set(CHECKPOINTED_AT, time(at))
    }
}

/// The row does not exist.
pub(super) fn absent() -> Expression {
    Expression::default().when_absent(ROW)
}

/// The lease does not exist, or has this epoch.
pub(super) fn absent_or_at(epoch: Epoch) -> Expression {
    Expression::default().when_absent(ROW).when(EPOCH, "=", number(epoch)).either()
}

/// The row is none that stands for another one.
pub(super) fn not_forwarding() -> Expression {
    Expression::default().when_absent(MOVED)
}

/// The row stands for another one.
pub(super) fn forwarding() -> Expression {
    Expression::default().when_exists(MOVED)
}

/// The row is as it was read: everything it had, and nothing else that this version knows.
pub(super) fn unchanged(item: &Item) -> Expression {
    let mut expression = Expression::default();
    let had: BTreeMap<_, _> =
        item.iter().filter(|(name, _)| ![GROUP, ROW].contains(&name.as_str())).collect();
    for (n, (name, value)) in had.into_iter().enumerate() {
        expression.names.insert(format!("#a{n}"), name.clone());
        expression.values.insert(format!(":a{n}"), value.clone());
        expression.condition.push(format!("#a{n} = :a{n}"));
    }
    let known = LEASE_ATTRIBUTES.iter().chain(WORKER_ATTRIBUTES).chain(LAYOUT_ATTRIBUTES).chain([&MOVED]);
    let mut missing: Vec<&str> = known.copied().filter(|name| !item.contains_key(*name)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.into_iter().fold(expression, Expression::when_absent)
}

pub(super) fn lease(update: &LeaseUpdate) -> Expression {
    let expression = Expression::default().when_absent(MOVED);
    match update {
        LeaseUpdate::Acquire { by, seen, at_least, caught_up_millis } => expression
            .when(EPOCH, "=", number(seen))
            .when(RANK, "<>", text(Position::ShardEnd.rank()))
            .set(OWNER, text(by))
            .set(EPOCH, number(seen.next().max(*at_least)))
            .learn(CAUGHT_UP_AT, caught_up_millis.map(time))
            .remove(CLAIM),
        LeaseUpdate::Checkpoint { owner, epoch, position, at, metadata, settles } => {
            expression.when_held(owner, *epoch).progress_to(*position, *at).with_metadata(metadata, *settles)
        }
        LeaseUpdate::Prepare { owner, epoch, pending } => expression
            .when_held(owner, *epoch)
            .when(RANK, "<=", text(pending.position.rank()))
            .set(PENDING_POSITION, text(pending.position))
            .set(PENDING_STATE, blob(&pending.state)),
        LeaseUpdate::HandOver { owner, epoch, to, position, at, metadata, settles } => {
            let held = expression.when_held(owner, *epoch).with_metadata(metadata, *settles);
            let stored = match position {
                Some(position) => held.progress_to(*position, *at),
                None => held,
            };
            stored.put(OWNER, to.as_ref().map(text)).set(EPOCH, number(epoch.next())).remove(CLAIM)
        }
        LeaseUpdate::Finish { owner, epoch, children, at } => {
            let ended = expression
                .when_held(owner, *epoch)
                .move_to(Position::ShardEnd)
                .set(CHECKPOINTED_AT, time(*at))
                .set(EPOCH, number(epoch.next()))
                .remove(OWNER)
                .remove(CLAIM)
                .without_pending();
            ended.put(CHILDREN, (!children.is_empty()).then(|| list(children)))
        }
        LeaseUpdate::Claim { by, seen, over } => {
            let free = expression.when(EPOCH, "=", number(seen)).when_absent(CLAIM);
            let free = match over {
                Some(over) => free.when(CLAIM, "=", text(over)).either(),
                None => free,
            };
            free.set(CLAIM, text(by))
        }
        LeaseUpdate::Unclaim { by } => expression.when(CLAIM, "=", text(by)).remove(CLAIM),
        LeaseUpdate::Seek { seen, to, order } => expression
            .when(EPOCH, "=", number(seen))
            .copy(PREVIOUS, POSITION)
            .put(ORDER, order.map(text))
            .move_to(*to)
            .set(EPOCH, number(seen.next()))
            .remove(RECORD_ARRIVED_AT)
            .remove(CAUGHT_UP_AT)
            .remove(FAN_OUT)
            .without_pending(),
        LeaseUpdate::Pause { paused: true, order } => expression
            .when_exists(ROW)
            .when_absent(PAUSED)
            .when(PAUSED, "=", AttributeValue::Bool(false))
            .either()
            .set(PAUSED, AttributeValue::Bool(true))
            .put(PAUSE_ORDER, order.map(text)),
        LeaseUpdate::Pause { paused: false, order } => expression
            .when(PAUSED, "=", AttributeValue::Bool(true))
            .remove(PAUSED)
            .put(PAUSE_ORDER, order.map(text)),
        LeaseUpdate::Pin { to: Some(to) } => expression
            .when_exists(ROW)
            .when_absent(PINNED_TO)
            .when(PINNED_TO, "<>", text(to))
            .either()
            .set(PINNED_TO, text(to)),
        LeaseUpdate::Pin { to: None } => expression.when_exists(PINNED_TO).remove(PINNED_TO),
    }
}

pub(super) fn group(update: &GroupUpdate) -> Expression {
    let expression = Expression::default();
    match update {
        GroupUpdate::Pause { at } => expression.set_first(PAUSED_AT, time(*at)),
        GroupUpdate::Resume => expression.remove(PAUSED_AT),
        GroupUpdate::Remember(order) => expression
            .when_absent(LAST_ORDER)
            .when(LAST_ORDER, "<", number(order.id.0))
            .either()
            .append(ORDERS, list([order]))
            .set(LAST_ORDER, number(order.id.0)),
    }
}

/// Forgets the first of so many orders, while there are so many.
pub(super) fn forget(orders: usize, excess: usize) -> Expression {
    let mut expression = Expression::default();
    let (name, value) = (expression.name(ORDERS), expression.value(":many".to_owned(), number(orders)));
    expression.condition.push(format!("size({name}) = {value}"));
    expression.remove.extend((0..excess).map(|n| format!("{name}[{n}]")));
    expression
}

pub(super) fn stream(update: &StreamUpdate) -> Expression {
    // Without the first condition an update of a missing row would make one.
    let expression = Expression::default().when_exists(ROW);
    match update {
        StreamUpdate::Consumer { seen, to } => match seen {
            Some(seen) => expression.when(CONSUMER, "=", text(seen)),
            None => expression.when_absent(CONSUMER),
        }
        .set(CONSUMER, text(to)),
    }
}

pub(super) fn worker(update: &WorkerUpdate) -> Expression {
    // Without the first condition an update of a missing row would make one: there `<>` holds.
    let live = not_forwarding().when_exists(ROW).when(STATE, "<>", text(WorkerState::Fenced));
    match update {
        WorkerUpdate::Heartbeat { seen, call, load, state, streams, report } => {
            let beat = live
                .when(HEARTBEAT, "=", number(seen))
                .set(HEARTBEAT, number(seen + 1))
                .set(CALL, number(call))
                .set(LEASES, number(load.leases))
                .set(STATE, text(state))
                .put(STREAMS, streams.as_ref().map(list))
                .remove(MAILBOX);
            items::report(report).into_iter().fold(beat, |beat, (name, value)| beat.put(name, value))
        }
        WorkerUpdate::Fence { seen } => {
            live.when(HEARTBEAT, "=", number(seen)).set(STATE, text(WorkerState::Fenced))
        }
        WorkerUpdate::Notify(note) => live
            .when_absent(MAILBOX)
            .when_size(MAILBOX, MAILBOX_LIMIT)
            .either()
            .add(MAILBOX, AttributeValue::Ss(vec![note.to_string()])),
    }
}

impl Expression {
    /// Holds while the set has fewer members.
    fn when_size(mut self, attribute: &str, below: usize) -> Self {
        let (name, value) = (self.name(attribute), self.value(format!(":when_{attribute}"), number(below)));
        self.condition.push(format!("size({name}) < {value}"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Incarnation, WorkerName};

    #[test]
    fn a_hand_over_is_one_write_with_its_conditions() {
        let owner = WorkerId::new(WorkerName::new("a").unwrap(), Incarnation::new(1));
        let expression = lease(&LeaseUpdate::HandOver {
            owner,
            epoch: Epoch(4),
            to: None,
            position: Some(Position::ShardEnd),
            at: 0,
            metadata: CheckpointMetadata { bytes_per_second: Some(7), ..CheckpointMetadata::default() },
            settles: false,
        });
        assert_eq!(
            expression.condition(),
            "attribute_not_exists(#moved) AND #owner = :when_owner AND #epoch = :when_epoch AND #rank <= :when_rank"
        );
        assert_eq!(
            expression.update(),
            "SET #bytes_per_second = :bytes_per_second, #position = :position, #rank = :rank, \
             #checkpointed_at = :checkpointed_at, #epoch = :epoch REMOVE #owner, #claim"
        );
        assert_eq!(expression.values[":epoch"], number(5));
    }

    #[test]
    fn every_name_and_value_given_is_used() {
        // DynamoDB refuses an expression with a name or value that it does not mention.
        let expression =
            worker(&WorkerUpdate::Notify(crate::row::WorkerNotification::Assigned("s#1".parse().unwrap())));
        let text = format!("{} {}", expression.condition(), expression.update());
        for placeholder in expression.names.keys().chain(expression.values.keys()) {
            assert!(text.contains(placeholder.as_str()), "{placeholder} is not in {text}");
        }
        assert_eq!(
            expression.condition(),
            "attribute_not_exists(#moved) AND attribute_exists(#row) AND #state <> :when_state AND \
             (attribute_not_exists(#mailbox) OR size(#mailbox) < :when_mailbox)"
        );
    }
}
