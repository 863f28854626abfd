//! Who is silent, who watches whom, and when everything is listed: decisions of a watcher. Pure.

mod listing_schedule;
mod silence;
mod unfinished;
mod watched_block;

pub(crate) use listing_schedule::{ListingCauses, ListingSchedule};
pub(crate) use silence::FleetWatch;
pub(crate) use unfinished::{LoadWatch, UnfinishedFences};
pub(crate) use watched_block::{Look, WatchedBlock};
