//! Large buffers that are used again.
//!
//! Allocators give memory of this size back to the system, which clears it for the next answer, page by page: for answers of a
//! megabyte that is a third of what receiving them costs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

/// From how many bytes on a buffer is worth keeping: what glibc takes from the system apart, to begin with.
pub(crate) const LARGE: usize = 128 << 10;
/// Sizes are multiples of it, so that answers of about the same size can have the same buffer.
const GRAIN: usize = 64 << 10;
/// How much is kept, beside everything that is in use.
const MOST: usize = 16 << 20;
/// For how long it is kept.
const KEPT: Duration = Duration::from_secs(5);

/// Buffers that nobody uses, for those who need one next.
#[derive(Default)]
pub(crate) struct BufferPool(Mutex<Vec<Kept>>);

/// Those given back last are at the end.
struct Kept {
    bytes: Vec<u8>,
    since: Instant,
}

/// A buffer that goes back to its pool.
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl BufferPool {
    /// An empty buffer with room for so many bytes, and for at most half as many more or [`GRAIN`]: what is in use counts by
    /// its bytes against the budget of the worker, and the rest of it nowhere.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> PooledBuffer {
        let most = bytes.saturating_add(bytes / 2).max(bytes.next_multiple_of(GRAIN));
        let fits = |kept: &Kept| (bytes..=most).contains(&kept.bytes.capacity());
        let kept = {
            let mut free = self.0.lock();
            free.iter().rposition(fits).map(|at| free.remove(at).bytes)
        };
        let bytes = kept.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(GRAIN)));
        PooledBuffer { bytes, pool: Arc::clone(self) }
    }

    /// Lets go of what was not used lately. To be called now and then.
    pub(crate) fn expire(&self) {
        let mut free = self.0.lock();
        if !free.is_empty() {
            let now = Instant::now();
            free.retain(|kept| now.duration_since(kept.since) < KEPT);
        }
    }

    fn put(&self, bytes: Vec<u8>) {
        let mut free = self.0.lock();
        free.push(Kept { bytes, since: Instant::now() });
        let mut sum: usize = free.iter().map(|kept| kept.bytes.capacity()).sum();
        while sum > MOST {
            sum -= free.remove(0).bytes.capacity();
        }
    }
}

impl PooledBuffer {
    /// As bytes; once nobody refers to them any more, the buffer goes back.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if (LARGE..=MOST).contains(&bytes.capacity()) {
            bytes.clear();
            self.pool.put(bytes);
        }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.0.lock().len()).finish()
    }
}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &Arc<BufferPool>, length: usize) -> Bytes {
        let mut buffer = pool.take(length);
        assert!(buffer.bytes.is_empty() && buffer.bytes.capacity() >= length);
        buffer.bytes.resize(length, 7);
        buffer.freeze()
    }

    #[tokio::test(start_paused = true)]
    async fn a_buffer_is_used_again_once_nobody_has_a_part_of_it() {
        let pool = Arc::<BufferPool>::default();
        let whole = filled(&pool, 1 << 20);
        let (at, part) = (whole.as_ptr(), whole.slice(5..9));
        drop(whole);
        assert_ne!(filled(&pool, 1 << 20).as_ptr(), at, "somebody has a part of it");
        assert_eq!(part[..], [7; 4]);
        drop(part);
        assert_eq!(filled(&pool, (1 << 20) - 9).as_ptr(), at);
        // Not for what is much smaller, and not for what does not fit.
        assert_ne!(filled(&pool, 600 << 10).as_ptr(), at);
        assert_eq!(filled(&pool, 700 << 10).as_ptr(), at);
        assert_ne!(filled(&pool, (1 << 20) + 1).as_ptr(), at);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded_in_size_and_time() {
        let pool = Arc::<BufferPool>::default();
        let kept = || pool.0.lock().iter().map(|kept| kept.bytes.capacity()).sum::<usize>();
        drop([(); 40].map(|()| filled(&pool, 1 << 20)));
        assert_eq!(kept(), MOST);
        drop(filled(&pool, 64 << 20));
        drop(filled(&pool, 9));
        assert_eq!(kept(), MOST);
        tokio::time::advance(KEPT).await;
        pool.expire();
        assert_eq!(kept(), 0);
    }
}
