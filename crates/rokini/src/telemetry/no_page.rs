//! In place of the page where it is not compiled in.

use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::{Method, Response};
use rokini_lease::{GroupId, LeaseStore, WallClock};

use super::monitor::Monitor;
use super::response::Body;
use crate::config::Settings;
use crate::events::emitter::EventSink;
use crate::events::event::Event;
use crate::shard::worker_state::WorkerState;
use crate::types::error::Error;

#[derive(Debug)]
pub(crate) enum Page {}

#[derive(Debug)]
pub(crate) enum RecentEvents {}

impl Page {
    #[allow(clippy::needless_pass_by_value, reason = "as where there is a page")]
    pub(crate) fn new(
        _: (GroupId, Arc<dyn LeaseStore>),
        _: Arc<WorkerState>,
        _: Arc<Monitor>,
        _: WallClock,
        recent: Arc<RecentEvents>,
    ) -> Self {
        match *recent {}
    }
}

impl RecentEvents {
    pub(crate) fn wanted(settings: &Settings) -> Result<Option<Arc<Self>>, Error> {
        if settings.monitoring_page {
            let what = "`monitoring_page = true` is not compiled in: add the feature `page` of the crate";
            return Err(Error::configuration(what));
        }
        Ok(None)
    }
}

impl EventSink for RecentEvents {
    fn event(&self, _: &Event) {
        match *self {}
    }
}

pub(crate) async fn answer(
    page: &Arc<Page>,
    _: &Method,
    _: &str,
    _: &HeaderMap,
    _: bool,
) -> Option<Response<Body>> {
    match **page {}
}
