//! One subscription: its frames as they arrive, its events read in place, its exceptions typed.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use rokini_wire::events::{
    ERROR_CODE, EVENT_TYPE, EXCEPTION_TYPE, Frame, INITIAL_RESPONSE, MESSAGE_TYPE, SUBSCRIBE_TO_SHARD_EVENT,
};
use rokini_wire::{Codec, ExceptionBody, RecordsAnswer, ServiceError};
use tokio::time::{Instant, timeout_at};

use crate::aws::buffer_pool::{BufferPool, PooledBuffer};

/// After so long without a byte, while somebody waits for one, a subscription is given up: the service sends an event
/// about every 5 s, also where there are no records.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// Frames of up to so many bytes are read before there is room for them.
const SMALL: usize = 16 << 10;
/// The largest frame of an event stream, and some.
const LARGEST: usize = 25 << 20;
/// Total length and length of the headers with their checksum.
const PRELUDE: usize = 12;

/// What a subscription brought.
#[derive(Debug)]
pub(super) enum Pushed {
    /// Records, or the news that there are none.
    Event(Box<RecordsAnswer>),
    /// It ended with an exception of the API.
    Exception(ServiceError),
    /// It ended: after its five minutes, as a rule.
    End,
    /// It broke off, was silent for too long, or brought what nobody can read.
    Broken(String),
}

/// What is known of the next thing that a subscription brings.
#[derive(Debug)]
pub(super) enum Head {
    /// A large event, of which the beginning is here: how many bytes it has.
    Large(usize),
    /// Here as a whole.
    Whole(Box<Pushed>),
}

#[derive(Debug)]
pub(super) struct Subscription {
    body: SdkBody,
    buffer: FrameBuffer,
    /// Since when somebody waits for more; `None` while nobody does.
    waiting: Option<Instant>,
}

impl Subscription {
    /// Large events are gathered in `buffers`, if there are some; otherwise each has memory of its own.
    pub(super) fn new(body: SdkBody, buffers: Option<Arc<BufferPool>>) -> Self {
        Self { body, buffer: FrameBuffer { buffers, ..FrameBuffer::default() }, waiting: None }
    }

    /// Waits for the next thing. Cancel safe: what arrived stays, and a large event is announced again.
    pub(super) async fn head(&mut self) -> Head {
        loop {
            match self.buffer.next_length() {
                Some(length) if length > LARGEST => {
                    let reason = format!("a frame claims to have {length} bytes");
                    return Head::Whole(Box::new(Pushed::Broken(reason)));
                }
                Some(length) if length > SMALL && self.buffer.length < length => return Head::Large(length),
                Some(length) if self.buffer.length >= length => match self.buffer.take(length) {
                    Ok(frame) => match pushed(frame) {
                        Some(pushed) => return Head::Whole(Box::new(pushed)),
                        None => continue,
                    },
                    Err(error) => return Head::Whole(Box::new(Pushed::Broken(error))),
                },
                _ => {}
            }
            if let Err(over) = self.receive().await {
                return Head::Whole(Box::new(over));
            }
        }
    }

    /// The large event that was announced. Cancel safe.
    pub(super) async fn large(&mut self, length: usize) -> Pushed {
        self.buffer.gather(length);
        while self.buffer.length < length {
            if let Err(over) = self.receive().await {
                return over;
            }
        }
        match self.buffer.take(length) {
            Ok(frame) => {
                pushed(frame).unwrap_or_else(|| Pushed::Broken("a large frame is no event".to_owned()))
            }
            Err(error) => Pushed::Broken(error),
        }
    }

    /// Nobody waits for more just now.
    pub(super) fn pauses(&mut self) {
        self.waiting = None;
    }

    /// More bytes. `Err` at the end.
    async fn receive(&mut self) -> Result<(), Pushed> {
        let until = *self.waiting.get_or_insert_with(Instant::now) + SILENCE;
        let received = match timeout_at(until, self.body.frame()).await {
            Ok(received) => received,
            Err(_) => return Err(Pushed::Broken(format!("nothing came for {} s", SILENCE.as_secs()))),
        };
        self.waiting = None;
        if let Some(buffers) = &self.buffer.buffers {
            buffers.expire();
        }
        match received {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.push(data);
                }
                Ok(())
            }
            Some(Err(error)) => Err(Pushed::Broken(with_causes(&*error))),
            None if self.buffer.length > 0 => {
                Err(Pushed::Broken("it ended in the middle of an event".to_owned()))
            }
            None => Err(Pushed::End),
        }
    }
}

fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What a frame says. `None`: nothing that matters.
fn pushed(frame: Frame) -> Option<Pushed> {
    let kind = frame.header(MESSAGE_TYPE);
    match (kind, frame.header(EVENT_TYPE)) {
        (Some("event"), Some(INITIAL_RESPONSE)) => None,
        (Some("event"), Some(SUBSCRIBE_TO_SHARD_EVENT)) => Some(match RecordsAnswer::read(frame.payload) {
            Ok(answer) => Pushed::Event(Box::new(answer)),
            Err(error) => Pushed::Broken(format!("an event cannot be read ({error})")),
        }),
        // What is added to the API one day.
        (Some("event"), _) => None,
        _ => Some(Pushed::Exception(exception(&frame))),
    }
}

/// An exception that is modelled, or an error that is not.
fn exception(frame: &Frame) -> ServiceError {
    let code =
        frame.header(EXCEPTION_TYPE).or_else(|| frame.header(ERROR_CODE)).unwrap_or("an unknown error");
    let codec = if matches!(frame.payload.first(), Some(0xa0..=0xbf)) { Codec::Cbor } else { Codec::Json };
    let told: Option<ExceptionBody> = codec.decode(&frame.payload).ok();
    ServiceError::new(code.into(), told.unwrap_or_default().message)
}

/// Bytes that make no frame yet. A frame that came in one piece is not copied.
#[derive(Debug, Default)]
struct FrameBuffer {
    /// A large frame that comes in many pieces. Each is copied as it comes, so that the memory it came in can be used again.
    gathered: Option<Gathered>,
    pieces: VecDeque<Bytes>,
    /// Of all that is here.
    length: usize,
    buffers: Option<Arc<BufferPool>>,
}

#[derive(Debug)]
struct Gathered {
    buffer: GatherBuffer,
    length: usize,
}

#[derive(Debug)]
enum GatherBuffer {
    Pooled(PooledBuffer),
    Own(BytesMut),
}

impl Gathered {
    fn is_whole(&self) -> bool {
        self.here().len() >= self.length
    }

    fn here(&self) -> &[u8] {
        match &self.buffer {
            GatherBuffer::Pooled(buffer) => &buffer.bytes,
            GatherBuffer::Own(buffer) => buffer,
        }
    }

    /// Takes what belongs to the frame.
    fn fill(&mut self, piece: &mut Bytes) {
        let part = piece.split_to(piece.len().min(self.length - self.here().len()));
        match &mut self.buffer {
            GatherBuffer::Pooled(buffer) => buffer.bytes.extend_from_slice(&part),
            GatherBuffer::Own(buffer) => buffer.extend_from_slice(&part),
        }
    }

    fn freeze(self) -> Bytes {
        match self.buffer {
            GatherBuffer::Pooled(buffer) => buffer.freeze(),
            GatherBuffer::Own(buffer) => buffer.freeze(),
        }
    }
}

impl FrameBuffer {
    fn push(&mut self, mut piece: Bytes) {
        self.length += piece.len();
        if let Some(gathered) = &mut self.gathered {
            gathered.fill(&mut piece);
        }
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// The next frame has this length: what comes of it is copied together at once.
    fn gather(&mut self, length: usize) {
        if self.gathered.is_some() || self.length >= length {
            return;
        }
        let buffer = match &self.buffers {
            Some(buffers) => GatherBuffer::Pooled(buffers.take(length)),
            None => GatherBuffer::Own(BytesMut::with_capacity(length)),
        };
        let gathered = self.gathered.insert(Gathered { buffer, length });
        self.pieces.drain(..).for_each(|mut piece| gathered.fill(&mut piece));
    }

    /// The length of the next frame, once its beginning is here.
    fn next_length(&self) -> Option<usize> {
        if let Some(gathered) = &self.gathered {
            return Some(gathered.length);
        }
        let mut length = [0; 4];
        if self.length < PRELUDE {
            return None;
        }
        let bytes = self.pieces.iter().flat_map(|piece| piece.iter());
        length.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Some(u32::from_be_bytes(length) as usize)
    }

    /// The next frame, of this length, which is here.
    fn take(&mut self, length: usize) -> Result<Frame, String> {
        let length = length.max(PRELUDE).min(self.length);
        if let Some(gathered) = self.gathered.take_if(|gathered| gathered.is_whole()) {
            self.length -= gathered.length;
            return frame(gathered.freeze());
        }
        let in_one = self.pieces.front_mut().filter(|first| first.len() >= length);
        let bytes = match in_one {
            Some(first) => first.split_to(length),
            None => {
                let mut whole = BytesMut::with_capacity(length);
                while let Some(first) = self.pieces.front_mut() {
                    let wanted = (length - whole.len()).min(first.len());
                    whole.extend_from_slice(&first[..wanted]);
                    first.advance(wanted);
                    if !first.is_empty() {
                        break;
                    }
                    self.pieces.pop_front();
                }
                whole.freeze()
            }
        };
        if self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
        self.length -= length;
        frame(bytes)
    }
}

fn frame(mut bytes: Bytes) -> Result<Frame, String> {
    match Frame::read(&mut bytes) {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err("an event-stream frame has an impossible length".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
