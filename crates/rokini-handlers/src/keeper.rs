//! A small process beside the worker that ends what a killed worker leaves behind. The kernel ends the processes that the worker
//! started; what these have started in turn (`sh -c`, `npx`) only a living process can end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The process that ends groups, as the worker sees it.
pub(crate) struct Keeper(Mutex<Child>);

impl Keeper {
    /// Starts it, in a group of its own: a signal to the worker's is not for it.
    pub(crate) fn start(command: &[OsString]) -> io::Result<Option<Self>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Some(Self(Mutex::new(command.process_group(0).spawn()?))))
    }

    pub(crate) fn began(&self, group: u32) {
        self.tell(b'+', group);
    }

    pub(crate) fn ended(&self, group: u32) {
        self.tell(b'-', group);
    }

    fn tell(&self, sign: u8, group: u32) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stdin) = &mut child.stdin {
            let line = format!("{}{group}\n", char::from(sign));
            // Whoever killed it wanted that.
            let _ = stdin.write_all(line.as_bytes());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let child = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(child.stdin.take());
        // It reads the end of its input, and ends.
        let _ = child.wait();
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// What the program of [`ProcessSettings::keeper`](crate::ProcessSettings) does: reads the numbers of process groups, `+7` where
/// one begins and `-7` where it has ended, and ends those that are left once nothing more comes, because the worker has ended.
pub fn keep_groups(input: impl BufRead) {
    let mut groups = BTreeSet::new();
    // An error of the pipe is its end.
    for line in input.lines().map_while(Result::ok) {
        let number = |line: &str| line.parse().ok().filter(|group| *group > 1);
        if let Some(group) = line.strip_prefix('+').and_then(number) {
            groups.insert(group);
        } else if let Some(group) = line.strip_prefix('-').and_then(number) {
            groups.remove(&group);
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // One that has ended is none any more.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_left_are_ended_and_no_others() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("1000").process_group(0).spawn().unwrap()
        };
        let (mut left, mut ended) = (start(), start());
        keep_groups(format!("+{}\n+{}\nx\n+1\n-{}\n", left.id(), ended.id(), ended.id()).as_bytes());
        assert!(!left.wait().unwrap().success());
        assert!(ended.try_wait().unwrap().is_none());
        ended.kill().unwrap();
        ended.wait().unwrap();
    }
}
