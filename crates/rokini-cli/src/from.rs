//! Where reading begins, as people write it.

use std::str::FromStr;

use rokini::StartPosition;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    At(StartPosition),
    /// This many milliseconds before now.
    Ago(u64),
}

pub(crate) const HELP: &str = "horizon (the oldest record kept), latest (what is put from now on), a time such as \
     2026-01-31T12:00:00Z, or a time ago such as -10m (ms, s, m, h, d)";

impl From {
    /// With the time put in, in milliseconds since the Unix epoch.
    pub(crate) fn resolve(self, now_millis: u64) -> StartPosition {
        match self {
            Self::At(position) => position,
            Self::Ago(millis) => StartPosition::AtTimestamp(now_millis.saturating_sub(millis)),
        }
    }
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "horizon" {
            return Ok(Self::At(StartPosition::TrimHorizon));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return millis(ago).map(Self::Ago).ok_or_else(|| format!("expected {HELP}"));
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| format!("expected {HELP}, at:<sequence number> or after:<sequence number>"))
    }
}

/// `90s`, `10m`, `1h`, `2d`
fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let now = 1_700_000_000_000;
        for (text, expected) in [
            ("horizon", StartPosition::TrimHorizon),
            ("trim_horizon", StartPosition::TrimHorizon),
            ("latest", StartPosition::Latest),
            ("2023-11-14T22:13:20Z", StartPosition::AtTimestamp(now)),
            ("-10m", StartPosition::AtTimestamp(now - 600_000)),
            ("-250ms", StartPosition::AtTimestamp(now - 250)),
            ("-2d", StartPosition::AtTimestamp(now - 172_800_000)),
            ("-99999999d", StartPosition::AtTimestamp(0)),
        ] {
            assert_eq!(text.parse::<From>().unwrap().resolve(now), expected, "{text}");
        }
        for text in ["", "-", "-10", "-m", "10m", "-1w", "yesterday", "-1.5h"] {
            assert!(text.parse::<From>().unwrap_err().contains("-10m"), "{text}");
        }
    }
}
