//! Counts what a store is asked for.
