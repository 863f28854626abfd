//! Whether a process waits for its input: an interpreter that does so has started. By `/proc`: elsewhere nothing is known.

use std::collections::BTreeSet;

use crate::usage::Stat;

/// The numbers of `read`, and of the calls that wait for several things at once, where they are known.
const CALLS: Option<(&str, &[&str])> = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    // poll, select, epoll_wait, pselect6, ppoll, epoll_pwait
    Some(("0", &["7", "23", "232", "270", "271", "281"]))
} else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    // epoll_pwait, pselect6, ppoll
    Some(("63", &["22", "72", "73"]))
} else {
    None
};

/// Those of these process groups in which somebody waits for standard input; `None` where the system does not say. Reads
/// files: not for a thread that others wait for.
pub(crate) fn waiting_for_input(groups: &BTreeSet<u32>) -> Option<BTreeSet<u32>> {
    let (read, several) = CALLS?;
    let mut waiting = BTreeSet::new();
    for (pid, stat) in Stat::all() {
        if !groups.contains(&stat.group) || waiting.contains(&stat.group) {
            continue;
        }
        // One that has ended meanwhile waits for nothing.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let call = match std::fs::read_to_string(thread.path().join("syscall")) {
                Ok(call) => call,
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
                Err(_) => continue,
            };
            let is_main = thread.file_name().to_str() == Some(&pid.to_string());
            if waits(&call, is_main, read, several) {
                waiting.insert(stat.group);
            }
        }
    }
    Some(waiting)
}

/// `call`: the number of a call and its arguments, as proc_pid_syscall(5) has it. A thread that is not the main one may well wait for
/// several things that are no input.
fn waits(call: &str, is_main: bool, read: &str, several: &[&str]) -> bool {
    let mut words = call.split_whitespace();
    let Some(number) = words.next() else { return false };
    (number == read && words.next() == Some("0x0")) || (is_main && several.contains(&number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn only_who_reads_standard_input_waits_for_it() {
        if waiting_for_input(&BTreeSet::new()).is_none() {
            return;
        }
        let start = |program: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", program]).stdin(Stdio::piped()).process_group(0);
            command.spawn().unwrap()
        };
        // The second reads once it has slept, in a process of its own.
        let (mut sleeps, mut reads) = (start("sleep 1000"), start("sleep 0.3; cat; true"));
        let groups = BTreeSet::from([sleeps.id(), reads.id()]);
        let begun = Instant::now();
        while waiting_for_input(&groups) != Some(BTreeSet::from([reads.id()])) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(300), "not before it has slept");
        for child in [&mut sleeps, &mut reads] {
            let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_line_of_proc_says_what_is_waited_for() {
        let waits = |call, is_main| waits(call, is_main, "0", &["232"]);
        assert!(waits("0 0x0 0x7f 0x1000 0x7ffc 0x7f\n", false));
        assert!(!waits("0 0x5 0x7f 0x1000 0x7ffc 0x7f\n", true));
        assert!(waits("232 0xd 0x7f 0x400 0xffffffff 0x7f\n", true));
        assert!(!waits("232 0xd 0x7f 0x400 0xffffffff 0x7f\n", false));
        assert!(!waits("running\n", true) && !waits("", true));
    }
}
