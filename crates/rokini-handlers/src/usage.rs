//! What processes, and those that they started, use of the machine. By `/proc`: on other systems than Linux nothing is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two looks. A look reads a file of each process of the host: some ten microseconds each.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// What process groups use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) cpu: Duration,
}

/// Adds up CPU time process by process, so that the time of those that have ended stays in the sum.
#[derive(Debug, Default)]
pub(crate) struct UsageMeter {
    /// The CPU time of each process when it was seen last, by its number and when it was started.
    seen: BTreeMap<(u32, u64), u64>,
    ticks: u64,
}

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) is_zombie: bool,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    ticks: u64,
    started: u64,
    resident_pages: u64,
}

impl Stat {
    /// The name of the program stands in parentheses, and may have any character in it.
    fn read(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // The first of these is the third field, `state`, of proc_pid_stat(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            is_zombie: fields.first() == Some(&"Z"),
            parent: u32::try_from(field(4)?).ok()?,
            group: u32::try_from(field(5)?).ok()?,
            ticks: field(14)? + field(15)?,
            started: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

impl Stat {
    /// Of all processes, by their numbers.
    pub(crate) fn all() -> impl Iterator<Item = (u32, Self)> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // One that has ended meanwhile is none.
            Some((pid, Self::read(&std::fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
    }
}

impl UsageMeter {
    /// What all processes of these groups use. Reads files: not for a thread that others wait for.
    pub(crate) fn look(&mut self, groups: &BTreeSet<u32>) -> Usage {
        let of_groups = Stat::all().filter(|(_, stat)| groups.contains(&stat.group));
        let (ticks_per_second, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size());
        let pages = self.add(of_groups.collect());
        Usage {
            resident_bytes: pages * page as u64,
            cpu: Duration::from_secs_f64(self.ticks as f64 / ticks_per_second.max(1) as f64),
        }
    }

    /// Takes in what was seen: how many pages are resident.
    fn add(&mut self, processes: Vec<(u32, Stat)>) -> u64 {
        let before = std::mem::take(&mut self.seen);
        let mut pages = 0;
        for (pid, Stat { ticks, started, resident_pages, .. }) in processes {
            let known = before.get(&(pid, started)).copied().unwrap_or_default();
            self.ticks += ticks.saturating_sub(known);
            self.seen.insert((pid, started), ticks.max(known));
            pages += resident_pages;
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_program_is_called() {
        let line = "4711 (a) (b c) S 1 4710 4710 0 -1 4194560 90 0 0 0 17 5 3 1 20 0 1 0 8899 2293760 215 18446744073709551615 1 1";
        let stat =
            Stat { is_zombie: false, parent: 1, group: 4710, ticks: 22, started: 8899, resident_pages: 215 };
        assert_eq!(Stat::read(line), Some(stat));
        assert_eq!(Stat::read("4711 (a"), None);
    }

    #[test]
    fn the_time_of_what_has_ended_still_counts() {
        let process = |pid, started, ticks| {
            (pid, Stat { is_zombie: false, parent: 1, group: 1, ticks, started, resident_pages: 10 })
        };
        let mut meter = UsageMeter::default();
        assert_eq!((meter.add(vec![process(7, 1, 100), process(8, 2, 50)]), meter.ticks), (20, 150));
        assert_eq!((meter.add(vec![process(7, 1, 130)]), meter.ticks), (10, 180));
        // Another process of the same number.
        assert_eq!((meter.add(vec![process(7, 9, 5)]), meter.ticks), (10, 185));
    }
}
