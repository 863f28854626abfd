//! What every command that runs a worker of a group has in common: its arguments, its settings, and its run.

pub(crate) mod args;
pub(crate) mod run;
pub(crate) mod settings;
