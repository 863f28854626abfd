//! What the demo shows while it runs: a live table on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;

use super::event::RunEvent;
use super::format::{Clock, Count, Seconds, shard_number};
use super::report::Report;
use super::screen::Screen;
use super::snapshot::Snapshot;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Where and how to show it. Nothing here waits for a slow reader except [`Progress::finish`]: a terminal that is
/// stopped must not stop the run.
pub(crate) struct Progress {
    output: Output,
    form: Form,
    interval: Duration,
    /// What is to be written next.
    backlog: Vec<u8>,
    writing: Option<BoxFuture<'static, Result<(), CliError>>>,
}

#[derive(Debug)]
enum Form {
    Table(Screen),
    Text { explained: bool },
    Json,
}

/// What the lines of the snapshots say.
const LEGEND: &str =
    " time  records put and handled, age of the oldest unhandled record, shard:worker for each open shard\n";

impl Progress {
    /// `styled`: whether some lines of the table stand out. `run`: how long the run is.
    pub(crate) fn new(json: bool, styled: bool, run: Duration) -> Result<Self, CliError> {
        let form = match (json, io::IsTerminal::is_terminal(&io::stdout())) {
            (true, _) => Form::Json,
            (false, true) => Form::Table(Screen::new(styled)),
            (false, false) => Form::Text { explained: false },
        };
        let interval = match form {
            Form::Table(_) => Duration::from_millis(250),
            // A long run makes no longer text than a minute does.
            Form::Text { .. } | Form::Json => (run / 60).max(Duration::from_secs(1)),
        };
        Ok(Self { output: Output::stdout()?, form, interval, backlog: Vec::new(), writing: None })
    }

    /// The time between two snapshots.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Shows a snapshot, with what happened so far. A table that is still being drawn is not drawn anew.
    pub(crate) fn snapshot(&mut self, snapshot: &Snapshot, events: &[RunEvent]) -> Result<(), CliError> {
        let idle = self.is_idle();
        match &mut self.form {
            Form::Table(_) if !idle => {}
            Form::Table(screen) => {
                self.backlog = screen.draw(snapshot, events).map_err(|error| failed(&error))?;
            }
            Form::Text { explained } => {
                let legend = if std::mem::replace(explained, true) { "" } else { LEGEND };
                self.backlog.extend(format!("{legend}{}", text(snapshot)).into_bytes());
            }
            Form::Json => self.json(snapshot)?,
        }
        Ok(())
    }

    /// Shows what happened, where snapshots do not contain it.
    pub(crate) fn event(&mut self, event: &RunEvent) -> Result<(), CliError> {
        match self.form {
            Form::Table(_) => {}
            Form::Text { .. } => self.backlog.extend(event_line(event).into_bytes()),
            Form::Json => self.json(event)?,
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(value);
        let line =
            line.map_err(|error| CliError::new(Status::DEFECT, "cannot write JSON").because(&error))?;
        self.backlog.extend(format!("{line}\n").into_bytes());
        Ok(())
    }

    /// Writes what there is to write, now and later; returns only when that fails. Cancel safe.
    pub(crate) async fn write(&mut self) -> CliError {
        loop {
            if self.is_idle() {
                return std::future::pending().await;
            }
            if let Err(error) = self.write_on().await {
                return error;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.writing.is_none() && self.backlog.is_empty()
    }

    /// Finishes the write under way, or makes one of the backlog.
    async fn write_on(&mut self) -> Result<(), CliError> {
        let (output, backlog) = (&self.output, &mut self.backlog);
        let writing = self.writing.get_or_insert_with(|| {
            let (output, bytes) = (output.clone(), std::mem::take(backlog));
            async move { output.write(bytes).await }.boxed()
        });
        let written = writing.await;
        self.writing = None;
        written
    }

    /// Leaves the table, if there is one, and shows the result.
    pub(crate) async fn finish(&mut self, events: &[RunEvent], report: &Report) -> Result<(), CliError> {
        match &mut self.form {
            Form::Json => self.json(report)?,
            Form::Table(screen) => {
                self.backlog.extend(screen.leave().map_err(|error| failed(&error))?);
                // The table is gone with its screen; what happened stays readable.
                self.backlog.extend(events.iter().map(event_line).collect::<String>().into_bytes());
                self.backlog.extend(format!("\n{report}").into_bytes());
            }
            Form::Text { .. } => self.backlog.extend(format!("\n{report}").into_bytes()),
        }
        while !self.is_idle() {
            self.write_on().await?;
        }
        Ok(())
    }

    /// Cancelled when nobody reads any more.
    pub(crate) fn closed(&self) -> tokio_util::sync::CancellationToken {
        self.output.closed().clone()
    }
}

fn failed(error: &io::Error) -> CliError {
    CliError::output(error.kind(), &error.to_string())
}

fn event_line(event: &RunEvent) -> String {
    format!("{:>5}  {}\n", Clock(event.at).to_string(), event.text)
}

/// A snapshot in one line.
fn text(snapshot: &Snapshot) -> String {
    let open = || snapshot.shards.iter().filter(|line| !line.finished);
    let lag = open().map(|line| line.lag).max().unwrap_or_default();
    let mut line = format!(
        "{:>5}  produced {}  handled {}  lag {} ",
        Clock(snapshot.at).to_string(),
        Count(snapshot.produced),
        Count(snapshot.processed),
        Seconds(lag)
    );
    for shard in open() {
        let owner = shard.owner.as_deref().unwrap_or("-");
        let owner =
            owner.strip_prefix("worker-").map_or_else(|| owner.to_owned(), |number| format!("w{number}"));
        // Writing to a String cannot fail.
        let _ = write!(line, " {}:{owner}", shard_number(&shard.shard));
    }
    format!("{}\n", line.trim_end())
}
