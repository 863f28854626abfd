//! The list of places of one answer, used again for the next.
//!
//! With 10,000 records it has half a megabyte: memory of that size goes back to the system, which clears it for the next answer,
//! page by page.

use std::cell::Cell;

use super::place::RecordPlace;

/// What one list that is kept may have room for: more than GetRecords answers with.
const MOST: usize = 16_384;

thread_local! {
    static SPARE: Cell<Vec<RecordPlace>> = const { Cell::new(Vec::new()) };
}

/// An empty list, with room from earlier answers.
pub(super) fn take() -> Vec<RecordPlace> {
    SPARE.take()
}

/// Keeps the room of a list that nobody needs any more for the next answer read by this thread.
pub(super) fn keep(mut list: Vec<RecordPlace>) {
    if list.capacity() <= MOST {
        list.clear();
        SPARE.set(list);
    }
}
