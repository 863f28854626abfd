//! `run`: handlers in other processes.

mod cloud_events;
mod examples;
mod hand_over;
mod http;
mod kcl;
mod kills;
mod lambda;
mod lines;
mod properties;
pub mod support;
