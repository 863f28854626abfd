//! Puts a consumer together.

mod broadcast;
mod settings;
pub(crate) mod stream;

use std::future::Future;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{AssignmentPolicy, BillingMode, GroupId, LeaseStore, MemoryStore, WallClock};

use broadcast::TABLE_KEYS;

use super::assembly::{Parts, assemble};
use super::run::Consumer;
use super::sources::{Sources, refuse_dead_letters};
use crate::aws::{self, HttpOptions, SdkConfig};
use crate::config::{Balance, ConfigKey, ConsumerConfig};
use crate::dead_letter::DeadLetterSink;
use crate::processor::batch::Batch;
use crate::processor::closure::ForEachBatch;
use crate::processor::decode::Decode;
use crate::processor::factory::Factory;
use crate::processor::record_processor::RecordProcessor;
use crate::processor::shard_context::ShardContext;
use crate::source::stream_source::StreamSource;
use crate::telemetry::handler_stats::{HandlerStats, HandlerStatsSource};
use crate::telemetry::recorders::Recorders;
use crate::types::error::{Error, ErrorKind};
use crate::types::failure::{HandlerError, OnFailure};
use crate::types::record::Record;

/// Builds a [`Consumer`]. Each setting is described at its [`ConfigKey`]; a wrong value is an error of
/// [`ConsumerBuilder::build`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConsumerBuilder {
    config: ConsumerConfig,
    store: Option<Arc<dyn LeaseStore>>,
    streams: Vec<String>,
    sources: Vec<Arc<dyn StreamSource>>,
    aws: Option<SdkConfig>,
    http: HttpOptions,
    factory: Option<Factory>,
    dead_letter: Option<Arc<dyn DeadLetterSink>>,
    seed: Option<u64>,
    clock: WallClock,
    policy: Option<AssignmentPolicy>,
    recorders: Recorders,
    handler_stats: Option<HandlerStatsSource>,
    wrong: Option<Error>,
}

impl Consumer {
    /// A consumer with nothing set.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder::default()
    }
}

impl ConsumerBuilder {
    /// Takes over settings read elsewhere, from a file or the environment for example. Of two values the one of
    /// the stronger origin holds: this builder's own over the environment's over the file's.
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = self.config.merge(config);
        self
    }

    /// Sets one setting by its key and text.
    pub fn set(mut self, key: ConfigKey, text: impl AsRef<str>) -> Self {
        let mistake = self.config.set(key, text.as_ref()).err();
        self.note(mistake)
    }

    /// A stream, by name or ARN; call it again for another one. Required, except with [`ConsumerBuilder::source`],
    /// where it is compared with what the source reads.
    ///
    /// The workers of a group need not read the same streams: a shard is worked on by one that reads its stream. Two
    /// streams of one name, in different accounts or regions, need a group each: `build` refuses them.
    pub fn stream(self, stream: impl AsRef<str>) -> Self {
        self.streams([stream])
    }

    /// Several streams, as [`ConsumerBuilder::stream`] for each.
    pub fn streams<S: AsRef<str>>(mut self, streams: impl IntoIterator<Item = S>) -> Self {
        self.streams.extend(streams.into_iter().map(|stream| stream.as_ref().to_owned()));
        let all = self.streams.join(",");
        self.set(ConfigKey::Stream, all)
    }

    /// How a table that is made is paid for ([`ConfigKey::BillingMode`]), with its units.
    pub fn billing_mode(mut self, mode: BillingMode) -> Self {
        let set = self.config.billing_mode(mode).err();
        self.note(set)
    }

    /// The first mistake is the one to tell.
    fn note(mut self, mistake: Option<Error>) -> Self {
        self.wrong = self.wrong.or(mistake);
        self
    }

    /// Spreads the shards over the workers by a policy of the lease crate, one of your own for example
    /// ([`AssignmentPolicy::custom`]). The same for all workers of a group. Default: what [`ConfigKey::Balance`] says.
    pub fn balance_policy(mut self, policy: AssignmentPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where leases and positions are kept. Default with [`ConsumerBuilder::aws`]: the DynamoDB table that
    /// [`ConfigKey::Table`] names.
    pub fn store(mut self, store: impl LeaseStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Where records come from, in place of Amazon Kinesis; call it again for another stream.
    pub fn source(mut self, source: impl StreamSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Region, credentials and endpoints for Amazon Kinesis, and for DynamoDB where no other store is given.
    #[cfg(feature = "aws")]
    pub fn aws(mut self, aws: &SdkConfig) -> Self {
        self.aws = Some(aws.clone());
        self
    }

    /// How calls are made that the AWS configuration says nothing about: those to an OpenTelemetry collector, and all of
    /// them where it brings no HTTP client. Default: through no proxy.
    #[cfg(feature = "aws")]
    pub fn http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// Makes a processor for each shard this worker works on. This, or a closure, is required.
    pub fn processor<P: RecordProcessor>(
        self,
        make: impl Fn(&ShardContext) -> P + Send + Sync + 'static,
    ) -> Self {
        self.handler(Factory::new(make))
    }

    /// Two of them are a mistake: one would be forgotten in silence.
    fn handler(mut self, factory: Factory) -> Self {
        let mistake = self.factory.replace(factory).map(|_| {
            let message = "the consumer has two handlers: give the builder one out of `processor`, `for_each`, \
                           `for_each_batch` and the like, or read it as a stream";
            Error::new(ErrorKind::Configuration, message)
        });
        self.note(mistake)
    }

    /// Calls a closure with each record, one after the other in each shard, shards at the same time. A record
    /// whose call fails comes again before the next one; each is done by itself.
    pub fn for_each<F, Fut>(self, handle: F) -> Self
    where
        F: Fn(Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.handler(Factory::for_each(handle))
    }

    /// Calls a closure with each batch; [`Batch::shard`] says where it comes from. A batch whose call fails comes
    /// again.
    pub fn for_each_batch<F, Fut>(self, handle: F) -> Self
    where
        F: Fn(Batch) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let handle = Arc::new(handle);
        self.handler(Factory::new(move |_| ForEachBatch(Arc::clone(&handle))))
    }

    /// Calls a closure with the value of each record, read by `decoder`, and the record; otherwise as
    /// [`ConsumerBuilder::for_each`]. A record that cannot be decoded is a failure of its call, and named in it.
    pub fn for_each_decoded<D, F, Fut>(self, decoder: D, handle: F) -> Self
    where
        D: Decode,
        F: Fn(D::Value, Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let handle = Arc::new(handle);
        self.for_each(move |record| {
            let call = record.decode(&decoder).map(|value| handle(value, record));
            async move { call?.await }
        })
    }

    /// Calls a closure with the value of each record, read out of its JSON, and the record; otherwise as
    /// [`ConsumerBuilder::for_each`]. A record that is no such JSON is a failure of its call, and named in it.
    ///
    /// ```no_run
    /// # #[derive(serde::Deserialize)]
    /// # struct Order { amount: u64 }
    /// # fn example(builder: rokini::ConsumerBuilder) -> rokini::ConsumerBuilder {
    /// builder.for_each_json(|order: Order, record| async move {
    ///     println!("{:?} ordered {}", record.partition_key(), order.amount);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub fn for_each_json<T, F, Fut>(self, handle: F) -> Self
    where
        T: serde::de::DeserializeOwned + Send + 'static,
        F: Fn(T, Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.for_each_decoded(crate::processor::decode::Json::new(), handle)
    }

    /// A sink of one's own for records that the failure policy gives up. Their shard goes on once they are kept there.
    /// Default: the place that [`ConfigKey::DeadLetter`] names. Required with [`OnFailure::DeadLetter`], and only with
    /// that.
    pub fn dead_letter_sink(mut self, sink: impl DeadLetterSink) -> Self {
        self.dead_letter = Some(Arc::new(sink));
        self
    }

    /// The seed of all randomness: delays, and the worker's incarnation. Default: from the operating system. Two
    /// workers of one group must not have the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The clock for what people see. Default: the host's.
    pub fn wall_clock(mut self, clock: WallClock) -> Self {
        self.clock = clock;
        self
    }

    /// What a handler in other processes says of itself, asked once a second and given out as metrics
    /// ([`MetricScope::Handler`](crate::MetricScope)).
    pub fn handler_stats(mut self, stats: impl Fn() -> HandlerStats + Send + Sync + 'static) -> Self {
        self.handler_stats = Some(HandlerStatsSource(Arc::new(stats)));
        self
    }

    /// Gives the metrics to this recorder too, whatever [`ConfigKey::Monitoring`] says. The library itself never
    /// installs a global recorder, so several consumers of a process can have one each, or share one: their series
    /// differ in their labels. A recorder keeps the series of shards that left; their gauges become 0.
    ///
    /// The trait is that of the crate `metrics`, of the version that this library re-exports as [`crate::metrics`]: recorders
    /// of other crates implement it, and a trait of our own would need a wrapper for each.
    pub fn recorder(mut self, recorder: impl metrics::Recorder + Send + Sync + 'static) -> Self {
        self.recorders.add(Arc::new(recorder));
        self
    }

    /// Checks everything that can be known without asking the stream and the store.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming what is wrong or missing and what to do.
    pub async fn build(self) -> Result<Consumer, Error> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let mut config = self.config;
        if config.broadcast {
            broadcast::settle(&mut config, self.store.is_some(), self.policy.is_some())?;
        }
        config.check(self.clock.millis())?;
        let Some(group) = config.group.clone() else {
            return Err(ConsumerConfig::missing(ConfigKey::Group));
        };
        let factory = checked_factory(self.factory, &config)?;
        let aws = self.aws.map(|aws| aws::complete(aws, &self.http)).transpose()?;
        let mut rng = self.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        let sources = Sources::new(aws.clone(), self.clock.clone(), StdRng::from_rng(&mut rng));
        want_all(&sources, self.sources, &config)?;
        let store = match (self.store, &aws) {
            (Some(store), _) => {
                config.refuse(&TABLE_KEYS, "with a store of one's own")?;
                store
            }
            // A group of one.
            (None, _) if config.broadcast => Arc::new(MemoryStore::new()),
            (None, Some(aws)) => dynamo(&config, aws, &group),
            (None, None) => return Err(missing("lease store", "give the builder `aws` or `store`")),
        };
        let dead_letter = dead_letter_sink(self.dead_letter, &config, aws.as_ref())?;
        if let Some(sink) = &dead_letter {
            sink.open().await?;
        }
        if config.monitoring.is_empty() && self.recorders.is_empty() {
            config.refuse(&[ConfigKey::MetricsShardLabel], "without `monitoring` or a recorder")?;
        }
        let policy = match (self.policy, config.balance) {
            (Some(policy), _) => {
                config.refuse(&[ConfigKey::Balance], "with a policy of one's own")?;
                policy
            }
            (None, Balance::Throughput) => AssignmentPolicy::Throughput,
            (None, _) => AssignmentPolicy::Even,
        };
        let runner = assemble(Parts {
            config,
            group,
            store,
            sources,
            factory,
            dead_letter,
            policy,
            recorders: self.recorders,
            handler_stats: self.handler_stats,
            aws,
            http: self.http,
            clock: self.clock,
            rng,
        })?;
        Ok(Consumer { runner })
    }
}

fn missing(what: &str, how: &str) -> Error {
    Error::new(ErrorKind::Configuration, format!("the consumer has no {what}: {how}"))
}

fn checked_factory(factory: Option<Factory>, config: &ConsumerConfig) -> Result<Factory, Error> {
    let factory = factory.ok_or_else(|| {
        missing(
            "handler",
            "give the builder one with `processor`, `for_each` or `for_each_batch`, or read it by `into_stream`",
        )
    })?;
    if factory.one_by_one {
        let batches = [ConfigKey::BatchMaxRecords, ConfigKey::BatchMaxBytes, ConfigKey::BatchMaxWait];
        config.refuse(&batches, "with a handler of single records")?;
    }
    Ok(factory)
}

/// The streams to open at the start: those of the sources given, or those that the settings name.
fn want_all(
    sources: &Sources,
    given: Vec<Arc<dyn StreamSource>>,
    config: &ConsumerConfig,
) -> Result<(), Error> {
    if !given.is_empty() {
        let polling = [ConfigKey::PollFloor, ConfigKey::PollCeiling, ConfigKey::MaxRecords];
        config.refuse(&polling, "with a source of one's own")?;
        return given.into_iter().try_for_each(|source| {
            refuse_dead_letters(config, source.as_ref())?;
            sources.want(source)
        });
    }
    if !sources.has_aws() {
        return Err(missing("source of records", "give the builder `aws` or `source`"));
    }
    if config.streams.is_empty() {
        return Err(ConsumerConfig::missing(ConfigKey::Stream));
    }
    config.streams.iter().try_for_each(|stream| sources.want(sources.kinesis(stream.clone(), config)?))
}

/// The sink, which is there if and only if the failure policy gives it something.
fn dead_letter_sink(
    given: Option<Arc<dyn DeadLetterSink>>,
    config: &ConsumerConfig,
    aws: Option<&SdkConfig>,
) -> Result<Option<Arc<dyn DeadLetterSink>>, Error> {
    let has_sink = given.is_some() || config.dead_letter.is_some();
    match (given, &config.dead_letter) {
        _ if has_sink && config.on_failure != OnFailure::DeadLetter => {
            let on_failure = config.on_failure;
            let message =
                format!("a dead-letter sink has no effect with `on_failure = {on_failure}`: remove it");
            Err(Error::new(ErrorKind::Configuration, message))
        }
        (Some(sink), _) => {
            config.refuse(&[ConfigKey::DeadLetter], "with a sink of one's own")?;
            Ok(Some(sink))
        }
        (None, Some(target)) => target.sink(aws, &config.streams).map(Some),
        (None, None) if config.on_failure == OnFailure::DeadLetter => Err(missing(
            "dead-letter sink",
            "set `dead_letter`, or give the builder one with `dead_letter_sink`",
        )),
        (None, None) => Ok(None),
    }
}

/// The store that the settings describe.
#[cfg(feature = "aws")]
fn dynamo(config: &ConsumerConfig, aws: &SdkConfig, group: &GroupId) -> Arc<dyn LeaseStore> {
    use rokini_lease::DynamoStore;
    // A call that hangs leaves time for others within the failover time.
    let attempt = DynamoStore::ATTEMPT_TIMEOUT.min(config.failover / 5);
    let operation = DynamoStore::OPERATION_TIMEOUT.min(config.failover / 2);
    let store = DynamoStore::new(aws, config.table.as_str())
        .create_table(config.create_table)
        .billing_mode(config.billing_mode)
        .check_group(group.clone())
        .timeouts(attempt, operation);
    Arc::new(match config.table_partitions {
        Some(count) => store.partitions(count),
        None => store,
    })
}

#[cfg(not(feature = "aws"))]
fn dynamo(_: &ConsumerConfig, aws: &SdkConfig, _: &GroupId) -> Arc<dyn LeaseStore> {
    match *aws {}
}
