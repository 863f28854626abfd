//! Whether reading gets nowhere. Pure.

/// Empty answers without progress that make a stall: two seconds of reading at the limit of a shard.
const MOST_IN_VAIN: u32 = 10;

/// Notices a reader that is behind the tip of its shard, gets no records, and gets no nearer either.
///
/// Empty answers behind the tip are normal: Kinesis passes over stretches without records. But each of them is
/// nearer to the tip than the one before.
#[derive(Debug, Default)]
pub(crate) struct StuckReader {
    /// The nearest to the tip so far, in milliseconds.
    nearest: Option<u64>,
    in_vain: u32,
}

impl StuckReader {
    /// Notes an answer. `true` says that reading is stuck; the count begins anew then.
    pub(crate) fn answered(&mut self, records: usize, millis_behind: u64) -> bool {
        if records > 0 || millis_behind == 0 {
            *self = Self::default();
        } else if self.nearest.is_none_or(|nearest| millis_behind < nearest) {
            *self = Self { nearest: Some(millis_behind), in_vain: 0 };
        } else {
            self.in_vain += 1;
        }
        let stuck = self.in_vain >= MOST_IN_VAIN;
        if stuck {
            *self = Self::default();
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which answers it was stuck.
    fn stuck(answers: impl IntoIterator<Item = (usize, u64)>) -> Vec<usize> {
        let mut stall = StuckReader::default();
        let answers = answers.into_iter().enumerate();
        answers.filter(|(_, (records, behind))| stall.answered(*records, *behind)).map(|(at, _)| at).collect()
    }

    #[test]
    fn no_progress_behind_the_tip_is_a_stall_again_and_again() {
        assert_eq!(stuck([(0, 86_400_000); 25]), [10, 21]);
        // The tip moves away meanwhile.
        assert_eq!(stuck((0..12).map(|at| (0, 86_400_000 + at))), [10]);
    }

    #[test]
    fn progress_of_any_kind_is_none() {
        const NEVER: [usize; 0] = [];
        assert_eq!(stuck((0..1_000).map(|at| (0, 86_400_000 - at))), NEVER);
        assert_eq!(stuck([(1, 86_400_000); 1_000]), NEVER);
        assert_eq!(stuck([(0, 0); 1_000]), NEVER);
        assert_eq!(stuck((0..1_000).map(|at| (usize::from(at % 10 == 9), 5))), NEVER);
        assert_eq!(stuck((0..1_000).map(|at| (0, if at % 10 == 9 { 0 } else { 5 }))), NEVER);
    }
}
