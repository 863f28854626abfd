//! Faults on demand: which calls go wrong, and how. Only decided here; the HTTP server applies them.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini_wire::{ErrorCode, OPERATIONS};
use serde::{Deserialize, Serialize};

/// What goes wrong with a call.
///
/// The body of the answer to SubscribeToShard is the whole stream of events: [`Fault::HangAfter`] and [`Fault::CutAfter`] count
/// its bytes from the first. Applied to a `SubscribeToShardEvent`, they count those of the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// The call is carried out this much later.
    Delay {
        /// In milliseconds.
        millis: u64,
    },
    /// The clock of the model jumps, backwards if negative; then the call is carried out.
    Jump {
        /// In milliseconds.
        millis: i64,
    },
    /// The call is not carried out; this error answers it.
    Error {
        /// Its code.
        code: ErrorCode,
        /// Its text; empty if absent.
        #[serde(default)]
        message: String,
        /// The HTTP status, if not the one of the code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The call is not carried out; the rate of the shard, or of the queue, is said to be exceeded, in the words of the service.
    Throttle,
    /// The call is not carried out; the connection is cut.
    DropBefore,
    /// The call is carried out; the connection is cut instead of an answer.
    DropAfter,
    /// The call is not carried out; nothing ever answers.
    HangBefore,
    /// The call is carried out; headers are sent, and this many bytes of the body; then nothing.
    HangAfter {
        /// How many bytes of the body are sent. Default 0.
        #[serde(default)]
        bytes: usize,
    },
    /// The call is carried out; headers are sent, and this many bytes of the body; then the connection is cut.
    CutAfter {
        /// How many bytes of the body are sent. Default 0.
        #[serde(default)]
        bytes: usize,
    },
    /// The call is carried out; one part of its answer is dropped, nulled, emptied, repeated, put in another order or cut.
    /// Which, the id of the request decides. What nobody could tell from a good answer is left as it is: the records of
    /// GetRecords are never fewer, and what a record says is only ever missing.
    Garble,
    /// The call is not carried out; this answers it, as something between the caller and the service may.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body, of whatever kind.
        #[serde(default)]
        body: String,
    },
    /// GetRecords answers without records, and from where it was asked, although there are some. Nothing else changes by it.
    Empty,
    /// PutRecords does not write these records of the request, counted from 0, and reports this error for each.
    /// Nothing else changes by it.
    FailRecords {
        /// Their indexes in the request.
        records: Vec<usize>,
        /// Their error.
        code: ErrorCode,
    },
}

impl Fault {
    /// Whether the call goes on after it.
    fn lets_call_pass(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::Jump { .. })
    }
}

/// Which calls a fault is applied to. A condition that is absent matches every call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FaultRule {
    /// Name of the operation, as in `GetRecords`. `SubscribeToShardEvent` is each event pushed to a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Name of the stream, in whichever account and region, or its ARN, for that one alone; calls about its consumers and queues are about
    /// it too. Or the ARN of a queue, for that queue alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Id of the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Access key id of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// How many matching calls are spared first. Default 0.
    #[serde(default)]
    pub skip: u64,
    /// After how many calls the rule is spent. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The share of matching calls that is hit, between 0 and 1. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What happens.
    pub fault: Fault,
}

impl FaultRule {
    /// Applies to every call.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self {
            operation: None,
            stream: None,
            shard: None,
            caller: None,
            skip: 0,
            times: None,
            probability: None,
            fault,
        }
    }

    /// Applies to every call of an operation.
    #[must_use]
    pub fn on(operation: impl Into<String>, fault: Fault) -> Self {
        Self { operation: Some(operation.into()), ..Self::always(fault) }
    }

    /// Only for the streams of this name, or for the stream or queue with this ARN; a stream's queues are matched with it.
    #[must_use]
    pub fn stream(self, name: impl Into<String>) -> Self {
        Self { stream: Some(name.into()), ..self }
    }

    /// Only for this shard.
    #[must_use]
    pub fn shard(self, id: impl Into<String>) -> Self {
        Self { shard: Some(id.into()), ..self }
    }

    /// Only for callers with this access key id.
    #[must_use]
    pub fn caller(self, access_key_id: impl Into<String>) -> Self {
        Self { caller: Some(access_key_id.into()), ..self }
    }

    /// Spares this many matching calls first.
    #[must_use]
    pub fn skip(self, calls: u64) -> Self {
        Self { skip: calls, ..self }
    }

    /// Is spent after this many calls.
    #[must_use]
    pub fn times(self, calls: u64) -> Self {
        Self { times: Some(calls), ..self }
    }

    /// Applies to this share of the matching calls only, between 0 and 1.
    #[must_use]
    pub fn probability(self, share: f64) -> Self {
        Self { probability: Some(share), ..self }
    }

    /// Reads a rule, and says by name which member is none or cannot act.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, String> {
        let rule: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if let Some(name) = rule.operation.as_deref()
            && name != "SubscribeToShardEvent"
            && !OPERATIONS.contains(&name)
        {
            return Err(format!("`operation`: `{name}` is none; give one as in `GetRecords`"));
        }
        if rule.times == Some(0) {
            return Err("`times`: 0 calls are never hit; leave it out for all of them".to_owned());
        }
        if let Some(share) = rule.probability.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(format!("`probability`: {share} is no share; give a number from 0 to 1"));
        }
        if let Fault::Answer { status, .. } | Fault::Error { status: Some(status), .. } = rule.fault
            && !(200..=599).contains(&status)
        {
            return Err(format!("`status`: {status} ends no answer; give one from 200 to 599"));
        }
        // Serde passes over what a kind without members is given.
        let given: serde_json::Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let known = serde_json::to_value(&rule.fault).map_err(|error| error.to_string())?;
        let mut members = given["fault"].as_object().into_iter().flatten();
        match members.find(|(name, value)| !value.is_null() && known.get(name).is_none()) {
            Some((name, _)) => Err(format!("unknown field `{name}` of a fault of kind {}", known["kind"])),
            None => Ok(rule),
        }
    }

    fn matches(&self, call: &FaultCall<'_>) -> bool {
        let same = |wanted: &Option<String>, got: Option<&str>| wanted.is_none() || wanted.as_deref() == got;
        same(&self.operation, Some(call.operation))
            && [call.stream, call.stream_arn, call.queue_arn].iter().any(|name| same(&self.stream, *name))
            && same(&self.shard, call.shard)
            && same(&self.caller, call.caller)
    }
}

/// What a rule can see of a call.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FaultCall<'a> {
    /// Name of the operation.
    pub operation: &'a str,
    /// Name of the stream, or of the one that the queue is on.
    pub stream: Option<&'a str>,
    /// ARN of the same.
    pub stream_arn: Option<&'a str>,
    /// ARN of the queue.
    pub queue_arn: Option<&'a str>,
    /// Id of the shard.
    pub shard: Option<&'a str>,
    /// Access key id of the caller.
    pub caller: Option<&'a str>,
}

impl<'a> FaultCall<'a> {
    /// A call of an operation, of which nothing else is known.
    #[must_use]
    pub const fn new(operation: &'a str) -> Self {
        Self { operation, stream: None, stream_arn: None, queue_arn: None, shard: None, caller: None }
    }
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstalledRule {
    /// Names it for [`Faults::remove`].
    pub id: u64,
    /// The rule.
    pub rule: FaultRule,
    /// How many calls it has hit.
    pub hits: u64,
    /// How many calls it has matched.
    pub matched: u64,
}

/// The rules in force, shared by all who hold a clone. The same rules, calls and seed give the same faults.
#[derive(Debug, Clone)]
pub struct Faults {
    rules: Arc<Mutex<RuleSet>>,
}

#[derive(Debug)]
struct RuleSet {
    installed: Vec<InstalledRule>,
    next_id: u64,
    rng: SmallRng,
}

impl Faults {
    /// No rules; the seed decides about probabilities.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rules = RuleSet { installed: Vec::new(), next_id: 1, rng: SmallRng::seed_from_u64(seed) };
        Self { rules: Arc::new(Mutex::new(rules)) }
    }

    fn with<T>(&self, visit: impl FnOnce(&mut RuleSet) -> T) -> T {
        visit(&mut self.rules.lock())
    }

    /// Puts a rule in force, after those already there. The answer names it for [`Faults::remove`].
    pub fn add(&self, rule: FaultRule) -> u64 {
        self.with(|rules| {
            let id = rules.next_id;
            rules.next_id += 1;
            rules.installed.push(InstalledRule { id, rule, hits: 0, matched: 0 });
            id
        })
    }

    /// Takes a rule away. False if there is none of this id.
    pub fn remove(&self, id: u64) -> bool {
        self.with(|rules| {
            let before = rules.installed.len();
            rules.installed.retain(|installed| installed.id != id);
            rules.installed.len() != before
        })
    }

    /// Takes every rule away.
    pub fn clear(&self) {
        self.with(|rules| rules.installed.clear());
    }

    /// The rules in force, spent ones too, with their counts.
    #[must_use]
    pub fn list(&self) -> Vec<InstalledRule> {
        self.with(|rules| rules.installed.clone())
    }

    /// The faults of a call: any number of delays and jumps, then at most one fault that ends it. Counts as a call.
    #[must_use]
    pub fn decide(&self, call: &FaultCall<'_>) -> Vec<Fault> {
        self.with(|RuleSet { installed, rng, .. }| {
            let mut faults = Vec::new();
            for InstalledRule { rule, hits, matched, .. } in installed {
                if !rule.matches(call) {
                    continue;
                }
                *matched += 1;
                let spent = rule.times.is_some_and(|times| *hits >= times);
                if spent || *matched <= rule.skip || !drawn_to_hit(rng, rule.probability) {
                    continue;
                }
                *hits += 1;
                faults.push(rule.fault.clone());
                if !rule.fault.lets_call_pass() {
                    break;
                }
            }
            faults
        })
    }
}

fn drawn_to_hit(rng: &mut SmallRng, probability: Option<f64>) -> bool {
    probability.is_none_or(|share| rng.random_bool(share.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: FaultCall<'static> = FaultCall {
        operation: "GetRecords",
        stream: Some("s"),
        stream_arn: Some("arn:aws:kinesis:eu-west-1:222222222222:stream/s"),
        queue_arn: Some("arn:aws:kinesis:eu-west-1:222222222222:queue/q"),
        shard: Some("shardId-000000000001"),
        caller: Some("me"),
    };

    #[test]
    fn a_rule_sees_operation_stream_shard_and_caller() {
        let fault = || Fault::DropBefore;
        let cases = [
            (FaultRule::always(fault()), true),
            (FaultRule::on("GetRecords", fault()), true),
            (FaultRule::on("PutRecord", fault()), false),
            (FaultRule::always(fault()).stream("s"), true),
            (FaultRule::always(fault()).stream("t"), false),
            (FaultRule::always(fault()).stream("arn:aws:kinesis:eu-west-1:222222222222:stream/s"), true),
            (FaultRule::always(fault()).stream("arn:aws:kinesis:eu-west-1:333333333333:stream/s"), false),
            (FaultRule::always(fault()).stream("arn:aws:kinesis:eu-west-1:222222222222:queue/q"), true),
            (FaultRule::always(fault()).stream("arn:aws:kinesis:eu-west-1:222222222222:queue/r"), false),
            (FaultRule::always(fault()).shard("shardId-000000000001"), true),
            (FaultRule::always(fault()).shard("shardId-000000000002"), false),
            (FaultRule::always(fault()).caller("me"), true),
            (FaultRule::always(fault()).caller("you"), false),
        ];
        for (rule, hit) in cases {
            let faults = Faults::new(0);
            faults.add(rule.clone());
            assert_eq!(!faults.decide(&READ).is_empty(), hit, "{rule:?}");
        }
    }

    #[test]
    fn skip_and_times_count_matching_calls() {
        let faults = Faults::new(0);
        faults.add(FaultRule::on("GetRecords", Fault::Throttle).skip(1).times(2));
        let hits: Vec<usize> = (0..5).map(|_| faults.decide(&READ).len()).collect();
        assert_eq!(hits, [0, 1, 1, 0, 0]);
        assert_eq!(faults.decide(&FaultCall { operation: "PutRecord", ..READ }), []);
        assert_eq!((faults.list()[0].hits, faults.list()[0].matched), (2, 5));
    }

    #[test]
    fn delays_add_up_and_the_first_end_counts() {
        let faults = Faults::new(0);
        let id = faults.add(FaultRule::always(Fault::Delay { millis: 1 }));
        faults.add(FaultRule::always(Fault::Delay { millis: 2 }));
        faults.add(FaultRule::always(Fault::DropAfter));
        faults.add(FaultRule::always(Fault::Throttle));
        let all = [Fault::Delay { millis: 1 }, Fault::Delay { millis: 2 }, Fault::DropAfter];
        assert_eq!(faults.decide(&READ), all);
        assert!(faults.remove(id) && !faults.remove(id));
        assert_eq!(faults.decide(&READ), all[1..]);
        faults.clear();
        assert_eq!(faults.decide(&READ), []);
    }

    #[test]
    fn a_seed_repeats_itself() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add(FaultRule::always(Fault::Throttle).probability(0.3));
            (0..200).map(|_| faults.decide(&READ).len()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let hits: usize = run(1).iter().sum();
        assert!((30..90).contains(&hits), "{hits} of 200 at 0.3");
    }

    #[test]
    fn rules_are_plain_json() {
        let text = r#"{"operation":"GetRecords","times":3,"fault":{"kind":"error","code":"KMSThrottlingException"}}"#;
        let rule: FaultRule = serde_json::from_str(text).unwrap();
        let error = Fault::Error { code: ErrorCode::KmsThrottling, message: String::new(), status: None };
        assert_eq!(rule, FaultRule::on("GetRecords", error).times(3));
        for wrong in [r#"{"fault":{"kind":"nothing"}}"#, r#"{"fault":{"kind":"throttle"},"shards":1}"#] {
            assert!(serde_json::from_str::<FaultRule>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rule_that_cannot_act_names_its_member() {
        let read = |json: &str| FaultRule::from_json(json.as_bytes());
        for (member, json) in [
            ("`probability`", r#"{"probability":1.5,"fault":{"kind":"throttle"}}"#),
            ("`probability`", r#"{"probability":-0.1,"fault":{"kind":"throttle"}}"#),
            ("`times`", r#"{"times":0,"fault":{"kind":"throttle"}}"#),
            ("`operation`", r#"{"operation":"getRecords","fault":{"kind":"throttle"}}"#),
            ("`status`", r#"{"fault":{"kind":"answer","status":42}}"#),
            ("`shards`", r#"{"shards":1,"fault":{"kind":"throttle"}}"#),
            ("`bytes`", r#"{"fault":{"kind":"throttle","bytes":1}}"#),
            ("`fault`", "{}"),
        ] {
            let said = read(json).unwrap_err();
            assert!(said.contains(member), "{json}: {said}");
        }
        for json in [
            r#"{"operation":"SubscribeToShardEvent","probability":1,"fault":{"kind":"cut_after","bytes":1}}"#,
            r#"{"fault":{"kind":"error","code":"InternalFailureException","status":null}}"#,
        ] {
            read(json).unwrap();
        }
    }

    /// The name of each kind, by a match that a new one breaks.
    fn kind(fault: &Fault) -> &'static str {
        match fault {
            Fault::Delay { .. } => "delay",
            Fault::Jump { .. } => "jump",
            Fault::Error { .. } => "error",
            Fault::Throttle => "throttle",
            Fault::DropBefore => "drop_before",
            Fault::DropAfter => "drop_after",
            Fault::HangBefore => "hang_before",
            Fault::HangAfter { .. } => "hang_after",
            Fault::CutAfter { .. } => "cut_after",
            Fault::Garble => "garble",
            Fault::Answer { .. } => "answer",
            Fault::Empty => "empty",
            Fault::FailRecords { .. } => "fail_records",
        }
    }

    #[test]
    fn the_document_has_every_kind_of_fault_as_it_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LOCAL.md");
        // Not part of the package.
        let Ok(text) = std::fs::read_to_string(path) else { return };
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `{")?.split('`').next());
        let faults: Vec<Fault> =
            rows.map(|json| serde_json::from_str(&format!("{{{json}")).expect(json)).collect();
        let kinds: std::collections::BTreeSet<&str> = faults.iter().map(kind).collect();
        assert_eq!((faults.len(), kinds.len()), (13, 13), "{kinds:?}");
        let example = text.lines().find_map(|line| line.strip_prefix("curl --json '{\"operation\"")).unwrap();
        let json = format!("{{\"operation\"{}", example.split('\'').next().unwrap());
        let mut rule = serde_json::to_value(serde_json::from_str::<FaultRule>(&json).unwrap()).unwrap();
        let all =
            FaultRule::on("a", Fault::Throttle).stream("b").shard("c").caller("d").times(1).probability(0.5);
        rule.as_object_mut().unwrap().extend(serde_json::to_value(all).unwrap().as_object().unwrap().clone());
        for member in rule.as_object().unwrap().keys() {
            assert!(text.contains(&format!("| `{member}` |")), "docs/LOCAL.md has no `{member}`");
        }
    }
}
