//! What the demo shows while it runs: a live table on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;

use super::board::{Board, Clock, Count, Seconds, millis, short};
use super::report::Report;
use super::screen::Screen;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    #[serde(rename = "at_ms", serialize_with = "millis")]
    pub(crate) at: Duration,
    pub(crate) event: &'static str,
    pub(crate) text: String,
}

impl Event {
    pub(crate) fn new(at: Duration, event: &'static str, text: String) -> Self {
        Self { at, event, text }
    }
}

/// Where and how to show it. Nothing here waits for a slow reader except [`Show::finish`]: a terminal that stands still
/// must not stop the clock of the run.
pub(crate) struct Show {
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

/// What the lines of the looks say.
const LEGEND: &str = " time  records produced and handled, oldest one not handled, shard:worker\n";

impl Show {
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

    /// The time between two looks.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Shows a look, with what happened so far. A table that is still being drawn is not drawn anew.
    pub(crate) fn look(&mut self, board: &Board, events: &[Event]) -> Result<(), CliError> {
        let idle = self.is_idle();
        match &mut self.form {
            Form::Table(_) if !idle => {}
            Form::Table(screen) => {
                self.backlog = screen.draw(board, events).map_err(|error| failed(&error))?;
            }
            Form::Text { explained } => {
                let legend = if std::mem::replace(explained, true) { "" } else { LEGEND };
                self.backlog.extend(format!("{legend}{}", text(board)).into_bytes());
            }
            Form::Json => self.json(board)?,
        }
        Ok(())
    }

    /// Tells what happened, where looks do not contain it.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), CliError> {
        match self.form {
            Form::Table(_) => {}
            Form::Text { .. } => self.backlog.extend(told(event).into_bytes()),
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
    pub(crate) async fn finish(&mut self, events: &[Event], report: &Report) -> Result<(), CliError> {
        match &mut self.form {
            Form::Json => self.json(report)?,
            Form::Table(screen) => {
                self.backlog.extend(screen.leave().map_err(|error| failed(&error))?);
                // The table is gone with its screen; what happened stays readable.
                self.backlog.extend(events.iter().map(told).collect::<String>().into_bytes());
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

fn told(event: &Event) -> String {
    format!("{:>5}  {}\n", Clock(event.at).to_string(), event.text)
}

/// A look in one line.
fn text(board: &Board) -> String {
    let open = || board.shards.iter().filter(|line| !line.finished);
    let lag = open().map(|line| line.lag).max().unwrap_or_default();
    let mut line = format!(
        "{:>5}  produced {}  handled {}  lag {} ",
        Clock(board.at).to_string(),
        Count(board.produced),
        Count(board.processed),
        Seconds(lag)
    );
    for shard in open() {
        let owner = shard.owner.as_deref().unwrap_or("-");
        let owner =
            owner.strip_prefix("worker-").map_or_else(|| owner.to_owned(), |number| format!("w{number}"));
        // Writing to a text cannot fail.
        let _ = write!(line, " {}:{owner}", short(&shard.shard));
    }
    format!("{}\n", line.trim_end())
}
