//! Lambda functions without Lambda: their own runtime client as a process, the Runtime API served to it.

mod functions;
mod runtime_api;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rokini::{Batch, HandlerError, HandlerStats, RecordProcessor, ShardContext};

pub use self::functions::FunctionSettings;
use self::functions::{Functions, LATEST};
use self::runtime_api::FunctionResult;
use crate::batch_event::answer::{Outcome, read_answer};
use crate::batch_event::deliver::{Delivered, Invoked, deliver};
use crate::batch_event::kinesis_event::{EventSource, LARGEST_EVENT};
use crate::child::Spawner;
use crate::context::HandlerContext;
use crate::pause::{Pause, give_back};
use crate::pool::StartFailures;
use crate::restarts::Restarts;
use crate::settings::ProcessSettings;

/// Makes processors that give records to a Lambda function as Lambda does. Processes are shared: as many run as shards
/// (lanes, with `concurrency`) have an event at the same time, and the spares.
#[derive(Clone)]
pub struct Lambda {
    functions: Arc<Functions>,
    /// By the name of the stream.
    sources: Arc<BTreeMap<String, EventSource>>,
}

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lambda").field("function", &self.functions.settings).finish_non_exhaustive()
    }
}

impl Lambda {
    /// A function whose runtime client is started by this command, such as `python -m awslambdaric app.handler`. `sources`
    /// says for each stream, by its name, what events say of it. Within a Tokio runtime only.
    #[must_use]
    pub fn new(
        process: ProcessSettings,
        function: FunctionSettings,
        sources: BTreeMap<String, EventSource>,
        context: &HandlerContext,
    ) -> Self {
        let region = sources.values().next().map(|source| source.region.clone()).unwrap_or_default();
        let spawner = Spawner::new(process, context);
        let functions = Functions::new(spawner, function, region, context.clock.clone(), context.seed);
        Self { functions, sources: Arc::new(sources) }
    }

    /// The processor of a shard, or of a lane of it.
    #[must_use]
    pub fn processor(&self, shard: &ShardContext) -> LambdaProcessor {
        let stream = shard.stream().as_str();
        let name = stream.rsplit_once('@').map_or(stream, |(name, _)| name);
        let source = self.sources.get(name).cloned();
        LambdaProcessor {
            functions: Arc::clone(&self.functions),
            source: source
                .unwrap_or_else(|| EventSource::of_stream(format!("arn:aws:kinesis:::stream/{name}"))),
            failures: StartFailures::default(),
            restarts: Restarts::new(self.functions.seed()),
            pause: Pause::default(),
        }
    }

    /// Starts so many processes for shards that are about to come, and returns once they are ready, at the latest 10 s later. For
    /// before a worker joins a group whose shards other workers have: nobody waits then for an interpreter. Those that have worked on
    /// nothing for [`ProcessSettings::idle_timeout`] are ended, as always.
    pub async fn warm(&self, processes: usize) {
        self.functions.warm(processes).await;
    }

    /// Ends the processes that wait for events. For the end of the consumer.
    pub async fn close(&self) {
        self.functions.close().await;
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> HandlerStats {
        self.functions.spawner.events.stats()
    }

    /// Looks every 5 s at what the processes use of the machine, for [`stats`](Self::stats). Never returns: whoever wants to
    /// know has it run beside the consumer.
    pub async fn measure(&self) -> Infallible {
        let spawner = &self.functions.spawner;
        spawner.events.measure(&spawner.tracker).await
    }
}

/// The records of one shard, or of a lane of it, through a Lambda function.
#[derive(Debug)]
pub struct LambdaProcessor {
    functions: Arc<Functions>,
    source: EventSource,
    failures: StartFailures,
    restarts: Restarts,
    pause: Pause,
}

impl LambdaProcessor {
    fn function_arn(&self) -> String {
        let settings = &self.functions.settings;
        settings.arn.clone().unwrap_or_else(|| {
            let EventSource { region, .. } = &self.source;
            let arn = format!("arn:aws:lambda:{region}:{}:function:{}", self.source.account(), settings.name);
            // Whoever invokes the latest version names none.
            if settings.version == LATEST { arn } else { format!("{arn}:{}", settings.version) }
        })
    }
}

impl RecordProcessor for LambdaProcessor {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if !self.pause.is_over(&batch).await {
            give_back(&batch);
            return Ok(());
        }
        let (functions, arn) = (&self.functions, self.function_arn());
        let (shard, records) = (batch.shard().shard_id().to_string(), batch.clone());
        let reports = functions.settings.report_batch_item_failures;
        // How long the process ran that ended while it worked on an event: nothing is delivered after that.
        let ended_after = OnceLock::new();
        let delivered = deliver(batch, &self.source, LARGEST_EVENT, |event| {
            let (shard, arn, records) = (&shard, arn.clone(), &records.records()[event.records]);
            let ended_after = &ended_after;
            async move {
                match functions.invoke(shard, arn, event.body.into()).await {
                    Ok(FunctionResult::Response(_)) if !reports => Invoked::Answered(Outcome::Done),
                    Ok(FunctionResult::Response(body)) => Invoked::Answered(read_answer(&body, records)),
                    Ok(FunctionResult::Error(error)) => Invoked::Answered(Outcome::Failed(error)),
                    Ok(FunctionResult::Ended(error, ran)) => {
                        ended_after.get_or_init(|| ran);
                        Invoked::Answered(Outcome::Failed(error))
                    }
                    Err(error) => Invoked::NotTaken(Duration::ZERO, error.to_string()),
                }
            }
        });
        match delivered.await {
            Delivered::Settled(result) => {
                self.failures.succeeded();
                if let Some(ran) = ended_after.get() {
                    self.pause.begin(self.restarts.ended_after(*ran));
                }
                result
            }
            Delivered::NotTaken(_, error) => {
                let retry_in = self.failures.failed(&functions.spawner, &shard, &error.into());
                self.pause.begin(retry_in);
                Ok(())
            }
        }
    }
}
