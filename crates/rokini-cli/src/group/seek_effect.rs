//! What a seek means in time and records. Pure.

use std::fmt;
use std::time::Duration;

use rokini::lease::{GroupView, LeaseRow, Position, Progress, SeekChange, SequenceNumber, StreamId};
use serde::Serialize;

use crate::text::span;

/// What a stream says of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamClock {
    pub(super) now_millis: u64,
    /// `Duration::MAX` where it is not known.
    pub(super) retention: Duration,
}

impl StreamClock {
    /// The time of the oldest record that a stream can have: none is kept for longer than its retention, and none is older than
    /// the stream. Where the retention is not known, the second alone.
    fn oldest_millis(self, stream: &StreamId) -> u64 {
        let made = stream.as_str().rsplit_once('@').and_then(|(_, millis)| millis.parse().ok());
        let retention = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        self.now_millis.saturating_sub(retention).max(made.unwrap_or(0))
    }
}

/// Where a seek goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    /// Records come again.
    Back,
    /// Records are skipped.
    Forward,
    /// To where it stands, or to a time since which nothing came.
    Nowhere,
    /// It cannot be told.
    Unknown,
}

/// What a seek means for one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct SeekEffect {
    pub(super) direction: Direction,
    /// Over how much of the stream's time.
    pub(super) over_millis: Option<u64>,
    /// How many bytes come again or are skipped, by what the shard has brought in a second lately.
    pub(super) about_bytes: Option<u64>,
    /// How many records these are, by how large they have been lately.
    pub(super) about_records: Option<u64>,
}

impl SeekEffect {
    /// `view`: the group as it stood. `arrival`: when the record that is sought arrived.
    pub(super) fn of(step: &SeekChange, view: &GroupView, clock: StreamClock, arrival: Option<u64>) -> Self {
        let floor = clock.oldest_millis(&step.key.stream);
        let oldest = Some(floor).filter(|_| clock.retention != Duration::MAX);
        let lease = view.leases.iter().find(|row| row.key == step.key);
        let stands = StandsAt::of(step.from, lease, view, oldest);
        let to = match step.to {
            Position::AtTimestamp(millis) => Some(millis),
            Position::TrimHorizon => oldest,
            Position::Sequence(number, _) => arrival.or_else(|| arrival_of(number)),
            Position::ShardEnd => arrival,
        };
        let from = stands.against(to);
        let by_time = || from.zip(to).map(|(from, to)| to.cmp(&from));
        let order = match (step.from, step.to) {
            (from, to) if from == to => Some(std::cmp::Ordering::Equal),
            (Position::ShardEnd, _) | (Position::Sequence(..), Position::TrimHorizon) => {
                Some(std::cmp::Ordering::Less)
            }
            (Position::Sequence(..), Position::Sequence(..)) => Some(step.to.cmp(&step.from)),
            (Position::TrimHorizon, _) => Some(std::cmp::Ordering::Greater),
            _ => by_time(),
        };
        let direction = match order {
            Some(std::cmp::Ordering::Less) => Direction::Back,
            Some(std::cmp::Ordering::Greater) => Direction::Forward,
            Some(std::cmp::Ordering::Equal) => Direction::Nowhere,
            None => Direction::Unknown,
        };
        // There is nothing to come again or to be skipped before the oldest record.
        let over_millis = from.zip(to).map(|(from, to)| from.max(floor).abs_diff(to.max(floor)));
        let rate = lease.and_then(|lease| lease.metadata.bytes_per_second);
        let about_bytes = over_millis.zip(rate).map(|(millis, rate)| rate.saturating_mul(millis) / 1000);
        let size = lease.and_then(|lease| lease.metadata.record_bytes);
        let about_records = about_bytes.zip(size).map(|(bytes, size)| bytes / size.max(1));
        Self { direction, over_millis, about_bytes, about_records }
    }
}

impl SeekEffect {
    /// The two positions in the order of the shard, where there may be records in between.
    pub(super) fn span(&self, step: &SeekChange) -> Option<(Position, Position)> {
        match self.direction {
            Direction::Back => Some((step.to, step.from)),
            Direction::Forward => Some((step.from, step.to)),
            Direction::Nowhere | Direction::Unknown => None,
        }
    }

    /// The same where no record lies in between.
    pub(super) fn without_records(self) -> Self {
        let none = |known: Option<u64>| known.map(|_| 0);
        let (about_bytes, about_records) = (none(self.about_bytes), none(self.about_records));
        Self { direction: Direction::Nowhere, about_bytes, about_records, ..self }
    }
}

/// Whether a record lies before a position; one of which that cannot be told does.
pub(super) fn lies_before(number: Option<SequenceNumber>, arrival: Option<u64>, to: Position) -> bool {
    match to {
        Position::TrimHorizon => false,
        Position::AtTimestamp(millis) => arrival.is_none_or(|arrival| arrival < millis),
        Position::Sequence(end, Progress::Nothing) => number.is_none_or(|number| number < end),
        Position::Sequence(end, _) => number.is_none_or(|number| number <= end),
        Position::ShardEnd => true,
    }
}

/// Where a shard stands in time, in milliseconds since the Unix epoch, as far as that is known.
#[derive(Debug, Clone, Copy)]
struct StandsAt {
    /// When the last record that is done arrived.
    last_record: Option<u64>,
    /// Until when whatever arrived is done: in between nothing came.
    done_until: Option<u64>,
}

impl StandsAt {
    fn of(from: Position, lease: Option<&LeaseRow>, view: &GroupView, oldest: Option<u64>) -> Self {
        let known = lease.map(|lease| lease.metadata).unwrap_or_default();
        let stored = known.record_arrival_millis.max(known.caught_up_millis);
        let done_until = lease.and_then(|lease| view.done_until(lease));
        let (last_record, done_until) = match from {
            Position::TrimHorizon => (oldest, oldest),
            Position::AtTimestamp(millis) => (Some(millis), done_until.or(Some(millis))),
            Position::Sequence(number, _) => {
                let arrived = known.record_arrival_millis.or_else(|| arrival_of(number));
                (arrived, done_until.or(arrived))
            }
            Position::ShardEnd => (stored, stored),
        };
        Self { last_record: last_record.or(done_until), done_until }
    }

    /// The time that another one is before or after; that itself where it lies in between.
    fn against(self, to: Option<u64>) -> Option<u64> {
        let (first, last) = self.last_record.zip(self.done_until)?;
        Some(to.unwrap_or(last).clamp(first.min(last), last))
    }
}

impl fmt::Display for SeekEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Less than the numbers tell: a second.
        let told = self.over_millis.filter(|millis| *millis > 0);
        let over = told.map(|millis| format!(" {}", span(millis))).unwrap_or_default();
        let bytes = match (self.about_records, self.about_bytes.filter(|bytes| *bytes > 0).map(size)) {
            (Some(records), Some(bytes)) => format!(", about {records} in {bytes}"),
            (_, Some(bytes)) => format!(", about {bytes}"),
            (_, None) => String::new(),
        };
        match self.direction {
            Direction::Back => write!(f, "back{over}: records come again{bytes}"),
            Direction::Forward => write!(f, "forward{over}: records are skipped{bytes}"),
            Direction::Nowhere => f.write_str("no record comes again, and none is skipped"),
            Direction::Unknown => f.write_str("whether records come again is not known"),
        }
    }
}

/// When the record of a number arrived, in milliseconds since the Unix epoch, where the number says it.
fn arrival_of(number: SequenceNumber) -> Option<u64> {
    Some(number.arrival_second()? * 1000)
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        ..1_000_000 => format!("{} KB", bytes / 1_000),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::{CheckpointMetadata, Scope};

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    /// A step as an operator reports it.
    async fn step(from: Position, to: Position) -> (SeekChange, LeaseRow) {
        use rokini::lease::{GroupId, LeaseStoreExt, MemoryStore, Operator, WallClock};
        let store = MemoryStore::new();
        let group = GroupId::new("g").unwrap();
        let mut lease = LeaseRow::new("s@1#a".parse().unwrap(), from);
        lease.metadata = CheckpointMetadata::default();
        lease.metadata.record_arrival_millis = Some(NOW - HOUR);
        lease.metadata.bytes_per_second = Some(1_000);
        store.insert_lease(&group, &lease).await.unwrap();
        let operator = Operator::new(std::sync::Arc::new(store), group, WallClock::from_fn(|| NOW));
        let report = operator.seek(&Scope::Group, to, true).await.unwrap();
        (report.steps[0].clone(), lease)
    }

    #[tokio::test]
    async fn o13_a_seek_says_where_it_goes_and_how_far() {
        let clock = StreamClock { now_millis: NOW, retention: Duration::from_secs(86_400) };
        let seven = Position::after("7".parse().unwrap());
        let nine = Position::at("9".parse().unwrap());
        for (from, to, arrival, said) in [
            (seven, Position::AtTimestamp(NOW - 2 * HOUR), None, "back 60m: records come again, about 3 MB"),
            (seven, Position::AtTimestamp(NOW), None, "forward 60m: records are skipped, about 3 MB"),
            (seven, Position::TrimHorizon, None, "back 23h: records come again, about 82 MB"),
            (seven, nine, Some(NOW), "forward 60m: records are skipped, about 3 MB"),
            (seven, nine, None, "forward: records are skipped"),
            (nine, seven, Some(NOW - 2 * HOUR), "back 60m: records come again, about 3 MB"),
            (seven, seven, None, "no record comes again, and none is skipped"),
            (
                Position::TrimHorizon,
                Position::AtTimestamp(NOW),
                None,
                "forward 24h: records are skipped, about 86 MB",
            ),
            (
                Position::ShardEnd,
                Position::AtTimestamp(NOW - 2 * HOUR),
                None,
                "back 60m: records come again, about 3 MB",
            ),
        ] {
            let (step, lease) = step(from, to).await;
            assert_eq!(SeekEffect::of(&step, &of(&lease), clock, arrival).to_string(), said, "{from} {to}");
        }
        // A time before there was anything.
        let (mut long_ago, mut lease) = step(seven, Position::AtTimestamp(NOW - 30 * 24 * HOUR)).await;
        for (stream, said) in [
            ("s@1".to_owned(), "back 23h: records come again, about 82 MB"),
            (format!("s@{}", NOW - HOUR - 32_000), "back 32s: records come again, about 32 KB"),
        ] {
            long_ago.key.stream = stream.parse().unwrap();
            lease.key = long_ago.key.clone();
            assert_eq!(SeekEffect::of(&long_ago, &of(&lease), clock, None).to_string(), said);
        }
        // With the size of its records.
        let (back, mut lease) = step(seven, Position::AtTimestamp(NOW - 2 * HOUR)).await;
        lease.metadata.record_bytes = Some(300);
        let said = "back 60m: records come again, about 12000 in 3 MB";
        assert_eq!(SeekEffect::of(&back, &of(&lease), clock, None).to_string(), said);
        // After an order a row has nothing but the number, as it is when that order is taken back: the number itself says when
        // its record arrived, and another one an hour before.
        let number = |text: &str| Position::after(text.parse().unwrap());
        let late = number("49590338271490256608559692538361571095921575989136588898");
        let early = Position::AtTimestamp((1_545_084_650 - 3_600) * 1_000);
        let then = StreamClock { now_millis: 1_545_090_000_000, ..clock };
        for (from, to, said) in [
            (late, early, "back 60m: records come again, about 3 MB"),
            (early, late, "forward 60m: records are skipped, about 3 MB"),
            (seven, early, "whether records come again is not known"),
        ] {
            let (change, mut lease) = step(from, to).await;
            lease.metadata.record_arrival_millis = None;
            assert_eq!(SeekEffect::of(&change, &of(&lease), then, None).to_string(), said, "{from} {to}");
        }
        let (step, mut lease) = step(seven, Position::AtTimestamp(NOW)).await;
        lease.metadata.record_arrival_millis = None;
        let effect = SeekEffect::of(&step, &of(&lease), clock, None);
        assert_eq!((effect.direction, effect.over_millis), (Direction::Unknown, None));
    }

    #[tokio::test]
    async fn o13_what_the_stream_says_of_records_in_between_counts() {
        let clock = StreamClock { now_millis: NOW, retention: Duration::from_secs(86_400) };
        let seven = Position::after("7".parse().unwrap());
        let number = |text: &str| Some(text.parse().unwrap());
        let (forward, lease) = step(seven, Position::AtTimestamp(NOW)).await;
        let effect = SeekEffect::of(&forward, &of(&lease), clock, None);
        assert_eq!(effect.span(&forward), Some((seven, Position::AtTimestamp(NOW))));
        assert_eq!(effect.without_records().to_string(), "no record comes again, and none is skipped");
        assert_eq!(effect.without_records().about_bytes, Some(0));
        assert_eq!(effect.without_records().span(&forward), None);
        let (back, _) = step(seven, Position::TrimHorizon).await;
        let effect = SeekEffect::of(&back, &of(&lease), clock, None);
        assert_eq!(effect.span(&back), Some((Position::TrimHorizon, seven)));
        for (first, arrival, to, before) in [
            ("8", NOW - 1, Position::AtTimestamp(NOW), true),
            ("8", NOW, Position::AtTimestamp(NOW), false),
            ("7", NOW, seven, true),
            ("8", NOW, seven, false),
            ("7", NOW, Position::at("7".parse().unwrap()), false),
            ("7", NOW, Position::ShardEnd, true),
            ("7", NOW, Position::TrimHorizon, false),
        ] {
            assert_eq!(lies_before(number(first), Some(arrival), to), before, "{first} {to}");
        }
    }

    fn of(lease: &LeaseRow) -> GroupView {
        GroupView { leases: vec![lease.clone()], ..GroupView::default() }
    }

    /// Nothing is stored of it, but its owner says that nothing came.
    #[tokio::test]
    async fn o13_a_seek_of_an_idle_shard_goes_by_what_its_owner_says() {
        let clock = StreamClock { now_millis: NOW, retention: Duration::from_secs(86_400) };
        let seven = Position::after("7".parse().unwrap());
        let (an_hour, idle) = (NOW - HOUR, "no record comes again, and none is skipped");
        for (from, to, said) in [
            // The last record came an hour ago, and everything is done until now.
            (seven, Position::AtTimestamp(NOW - HOUR / 2), idle),
            (seven, Position::AtTimestamp(NOW), idle),
            (seven, Position::AtTimestamp(NOW - 2 * HOUR), "back 60m: records come again, about 3 MB"),
            (seven, Position::AtTimestamp(NOW + 90_000), "forward 90s: records are skipped, about 90 KB"),
            (Position::AtTimestamp(an_hour), Position::AtTimestamp(NOW), idle),
            (
                Position::AtTimestamp(an_hour),
                Position::AtTimestamp(NOW - 2 * HOUR),
                "back 60m: records come again, about 3 MB",
            ),
        ] {
            let (mut step, mut lease) = step(from, Position::TrimHorizon).await;
            step.to = to;
            lease.owner = Some("w#1".parse().unwrap());
            let mut view = of(&lease);
            view.workers.push(rokini::lease::WorkerRow::joining("w#1".parse().unwrap(), None));
            view.workers[0].report.caught_up.insert(lease.key.stream.clone(), NOW);
            assert_eq!(SeekEffect::of(&step, &view, clock, None).to_string(), said, "{from} {to}");
        }
    }
}
