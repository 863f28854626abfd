//! `run`: handlers in other processes.

mod aws_kcl;
mod checkpoint_errors;
mod cloud_events;
mod emulator;
mod examples;
mod functions;
mod hand_over;
mod http;
mod kcl;
mod kills;
mod lambda;
mod lines;
mod nonsense;
mod process_1;
mod properties;
mod restarts;
mod seam;
pub mod support;
mod unavailable;
