//! Which encoding an endpoint is asked in. Pure but for the lock.

use std::time::Duration;

use parking_lot::Mutex;
use rokini_wire::Codec;
use tokio::time::Instant;

use crate::config::Wire;
use crate::source::stream_source::SourceEvent;

/// How long an endpoint that took no CBOR is asked in JSON before CBOR is tried again: it may be another server by then.
const TRY_AGAIN: Duration = Duration::from_secs(3_600);

/// What an answer says about the encoding it was asked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source::kinesis) enum Outcome {
    /// It was understood, if only to be refused for what it asks.
    Understood,
    /// It was refused as what cannot be read.
    Refused(String),
    /// It was answered with something that says nothing: no error of the API, no records.
    Unclear(String),
    /// Nothing came that says anything.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// CBOR was not answered yet.
    Untested,
    /// CBOR is understood.
    Proven,
    /// CBOR seems not to be understood: JSON is tried.
    Doubted { why: String, sure: bool },
    /// JSON went through, but the answer to CBOR may have been for something else: CBOR is tried once more.
    Retested { why: String },
    /// JSON is understood where CBOR was not.
    Json { until: Instant },
    /// The setting says so.
    Fixed(Codec),
}

/// The encoding for one endpoint: found out once, kept, and looked at again rarely.
#[derive(Debug)]
pub(in crate::source::kinesis) struct WireChoice(Mutex<State>);

impl WireChoice {
    pub(in crate::source::kinesis) fn new(wire: Wire) -> Self {
        Self(Mutex::new(match wire {
            Wire::Auto => State::Untested,
            Wire::Cbor => State::Fixed(Codec::Cbor),
            Wire::Json => State::Fixed(Codec::Json),
        }))
    }

    /// The encoding of the next request.
    pub(in crate::source::kinesis) fn next(&self, now: Instant) -> Codec {
        let mut state = self.0.lock();
        match &mut *state {
            State::Untested | State::Proven | State::Retested { .. } => Codec::Cbor,
            State::Doubted { .. } => Codec::Json,
            State::Json { until } if *until <= now => {
                // One request tries it; the others do not wait for what becomes of that.
                *until = now + TRY_AGAIN;
                Codec::Cbor
            }
            State::Json { .. } => Codec::Json,
            State::Fixed(codec) => *codec,
        }
    }

    /// Notes what a request in this encoding came to, and says where that decided something.
    pub(in crate::source::kinesis) fn answered(
        &self,
        codec: Codec,
        outcome: Outcome,
        now: Instant,
    ) -> Option<SourceEvent> {
        let mut state = self.0.lock();
        let (next, notice) = match (&*state, codec, outcome) {
            (
                State::Untested | State::Doubted { .. } | State::Retested { .. },
                Codec::Cbor,
                Outcome::Understood,
            ) => (State::Proven, None),
            (State::Json { .. }, Codec::Cbor, Outcome::Understood) => {
                (State::Proven, Some(SourceEvent::AskedInCbor))
            }
            (State::Untested | State::Proven, Codec::Cbor, Outcome::Refused(why)) => {
                (State::Doubted { why, sure: true }, None)
            }
            (State::Untested, Codec::Cbor, Outcome::Unclear(why)) => {
                (State::Doubted { why, sure: false }, None)
            }
            (State::Doubted { why, sure: false }, Codec::Json, Outcome::Understood) => {
                (State::Retested { why: why.clone() }, None)
            }
            (State::Doubted { why, .. }, Codec::Json, Outcome::Understood)
            | (State::Retested { why }, Codec::Cbor, Outcome::Refused(_) | Outcome::Unclear(_)) => {
                let notice = SourceEvent::AskedInJson { reason: why.clone() };
                (State::Json { until: now + TRY_AGAIN }, Some(notice))
            }
            // It was not for the encoding.
            (State::Doubted { .. }, Codec::Json, Outcome::Refused(_) | Outcome::Unclear(_)) => {
                (State::Untested, None)
            }
            _ => return None,
        };
        *state = next;
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Outcome {
        Outcome::Refused("no".to_owned())
    }

    fn unclear() -> Outcome {
        Outcome::Unclear("what".to_owned())
    }

    /// The encodings of requests that come to these, and the notices.
    fn asked(choice: &WireChoice, outcomes: &[Outcome]) -> (String, usize) {
        let mut notices = 0;
        let ask = |outcome: &Outcome| {
            let codec = choice.next(Instant::now());
            notices += usize::from(choice.answered(codec, outcome.clone(), Instant::now()).is_some());
            if codec == Codec::Cbor { 'c' } else { 'j' }
        };
        (outcomes.iter().map(ask).collect(), notices)
    }

    #[tokio::test(start_paused = true)]
    async fn cbor_is_asked_for_until_the_endpoint_takes_json_instead() {
        use Outcome::{None, Understood};
        for (outcomes, expected, notices) in [
            (vec![Understood, Understood], "cc", 0),
            // JSON works where CBOR did not.
            (vec![refused(), Understood, Understood], "cjj", 1),
            // What may have been for something else is looked at twice.
            (vec![unclear(), Understood, unclear(), refused(), Understood], "cjcjj", 1),
            (vec![unclear(), Understood, Understood, Understood], "cjcc", 0),
            // It was not for the encoding.
            (vec![unclear(), unclear(), unclear(), Understood, unclear()], "cjcjc", 1),
            (vec![unclear(), unclear(), Understood, unclear(), Understood], "cjccc", 0),
            // What says nothing decides nothing.
            (vec![None, None, Understood, None], "cccc", 0),
            (vec![refused(), None, None, Understood, Understood], "cjjjj", 1),
            // The server was replaced by one that does not know CBOR.
            (vec![Understood, refused(), Understood, Understood], "ccjj", 1),
        ] {
            let choice = WireChoice::new(Wire::Auto);
            assert_eq!(asked(&choice, &outcomes), (expected.to_owned(), notices), "{outcomes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_decided_once_and_tried_again_rarely() {
        let choice = WireChoice::new(Wire::Auto);
        assert_eq!(asked(&choice, &[refused(), Outcome::Understood]), ("cj".to_owned(), 1));
        tokio::time::advance(TRY_AGAIN).await;
        assert_eq!(asked(&choice, &[refused(), Outcome::Understood]), ("cj".to_owned(), 0));
        tokio::time::advance(TRY_AGAIN).await;
        assert_eq!(asked(&choice, &[Outcome::Understood, Outcome::Understood]), ("cc".to_owned(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_setting_is_kept_to() {
        for (wire, expected) in [(Wire::Cbor, "ccc"), (Wire::Json, "jjj")] {
            let outcomes = [refused(), unclear(), Outcome::Understood];
            assert_eq!(asked(&WireChoice::new(wire), &outcomes), (expected.to_owned(), 0));
        }
    }
}
