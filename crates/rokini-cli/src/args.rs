//! Arguments that several commands take, and how their texts are read.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rokini::lease::ShardId;

/// The arguments of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Write data as JSON, one object a line, and so what goes to standard error: errors, warnings, logs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write only errors to standard error
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log more to standard error; twice for even more. `RUST_LOG` chooses in detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How standard error is written: lines for people, or a JSON object a line. Default: text; json with --json
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// How standard error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line: log, event, info, warning, error
    Json,
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
    pub(crate) fn on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// The variables that can be settings. Names that are not Unicode are none.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// What a [`StartPosition`](rokini::StartPosition) can be, for help texts.
pub(crate) const STARTS: &str = "trim_horizon (the oldest record kept), latest (what is put from now on), a time such as \
     2026-01-31T12:00:00Z or a Unix time in seconds or milliseconds, a time ago such as -10m, or at:N or after:N with a \
     sequence number, or after:N:S with the number of a user record in an aggregate too";

/// A duration, in seconds where it has no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    rokini::parse_duration(text).map_err(|_| "expected a duration such as `10s`, `250ms` or `2m`".to_owned())
}

/// A duration with its unit, such as `250ms`: for options where a bare number could as well be milliseconds, or hours.
pub(crate) fn duration_with_unit(text: &str) -> Result<Duration, String> {
    match rokini::parse_duration(text) {
        Ok(duration) if duration.is_zero() || text.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok(duration)
        }
        _ => Err("expected a duration with its unit, such as `250ms` or `10s`".to_owned()),
    }
}

/// How often something is shown again: without a pause it would do nothing else.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration_with_unit(text)?;
    let least = Duration::from_millis(100);
    if interval < least { Err(format!("expected {least:?} at least")) } else { Ok(interval) }
}

/// A shard as people name it: by its id, or by its number, as in `3` for `shardId-000000000003`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardName(String);

impl ShardName {
    /// Whether this is the shard that is meant.
    pub(crate) fn names(&self, shard: &ShardId) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        let of_shard = shard.as_str().strip_prefix("shardId-").and_then(number);
        self.0 == shard.as_str() || of_shard.is_some_and(|shard| number(&self.0) == Some(shard))
    }
}

impl FromStr for ShardName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a shard: its id such as `shardId-000000000003`, or its number".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_shown_again_after_a_pause() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        for text in ["0s", "0", "99ms", "5"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shards_are_named_by_id_or_number() {
        let names =
            |wanted: &str, shard: &str| wanted.parse::<ShardName>().unwrap().names(&shard.parse().unwrap());
        let shard = "shardId-000000000003";
        for (wanted, meant) in [(shard, true), ("3", true), ("03", true), ("30", false)] {
            assert_eq!(names(wanted, shard), meant, "{wanted}");
        }
        assert!(names("odd", "odd") && !names("0", "odd"));
        assert!("".parse::<ShardName>().unwrap_err().contains("`shardId-000000000003`"));
    }
}
