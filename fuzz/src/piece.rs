//! Pieces of checkpoints. The input is tried as it is, and as the content of a piece whose envelope fits: as the content
//! itself, or as what is pressed into it.

use tollgate::store::{PIECE_BYTES_MAX, Piece, RUN_BYTES_MAX, decode_piece};

const GENERATION: u64 = 7;
const INDEX: u32 = 3;

fn check(piece: &[u8]) {
    let Ok(decoded) = decode_piece(GENERATION, INDEX, piece) else { return };
    assert!(piece.len() <= PIECE_BYTES_MAX);
    // The checksum holds a piece to its place.
    assert!(decode_piece(GENERATION + 1, INDEX, piece).is_err());
    assert!(decode_piece(GENERATION, INDEX + 1, piece).is_err());
    // Pieces of these versions are pressed: how much may be in one is bounded by itself.
    let is_pressed = piece[..2] == [2, 1] || piece[..2] == [3, 2];
    let holds_max = if is_pressed { RUN_BYTES_MAX } else { piece.len() };
    match decoded {
        Piece::Catalog(bytes) => assert!(bytes.len() <= holds_max),
        Piece::Counters { subjects, goes_on, .. } => {
            assert!(!goes_on || !subjects.is_empty());
            // What each part takes at least, packed.
            let cells: usize = subjects.iter().map(|subject| subject.cells.len()).sum();
            let waiting: usize = subjects.iter().map(|subject| subject.waiting.len()).sum();
            let amounts =
                subjects.iter().flat_map(|subject| &subject.holds).map(|hold| hold.amounts.len().max(1));
            let held: usize = amounts.sum();
            // Packed, or as varints.
            let [subject, cell, amount, hold] = if is_pressed { [2, 9, 4, 2] } else { [25, 64, 21, 20] };
            let least = subjects.len() * subject + cells * cell + waiting * amount + held * hold;
            assert!(least <= holds_max);
        }
    }
}

/// A run as pieces have it, of which nothing was pressed: an LZ4 block of literals.
fn unpressed(bytes: &[u8]) -> Vec<u8> {
    let mut run = (bytes.len() as u32).to_le_bytes().to_vec();
    run.push((bytes.len().min(15) as u8) << 4);
    if let Some(more) = bytes.len().checked_sub(15) {
        run.extend(vec![255; more / 255]);
        run.push((more % 255) as u8);
    }
    run.extend_from_slice(bytes);
    run
}

/// One input.
pub fn run(bytes: &[u8]) {
    check(bytes);
    let [marks, body @ ..] = bytes else { return };
    let (version, kind) = (1 + marks / 3 % 3, 1 + marks % 3);
    let body = if marks / 9 % 2 == 1 { &unpressed(body) } else { body };
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
