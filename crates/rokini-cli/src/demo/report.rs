//! The verdict over a run: what is measured, what was promised, and which promise broke.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::board::{Count, Seconds, millis, short};
use super::ledger::{Cause, Hold, Move, Process, Proof};
use super::stage::Calls;
use super::timetable::MARGIN;

/// Until the first record is handled, from the start of the demo.
const FIRST_RECORD: Duration = Duration::from_secs(3);
/// Until a shard of a worker that stops cleanly is handled by another.
const STOP: Duration = Duration::from_secs(2);

/// What two calls that hang take with all their tries: in bad weather they may follow upon a takeover.
const HANGING: Duration = Duration::from_secs(40);
/// Moves of one cause that are listed one by one.
const LISTED: usize = 12;

/// What a run was like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) failover: Duration,
    /// Its seed, what was done, and the workers' calls to Kinesis and DynamoDB.
    pub(crate) weather: Option<(u64, Deeds, [Calls; 2])>,
    pub(crate) interrupted: bool,
}

/// What bad weather did, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Deeds {
    pub(crate) splits: u32,
    pub(crate) merges: u32,
    pub(crate) kills: u32,
    pub(crate) freezes: u32,
    /// Workers that were declared dead although they lived.
    pub(crate) fences: u32,
    /// What was to be done and could not: the host was too busy.
    pub(crate) failed: u32,
}

impl Deeds {
    /// Shards that were closed.
    pub(crate) fn closed(&self) -> usize {
        self.splits as usize + 2 * self.merges as usize
    }
}

/// The weather in the result.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Weather {
    seed: u64,
    #[serde(flatten)]
    deeds: Deeds,
    kinesis: Calls,
    dynamodb: Calls,
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) produced: u64,
    pub(crate) processed: u64,
    pub(crate) lost: u64,
    /// After an interrupt: records that the workers had not come to yet.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unread: u64,
    pub(crate) duplicates: u64,
    /// Those of the duplicates that are due to a kill.
    pub(crate) duplicates_after_kill: u64,
    /// Those that are due to a worker that was declared dead while it stood still.
    pub(crate) duplicates_after_fence: u64,
    /// Those that are due to neither.
    pub(crate) duplicates_unexplained: u64,
    pub(crate) order_violations: u64,
    pub(crate) first_record_ms: Option<u64>,
    #[serde(rename = "longest_wait_ms", serialize_with = "millis")]
    pub(crate) longest_wait: Duration,
    pub(crate) moves: Vec<Moved>,
    #[serde(rename = "failover_ms", serialize_with = "millis")]
    failover: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weather: Option<Weather>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interrupted: bool,
    /// The promises that broke.
    pub(crate) broken: Vec<String>,
    /// Where, when and by whom; the first ones only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    pub(crate) ok: bool,
}

/// A shard that went to another worker.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Moved {
    pub(crate) shard: String,
    pub(crate) cause: Cause,
    pub(crate) from: String,
    pub(crate) to: String,
    #[serde(rename = "at_ms", serialize_with = "millis")]
    pub(crate) at: Duration,
    #[serde(rename = "silence_ms", serialize_with = "millis")]
    pub(crate) silence: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Moved {
    pub(crate) fn new<'a>(moved: &Move, name: impl Fn(Process) -> &'a str) -> Self {
        Self {
            shard: moved.shard.to_string(),
            cause: moved.cause,
            from: name(moved.from).to_owned(),
            to: name(moved.to).to_owned(),
            at: moved.at,
            silence: moved.silence,
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, from, to, .. } = self;
        write!(f, "shard {} went from {from} to {to}, silent for {}", short(shard), Seconds(self.silence))
    }
}

impl Report {
    /// Judges. `mishaps` are promises that broke outside the ledger's sight.
    pub(crate) fn new<'a>(
        proof: &Proof,
        name: impl Fn(Process) -> &'a str,
        run: &Run,
        mishaps: Vec<String>,
    ) -> Self {
        let &Run { failover, weather, interrupted } = run;
        let lost = if interrupted { proof.passed_over } else { proof.waiting };
        let first_record_ms = proof.first_record.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let mut report = Self {
            produced: proof.produced,
            processed: proof.processed,
            lost,
            unread: proof.waiting - lost,
            duplicates: proof.duplicates,
            duplicates_after_kill: proof.after_kill,
            duplicates_after_fence: proof.after_fence,
            duplicates_unexplained: proof.unexplained_duplicates,
            order_violations: proof.order_violations,
            first_record_ms,
            longest_wait: proof.longest_wait,
            moves: proof.moves.iter().map(|moved| Moved::new(moved, &name)).collect(),
            failover,
            weather: weather.map(|(seed, deeds, [kinesis, dynamodb])| Weather {
                seed,
                deeds,
                kinesis,
                dynamodb,
            }),
            interrupted,
            broken: mishaps,
            details: details(proof, &name),
            ok: false,
        };
        report.judge(proof);
        report.ok = report.broken.is_empty();
        report
    }

    fn judge(&mut self, proof: &Proof) {
        let mut broken = Vec::new();
        let mut promise = |kept: bool, text: &dyn Fn() -> String| {
            if !kept {
                broken.push(text());
            }
        };
        promise(self.lost == 0, &|| format!("{} lost", were(self.lost)));
        promise(self.order_violations == 0, &|| {
            format!("{} handled after a later one of the same key", were(self.order_violations))
        });
        promise(self.duplicates_unexplained == 0, &|| {
            format!("{} handled twice without a reason", were(self.duplicates_unexplained))
        });
        promise(proof.strangers == 0, &|| format!("{} handled that nobody put", were(proof.strangers)));
        match proof.first_record {
            Some(at) => promise(at <= FIRST_RECORD || self.weather.is_some(), &|| {
                format!(
                    "the first record was handled after {}, not within {}",
                    Seconds(at),
                    Seconds(FIRST_RECORD)
                )
            }),
            None => promise(self.interrupted, &|| "no record was handled".to_owned()),
        }
        // Whatever happens to workers and shards: also a shard that nobody has is a broken promise.
        let limit = self.longest_wait_limit();
        promise(self.longest_wait <= limit, &|| {
            let wait = Seconds(self.longest_wait);
            format!("a record waited {wait} for its handler, which is more than {}", Seconds(limit))
        });
        for moved in &self.moves {
            let Some(limit) = self.limit(moved.cause) else { continue };
            promise(moved.silence <= limit, &|| format!("{moved}, which is more than {}", Seconds(limit)));
        }
        self.broken.append(&mut broken);
    }

    fn longest_wait_limit(&self) -> Duration {
        self.failover + MARGIN + if self.weather.is_some() { HANGING } else { Duration::ZERO }
    }

    /// The longest silence that is promised. In bad weather calls fail too, and only the waits are judged. A shard that moves between two live workers is not judged here.
    fn limit(&self, cause: Cause) -> Option<Duration> {
        match cause {
            _ if self.weather.is_some() => None,
            Cause::Stop => Some(STOP),
            Cause::Kill => Some(self.failover + MARGIN),
            Cause::Freeze | Cause::Balance => None,
        }
    }
}

/// What broke, in detail.
fn details<'a>(proof: &Proof, name: &impl Fn(Process) -> &'a str) -> Vec<String> {
    let by = |hold: &Hold| {
        let Hold { process, epoch, at } = hold;
        format!("{} (process {}, epoch {epoch}) at {:.3} s", name(*process), process.0 + 1, at.as_secs_f64())
    };
    let left = proof.left_behind.iter().map(|(shard, count, put)| {
        format!("lost: {shard} has {count} unhandled, the oldest put at {:.3} s", put.as_secs_f64())
    });
    let disorder = proof.disorder.iter().map(|late| {
        format!("out of order: {} {} of {}: by {}", late.key, late.number, late.shard, by(&late.hold))
    });
    let twice = proof.unexplained.iter().map(|twice| {
        let (key, number, shard, count) = (&twice.key, twice.number, &twice.shard, twice.count);
        let (before, again) = (by(&twice.before), by(&twice.again));
        format!("twice: {key} {number} of {shard} and {} more: by {before}, then by {again}", count - 1)
    });
    left.chain(disorder).chain(twice).collect()
}

/// "1 record was", "2 records were".
fn were(records: u64) -> String {
    if records == 1 { "1 record was".to_owned() } else { format!("{} records were", Count(records)) }
}

const NEXT: &str = "\
What to try next
  rokini local --stream orders:4          the same two endpoints, to keep;
                                          it prints lines to copy into other
                                          terminals, where you then can run
  rokini consume orders --group billing   a worker; start two, stop or kill one
  rokini put orders --random 1000         records to work on
  rokini tail orders                      read along, without a group
";

/// For people: what happened, and how to make it happen again.
impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deeds { splits, merges, kills, freezes, fences, failed } = self.deeds;
        writeln!(f, "The weather (--seed {})", self.seed)?;
        writeln!(f, "  shards    {splits} splits, {merges} merges")?;
        writeln!(
            f,
            "  workers   {kills} killed and replaced, {freezes} stood still, {fences} of them fenced"
        )?;
        if failed > 0 {
            writeln!(f, "  {failed} of these could not be done, because the host was too busy")?;
        }
        for (service, calls) in [("Kinesis", self.kinesis), ("DynamoDB", self.dynamodb)] {
            let share = calls.faults as f64 * 100.0 / (calls.calls.max(1) as f64);
            let (calls, faults) = (Count(calls.calls), Count(calls.faults));
            writeln!(f, "  {service:<9} {calls} calls, {faults} with a fault ({share:.1} %)")?;
        }
        Ok(())
    }
}

/// For people: the proof, the verdict, and where to go from here.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The proof")?;
        let mut row = |what: &str, count: u64, why: &str| {
            writeln!(f, "{}", format!("  {what:<14}{:>10}  {why}", Count(count).to_string()).trim_end())
        };
        row("produced", self.produced, "records that the stream took, numbered per key")?;
        row("processed", self.processed, "different ones that a worker wrote out")?;
        row("lost", self.lost, "must be 0")?;
        if self.unread > 0 {
            row("not yet read", self.unread, "because of the interrupt")?;
        }
        let explained = match (self.duplicates, self.duplicates_unexplained, &self.weather) {
            (0, _, None) => "can only happen after the kill".to_owned(),
            (_, 0, None) => "after the kill: done, but not stored as done yet".to_owned(),
            (_, _, None) => "not all of them can be explained by the kill".to_owned(),
            (_, unexplained, Some(_)) => {
                let (kill, fence) = (self.duplicates_after_kill, self.duplicates_after_fence);
                format!(
                    "{} after a kill, {} after a fence, {} else; must be 0",
                    Count(kill),
                    Count(fence),
                    Count(unexplained)
                )
            }
        };
        row("handled twice", self.duplicates, &explained)?;
        row("out of order", self.order_violations, "per key; must be 0")?;
        match self.first_record_ms {
            Some(ms) => {
                let must = if self.weather.is_some() { "" } else { "; must be within 3 s" };
                let ms = Count(ms).to_string();
                writeln!(f, "  {:<14}{ms:>7} ms  after the start{must}", "first record")?;
            }
            None => writeln!(f, "  {:<14}{:>10}", "first record", "none")?,
        }
        writeln!(
            f,
            "  {:<14}{:>10}  from put to handler; at most {} s",
            "longest wait",
            Seconds(self.longest_wait).to_string(),
            self.longest_wait_limit().as_secs()
        )?;
        if let Some(weather) = &self.weather {
            write!(f, "\n{weather}")?;
        }
        for (cause, what) in [
            (Cause::Stop, "clean stop"),
            (Cause::Kill, "kill"),
            (Cause::Freeze, "standstill"),
            (Cause::Balance, "balancing"),
        ] {
            let moves: Vec<_> = self.moves.iter().filter(|moved| moved.cause == cause).collect();
            if moves.is_empty() {
                continue;
            }
            match self.limit(cause) {
                Some(limit) => writeln!(
                    f,
                    "\nSilence of the shards that moved by the {what} (at most {} s)",
                    limit.as_secs()
                )?,
                None => writeln!(f, "\nSilence of the shards that moved by {what}")?,
            }
            if moves.len() > LISTED {
                let longest = moves.iter().map(|moved| moved.silence).max().unwrap_or_default();
                writeln!(f, "  {} moves, the longest silence {}", moves.len(), Seconds(longest))?;
                continue;
            }
            for moved in moves {
                let way = format!("{} -> {}", moved.from, moved.to);
                writeln!(
                    f,
                    "  shard {:<6}{way:<24}{:>8}",
                    short(&moved.shard),
                    Seconds(moved.silence).to_string()
                )?;
            }
        }
        writeln!(f)?;
        for broken in &self.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        match (self.ok, self.interrupted) {
            (true, false) => write!(f, "Every promise was kept.\n\n{NEXT}"),
            (true, true) => writeln!(f, "Interrupted; until then every promise was kept."),
            (false, _) => writeln!(f, "A promise broke. The exit status is 1."),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ledger::{Disorder, Twice};
    use super::*;

    const CALM: Run = Run { failover: Duration::from_secs(3), weather: None, interrupted: false };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn report(proof: &Proof, interrupted: bool) -> Report {
        let name = |process: Process| ["worker-1", "worker-2", "worker-3"][process.0];
        Report::new(proof, name, &Run { interrupted, ..CALM }, Vec::new())
    }

    fn moved(cause: Cause, silence: u64) -> Move {
        Move {
            shard: "shardId-000000000002".into(),
            cause,
            from: Process(0),
            to: Process(2),
            at: ms(9000),
            silence: ms(silence),
        }
    }

    fn good() -> Proof {
        let moves = [moved(Cause::Stop, 2000), moved(Cause::Kill, 5000), moved(Cause::Balance, 60_000)];
        Proof {
            produced: 12_345,
            processed: 12_345,
            duplicates: 7,
            first_record: Some(ms(3000)),
            longest_wait: ms(5000),
            moves: moves.to_vec(),
            ..Proof::default()
        }
    }

    #[test]
    fn a_run_at_the_limits_is_good() {
        let report = report(&good(), false);
        assert!(report.ok && report.broken.is_empty(), "{:?}", report.broken);
    }

    #[test]
    fn every_promise_can_break() {
        type Spoil = fn(&mut Proof);
        let cases: [(&str, Spoil); 9] = [
            ("a record waited 5.00 s for its handler", |p| p.longest_wait = ms(5001)),
            ("1 record was lost", |p| p.waiting = 1),
            ("2 records were handled after a later one", |p| p.order_violations = 2),
            ("3 records were handled twice without", |p| p.unexplained_duplicates = 3),
            ("4 records were handled that nobody put", |p| p.strangers = 4),
            ("the first record was handled after 3.00 s", |p| p.first_record = Some(ms(3001))),
            ("no record was handled", |p| p.first_record = None),
            ("shard 2 went from worker-1 to worker-3, silent for 2.00 s, which", |p| {
                p.moves.push(moved(Cause::Stop, 2001));
            }),
            ("silent for 5.00 s, which is more than 5.00 s", |p| p.moves.push(moved(Cause::Kill, 5001))),
        ];
        for (expected, spoil) in cases {
            let mut proof = good();
            spoil(&mut proof);
            let report = report(&proof, false);
            assert!(!report.ok);
            assert!(
                matches!(&report.broken[..], [only] if only.contains(expected)),
                "{expected}: {:?}",
                report.broken
            );
            assert!(report.to_string().contains("A promise broke"));
        }
    }

    #[test]
    fn after_an_interrupt_only_what_was_passed_over_is_lost() {
        let proof = Proof { waiting: 5, passed_over: 0, ..good() };
        let told = report(&proof, true);
        assert!(told.ok && told.lost == 0 && told.unread == 5);
        let told = report(&Proof { passed_over: 1, ..proof }, true);
        assert!(!told.ok && told.lost == 1 && told.unread == 4);
    }

    #[test]
    fn mishaps_break_the_run() {
        let report = Report::new(&good(), |_| "w", &CALM, vec!["worker-2 ended by itself".to_owned()]);
        assert!(!report.ok);
        assert!(report.to_string().contains("BROKEN: worker-2 ended by itself"));
    }

    #[test]
    fn the_object_has_what_is_documented() {
        let object = serde_json::to_value(report(&good(), false)).unwrap();
        for field in
            ["produced", "processed", "lost", "duplicates", "order_violations", "first_record_ms", "ok"]
        {
            assert!(object.get(field).is_some(), "{field}");
        }
        let first = &object["moves"][0];
        assert_eq!(
            (&first["shard"], &first["cause"], &first["silence_ms"]),
            (&"shardId-000000000002".into(), &"stop".into(), &2000.into())
        );
    }

    fn stormy(proof: &Proof) -> Report {
        let deeds = Deeds { splits: 45, merges: 44, kills: 30, freezes: 29, fences: 15, failed: 1 };
        let calls = Calls { calls: 123_456, faults: 1_234 };
        Report::new(proof, |_| "w", &Run { weather: Some((7, deeds, [calls; 2])), ..CALM }, Vec::new())
    }

    #[test]
    fn bad_weather_excuses_silence_up_to_a_limit_and_nothing_else() {
        let mut proof = Proof { after_kill: 3, after_fence: 4, ..good() };
        (proof.longest_wait, proof.first_record) = (ms(45_000), Some(ms(10_000)));
        proof.moves.extend((0..20).map(|_| moved(Cause::Kill, 45_000)));
        let report = stormy(&proof);
        assert!(report.ok, "{:?}", report.broken);
        let text = report.to_string();
        assert!(text.contains("--seed 7") && text.contains("21 moves, the longest silence 45.0 s"), "{text}");
        assert!(text.contains("3 after a kill, 4 after a fence, 0 else"), "{text}");
        let spoiled: [fn(&mut Proof); 4] = [
            |proof| proof.waiting = 1,
            |proof| proof.order_violations = 1,
            |proof| proof.unexplained_duplicates = 1,
            |proof| proof.longest_wait = ms(45_001),
        ];
        for spoil in spoiled {
            let mut proof = proof.clone();
            spoil(&mut proof);
            assert_eq!(stormy(&proof).broken.len(), 1);
        }
    }

    #[test]
    fn what_broke_is_told_in_detail() {
        let hold = |process, epoch, at| Hold { process: Process(process), epoch, at: ms(at) };
        let (shard, key): (Arc<str>, Arc<str>) = ("shardId-000000000002".into(), "customer-007".into());
        let proof = Proof {
            left_behind: vec![(Arc::clone(&shard), 3, ms(1500))],
            disorder: vec![Disorder {
                shard: Arc::clone(&shard),
                key: Arc::clone(&key),
                number: 8,
                hold: hold(0, 2, 2500),
            }],
            unexplained: vec![Twice {
                shard,
                key,
                number: 9,
                before: hold(0, 2, 3000),
                again: hold(2, 3, 4000),
                count: 5,
            }],
            ..good()
        };
        let expected = [
            "lost: shardId-000000000002 has 3 unhandled, the oldest put at 1.500 s",
            "out of order: customer-007 8 of shardId-000000000002: by worker-1 (process 1, epoch 2) at 2.500 s",
            "twice: customer-007 9 of shardId-000000000002 and 4 more: by worker-1 (process 1, epoch 2) at 3.000 s, \
             then by worker-3 (process 3, epoch 3) at 4.000 s",
        ];
        assert_eq!(report(&proof, false).details, expected);
    }

    #[test]
    fn the_text_fits_into_80_columns() {
        for report in [report(&good(), false), stormy(&good())] {
            for line in report.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
