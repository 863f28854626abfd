//! Readers that share a shard, against each way in which a service may count five reads a second: AWS documents the
//! number alone.

use std::collections::VecDeque;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::source::kinesis::rate_limiter::RateLimiter;

const RUN: Duration = Duration::from_secs(100);
/// How long a call takes within a region.
const NEAR: Duration = Duration::from_millis(10);
/// And from another one.
const FAR: Duration = Duration::from_millis(150);
/// Records a second.
const RECORDS: f64 = 20.0;

/// How reads of a second are counted. Refused ones are not.
#[derive(Debug, Clone, Copy)]
enum Counting {
    /// Seconds that follow one another.
    Fixed,
    /// The second before each call.
    Rolling,
    /// What comes back with time, five at most.
    Bucket,
}

struct Shard {
    counting: Counting,
    taken: VecDeque<f64>,
    tokens: f64,
    at: f64,
}

impl Shard {
    fn takes(&mut self, now: f64) -> bool {
        let from = match self.counting {
            Counting::Fixed => now.floor(),
            Counting::Rolling => now - 1.0,
            Counting::Bucket => {
                self.tokens = (self.tokens + 5.0 * (now - self.at)).min(5.0);
                self.at = now;
                let taken = self.tokens >= 1.0;
                self.tokens -= f64::from(u8::from(taken));
                return taken;
            }
        };
        self.taken.retain(|call| *call > from);
        let taken = self.taken.len() < 5;
        if taken {
            self.taken.push_back(now);
        }
        taken
    }
}

/// Who reads, and how long its calls take.
#[derive(Debug, Clone, Copy)]
enum Who {
    Rokini(Duration),
    /// Once a second, whatever is refused: as the KCL does by default.
    EverySecond,
}

struct Reader {
    who: Who,
    /// When one that reads every second does so next.
    every_second: Instant,
    schedule: PollSchedule,
    limiter: RateLimiter,
    /// Up to when it has the records.
    read_to: f64,
    ages: f64,
    records: f64,
}

/// The mean age of a record when each of the readers gets it, in seconds, and the refusals a second.
fn read(counting: Counting, readers: &[Who], seed: u64) -> (Vec<f64>, f64) {
    let begun = Instant::now();
    let rng = &mut SmallRng::seed_from_u64(seed);
    let mut shard = Shard { counting, taken: VecDeque::new(), tokens: 5.0, at: 0.0 };
    let mut all: Vec<Reader> = readers
        .iter()
        .map(|who| {
            let start = begun + Duration::from_millis(rng.random_range(0..2_000));
            Reader {
                who: *who,
                every_second: start,
                schedule: PollSchedule::new(Duration::from_millis(200), Duration::from_secs(1), start),
                limiter: RateLimiter::after_another(start),
                read_to: (start - begun).as_secs_f64(),
                ages: 0.0,
                records: 0.0,
            }
        })
        .collect();
    let mut refusals = 0.0;
    loop {
        let next = |reader: &mut Reader| {
            if let Who::EverySecond = reader.who {
                return reader.every_second;
            }
            let scheduled = reader.schedule.next();
            scheduled.max(reader.limiter.ready_at(scheduled).unwrap_or(scheduled))
        };
        let (now, reader) =
            all.iter_mut().map(|reader| (next(reader), reader)).min_by_key(|(at, _)| *at).unwrap();
        if now > begun + RUN {
            break;
        }
        let call = if let Who::Rokini(call) = reader.who { call } else { NEAR };
        reader.every_second = now + Duration::from_secs(1);
        reader.limiter.call(now);
        reader.limiter.answered(now + call);
        let seconds = (now - begun).as_secs_f64();
        if shard.takes(seconds) {
            let span = seconds - reader.read_to;
            reader.ages += RECORDS * span * span / 2.0;
            reader.records += RECORDS * span;
            reader.read_to = seconds;
            reader.schedule.went_through(now, now + call, 1, false, rng);
        } else {
            refusals += 1.0;
            reader.schedule.throttled(now + call, rng);
        }
    }
    let end = RUN.as_secs_f64();
    let mean = |reader: Reader| {
        // What nobody has read is as old as it is.
        let left = end - reader.read_to;
        (reader.ages + RECORDS * left * left / 2.0) / (reader.records + RECORDS * left)
    };
    (all.into_iter().map(mean).collect(), refusals / end)
}

#[tokio::test(start_paused = true)]
async fn t2_two_groups_share_the_reads_of_a_shard_however_they_are_counted() {
    for counting in [Counting::Fixed, Counting::Rolling, Counting::Bucket] {
        let mut ratios = Vec::new();
        for seed in 0..40 {
            let (ages, refusals) = read(counting, &[Who::Rokini(NEAR); 2], seed);
            let (young, old) = (ages[0].min(ages[1]), ages[0].max(ages[1]));
            assert!(old < 0.6, "{counting:?}, seed {seed}: {ages:?} s");
            assert!(refusals < 1.5, "{counting:?}, seed {seed}: {refusals} refusals a second");
            ratios.push(old / young);
        }
        ratios.sort_by(f64::total_cmp);
        assert!(ratios[37] < 1.5 && ratios[39] < 2.0, "{counting:?}: {ratios:?}");
    }
}

/// Whoever is far away waits longer for each answer, and for each refusal.
#[tokio::test(start_paused = true)]
async fn t2_a_group_that_is_far_away_gets_its_share() {
    for counting in [Counting::Fixed, Counting::Rolling, Counting::Bucket] {
        for seed in 0..40 {
            let (ages, _) = read(counting, &[Who::Rokini(NEAR), Who::Rokini(FAR)], seed);
            assert!(ages[0] < 0.5 && ages[1] < 1.2, "{counting:?}, seed {seed}: {ages:?} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t2_beside_a_reader_that_does_not_adapt_both_get_on() {
    for counting in [Counting::Fixed, Counting::Rolling, Counting::Bucket] {
        for seed in 0..40 {
            let (ages, _) = read(counting, &[Who::Rokini(NEAR), Who::EverySecond], seed);
            assert!(ages[0] < 0.4 && ages[1] < 1.2, "{counting:?}, seed {seed}: {ages:?} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t2_three_groups_all_get_on() {
    for counting in [Counting::Fixed, Counting::Rolling, Counting::Bucket] {
        for seed in 0..40 {
            let (ages, _) = read(counting, &[Who::Rokini(NEAR); 3], seed);
            assert!(ages.iter().all(|age| *age < 2.0), "{counting:?}, seed {seed}: {ages:?} s");
        }
    }
}

/// Whoever is alone hardly pays for staying below the limit: it has a record 0.1 s old at the limit itself.
#[tokio::test(start_paused = true)]
async fn t2_a_group_that_is_alone_is_never_refused() {
    for counting in [Counting::Fixed, Counting::Rolling, Counting::Bucket] {
        for seed in 0..40 {
            let (ages, refusals) = read(counting, &[Who::Rokini(NEAR)], seed);
            assert!(ages[0] < 0.125 && refusals == 0.0, "{counting:?}, seed {seed}: {ages:?} s, {refusals}");
        }
    }
}
