//! `run`: handlers in other processes.

mod examples;
mod http;
mod kcl;
mod kills;
mod lambda;
mod lines;
pub mod support;
