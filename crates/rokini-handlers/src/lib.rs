#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![doc = include_str!("../README.md")]

mod batch_event;
mod child;
mod context;
mod event;
mod http;
mod keeper;
mod lambda;
mod lines;
mod multilang;
mod orphans;
mod output;
mod pause;
mod pool;
mod ready;
mod restarts;
mod settings;
mod starts;
mod usage;

pub use batch_event::kinesis_event::EventSource;
pub use context::HandlerContext;
pub use event::{HandlerEvent, HandlerObserver, KillReason, OutputStream};
pub use http::{HttpFormat, HttpProcessor, HttpPush, HttpSettings};
pub use keeper::keep_groups;
pub use lambda::{FunctionSettings, Lambda, LambdaProcessor};
pub use lines::{Lines, LinesProcessor};
pub use multilang::{
    CredentialsSource, KclApplication, MultiLang, MultiLangProcessor, MultiLangSettings, RoleToAssume,
};
pub use settings::ProcessSettings;
