//! What a child may store, and by which Java class's name it is refused.

use std::collections::BTreeMap;

use rokini::lease::{Position, Progress, SequenceNumber};
use rokini::{ErrorKind, Record};

use super::message::CheckpointRequest;

/// Where the numbers of a child stand: what it stored last, and what it has got.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Stored, or where the lease began.
    last: Position,
    /// The first record that it has got: a number before it may be none of the stream, which would refuse to read on from there.
    first: Option<SequenceNumber>,
    /// The last record that it has got.
    delivered: Option<Position>,
    /// Of the records of the stream that hold several user records, those that were delivered and are not stored, with the
    /// last user record that the child has got: its number, and the position with it.
    aggregates: BTreeMap<SequenceNumber, (u64, Position)>,
}

/// What is to be done for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// It is stored already.
    Nothing,
    Store(Position),
}

/// The simple names of the classes that applications compare errors with.
pub(super) const SHUTDOWN: &str = "ShutdownException";
pub(super) const THROTTLING: &str = "ThrottlingException";
pub(super) const INVALID_STATE: &str = "InvalidStateException";
pub(super) const DEPENDENCY: &str = "KinesisClientLibDependencyException";
pub(super) const ILLEGAL_ARGUMENT: &str = "IllegalArgumentException";

/// The class that says what became of a write.
pub(super) fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        // The lease is lost: the application stops.
        ErrorKind::Fenced => SHUTDOWN,
        ErrorKind::Throttled => THROTTLING,
        // The table is not there, or not to be written to: trying again does not help.
        ErrorKind::Configuration | ErrorKind::Permission => INVALID_STATE,
        ErrorKind::Data => ILLEGAL_ARGUMENT,
        _ => DEPENDENCY,
    }
}

impl Checkpointer {
    pub(super) fn new(position: Position) -> Self {
        Self { last: position, first: None, delivered: None, aggregates: BTreeMap::new() }
    }

    /// The child gets these records.
    pub(super) fn deliver(&mut self, records: &[Record]) {
        let several = records.iter().filter_map(|record| {
            Some((record.sequence_number, (record.sub_sequence_number?, record.position())))
        });
        self.aggregates.extend(several);
        self.first = self.first.or_else(|| records.first().map(|record| record.sequence_number));
        if let Some(last) = records.last() {
            self.delivered = self.delivered.max(Some(last.position()));
        }
    }

    /// What the child has got.
    pub(super) fn largest(&self) -> Position {
        self.delivered.unwrap_or(self.last).max(self.last)
    }

    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// What a request asks for; `Err` with the name of a class where it may not.
    pub(super) fn resolve(&self, request: &CheckpointRequest) -> Result<Checkpoint, &'static str> {
        let asked = match &request.sequence_number {
            None => self.largest(),
            Some(text) => self.position(text, request.sub_sequence_number.unwrap_or(0))?,
        };
        if asked == self.last {
            return Ok(Checkpoint::Nothing);
        }
        if asked < self.last || asked > self.largest() {
            return Err(ILLEGAL_ARGUMENT);
        }
        Ok(Checkpoint::Store(asked))
    }

    fn position(&self, text: &str, sub: i64) -> Result<Position, &'static str> {
        let sub = u64::try_from(sub).map_err(|_| ILLEGAL_ARGUMENT)?;
        match text {
            // Those that stand for a start are where the child began, or nothing that it may go back to.
            "TRIM_HORIZON" | "AT_TIMESTAMP" | "LATEST" => match self.last {
                Position::TrimHorizon | Position::AtTimestamp(_) => Ok(self.last),
                _ => Err(ILLEGAL_ARGUMENT),
            },
            _ => {
                let number: SequenceNumber = text.trim().parse().map_err(|_| ILLEGAL_ARGUMENT)?;
                let began = matches!(self.last, Position::Sequence(last, _) if last == number);
                if !began && self.first.is_none_or(|first| number < first) {
                    return Err(ILLEGAL_ARGUMENT);
                }
                let asked = match self.aggregates.get(&number) {
                    None => Position::after(number),
                    Some((last, position)) if sub == *last => *position,
                    Some((last, _)) if sub > *last => return Err(ILLEGAL_ARGUMENT),
                    Some(_) => Position::Sequence(number, Progress::Through(sub)),
                };
                // Where it began, in the form that was told the child.
                Ok(if began && asked < self.last { self.last } else { asked })
            }
        }
    }

    /// It is stored.
    pub(super) fn stored(&mut self, position: Position) {
        self.last = self.last.max(position);
        if let Position::Sequence(number, _) = self.last {
            self.aggregates = self.aggregates.split_off(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u128, sub: Option<u64>) -> Record {
        let mut record = Record::new(number.into(), "k", "d", 0);
        record.sub_sequence_number = sub;
        record
    }

    fn ask(
        checkpointer: &Checkpointer,
        sequence: Option<&str>,
        sub: Option<i64>,
    ) -> Result<Checkpoint, &'static str> {
        let sequence_number = sequence.map(str::to_owned);
        checkpointer.resolve(&CheckpointRequest { sequence_number, sub_sequence_number: sub })
    }

    #[test]
    fn m2_errors_have_the_names_of_java_classes() {
        for (kind, class) in [
            (ErrorKind::Fenced, "ShutdownException"),
            (ErrorKind::Throttled, "ThrottlingException"),
            (ErrorKind::Configuration, "InvalidStateException"),
            (ErrorKind::Permission, "InvalidStateException"),
            (ErrorKind::Data, "IllegalArgumentException"),
            (ErrorKind::Retry, "KinesisClientLibDependencyException"),
            (ErrorKind::Handler, "KinesisClientLibDependencyException"),
            (ErrorKind::Bug, "KinesisClientLibDependencyException"),
        ] {
            assert_eq!(class_of(kind), class, "{kind:?}");
        }
    }

    #[test]
    fn m2_checkpoints_follow_the_rules_of_the_kcl() {
        let after = |number: u128| Position::after(number.into());
        let mut checkpointer = Checkpointer::new(Position::TrimHorizon);
        assert_eq!(ask(&checkpointer, None, None), Ok(Checkpoint::Nothing), "nothing was delivered");
        assert_eq!(ask(&checkpointer, Some("TRIM_HORIZON"), None), Ok(Checkpoint::Nothing));
        assert_eq!(ask(&checkpointer, Some("5"), None), Err(ILLEGAL_ARGUMENT), "not delivered yet");
        checkpointer.deliver(&[record(5, None), record(7, None)]);
        for (sequence, sub, expected) in [
            (None, None, Ok(Checkpoint::Store(after(7)))),
            (Some("7"), Some(0), Ok(Checkpoint::Store(after(7)))),
            (Some("5"), None, Ok(Checkpoint::Store(after(5)))),
            (Some("6"), None, Ok(Checkpoint::Store(after(6)))),
            (Some("8"), None, Err(ILLEGAL_ARGUMENT)),
            (Some("4"), None, Err(ILLEGAL_ARGUMENT)),
            (Some("0"), None, Err(ILLEGAL_ARGUMENT)),
            (Some("7"), Some(-1), Err(ILLEGAL_ARGUMENT)),
            (Some("seven"), None, Err(ILLEGAL_ARGUMENT)),
            (Some("SHARD_END"), None, Err(ILLEGAL_ARGUMENT)),
        ] {
            assert_eq!(ask(&checkpointer, sequence, sub), expected, "{sequence:?} {sub:?}");
        }
        checkpointer.stored(after(7));
        assert_eq!(ask(&checkpointer, Some("7"), Some(0)), Ok(Checkpoint::Nothing));
        assert_eq!(ask(&checkpointer, Some("5"), None), Err(ILLEGAL_ARGUMENT), "it never goes back");
        assert_eq!(ask(&checkpointer, Some("LATEST"), None), Err(ILLEGAL_ARGUMENT));
    }

    #[test]
    fn m2_user_records_of_an_aggregate_are_stored_one_by_one() {
        let mut checkpointer = Checkpointer::new(Position::after(4_u128.into()));
        checkpointer.deliver(&[record(5, Some(0)), record(5, Some(1)), record(5, Some(2))]);
        let through = |sub| Position::Sequence(5_u128.into(), Progress::Through(sub));
        assert_eq!(ask(&checkpointer, Some("5"), Some(1)), Ok(Checkpoint::Store(through(1))));
        assert_eq!(ask(&checkpointer, Some("5"), None), Ok(Checkpoint::Store(through(0))));
        assert_eq!(ask(&checkpointer, Some("5"), Some(3)), Err(ILLEGAL_ARGUMENT));
        checkpointer.stored(through(1));
        assert_eq!(ask(&checkpointer, Some("5"), Some(0)), Ok(Checkpoint::Nothing), "where it stands");
        assert_eq!(ask(&checkpointer, None, None), Ok(Checkpoint::Store(through(2))));
    }
}
