//! Operations, and what of their answers is compared.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, ScalingType, Shard, ShardFilter, ShardFilterType,
    ShardIteratorType, StreamStatus,
};
use aws_smithy_http_client::Builder as HttpClient;
use rand::Rng;
use rand::rngs::SmallRng;

use super::facts::{Facts, second};

/// One step. Numbers choose among what there is: shards, records, iterators.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Put {
        key: u8,
        data: u32,
    },
    PutMany {
        keys: Vec<u8>,
        data: u32,
    },
    /// `foreign` if the sequence number is that of another shard.
    Iterator {
        shard: usize,
        kind: Kind,
        foreign: bool,
    },
    Read {
        iterator: usize,
        limit: i32,
    },
    Split {
        shard: usize,
        at: u128,
    },
    Merge {
        one: usize,
        two: usize,
    },
    Scale {
        target: i32,
    },
    List {
        filter: Filter,
    },
    Summary,
    Retention {
        hours: i32,
        increase: bool,
    },
    Register {
        name: u8,
    },
    Deregister {
        name: u8,
    },
    Consumers,
    Tag {
        key: u8,
    },
    Untag {
        key: u8,
    },
    Tags,
    BadIterator,
    Missing,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    TrimHorizon,
    Latest,
    At(usize),
    After(usize),
    Past,
    Future,
    NoNumber,
    Garbage,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Filter {
    None,
    AfterShard(usize),
    AtLatest,
    AtTrimHorizon,
    FromTrimHorizon,
    AtTime,
    FromTime,
}

impl Operation {
    pub(crate) fn random(rng: &mut SmallRng, pair: &Pair) -> Self {
        let shard = rng.random_range(0..pair.facts.count() + 1);
        match rng.random_range(0..100) {
            0..14 => Self::Put { key: rng.random_range(0..20), data: rng.random() },
            14..22 => {
                let keys = (0..rng.random_range(1..6)).map(|_| rng.random_range(0..20)).collect();
                Self::PutMany { keys, data: rng.random() }
            }
            22..44 => {
                let record = rng.random_range(0..pair.numbers.len().max(1));
                // A record's own shard more often than not.
                let home = pair.numbers.get(record).map_or(shard, |(_, _, home)| *home);
                let own = rng.random_bool(0.8);
                let (shard, kind) = match rng.random_range(0..10) {
                    0..3 => (shard, Kind::TrimHorizon),
                    3 => (shard, Kind::Latest),
                    4..6 => (if own { home } else { shard }, Kind::At(record)),
                    6 => (if own { home } else { shard }, Kind::After(record)),
                    7 => (shard, Kind::Past),
                    8 => (shard, Kind::Future),
                    _ => (shard, if own { Kind::NoNumber } else { Kind::Garbage }),
                };
                let foreign = matches!(kind, Kind::At(_) | Kind::After(_)) && home != shard;
                Self::Iterator { shard, kind, foreign }
            }
            44..66 => {
                let limit = if rng.random_bool(0.1) { 10_001 } else { rng.random_range(1..20) };
                Self::Read { iterator: rng.random_range(0..pair.iterators.len().max(1)), limit }
            }
            66..70 => {
                let at = if rng.random_bool(0.7) { rng.random() } else { rng.random_range(0..10) };
                Self::Split { shard, at }
            }
            70..74 => Self::Merge { one: shard, two: rng.random_range(0..pair.facts.count() + 1) },
            74..76 => Self::Scale { target: rng.random_range(1..6) },
            76..84 => {
                use Filter::*;
                let filters =
                    [None, AfterShard(shard), AtLatest, AtTrimHorizon, FromTrimHorizon, AtTime, FromTime];
                Self::List { filter: filters[rng.random_range(0..filters.len())] }
            }
            84..87 => Self::Summary,
            87..90 => Self::Retention { hours: rng.random_range(1..4) * 24 - 1, increase: rng.random() },
            90..92 => Self::Register { name: rng.random_range(0..3) },
            92 => Self::Deregister { name: rng.random_range(0..3) },
            93 => Self::Consumers,
            94 => Self::Tag { key: rng.random_range(0..3) },
            95 => Self::Untag { key: rng.random_range(0..3) },
            96 => Self::Tags,
            97 => Self::BadIterator,
            _ => Self::Missing,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "PutRecord",
            Self::PutMany { .. } => "PutRecords",
            Self::Iterator { .. } => "GetShardIterator",
            Self::Read { .. } | Self::BadIterator => "GetRecords",
            Self::Split { .. } => "SplitShard",
            Self::Merge { .. } => "MergeShards",
            Self::Scale { .. } => "UpdateShardCount",
            Self::List { .. } => "ListShards",
            Self::Summary | Self::Missing => "DescribeStreamSummary",
            Self::Retention { increase: true, .. } => "IncreaseStreamRetentionPeriod",
            Self::Retention { .. } => "DecreaseStreamRetentionPeriod",
            Self::Register { .. } => "RegisterStreamConsumer",
            Self::Deregister { .. } => "DeregisterStreamConsumer",
            Self::Consumers => "ListStreamConsumers",
            Self::Tag { .. } => "AddTagsToStream",
            Self::Untag { .. } => "RemoveTagsFromStream",
            Self::Tags => "ListTagsForStream",
        }
    }
}

/// Both servers, with what was learnt from them: the same thing on either side.
pub(crate) struct Pair {
    here: Client,
    there: Client,
    stream: String,
    streams: usize,
    arns: (String, String),
    /// What is known of the stream.
    pub(crate) facts: Facts,
    /// Sequence numbers of a record and its shard.
    pub(crate) numbers: Vec<(String, String, usize)>,
    pub(crate) iterators: Vec<(String, String)>,
    /// A time between operations.
    middle: SystemTime,
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .retry_config(RetryConfig::disabled())
        .http_client(HttpClient::new().build_http())
        .build();
    Client::from_conf(config)
}

/// What one side said: text to compare, and words that only that side understands.
struct Said {
    text: String,
    words: Vec<(String, usize)>,
}

impl Said {
    fn ok(text: impl Into<String>) -> Self {
        Self { text: format!("ok {}", text.into()), words: Vec::new() }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_or_else wants it")]
fn code<E: ProvideErrorMetadata, R>(error: SdkError<E, R>) -> Said {
    let text = match &error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("no code").to_owned(),
        _ => "no answer".to_owned(),
    };
    Said { text, words: Vec::new() }
}

fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

pub(crate) fn shard_number(id: &str) -> usize {
    id.trim_start_matches("shardId-").parse().unwrap()
}

fn shard_text(shard: &Shard) -> String {
    let range = shard.hash_key_range().unwrap();
    let closed = shard.sequence_number_range().unwrap().ending_sequence_number().is_some();
    format!(
        "{}[{}..{} of {:?}+{:?}{}]",
        shard_number(shard.shard_id()),
        range.starting_hash_key(),
        range.ending_hash_key(),
        shard.parent_shard_id().map(shard_number),
        shard.adjacent_parent_shard_id().map(shard_number),
        if closed { " closed" } else { "" }
    )
}

impl Pair {
    pub(crate) async fn new(here: &str, there: &str) -> Self {
        let mut pair = Self {
            here: client(here),
            there: client(there),
            stream: String::new(),
            streams: 0,
            arns: (String::new(), String::new()),
            facts: Facts::default(),
            numbers: Vec::new(),
            iterators: Vec::new(),
            middle: SystemTime::now(),
        };
        pair.renew().await;
        pair
    }

    /// Goes on with a new stream on both sides. One shard: of two, the other server draws the border one too low.
    pub(crate) async fn renew(&mut self) {
        let begun = second(SystemTime::now());
        self.streams += 1;
        self.stream = format!("stream-{}", self.streams);
        for client in [&self.here, &self.there] {
            client.create_stream().stream_name(&self.stream).shard_count(1).send().await.unwrap();
        }
        self.settle().await;
        self.arns = (self.arn(&self.here).await, self.arn(&self.there).await);
        self.facts.forget();
        self.see(begun).await;
        self.numbers.clear();
        self.iterators.clear();
        self.middle = SystemTime::now();
    }

    /// Sees the shards after something that began in this second.
    async fn see(&mut self, begun: u64) {
        let list = self.here.list_shards().stream_name(&self.stream).send().await.unwrap();
        self.facts.see(list.shards(), &(begun..=second(SystemTime::now())));
    }

    async fn arn(&self, client: &Client) -> String {
        let answer = client.describe_stream_summary().stream_name(&self.stream).send().await.unwrap();
        answer.stream_description_summary.unwrap().stream_arn
    }

    /// Waits until both streams are ACTIVE.
    async fn settle(&self) {
        for client in [&self.here, &self.there] {
            loop {
                let answer = client.describe_stream_summary().stream_name(&self.stream).send().await.unwrap();
                if answer.stream_description_summary.unwrap().stream_status == StreamStatus::Active {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Waits until no consumer is on its way in or out.
    async fn settle_consumers(&self) {
        for (client, arn) in [(&self.here, &self.arns.0), (&self.there, &self.arns.1)] {
            loop {
                let answer = client.list_stream_consumers().stream_arn(arn).send().await.unwrap();
                if answer.consumers().iter().all(|c| c.consumer_status == ConsumerStatus::Active) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Whether the shards are no longer the same on both sides.
    pub(crate) async fn diverged(&self, _: &mut SmallRng) -> bool {
        let list = Operation::List { filter: Filter::None };
        self.say(&self.here, &list, true).await.text != self.say(&self.there, &list, false).await.text
    }

    /// What is known before an operation.
    pub(crate) async fn facts(&mut self) -> Facts {
        let answer = self.here.describe_stream_summary().stream_name(&self.stream).send().await.unwrap();
        self.facts.retention_hours = answer.stream_description_summary.unwrap().retention_period_hours;
        self.facts.written = self.numbers.iter().map(|(_, _, shard)| *shard).collect();
        self.facts.asked = second(self.middle);
        self.facts.clone()
    }

    pub(crate) async fn run(&mut self, operation: &Operation) -> (String, String) {
        let begun = second(SystemTime::now());
        let here = self.say(&self.here, operation, true).await;
        let there = self.say(&self.there, operation, false).await;
        for ((ours, shard), (theirs, _)) in here.words.into_iter().zip(there.words) {
            match operation {
                Operation::Put { .. } | Operation::PutMany { .. } => self.numbers.push((ours, theirs, shard)),
                _ => self.iterators.push((ours, theirs)),
            }
        }
        match operation {
            Operation::Split { .. } | Operation::Merge { .. } | Operation::Scale { .. } => {
                self.settle().await;
                self.see(begun).await;
            }
            Operation::Register { .. } | Operation::Deregister { .. }
                if tokio::time::timeout(Duration::from_secs(2), self.settle_consumers()).await.is_err() =>
            {
                eprintln!("a consumer is stuck on the way in or out");
                self.renew().await;
            }
            _ => {}
        }
        if self.numbers.len() % 7 == 3 {
            tokio::time::sleep(Duration::from_millis(3)).await;
            self.middle = SystemTime::now();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        (here.text, there.text)
    }

    async fn say(&self, client: &Client, operation: &Operation, here: bool) -> Said {
        let stream = &self.stream;
        let arn = if here { &self.arns.0 } else { &self.arns.1 };
        match operation {
            Operation::Put { key, data } => {
                let put = client.put_record().stream_name(stream).partition_key(format!("key-{key}"));
                match put.data(Blob::new(data.to_string())).send().await {
                    Ok(answer) => Said {
                        text: format!("ok {}", answer.shard_id),
                        words: vec![(answer.sequence_number, shard_number(&answer.shard_id))],
                    },
                    Err(error) => code(error),
                }
            }
            Operation::PutMany { keys, data } => {
                let entry = |key: &u8| {
                    let entry = PutRecordsRequestEntry::builder().partition_key(format!("key-{key}"));
                    entry.data(Blob::new(format!("{data}-{key}"))).build().unwrap()
                };
                let entries = keys.iter().map(entry).collect();
                match client.put_records().stream_name(stream).set_records(Some(entries)).send().await {
                    Ok(answer) => {
                        let places: Vec<_> = answer.records().iter().map(|r| r.shard_id().unwrap()).collect();
                        let text = format!("ok {:?} {places:?}", answer.failed_record_count());
                        let word = |(number, shard): (&str, &str)| (number.to_owned(), shard_number(shard));
                        let pairs = answer
                            .records()
                            .iter()
                            .map(|r| (r.sequence_number().unwrap(), r.shard_id().unwrap()));
                        Said { text, words: pairs.map(word).collect() }
                    }
                    Err(error) => code(error),
                }
            }
            Operation::Iterator { shard, kind, .. } => self.iterator(client, *shard, *kind, here).await,
            Operation::Read { iterator, limit } => {
                let Some((ours, theirs)) = self.iterators.get(*iterator) else {
                    return Said::ok("nothing to read");
                };
                let iterator = if here { ours } else { theirs };
                match client.get_records().shard_iterator(iterator).limit(*limit).send().await {
                    Ok(answer) => {
                        let data: Vec<_> = answer
                            .records()
                            .iter()
                            .map(|r| String::from_utf8_lossy(r.data.as_ref()).into_owned())
                            .collect();
                        let children: Vec<_> =
                            answer.child_shards().iter().map(|c| (c.shard_id(), c.parent_shards())).collect();
                        let more = answer.next_shard_iterator().is_some();
                        let text = format!("ok {data:?} more {more} children {children:?}");
                        Said {
                            text,
                            words: answer.next_shard_iterator.into_iter().map(|it| (it, 0)).collect(),
                        }
                    }
                    Err(error) => code(error),
                }
            }
            Operation::Split { shard, at } => {
                let split = client.split_shard().stream_name(stream).shard_to_split(shard_id(*shard));
                split.new_starting_hash_key(at.to_string()).send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Merge { one, two } => {
                let merge = client.merge_shards().stream_name(stream).shard_to_merge(shard_id(*one));
                merge.adjacent_shard_to_merge(shard_id(*two)).send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Scale { target } => {
                let scale = client.update_shard_count().stream_name(stream).target_shard_count(*target);
                let answer = scale.scaling_type(ScalingType::UniformScaling).send().await;
                answer.map_or_else(code, |a| {
                    Said::ok(format!("{:?} {:?}", a.current_shard_count, a.target_shard_count))
                })
            }
            Operation::List { filter } => self.list(client, *filter).await,
            Operation::Summary => match client.describe_stream_summary().stream_name(stream).send().await {
                Ok(answer) => {
                    let summary = answer.stream_description_summary.unwrap();
                    Said::ok(format!(
                        "{} {} open, {} h, {:?} consumers, {:?}",
                        summary.stream_status,
                        summary.open_shard_count,
                        summary.retention_period_hours,
                        summary.consumer_count,
                        summary.encryption_type
                    ))
                }
                Err(error) => code(error),
            },
            Operation::Retention { hours, increase: true } => {
                let change = client.increase_stream_retention_period().stream_name(stream);
                change.retention_period_hours(*hours).send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Retention { hours, .. } => {
                let change = client.decrease_stream_retention_period().stream_name(stream);
                change.retention_period_hours(*hours).send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Register { name } => {
                let register =
                    client.register_stream_consumer().stream_arn(arn).consumer_name(format!("c{name}"));
                register.send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Deregister { name } => {
                let deregister = client.deregister_stream_consumer().stream_arn(arn);
                deregister.consumer_name(format!("c{name}")).send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Consumers => match client.list_stream_consumers().stream_arn(arn).send().await {
                Ok(answer) => {
                    let mut names: Vec<_> = answer.consumers().iter().map(|c| c.consumer_name()).collect();
                    names.sort_unstable();
                    Said::ok(format!("{names:?}"))
                }
                Err(error) => code(error),
            },
            Operation::Tag { key } => {
                let tag = client.add_tags_to_stream().stream_name(stream).tags(format!("t{key}"), "v");
                tag.send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Untag { key } => {
                let untag = client.remove_tags_from_stream().stream_name(stream).tag_keys(format!("t{key}"));
                untag.send().await.map_or_else(code, |_| Said::ok(""))
            }
            Operation::Tags => match client.list_tags_for_stream().stream_name(stream).send().await {
                Ok(answer) => {
                    let mut tags: Vec<_> = answer.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
                    tags.sort_unstable();
                    Said::ok(format!("{tags:?} {}", answer.has_more_tags()))
                }
                Err(error) => code(error),
            },
            Operation::BadIterator => client
                .get_records()
                .shard_iterator("garbage")
                .send()
                .await
                .map_or_else(code, |_| Said::ok("")),
            Operation::Missing => {
                let missing = client.describe_stream_summary().stream_name("missing").send().await;
                missing.map_or_else(code, |_| Said::ok(""))
            }
        }
    }

    async fn iterator(&self, client: &Client, shard: usize, kind: Kind, here: bool) -> Said {
        let number = |record: usize| {
            let (ours, theirs, _) = self.numbers.get(record)?;
            Some(if here { ours.clone() } else { theirs.clone() })
        };
        let request = client.get_shard_iterator().stream_name(&self.stream).shard_id(shard_id(shard));
        let request = match kind {
            Kind::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Kind::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            Kind::At(record) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .set_starting_sequence_number(number(record)),
            Kind::After(record) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .set_starting_sequence_number(number(record)),
            Kind::Past => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from(self.middle)),
            Kind::Future => {
                let future = DateTime::from(SystemTime::now() + Duration::from_secs(3600));
                request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(future)
            }
            Kind::NoNumber => request.shard_iterator_type(ShardIteratorType::AtSequenceNumber),
            Kind::Garbage => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number("12345"),
        };
        match request.send().await {
            Ok(answer) => {
                Said { text: "ok".to_owned(), words: vec![(answer.shard_iterator.unwrap(), shard)] }
            }
            Err(error) => code(error),
        }
    }

    async fn list(&self, client: &Client, filter: Filter) -> Said {
        let request = client.list_shards().stream_name(&self.stream);
        let by = |kind: ShardFilterType| ShardFilter::builder().r#type(kind);
        let time = DateTime::from(self.middle);
        let filter = match filter {
            Filter::None => None,
            Filter::AfterShard(shard) => Some(by(ShardFilterType::AfterShardId).shard_id(shard_id(shard))),
            Filter::AtLatest => Some(by(ShardFilterType::AtLatest)),
            Filter::AtTrimHorizon => Some(by(ShardFilterType::AtTrimHorizon)),
            Filter::FromTrimHorizon => Some(by(ShardFilterType::FromTrimHorizon)),
            Filter::AtTime => Some(by(ShardFilterType::AtTimestamp).timestamp(time)),
            Filter::FromTime => Some(by(ShardFilterType::FromTimestamp).timestamp(time)),
        };
        match request.set_shard_filter(filter.map(|filter| filter.build().unwrap())).send().await {
            Ok(answer) => {
                let mut shards: Vec<&Shard> = answer.shards().iter().collect();
                shards.sort_by_key(|shard| shard_number(shard.shard_id()));
                Said::ok(shards.into_iter().map(shard_text).collect::<Vec<_>>().join(" "))
            }
            Err(error) => code(error),
        }
    }
}
