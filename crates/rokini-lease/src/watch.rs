//! Who is silent, who watches whom, and when everything is listed: decisions of a watcher. Pure.

mod block;
mod listing_schedule;
mod silence;
mod unfinished;

pub(crate) use block::{Look, WatchedBlock};
pub(crate) use listing_schedule::{ListingCauses, ListingSchedule};
pub(crate) use silence::FleetWatch;
pub(crate) use unfinished::{LoadWatch, UnfinishedFences};
