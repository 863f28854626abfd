//! The reader of standard output: what it has left unread, and whether it is gone. Where the system tells it: on Linux, of a pipe and
//! of a Unix socket.

/// How many bytes the reader has not taken, at most; `None` where nobody tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn unread() -> Option<u64> {
    None
}

/// Returns whether the reader is gone, once it is; `false` for what cannot be watched.
#[cfg(not(target_os = "linux"))]
pub(super) async fn gone() -> bool {
    false
}

#[cfg(target_os = "linux")]
pub(super) use self::linux::{gone, unread};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use tokio::io::Interest;
    use tokio::net::unix::pipe::Sender;
    use tokio::sync::oneshot;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Kind {
        Pipe,
        UnixSocket,
    }

    /// `None` for all that nobody reads, or whose reader cannot be watched, such as one at the other end of a TCP connection: what
    /// arrived there is not told.
    pub(super) fn kind(output: impl AsFd) -> Option<Kind> {
        let copy = || output.as_fd().try_clone_to_owned().ok();
        let kind = File::from(copy()?).metadata().ok()?.file_type();
        if kind.is_fifo() {
            return Some(Kind::Pipe);
        }
        // Sockets of other families have no such address.
        let is_unix = kind.is_socket() && UnixStream::from(copy()?).local_addr().is_ok();
        is_unix.then_some(Kind::UnixSocket)
    }

    pub(in super::super) fn unread() -> Option<u64> {
        unread_of(io::stdout())
    }

    pub(super) fn unread_of(output: impl AsFd) -> Option<u64> {
        match kind(&output)? {
            Kind::Pipe => rustix::io::ioctl_fionread(output).ok(),
            Kind::UnixSocket => {
                let unread = in_socket(&output)?;
                // A reader that goes away throws away what it has not read, and then nothing is left. Asked in this order: it counts
                // as gone before it does so. What it had taken until it was last asked is known by then.
                Some(if is_gone(&output, Some(&Timespec::default())) { u64::MAX } else { unread })
            }
        }
    }

    /// The memory that data in a Unix socket take up which the other end has not read: never less than their bytes, and nothing
    /// once all of them are read.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[expect(unsafe_code, reason = "no library has this call of the system")]
    fn in_socket(socket: impl AsFd) -> Option<u64> {
        use std::ffi::c_int;

        use rustix::ioctl::{Getter, ioctl};

        /// The same number as `TIOCOUTQ`, which is not the same everywhere.
        const SIOCOUTQ: u32 = 0x5411;
        // SAFETY: `SIOCOUTQ` writes a `c_int`, of a socket as of a terminal, and has no other effect.
        let unread = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) };
        u64::try_from(unread.ok()?).ok()
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn in_socket(_: impl AsFd) -> Option<u64> {
        None
    }

    /// Waits for so long, `None` for as long as it takes, until nobody can read any more.
    fn is_gone(output: impl AsFd, limit: Option<&Timespec>) -> bool {
        let mut watched = [PollFd::new(&output, PollFlags::empty())];
        loop {
            match poll(&mut watched, limit) {
                Ok(_) => return watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    pub(in super::super) async fn gone() -> bool {
        match kind(io::stdout()) {
            None => false,
            Some(Kind::Pipe) => of_pipe_gone().await,
            Some(Kind::UnixSocket) => of_socket_gone().await,
        }
    }

    /// Only watched, never written: the pipe stays blocking for the thread that writes.
    async fn of_pipe_gone() -> bool {
        let Ok(file) = io::stdout().as_fd().try_clone_to_owned().map(File::from) else { return false };
        let Ok(pipe) = Sender::from_file_unchecked(file) else { return false };
        pipe.ready(Interest::ERROR).await.is_ok()
    }

    /// A thread of its own waits: where the other side has closed one direction only, whoever waits for events would be woken without
    /// end.
    async fn of_socket_gone() -> bool {
        let (tell, told) = oneshot::channel();
        let watch = move || tell.send(is_gone(io::stdout(), None));
        let started = thread::Builder::new().name("stdout reader".to_owned()).spawn(watch);
        started.is_ok() && told.await.unwrap_or(false)
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::net::{Shutdown, TcpListener, TcpStream};

        use super::*;

        #[test]
        fn m1_what_lies_in_a_socket_is_unread_until_it_is_read_or_thrown_away() {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            assert_eq!((kind(&here), unread_of(&here)), (Some(Kind::UnixSocket), Some(0)));
            // What the other end says is no matter of this one.
            there.write_all(b"hello").unwrap();
            assert_eq!(unread_of(&here), Some(0));
            here.write_all(&[b'x'; 10_000]).unwrap();
            let all = unread_of(&here).unwrap();
            assert!((10_000..u64::MAX).contains(&all), "{all}");
            there.read_exact(&mut [0; 4_000]).unwrap();
            let rest = unread_of(&here).unwrap();
            assert!((6_000..u64::MAX).contains(&rest), "{rest}");
            there.read_exact(&mut [0; 6_000]).unwrap();
            assert_eq!(unread_of(&here), Some(0));
            // It has nothing more to say, and reads on.
            there.shutdown(Shutdown::Write).unwrap();
            assert!(!is_gone(&here, Some(&Timespec::default())));
            here.write_all(b"never read").unwrap();
            drop(there);
            assert_eq!(unread_of(&here), Some(u64::MAX), "nobody took it");
            assert!(is_gone(&here, None));
        }

        #[test]
        fn nobody_tells_what_the_other_end_of_a_tcp_connection_has_read() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!((kind(&connection), unread_of(&connection)), (None, None));
            assert_eq!(unread_of(File::open("/dev/null").unwrap()), None);
        }
    }
}
