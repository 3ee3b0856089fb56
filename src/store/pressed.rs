//! Pressed runs: what a piece holds is a run of bytes that would fill several pieces, made small enough for one.
//!
//! ```text
//! run        0  length of what is pressed, u32      4  an LZ4 block
//! ```
//!
//! How far bytes can be pressed is only known afterwards. [`Press`] expects of the next run what it saw of the last one,
//! and tries again with fewer bytes where that was too much.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::error::StoreError;
use super::piece::{BODY_BYTES_MAX, PieceError};

/// The most bytes that are pressed into one piece: what reading a piece takes of memory is a few times this.
pub const RUN_BYTES_MAX: usize = 60 << 10;

/// So many bytes fit a piece whatever they are: LZ4 adds one in 255, and a few.
pub(super) const RUN_BYTES_SURE: usize = 4_000;

const LENGTH: usize = 4;

/// Presses bytes into the bodies of pieces.
pub(super) struct Press {
    /// About so many bytes fill the next piece.
    goal: usize,
    table: CompressTable,
}

/// The body of a piece, and how many bytes are in it.
pub(super) struct Pressed {
    pub(super) body: Vec<u8>,
    pub(super) taken: usize,
}

impl Default for Press {
    fn default() -> Self {
        Press { goal: 3 * RUN_BYTES_SURE, table: CompressTable::small() }
    }
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").field("goal", &self.goal).finish_non_exhaustive()
    }
}

impl Press {
    /// How many bytes it takes to fill the next piece, as far as one can know.
    pub(super) fn goal(&self) -> usize {
        self.goal
    }

    /// Presses the beginning of `bytes`, of which there are some: as much of it as fits a piece, nearly. `cut` says
    /// where it may end: at or before a place, or after it if there is nowhere before. The first such place must be
    /// within [`RUN_BYTES_SURE`].
    pub(super) fn press(
        &mut self,
        bytes: &[u8],
        cut: impl Fn(usize) -> usize,
    ) -> Result<Pressed, StoreError> {
        let (goal, least) = (self.goal.min(bytes.len()), cut(0));
        let mut taken = cut(goal);
        loop {
            let body = run(&bytes[..taken], &mut self.table)?;
            let per_piece = taken * BODY_BYTES_MAX / body.len();
            // Short runs say little of long ones.
            if taken * 2 > self.goal {
                self.goal = (per_piece / 32 * 31).clamp(RUN_BYTES_SURE, RUN_BYTES_MAX);
            }
            if body.len() <= BODY_BYTES_MAX || taken <= least {
                return Ok(Pressed { body, taken });
            }
            taken = cut((per_piece / 32 * 31).min(taken - 1));
        }
    }
}

fn run(bytes: &[u8], table: &mut CompressTable) -> Result<Vec<u8>, StoreError> {
    let len = u32::try_from(bytes.len()).map_err(|_| PieceError::Length)?;
    let mut body = vec![0; LENGTH + get_maximum_output_size(bytes.len())];
    body[..LENGTH].copy_from_slice(&len.to_le_bytes());
    // There is room for the worst.
    let pressed = compress_into_with_table(bytes, &mut body[LENGTH..], table);
    body.truncate(LENGTH + pressed.map_err(|_| PieceError::Length)?);
    Ok(body)
}

/// What was pressed into a body.
pub(super) fn expand(body: &[u8]) -> Result<Vec<u8>, PieceError> {
    let (len, block) = body.split_first_chunk().ok_or(PieceError::Content)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if len > RUN_BYTES_MAX {
        return Err(PieceError::Content);
    }
    let mut bytes = vec![0; len];
    match decompress_into(block, &mut bytes) {
        Ok(expanded) if expanded == len => Ok(bytes),
        _ => Err(PieceError::Content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Presses all of it, cut anywhere, and expands it again.
    fn there_and_back(bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut press = Press::default();
        let (mut expanded, mut pieces) = (Vec::new(), 0);
        while expanded.len() < bytes.len() {
            let Pressed { body, taken } = press.press(&bytes[expanded.len()..], |at| at.max(1)).unwrap();
            assert!(body.len() <= BODY_BYTES_MAX);
            let run = expand(&body).unwrap();
            assert_eq!(run.len(), taken);
            expanded.extend(run);
            pieces += 1;
        }
        (expanded, pieces)
    }

    /// Bytes that no press makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_can_be_pressed_takes_few_pieces_and_noise_hardly_more_than_itself() {
        let even = b"the same again and again, ".repeat(10_000);
        let (back, pieces) = there_and_back(&even);
        assert!(back == even && pieces <= 8, "{pieces}");
        let noise = noise(100_000);
        let (back, pieces) = there_and_back(&noise);
        assert!(back == noise && pieces <= 28, "{pieces}");
        // The one after the other: the press must learn.
        let mixed = [even, noise].concat();
        assert!(there_and_back(&mixed).0 == mixed);
    }

    #[test]
    fn noise_of_the_length_that_is_sure_to_fit_does() {
        let noise = noise(RUN_BYTES_SURE);
        let pressed = Press::default().press(&noise, |_| RUN_BYTES_SURE).unwrap();
        assert!(pressed.taken == RUN_BYTES_SURE && pressed.body.len() <= BODY_BYTES_MAX);
    }

    #[test]
    fn a_run_that_claims_too_much_is_refused_before_it_is_allocated() {
        let mut table = CompressTable::small();
        let longest = run(&vec![7; RUN_BYTES_MAX], &mut table).unwrap();
        assert_eq!(expand(&longest), Ok(vec![7; RUN_BYTES_MAX]));
        let longer = run(&vec![7; RUN_BYTES_MAX + 1], &mut table).unwrap();
        assert_eq!(expand(&longer), Err(PieceError::Content));
        for claim in [0, 1, RUN_BYTES_MAX as u32 - 1, u32::MAX] {
            let lying = [&claim.to_le_bytes()[..], &longest[LENGTH..]].concat();
            assert_eq!(expand(&lying), Err(PieceError::Content), "{claim}");
        }
        assert_eq!(expand(&longest[..LENGTH - 1]), Err(PieceError::Content));
    }

    proptest! {
        #[test]
        fn any_bytes_expand_or_fail_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0..70_000_u32) {
            let _ = expand(&bytes);
            let _ = expand(&[&len.to_le_bytes()[..], &bytes].concat());
        }
    }
}
