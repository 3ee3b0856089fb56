//! Backups as one file. The input is tried as it is, and with sums of its headers that fit.

use std::io::Cursor;

use tollgate::node::backup::tar;

const BLOCK: usize = 512;

fn check(bytes: &[u8]) {
    let Ok(found) = tar::index(&mut Cursor::new(bytes)) else { return };
    let mut written = Vec::new();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (name, (at, size)) in &found {
        let (at, size) = (*at as usize, *size as usize);
        assert!(at.is_multiple_of(BLOCK) && at + size <= bytes.len(), "{name:?} lies outside");
        places.push((at, size));
        let content = &bytes[at..at + size];
        tar::put(&mut written, name, size as u64, &mut &*content).expect("it was in one");
    }
    places.sort_unstable();
    // Each has bytes of its own, behind its header.
    assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 + BLOCK <= pair[1].0));
    tar::finish(&mut written).expect("memory takes all");
    let again = tar::index(&mut Cursor::new(&written[..])).expect("what was written is read");
    assert!(again.keys().eq(found.keys()));
    for (name, (at, size)) in again {
        let (at, size) = (at as usize, size as usize);
        let (was, _) = found[&name];
        assert_eq!(written[at..at + size], bytes[was as usize..was as usize + size], "{name:?}");
    }
}

/// Makes the sum of the header at the start of `header` fit.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One input.
pub fn run(bytes: &[u8]) {
    check(bytes);
    let mut sealed = bytes.to_vec();
    // A header may be anywhere; where its magic is, it is meant to be one.
    for block in sealed.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        seal(block);
    }
    check(&sealed);
}
