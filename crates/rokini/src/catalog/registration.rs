//! The registration of a group with a stream for enhanced fan-out: made once for all its workers.

use std::sync::Arc;

use rokini_lease::{
    FanOutConsumer, GroupId, LeaseStore, LeaseStoreExt, StreamRow, StreamUpdate, WriteOutcome,
};

use super::streams::OpenStream;
use crate::config::{Retrieval, Settings, is_consumer_name};
use crate::events::emitter::Events;
use crate::events::table::EventKind;
use crate::source::stream_source::{ConsumerState, FanOut, RegisteredConsumer};
use crate::types::error::{Error, ErrorKind};

/// How often the row of the stream is looked at while others write it too.
const TRIES: usize = 5;

/// Under which name a group registers.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// As the settings say it.
    name: Option<String>,
    tags: Vec<(String, String)>,
    /// Whether shards are read by fan-out only while they need it.
    on_demand: bool,
}

impl Registration {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            name: settings.fan_out_consumer.clone(),
            tags: settings.fan_out_tags.clone(),
            on_demand: settings.retrieval == Retrieval::Auto,
        }
    }

    /// Whether shards are read by fan-out only while they need it.
    pub(super) fn is_on_demand(&self) -> bool {
        self.on_demand
    }

    /// The name for a group that is not registered yet.
    fn name(&self, group: &GroupId) -> Result<String, Error> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None if is_consumer_name(group.as_str()) => Ok(group.to_string()),
            None => Err(Error::configuration(format!(
                "group `{group}` cannot register for fan-out under its own name: set `fan_out_consumer` to 1 to 128 letters, \
                 digits, `_`, `.`, `-`"
            ))),
        }
    }

    /// Refuses a name other than the one that the group is registered under: it would be paid for twice.
    fn check(&self, group: &GroupId, known: &FanOutConsumer) -> Result<(), Error> {
        match &self.name {
            Some(name) if *name != known.name => Err(Error::configuration(format!(
                "`fan_out_consumer = {name}` is set, but group `{group}` is registered as `{}`: remove the setting, or \
                 delete the group (`rokini group delete`) and begin anew",
                known.name
            ))),
            _ => Ok(()),
        }
    }
}

/// A group at its streams.
#[derive(Clone, Copy)]
pub(super) struct Registrar<'a> {
    pub(super) store: &'a Arc<dyn LeaseStore>,
    pub(super) group: &'a GroupId,
    pub(super) events: &'a Events,
    pub(super) registration: &'a Registration,
}

impl Registrar<'_> {
    /// The ARN of the group's consumer of a stream, which is registered where it is not. Asked for once: afterwards it is
    /// known until [`OpenStream::forget_consumer`].
    ///
    /// The row of the stream names the consumer before it is registered, and says whether it is the group's own: so that
    /// whoever deletes the group takes it back, whatever died on the way.
    pub(super) async fn consumer(self, stream: &OpenStream) -> Result<Arc<str>, Error> {
        let mut known = stream.consumer().await;
        if let Some(arn) = &*known {
            return Ok(Arc::clone(arn));
        }
        let Some(fan_out) = stream.source.fan_out() else {
            return Err(Error::configuration(format!(
                "the source of stream `{}` has no fan-out: set `retrieval = polling`",
                stream.name
            )));
        };
        for _ in 0..TRIES {
            let row = self.store.stream(self.group, &stream.id).await?.ok_or_else(|| {
                let message = format!("the row of stream `{}` is gone: the group was deleted", stream.name);
                Error::new(ErrorKind::Retry, message)
            })?;
            let Some(noted) = row.consumer.clone() else {
                self.note_consumer(fan_out, &row).await?;
                continue;
            };
            self.registration.check(self.group, &noted)?;
            let consumer = match fan_out.find_consumer(&noted.name).await? {
                Some(consumer) => consumer,
                None if noted.owned => {
                    let made = fan_out.register_consumer(&noted.name, &self.registration.tags).await?;
                    let consumer = noted.name;
                    self.events.emit_for_stream(&stream.id, EventKind::FanOutRegistered { consumer });
                    made
                }
                // What others registered is gone: the next one is the group's own.
                None => {
                    let to = FanOutConsumer { owned: true, ..noted.clone() };
                    self.set_consumer(&row, to).await?;
                    continue;
                }
            };
            let arn = usable(&consumer, stream)?;
            return Ok(Arc::clone(known.insert(arn)));
        }
        let message = format!("the registration with stream `{}` is being changed: try again", stream.name);
        Err(Error::new(ErrorKind::Retry, message))
    }

    /// Gives the group's own registration with a stream back, where it has one. Its name stays on the row, so that the next shard
    /// that needs it registers it again.
    pub(super) async fn give_back(self, stream: &OpenStream) -> Result<(), Error> {
        let mut known = stream.consumer().await;
        let row = self.store.stream(self.group, &stream.id).await?;
        let Some(consumer) = row.and_then(|row| row.consumer).filter(|consumer| consumer.owned) else {
            return Ok(());
        };
        let Some(fan_out) = stream.source.fan_out() else { return Ok(()) };
        if fan_out.deregister_consumer(&consumer.name).await? {
            let consumer = consumer.name;
            self.events.emit_for_stream(&stream.id, EventKind::FanOutGivenBack { consumer });
        }
        *known = None;
        Ok(())
    }

    /// Notes on the row under which name the group is registered, or about to be.
    async fn note_consumer(self, fan_out: &dyn FanOut, row: &StreamRow) -> Result<(), Error> {
        let name = self.registration.name(self.group)?;
        let owned = fan_out.find_consumer(&name).await?.is_none();
        self.set_consumer(row, FanOutConsumer { name, owned }).await
    }

    /// The row is read again afterwards, whatever came of it.
    async fn set_consumer(self, row: &StreamRow, to: FanOutConsumer) -> Result<(), Error> {
        let update = StreamUpdate::Consumer { seen: row.consumer.clone(), to };
        match self.store.update_stream(self.group, &row.id, &update).await {
            Ok(WriteOutcome::Applied { .. } | WriteOutcome::Refused { .. }) => Ok(()),
            Err(error) if error.is_ambiguous() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The ARN of a consumer that is there to stay. Until it can be used, the shards are polled.
fn usable(consumer: &RegisteredConsumer, stream: &OpenStream) -> Result<Arc<str>, Error> {
    match consumer.state {
        ConsumerState::Creating | ConsumerState::Active => Ok(consumer.arn.as_str().into()),
        ConsumerState::Deleting => {
            let message = format!(
                "consumer `{}` of stream `{}` is being deregistered: it is registered again once that is done",
                consumer.arn, stream.name
            );
            Err(Error::new(ErrorKind::Retry, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rokini_lease::{MemoryStore, Position, StreamId, WallClock};

    use super::*;
    use crate::config::{ConfigKey, ConsumerConfig};
    use crate::source::stream_source::StreamSource;
    use crate::source::testing::Bench;

    #[tokio::test(start_paused = true)]
    async fn t4_a_registration_is_given_back_and_made_again_and_what_others_made_stays() {
        let bench = Bench::new(2);
        let source: Arc<dyn StreamSource> = Arc::new(bench.source());
        let described = source.describe().await.unwrap();
        let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::new());
        let id = StreamId::new(described.id.as_str()).unwrap();
        let mut config = ConsumerConfig::default();
        config.set(ConfigKey::Retrieval, "auto").unwrap();
        for (name, before) in [("own", false), ("adopted", true)] {
            let group = GroupId::new(name).unwrap();
            if before {
                bench.register(name);
            }
            let row = StreamRow::new(id.clone(), "orders", Position::TrimHorizon);
            store.insert_stream(&group, &row).await.unwrap();
            let stream = OpenStream::new(
                id.clone(),
                "orders".to_owned(),
                Position::TrimHorizon,
                Arc::clone(&source),
                described.retention,
            );
            let registration = Registration::new(&config);
            let events = Events::new(WallClock::system(), []);
            let registrar =
                Registrar { store: &store, group: &group, events: &events, registration: &registration };
            let fan_out = source.fan_out().unwrap();
            let registered = async || fan_out.find_consumer(name).await.unwrap();
            // Nothing to give back yet.
            registrar.give_back(&stream).await.unwrap();
            let first = registrar.consumer(&stream).await.unwrap();
            registrar.give_back(&stream).await.unwrap();
            if before {
                assert_eq!(*registered().await.unwrap().arn, *first, "somebody else's");
                continue;
            }
            assert!(registered().await.is_none_or(|consumer| consumer.state == ConsumerState::Deleting));
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            let again = registrar.consumer(&stream).await.unwrap();
            assert_eq!(*registered().await.unwrap().arn, *again);
        }
    }
}
