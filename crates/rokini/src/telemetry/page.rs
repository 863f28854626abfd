//! The page for people: the whole group as this worker sees it, kept up to date by server-sent events. Read only.

mod answer;
mod assets;
mod document;
mod group_page;

pub(crate) use answer::answer;
pub(crate) use group_page::{Page, RecentEvents};
