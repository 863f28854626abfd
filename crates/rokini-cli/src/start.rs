//! Where reading starts, as people write it.

use std::str::FromStr;

use rokini::StartPosition;

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartAt {
    At(StartPosition),
    /// This many milliseconds before now.
    Ago(u64),
}

/// What is accepted, for help texts and errors.
pub(crate) const ACCEPTED: &str = "trim_horizon (the oldest record kept), latest (what is put from now on), a time such as \
     2026-01-31T12:00:00Z or in milliseconds since 1970, a time ago such as -10m (ms, s, m, h, d), or at:N or after:N with \
     a sequence number";

/// Digits from which a number is a sequence number and no time.
const SEQUENCE_DIGITS: usize = 20;

impl StartAt {
    /// With the time put in, in milliseconds since the Unix epoch.
    pub(crate) fn resolve(self, now_millis: u64) -> StartPosition {
        match self {
            Self::At(position) => position,
            Self::Ago(millis) => StartPosition::AtTimestamp(now_millis.saturating_sub(millis)),
        }
    }
}

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("expected {ACCEPTED}");
        let ago = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
        if let Some(ago) = ago {
            return millis(ago).map(Self::Ago).ok_or_else(refusal);
        }
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let lower = text.to_ascii_lowercase();
        let position = match lower.split_once(':') {
            None if matches!(&*lower, "horizon" | "trim-horizon") => "trim_horizon".to_owned(),
            None if lower.len() >= SEQUENCE_DIGITS && number(&lower) => format!("at:{lower}"),
            Some(("at_timestamp", time)) if number(time) => time.to_owned(),
            Some(("at_sequence_number", number)) => format!("at:{number}"),
            Some(("after_sequence_number", number)) => format!("after:{number}"),
            Some(("at" | "after", _)) | None => lower,
            Some(_) => text.to_owned(),
        };
        position.parse().map(Self::At).map_err(|_| refusal())
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
        let number = "49680485925276037467835448941947785701109885697267859458";
        let sequence = number.parse().unwrap();
        let now = 1_700_000_000_000;
        for (text, expected) in [
            ("horizon", StartPosition::TrimHorizon),
            ("trim_horizon", StartPosition::TrimHorizon),
            ("TRIM_HORIZON", StartPosition::TrimHorizon),
            ("latest", StartPosition::Latest),
            ("LATEST", StartPosition::Latest),
            ("2023-11-14T22:13:20Z", StartPosition::AtTimestamp(now)),
            ("1600000000000", StartPosition::AtTimestamp(1_600_000_000_000)),
            ("AT_TIMESTAMP:1600000000000", StartPosition::AtTimestamp(1_600_000_000_000)),
            ("-10m", StartPosition::AtTimestamp(now - 600_000)),
            ("10m ago", StartPosition::AtTimestamp(now - 600_000)),
            ("-250ms", StartPosition::AtTimestamp(now - 250)),
            ("-2d", StartPosition::AtTimestamp(now - 172_800_000)),
            ("-99999999d", StartPosition::AtTimestamp(0)),
            (number, StartPosition::AtSequence(sequence)),
            (&format!("at:{number}"), StartPosition::AtSequence(sequence)),
            (&format!("after:{number}"), StartPosition::AfterSequence(sequence)),
            (&format!("AFTER:{number}"), StartPosition::AfterSequence(sequence)),
            (&format!("AFTER_SEQUENCE_NUMBER:{number}"), StartPosition::AfterSequence(sequence)),
        ] {
            assert_eq!(text.parse::<StartAt>().unwrap().resolve(now), expected, "{text}");
        }
        for text in ["", "-", "-10", "-m", "10m", "-1w", "yesterday", "-1.5h", "at:", "after:x"] {
            assert!(text.parse::<StartAt>().unwrap_err().contains("-10m"), "{text}");
        }
    }
}
