//! Pieces hold what was put into them, in every version there was; and no content of theirs does harm.

use super::StoreError;
use super::compact::{self, PART_ITEMS_MAX};
use super::packed::pack;
use super::piece::{BODY_BYTES_MAX, Joiner, Packer, Piece, PieceError, Stream, decode_piece, seal, seal_as};
use super::pressed::Press;
use super::tests::{subject, subject_with};
use crate::counter::snapshot::{CellImage, HoldImage, SubjectImage, WaitingImage};
use crate::journal::Sequence;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot};
use crate::model::reservation::ReservationId;
use crate::model::time::Minute;
use proptest::prelude::*;

fn pack(stamp: Sequence, images: &[SubjectImage]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut emit = |body: Vec<u8>| {
        bodies.push(body);
        Ok::<_, StoreError>(())
    };
    let mut press = Press::default();
    let mut packer = Packer::new(&mut press, stamp, Minute(29_000_000));
    images.iter().for_each(|image| packer.push(image, &mut emit).unwrap());
    packer.flush(&mut emit).unwrap();
    bodies
}

fn unpack(bodies: &[Vec<u8>]) -> Vec<SubjectImage> {
    let mut joiner = Joiner::default();
    let mut images = Vec::new();
    for (index, body) in (0..).zip(bodies) {
        let piece = decode_piece(3, index, &seal(3, Stream::Counters, index, body)).unwrap();
        let Piece::Counters { stamp, subjects, goes_on } = piece else { panic!("not counters") };
        images.extend(joiner.take(stamp, subjects, goes_on).unwrap());
    }
    joiner.finish().unwrap();
    images
}

#[test]
fn the_largest_numbers_there_are_fit_and_are_spread_over_pieces() {
    let minute = Minute(u32::MAX);
    let cell = |at: u32| {
        let mut counts = [0; 7];
        // Differences of what comes one after the other must be noise, too.
        let noise = |period: u32| {
            let product = u64::from(at * 7 + period + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (product ^ product >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1 << 63
        };
        counts.iter_mut().zip(0..).for_each(|(count, period)| *count = noise(period));
        CellImage { slot: MetricSlot(u32::MAX - 1000 + at), minute, counts }
    };
    let amount = |at| (MetricSlot(u32::MAX - at), u64::MAX - u64::from(at));
    let most = SubjectImage {
        application: ApplicationId(u64::MAX),
        cells: (0..500).map(cell).collect(),
        waiting: (0..100)
            .map(|at| WaitingImage {
                slot: MetricSlot(u32::MAX),
                dated: Minute(at),
                counted: minute,
                effect: if at % 2 == 0 { Effect::Add(u64::MAX) } else { Effect::Set(u64::MAX) },
            })
            .collect(),
        holds: (0..3)
            .map(|at| HoldImage { id: ReservationId(u64::MAX - at), amounts: (0..64).map(amount).collect() })
            .collect(),
    };
    // With and without something before it, so that parts end everywhere.
    for before in 0..PART_ITEMS_MAX as u32 {
        let images = [subject(3, before, 1), most.clone(), subject_with(4, 1, before, 2)];
        let bodies = pack(Sequence(u64::MAX), &images);
        assert!(bodies.len() > 8 && bodies.iter().all(|body| body.len() <= BODY_BYTES_MAX));
        assert_eq!(unpack(&bodies), images);
    }
}

#[test]
fn many_subjects_take_few_pieces() {
    let images: Vec<_> = (1..=1000).map(|application| subject(application, 3, 0)).collect();
    let bodies = pack(Sequence(1), &images);
    // Of 240 KB in memory.
    assert!(bodies.len() <= 6, "{}", bodies.len());
    assert_eq!(unpack(&bodies), images);
}

proptest! {
    #[test]
    fn counters_survive_packing(sizes in prop::collection::vec((0..150u32, 0..300u32, 0..40u32), 0..8)) {
        let image = |(sizes, id): (&(u32, u32, u32), u64)| subject_with(id, sizes.0, sizes.1, sizes.2);
        let images: Vec<_> = sizes.iter().zip(1..).map(image).collect();
        let bodies = pack(Sequence(9), &images);
        prop_assert!(bodies.iter().all(|body| body.len() <= BODY_BYTES_MAX));
        prop_assert_eq!(unpack(&bodies), images);
    }

    #[test]
    fn any_bytes_in_an_envelope_decode_or_fail_but_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_piece(3, 0, &body);
        let _ = decode_piece(3, 0, &seal(3, Stream::Counters, 0, &body));
        for version in [1, 2] {
            let _ = decode_piece(3, 0, &seal_as(3, [version, 2], 0, &body));
        }
        let _ = compact::decode(&body);
    }

    #[test]
    fn mutated_pieces_decode_or_fail_but_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let images = [subject_with(1, 3, 2, 3), subject(2, 1, 1)];
        for (version, mut body) in [(3, pack(Sequence(1), &images).remove(0)), (2, pack::v2(1, &images))] {
            let at = at.index(body.len());
            body[at] = byte;
            let sealed = seal_as(3, [version, 2], 0, &body);
            let _ = decode_piece(3, 0, &sealed);
            prop_assert_eq!(decode_piece(4, 0, &sealed), Err(PieceError::Checksum));
            prop_assert_eq!(decode_piece(3, 1, &sealed), Err(PieceError::Checksum));
        }
    }
}

fn golden() -> SubjectImage {
    SubjectImage {
        application: ApplicationId(7),
        cells: vec![CellImage { slot: MetricSlot(3), minute: Minute(5), counts: [1, 2, 3, 4, 5, 6, 7] }],
        waiting: vec![WaitingImage {
            slot: MetricSlot(3),
            dated: Minute(6),
            counted: Minute(5),
            effect: Effect::Set(8),
        }],
        holds: Vec::new(),
    }
}

/// Stamp 9; application 7 with one cell (slot 3, minute 5, counts 1 to 7) and one amount that waits (slot 3, dated 6,
/// counted 5, set 8).
const GOLDEN_V1: &str = "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000007000000000000\
    0000a2ffffff01000000daffffff010000000900000000000000dfffffff01000000";

#[test]
fn golden_counters_of_version_1_stay_readable() {
    let image = golden();
    let body = pack::v1(9, std::slice::from_ref(&image));
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_V1);
    let piece = decode_piece(3, 0, &seal_as(3, [1, 2], 0, &body)).unwrap();
    assert_eq!(piece, Piece::Counters { stamp: Sequence(9), subjects: vec![image], goes_on: false });
    assert_eq!(decode_piece(3, 0, &seal_as(3, [4, 2], 0, &body)), Err(PieceError::Unknown));
}

/// The same with two reservations: one that holds nothing any more, and one that holds 5 of slot 3 and 6 of slot 4.
const GOLDEN_V2: &str = "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000002000000010000\
    00ffffffff0000000000000000040000000300000003000000050000000000000004000000030000000400000006\
    0000000000000007000000000000000066ffffff010000009effffff01000000abffffff03000000090000000000\
    0000d7ffffff01000000";

fn golden_with_reservations() -> SubjectImage {
    let holds = vec![
        HoldImage { id: ReservationId(1 << 32 | 2), amounts: Vec::new() },
        HoldImage { id: ReservationId(3 << 32 | 4), amounts: vec![(MetricSlot(3), 5), (MetricSlot(4), 6)] },
    ];
    SubjectImage { holds, ..golden() }
}

#[test]
fn golden_counters_of_version_2_stay_readable() {
    let image = golden_with_reservations();
    let body = pack::v2(9, std::slice::from_ref(&image));
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_V2);
    let piece = decode_piece(3, 0, &seal_as(3, [2, 2], 0, &body)).unwrap();
    assert_eq!(piece, Piece::Counters { stamp: Sequence(9), subjects: vec![image], goes_on: false });
}

/// The same as a run: stamp and base, application and head, the cell, what waits, the reservations.
const GOLDEN_V3: &str = "0905070e06000202020202020201070200080282808080100084808080300203050406";

#[test]
fn golden_counters_of_version_3_stay_readable() {
    let image = golden_with_reservations();
    // How it is pressed is LZ4's matter, as long as it can be expanded: this is a block of literals.
    let run: Vec<_> = (0..GOLDEN_V3.len()).step_by(2).map(|at| &GOLDEN_V3[at..at + 2]).collect();
    let run: Vec<_> = run.into_iter().map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect();
    let body = [&[35, 0, 0, 0, 0xF0, 20], run.as_slice()].concat();
    let piece = decode_piece(3, 0, &seal_as(3, [3, 2], 0, &body)).unwrap();
    assert_eq!(piece, Piece::Counters { stamp: Sequence(9), subjects: vec![image.clone()], goes_on: false });
    let mut written = Vec::new();
    compact::begin(&mut written, Sequence(9), Minute(5));
    compact::encode(&mut written, Minute(5), &image, &mut Vec::new());
    assert_eq!(written, run);
}

#[test]
fn a_catalog_of_version_1_is_the_bytes_themselves() {
    let piece = decode_piece(3, 0, &seal_as(3, [1, 1], 0, b"records")).unwrap();
    assert_eq!(piece, Piece::Catalog(b"records".to_vec()));
}
