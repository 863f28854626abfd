//! `rokini import` and `rokini export`: positions from the tables of other consumers, and back to a table of the KCL.
//!
//! Only positions are carried over. What a row means is read by pure functions, one file for each tool; what becomes of it
//! is decided by `plan`; `table` and `commands` do the calls.

mod alive;
mod export;
mod gokini;
mod harlow;
mod import;
mod item;
mod kcl;
mod kinsumer;
mod plan;
mod redpanda;
mod row;
mod table;
mod tool;

pub(crate) use export::{Args as ExportArgs, run as export};
pub(crate) use import::{Args as ImportArgs, run as import};
