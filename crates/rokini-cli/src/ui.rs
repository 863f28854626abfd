//! Standard error: what people read while a command runs, errors and logs.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rokini::lease::WallClock;
use rokini::{OtlpTraces, format_time};
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt as lines};

use crate::args::{Color, Global, LogFormat};
use crate::error::{CliError, Status};
use crate::json_log::JsonLog;

/// Standard error.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    quiet: bool,
    /// Whether errors and warnings are JSON.
    json_errors: bool,
    /// Whether all else is.
    json_lines: bool,
    verbose: u8,
    color: Color,
    colors: bool,
    logs_muted: Arc<AtomicBool>,
}

impl Ui {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            quiet: global.quiet,
            json_errors: global.json || global.log_format == Some(LogFormat::Json),
            json_lines: global.log_format.map_or(global.json, |format| format == LogFormat::Json),
            verbose: global.verbose,
            color: global.color,
            colors: global.color.on(&io::stderr()),
            logs_muted: Arc::default(),
        }
    }

    /// Whether to use colours on standard output.
    pub(crate) fn stdout_colors(&self) -> bool {
        self.color.on(&io::stdout())
    }

    /// Whether standard error is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&io::stderr())
    }

    /// Whether standard error gets objects.
    pub(crate) fn is_json(&self) -> bool {
        self.json_lines
    }

    /// Says how the command gets on, unless `--quiet`.
    pub(crate) fn info(&self, text: impl fmt::Display) {
        match (self.quiet, self.json_lines) {
            (true, _) => {}
            (false, true) => self.object("info", &text.to_string()),
            (false, false) => line(text),
        }
    }

    /// Writes an object with the time and this member.
    pub(crate) fn object(&self, name: &str, value: &impl Serialize) {
        line(serde_json::json!({ "time": now(), name: value }));
    }

    /// Says what happened to a worker, unless `--quiet`.
    pub(crate) fn lifecycle(&self, event: &Lifecycle<'_>) {
        if self.quiet {
            return;
        }
        if self.json_lines {
            return self.object("event", event);
        }
        let (yellow, reset) = match (event.warns, self.colors) {
            (true, true) => ("\x1b[33m", "\x1b[0m"),
            _ => ("", ""),
        };
        let Lifecycle { group, worker, message, .. } = event;
        let about = event.shard.map(|shard| format!("{shard}: ")).unwrap_or_default();
        line(format_args!("{} {group}/{worker} {yellow}{about}{message}{reset}", now()));
    }

    /// Shows a line that the next one replaces: only on a terminal, unless `--quiet`.
    pub(crate) fn progress(&self, text: impl fmt::Display) {
        if !self.quiet && !self.json_lines && self.is_terminal() {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        }
    }

    /// Removes the line of [`Ui::progress`].
    pub(crate) fn progress_done(&self) {
        self.progress("");
    }

    /// Warns of what is not as it should be, though the command goes on; unless `--quiet`.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        if self.quiet {
            return;
        }
        if self.json_errors {
            return self.object("warning", &text.to_string());
        }
        let (yellow, reset) = if self.colors { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
        line(format_args!("{yellow}warning:{reset} {text}"));
    }

    /// Reports why the command failed, and returns its status.
    pub(crate) fn report(&self, error: &CliError) -> Status {
        if error.reader_gone {
            return Status::DONE;
        }
        if self.json_errors {
            let error = serde_json::json!({
                "time": now(),
                "error": {
                    "kind": error.status.name(), "status": error.status.0,
                    "what": error.what, "why": error.why, "next": error.next,
                }
            });
            line(error);
        } else {
            let (red, bold, reset) =
                if self.colors { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
            line(format_args!("{red}error:{reset} {}", error.what));
            if !error.why.is_empty() {
                line(format_args!("  {bold}why:{reset} {}", error.why.join(": ")));
            }
            if let Some(next) = &error.next {
                line(format_args!("  {bold}next:{reset} {next}"));
            }
        }
        error.status
    }

    /// Shows no more log lines: the reader of standard output is gone, so every handler fails and the command ends.
    pub(crate) fn mute_logs(&self) {
        self.logs_muted.store(true, Ordering::Relaxed);
    }

    /// Sends what the libraries log to standard error, and the spans of their work to a collector.
    pub(crate) fn install_tracing(&self, traces: Option<&OtlpTraces>) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            // A conditional write that is refused is an everyday answer of DynamoDB, not a warning. What is wrong with
            // credentials the commands say themselves, without the answer of a metadata service as a value of Rust.
            (false, 0) => "warn,dynoxide=error,aws_config=error",
            (false, 1) => {
                "warn,dynoxide=error,aws_config=error,rokini=info,rokini_lease=info,rokini_local=info"
            }
            (false, 2) => "info,rokini=debug,rokini_lease=debug,rokini_local=debug",
            (false, _) => "debug,rokini=trace,rokini_lease=trace,rokini_local=trace",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let muted = Arc::clone(&self.logs_muted);
        let writer = move || -> Box<dyn Write> {
            if muted.load(Ordering::Relaxed) { Box::new(io::sink()) } else { Box::new(io::stderr()) }
        };
        let lines = match self.json_lines {
            true => lines::layer().with_writer(writer).event_format(JsonLog).with_filter(filter).boxed(),
            false => lines::layer()
                .with_writer(writer)
                .with_ansi(self.colors)
                .with_target(self.verbose > 1)
                .with_filter(filter)
                .boxed(),
        };
        // Not those of the HTTP client: sending spans would make spans.
        let ours = Targets::new().with_target("rokini", Level::INFO);
        let spans = traces
            .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(ours));
        tracing_subscriber::registry().with(lines).with(spans).init();
    }
}

/// What happened to a worker, or to a shard of it.
#[derive(Debug, Serialize)]
pub(crate) struct Lifecycle<'a> {
    /// A stable word: that of the library's event, where it is one.
    pub(crate) code: &'a str,
    pub(crate) group: &'a str,
    pub(crate) worker: &'a str,
    pub(crate) stream: Option<&'a str>,
    pub(crate) shard: Option<&'a str>,
    pub(crate) message: String,
    /// Whether it is not as it should be.
    #[serde(skip)]
    pub(crate) warns: bool,
}

/// The time by this machine.
pub(crate) fn now() -> String {
    format_time(WallClock::system().millis())
}

/// A standard error that is closed is no reason to stop.
fn line(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
