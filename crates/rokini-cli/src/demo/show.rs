//! What the demo shows while it runs: a live table on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::board::{Board, Clock, Count, Seconds, millis, short};
use super::report::Report;
use super::screen::Screen;
use crate::error::CliError;
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

/// Where and how to show it.
#[derive(Debug)]
pub(crate) struct Show {
    output: Output,
    form: Form,
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
    /// `styled`: whether some lines of the table stand out.
    pub(crate) fn new(json: bool, styled: bool) -> Result<Self, CliError> {
        let form = match (json, io::IsTerminal::is_terminal(&io::stdout())) {
            (true, _) => Form::Json,
            (false, true) => Form::Table(Screen::new(styled)),
            (false, false) => Form::Text { explained: false },
        };
        Ok(Self { output: Output::stdout()?, form })
    }

    /// The time between two looks.
    pub(crate) fn interval(&self) -> Duration {
        match self.form {
            Form::Table(_) => Duration::from_millis(250),
            Form::Text { .. } | Form::Json => Duration::from_secs(1),
        }
    }

    /// Shows a look, with what happened so far.
    pub(crate) async fn look(&mut self, board: &Board, events: &[Event]) -> Result<(), CliError> {
        let bytes = match &mut self.form {
            Form::Table(screen) => screen
                .draw(board, events)
                .map_err(|error| CliError::output(error.kind(), &error.to_string()))?,
            Form::Text { explained } => {
                let legend = if std::mem::replace(explained, true) { "" } else { LEGEND };
                format!("{legend}{}", text(board)).into_bytes()
            }
            Form::Json => return self.output.json(board).await,
        };
        self.output.write(bytes).await
    }

    /// Tells what happened, where looks do not contain it.
    pub(crate) async fn event(&mut self, event: &Event) -> Result<(), CliError> {
        match self.form {
            Form::Table(_) => Ok(()),
            Form::Text { .. } => self.output.write(told(event).into_bytes()).await,
            Form::Json => self.output.json(event).await,
        }
    }

    /// Leaves the table, if there is one, and shows the result.
    pub(crate) async fn finish(&mut self, events: &[Event], report: &Report) -> Result<(), CliError> {
        let mut bytes = Vec::new();
        match &mut self.form {
            Form::Json => return self.output.json(report).await,
            Form::Table(screen) => {
                bytes = screen.leave().map_err(|error| CliError::output(error.kind(), &error.to_string()))?;
                // The table is gone with its screen; what happened stays readable.
                bytes.extend(events.iter().map(told).collect::<String>().into_bytes());
            }
            Form::Text { .. } => {}
        }
        bytes.extend(format!("\n{report}").into_bytes());
        self.output.write(bytes).await
    }

    /// Cancelled when nobody reads any more.
    pub(crate) fn closed(&self) -> tokio_util::sync::CancellationToken {
        self.output.closed().clone()
    }
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
