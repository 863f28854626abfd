//! Whether workers of the old fleet live: by what they write, seen twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::row::{OldRow, OldStream};
use super::tool::Tool;

/// Leases that ended longer ago than this have no owner, whatever the clocks of their writers.
const CLOCKS_DIFFER: u64 = 60_000;

/// How long to watch before a fleet counts as stopped. Pure.
pub(super) fn patience(tool: Tool, rows: &[OldRow], now_millis: u64) -> Duration {
    let over = |row: &OldRow| row.lease_until.is_some_and(|until| until + CLOCKS_DIFFER < now_millis);
    let has_owners = !matches!(tool, Tool::Harlow);
    if has_owners && rows.iter().all(|row| row.owner.is_none() || over(row)) {
        return Duration::ZERO;
    }
    tool.quiet()
}

/// Who wrote between two looks: the owners, or the shards where none is named. Pure.
pub(super) fn writers(before: &[OldRow], after: &[OldRow]) -> BTreeSet<String> {
    let key = |row: &OldRow| (stream_text(&row.stream), row.shard.clone());
    let before: BTreeMap<_, &OldRow> = before.iter().map(|row| (key(row), row)).collect();
    let changed = after.iter().filter(|row| {
        before.get(&key(row)).is_none_or(|old| old.pulse != row.pulse || old.owner != row.owner)
    });
    changed.map(|row| row.owner.clone().unwrap_or_else(|| format!("the worker of {}", row.shard))).collect()
}

fn stream_text(stream: &OldStream) -> String {
    format!("{stream:?}")
}

#[cfg(test)]
mod tests {
    use super::super::row::OldPosition;
    use super::*;

    fn row(owner: Option<&str>, pulse: &str) -> OldRow {
        let mut row = OldRow::new(OldStream::TheOnly, "a".parse().unwrap(), OldPosition::TrimHorizon);
        row.owner = owner.map(str::to_owned);
        pulse.clone_into(&mut row.pulse);
        row
    }

    #[test]
    fn whoever_writes_lives() {
        let still = [row(Some("w"), "7")];
        assert!(writers(&still, &still).is_empty());
        assert!(writers(&still, &[row(Some("w"), "8")]).contains("w"));
        assert!(writers(&still, &[row(None, "8")]).contains("the worker of a"));
        assert!(writers(&[], &still).contains("w"));
    }

    #[test]
    fn nobody_is_waited_for_where_nobody_can_be() {
        let mut ended = row(Some("w"), "7");
        ended.lease_until = Some(1_000_000);
        for (tool, rows, now, waits) in [
            (Tool::Kcl, vec![row(None, "7")], 0, false),
            (Tool::Kcl, vec![row(None, "7"), row(Some("w"), "7")], 0, true),
            (Tool::Gokini, vec![ended.clone()], 1_100_000, false),
            (Tool::Gokini, vec![ended], 1_030_000, true),
            (Tool::Harlow, vec![row(None, "7")], 0, true),
        ] {
            assert_eq!(!patience(tool, &rows, now).is_zero(), waits, "{tool:?} {rows:?}");
        }
    }
}
