//! Pieces of checkpoints. The input is tried as it is, and as the content of a piece whose envelope fits.

use tollgate::store::{PIECE_BYTES_MAX, Piece, decode_piece};

const GENERATION: u64 = 7;
const INDEX: u32 = 3;

fn check(piece: &[u8]) {
    let Ok(decoded) = decode_piece(GENERATION, INDEX, piece) else { return };
    assert!(piece.len() <= PIECE_BYTES_MAX);
    // The checksum holds a piece to its place.
    assert!(decode_piece(GENERATION + 1, INDEX, piece).is_err());
    assert!(decode_piece(GENERATION, INDEX + 1, piece).is_err());
    match decoded {
        Piece::Catalog(bytes) => assert!(bytes.len() < piece.len()),
        Piece::Counters { subjects, goes_on, .. } => {
            assert!(!goes_on || !subjects.is_empty());
            // What each part takes at least, packed.
            let cells: usize = subjects.iter().map(|subject| subject.cells.len()).sum();
            let waiting: usize = subjects.iter().map(|subject| subject.waiting.len()).sum();
            let amounts =
                subjects.iter().flat_map(|subject| &subject.holds).map(|hold| hold.amounts.len().max(1));
            let held: usize = amounts.sum();
            assert!(subjects.len() * 25 + cells * 64 + waiting * 21 + held * 20 <= piece.len());
        }
    }
}

/// One input.
pub fn run(bytes: &[u8]) {
    check(bytes);
    let [marks, body @ ..] = bytes else { return };
    let (version, kind) = (1 + marks / 3 % 3, 1 + marks % 3);
    let mut piece = vec![version, kind, 0, 0];
    piece.extend(INDEX.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&GENERATION.to_le_bytes());
    hasher.update(&piece);
    hasher.update(body);
    piece.extend(hasher.finalize().to_le_bytes());
    piece.extend_from_slice(body);
    check(&piece);
}
