//! Records given up: where they go, so that nothing is skipped without a trace.

#[cfg(feature = "json")]
mod entry;
#[cfg(feature = "json")]
mod file;
mod letter;
#[cfg(feature = "sqs")]
mod queue;
#[cfg(all(feature = "aws", feature = "json"))]
mod send_all;
mod sink;
#[cfg(all(feature = "aws", feature = "json"))]
mod stream;
mod target;

#[cfg(feature = "json")]
pub use entry::{DeadLetterEntry, DeadLetterPart};
#[cfg(feature = "json")]
pub use file::DeadLetterFile;
pub use letter::DeadLetter;
#[cfg(feature = "sqs")]
pub use queue::DeadLetterQueue;
pub use sink::DeadLetterSink;
#[cfg(all(feature = "aws", feature = "json"))]
pub use stream::DeadLetterStream;
