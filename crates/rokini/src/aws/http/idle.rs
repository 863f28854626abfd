//! Which idle connection gets the next call, and which are closed. Does no I/O and reads no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may be idle. Servers close theirs after a minute or more, and a call on such a one fails.
const IDLE: Duration = Duration::from_secs(50);
/// For how long a connection gets calls: the address behind a name may change.
const AGE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct IdleConnection<C> {
    pub(super) connection: C,
    pub(super) number: u64,
    pub(super) opened: Instant,
    /// When its last answer was there whole.
    answered: Instant,
}

/// The connections to one server that wait for a call, those that answered last at the end.
#[derive(Debug)]
pub(super) struct IdleConnections<C>(Vec<IdleConnection<C>>);

impl<C> Default for IdleConnections<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> IdleConnections<C> {
    /// Keeps a connection whose answer is there. It may be refused for its age.
    pub(super) fn put(&mut self, connection: C, number: u64, opened: Instant, now: Instant) {
        self.expire(now);
        if now.duration_since(opened) < AGE {
            self.0.push(IdleConnection { connection, number, opened, answered: now });
        }
    }

    /// The connection that answered last.
    pub(super) fn take(&mut self, now: Instant) -> Option<IdleConnection<C>> {
        self.expire(now);
        self.0.pop()
    }

    /// A call got no answer in time: closes every connection that has not answered since then either, as the same may have
    /// become of it.
    pub(super) fn suspect(&mut self, since: Instant) {
        self.0.retain(|idle| idle.answered >= since);
    }

    /// Closes one.
    pub(super) fn discard(&mut self, number: u64) {
        self.0.retain(|idle| idle.number != number);
    }

    fn expire(&mut self, now: Instant) {
        self.0
            .retain(|idle| now.duration_since(idle.answered) < IDLE && now.duration_since(idle.opened) < AGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn left(idle: &mut IdleConnections<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| idle.take(now).map(|idle| idle.connection)).collect()
    }

    #[test]
    fn the_one_that_answered_last_comes_first() {
        let (now, mut idle) = (Instant::now(), IdleConnections::default());
        idle.put("a", 1, now, at(now, 1));
        idle.put("b", 2, now, at(now, 2));
        assert_eq!(left(&mut idle, at(now, 3)), ["b", "a"]);
    }

    #[test]
    fn idle_and_old_ones_are_closed() {
        let (now, mut idle) = (Instant::now(), IdleConnections::default());
        idle.put("a", 1, now, at(now, 1));
        idle.put("b", 2, now, at(now, 30));
        assert_eq!(left(&mut idle, at(now, 51)), ["b"]);
        idle.put("c", 3, now, at(now, 299));
        idle.put("d", 4, at(now, 10), at(now, 299));
        assert_eq!(left(&mut idle, at(now, 300)), ["d"]);
        idle.put("e", 5, now, at(now, 300));
        assert!(left(&mut idle, at(now, 300)).is_empty());
    }

    #[test]
    fn what_was_silent_since_a_call_began_is_suspect() {
        let (now, mut idle) = (Instant::now(), IdleConnections::default());
        idle.put("a", 1, now, at(now, 1));
        idle.put("b", 2, now, at(now, 12));
        idle.put("c", 3, now, at(now, 13));
        idle.suspect(at(now, 12));
        idle.discard(3);
        assert_eq!(left(&mut idle, at(now, 22)), ["b"]);
    }
}
