//! What every command gets.

use clap::{Args, ValueEnum};

use crate::stop::Stop;
use crate::talk::Talk;

/// The arguments of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Write data and errors as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say less on standard error: errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on standard error; twice for even more. `RUST_LOG` chooses in detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to use colours on a stream.
    pub(crate) fn on(self, stream: &impl std::io::IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--json`
    pub(crate) json: bool,
    /// Standard error.
    pub(crate) talk: Talk,
    /// Cancelled by the first signal.
    pub(crate) stop: Stop,
}
