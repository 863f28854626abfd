//! Whether the process behind a worker row is gone: only answered on the same host.

use std::io;

use serde::{Deserialize, Serialize};

/// Where a worker's process runs, so that a newcomer on the same host can prove that it is gone.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Names this boot of the host and the process's name space in it. Two processes with equal `host` see
    /// each other's process ids.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// When the process started, in the host's own unit: a reused process id differs in it.
    pub started: u64,
    /// What the host is called, for people; `None` where it is not known.
    #[serde(default)]
    pub host_name: Option<String>,
}

impl ProcessIdentity {
    /// The mark of this process, where the system tells (Linux).
    #[must_use]
    pub fn current() -> Option<Self> {
        let pid = std::process::id();
        Some(Self { host: host()?, pid, started: running_since(&stat(pid).ok()?)?, host_name: host_name() })
    }

    /// Whether the marked process is proven to be gone. `false` where nothing can be proven: on another host,
    /// in another process name space, on a system that does not tell or hides the processes of other users.
    #[must_use]
    pub fn is_proven_gone(&self) -> bool {
        host().is_some_and(|here| here == self.host) && self.is_gone_from(&|pid| stat(pid))
    }

    fn is_gone_from(&self, stat: &dyn Fn(u32) -> io::Result<String>) -> bool {
        match stat(self.pid) {
            Ok(stat) => running_since(&stat) != Some(self.started),
            // Where other users' processes are hidden, the first of all is too.
            Err(error) => error.kind() == io::ErrorKind::NotFound && stat(1).is_ok(),
        }
    }
}

fn stat(pid: u32) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
}

/// This boot of the host, and the process name space: containers on one host share the boot but cannot see
/// each other's processes.
fn host() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), space.display()))
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// When the process started, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`. The second field
/// is the command in parentheses and may contain anything, so fields are counted from its end.
fn running_since(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    // A zombie holds no thread any more that could work on a lease.
    let mut fields = fields.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_gone() {
        let mark = ProcessIdentity::current().unwrap();
        assert!(!mark.is_proven_gone());
    }

    #[test]
    fn an_ended_process_is_gone_but_only_on_this_host() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = ProcessIdentity { pid: child.id(), ..ProcessIdentity::current().unwrap() };
        child.wait().unwrap();
        assert!(gone.is_proven_gone());
        assert!(!ProcessIdentity { host: "elsewhere".to_owned(), ..gone }.is_proven_gone());
    }

    #[test]
    fn a_process_that_cannot_be_looked_at_is_not_proven_gone() {
        let mark = ProcessIdentity::current().unwrap();
        let told = |mark: &ProcessIdentity, hidden: Option<io::ErrorKind>, first: bool| {
            mark.is_gone_from(&|pid| match hidden {
                Some(kind) if pid == mark.pid || !first => Err(kind.into()),
                _ => stat(pid),
            })
        };
        // Hidden, forbidden, and too many open files.
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert!(!told(&mark, Some(kind), true), "{kind}");
        }
        assert!(!told(&mark, Some(io::ErrorKind::NotFound), false), "as where all others are hidden");
        assert!(told(&mark, Some(io::ErrorKind::NotFound), true));
    }

    #[test]
    fn a_reused_process_id_is_not_the_same_process() {
        let mark = ProcessIdentity::current().unwrap();
        assert!(ProcessIdentity { started: mark.started + 1, ..mark }.is_proven_gone());
    }
}
