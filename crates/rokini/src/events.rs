//! What happens, for those who watch: every event goes to a list of sinks.

pub(crate) mod emitter;
pub(crate) mod event;
pub(crate) mod sinks;
pub(crate) mod table;
