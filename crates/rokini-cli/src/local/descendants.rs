//! What the program of `rokini local -- PROGRAM` leaves running ends with it.
//!
//! On Linux this process takes the place of a parent that ends (it is a child subreaper), so it knows every process that the program
//! started, whatever group or session that put itself into. Elsewhere only the program itself is known. `rokini local` does so, and the
//! process between it and its program (`keep_program.rs`): whichever of the two is killed, the other one ends what is left.

#[cfg(target_os = "linux")]
pub(super) use linux::Descendants;
#[cfg(not(target_os = "linux"))]
pub(super) use others::Descendants;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;
    use std::io;
    use std::time::Duration;

    use rustix::process::{
        Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait, waitpid,
    };
    use tokio::signal::unix::{self, SignalKind};
    use tokio::time::timeout;

    /// How long what is left may take to end by itself, and then to be ended.
    const STEPS: [(Signal, Duration); 2] =
        [(Signal::TERM, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(2))];

    /// The processes that begin from now on. Dropping it ends them at once.
    #[derive(Debug)]
    pub(in crate::local) struct Descendants {
        /// A child, own or adopted, ended.
        ended: unix::Signal,
    }

    impl Descendants {
        pub(in crate::local) fn adopt() -> io::Result<Self> {
            set_child_subreaper(Some(getpid()))?;
            Ok(Self { ended: unix::signal(SignalKind::child())? })
        }

        /// Lets those go that end while the program runs, so that none stays as a zombie.
        pub(in crate::local) async fn reap(&mut self, program: Option<u32>) -> Infallible {
            let program = program.and_then(|id| Pid::from_raw(id.cast_signed()));
            loop {
                self.ended.recv().await;
                for child in children_of(getpid()).into_iter().filter(|child| Some(*child) != program) {
                    // Nothing is to be told of it.
                    let _ = waitpid(Some(child), WaitOptions::NOHANG);
                }
            }
        }

        /// Ends what is left: asks, and after a while does not ask. The program itself has ended.
        pub(in crate::local) async fn end(mut self) {
            for (signal, within) in STEPS {
                if timeout(within, self.until_gone(signal)).await.is_ok() {
                    return;
                }
            }
            tracing::warn!("what the program started could not all be ended");
        }

        /// Ends what is there without asking, the program itself as well.
        pub(in crate::local) async fn end_at_once(mut self) {
            let (signal, within) = STEPS[1];
            // Dropping it sees to what is left.
            let _ = timeout(within, self.until_gone(signal)).await;
        }

        async fn until_gone(&mut self, signal: Signal) {
            let mut told = BTreeSet::new();
            while some_are_left() {
                // With each that ends, its own children become those of this process.
                for child in children_of(getpid()) {
                    if told.insert(child.as_raw_nonzero()) {
                        // It may be gone by now.
                        let _ = kill_process(child, signal);
                    }
                }
                self.ended.recv().await;
            }
        }
    }

    impl Drop for Descendants {
        fn drop(&mut self) {
            for process in below(getpid()) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }

    /// Lets those go that have ended. Whether there are others.
    fn some_are_left() -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn children_of(process: Pid) -> Vec<Pid> {
        parents().into_iter().filter(|(_, parent)| *parent == process).map(|(child, _)| child).collect()
    }

    /// Every process below another one, the nearest first.
    fn below(process: Pid) -> Vec<Pid> {
        let mut by_parent: BTreeMap<_, Vec<Pid>> = BTreeMap::new();
        for (child, parent) in parents() {
            by_parent.entry(parent.as_raw_nonzero()).or_default().push(child);
        }
        let mut found = vec![process];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            // Removed, so that numbers that are given anew meanwhile make no circle.
            let children = by_parent.remove(&parent.as_raw_nonzero()).unwrap_or_default();
            found.extend(children);
            next += 1;
        }
        found.split_off(1)
    }

    /// Every process and its parent, from `/proc`.
    fn parents() -> Vec<(Pid, Pid)> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        processes
            .filter_map(|id| {
                let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
                Some((Pid::from_raw(id)?, Pid::from_raw(parent_in(&stat)?)?))
            })
            .collect()
    }

    /// `1234 (a name) S 1 …`: the fourth field. The name may have anything in it.
    fn parent_in(stat: &str) -> Option<i32> {
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_of_programs_may_look_like_fields() {
            assert_eq!(parent_in("12 (a) S 1 (b) S 34 5 6"), Some(34));
            assert_eq!(parent_in("12 (sleep"), None);
            let own = parents().into_iter().find(|(process, _)| *process == getpid());
            assert_eq!(own.map(|(_, parent)| Some(parent)), Some(rustix::process::getppid()));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::convert::Infallible;
    use std::io;

    /// Processes that this system gives no hold of.
    #[derive(Debug)]
    pub(in crate::local) struct Descendants;

    impl Descendants {
        pub(in crate::local) fn adopt() -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::local) async fn reap(&mut self, _: Option<u32>) -> Infallible {
            std::future::pending().await
        }

        pub(in crate::local) async fn end(self) {}
    }
}
