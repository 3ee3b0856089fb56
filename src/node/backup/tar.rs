//! Backups as one file: the ustar format, as far as it is needed for plain files with short names.
//!
//! Each file is a header of 512 bytes (name 0, mode 100, owner 108 and 116, size 124, time 136, sum 148, type 156, magic
//! 257, all numbers in octal text) and its bytes, padded to 512. Two blocks of zeros are the end.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

const BLOCK: usize = 512;
const NAME_MAX: usize = 100;
/// Eleven octal digits.
const SIZE_MAX: u64 = (1 << 33) - 1;
const SUM: std::ops::Range<usize> = 148..156;

fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("tar file: {reason}"))
}

/// Writes one file of `size` bytes, which `from` gives.
///
/// # Errors
/// A name of more than 100 bytes, a file of 8 GiB or more, and what writing and reading say.
pub fn put(out: &mut impl Write, name: &str, size: u64, from: &mut impl Read) -> io::Result<()> {
    out.write_all(&header(name, size)?)?;
    let copied = io::copy(&mut from.take(size), out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    io::copy(&mut io::repeat(0).take(padding), out).map(drop)
}

/// Writes the end.
///
/// # Errors
/// What writing says.
pub fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    if name.len() > NAME_MAX || size > SIZE_MAX {
        return Err(bad("a name is longer, or a file larger, than there is room for"));
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum = sum_of(&header);
    header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// The sum of all bytes of a header, its own place taken as blanks.
fn sum_of(header: &[u8; BLOCK]) -> u32 {
    let others = header.iter().enumerate().filter(|(at, _)| !SUM.contains(at));
    others.map(|(_, byte)| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ')
}

/// Where the files of a tar file lie: offset and size by name.
///
/// # Errors
/// It is none, or not whole; and what reading says.
pub fn index(file: &mut (impl Read + Seek)) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut found = BTreeMap::new();
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; BLOCK];
        file.read_exact(&mut header).map_err(|_| bad("it ends before its end"))?;
        if header == [0; BLOCK] {
            return Ok(found);
        }
        if octal(&header[SUM]) != Some(u64::from(sum_of(&header))) {
            return Err(bad("a header is damaged"));
        }
        let name = header[..NAME_MAX].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = str::from_utf8(name).map_err(|_| bad("a name is not text"))?;
        let size = octal(&header[124..136]).ok_or_else(|| bad("a size is not a number"))?;
        let begin = at + BLOCK as u64;
        at = begin.saturating_add(size.next_multiple_of(BLOCK as u64));
        if at > len {
            return Err(bad("it ends in the middle of a file"));
        }
        // Folders, which other programs add, have no bytes.
        if matches!(header[156], b'0' | 0) {
            found.insert(name.to_owned(), (begin, size));
        }
    }
}

fn octal(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn files_come_back_and_a_cut_or_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let mut bytes = Vec::new();
        let long = vec![7; 1025];
        for (name, content) in [("a", &b""[..]), ("b/c", b"hello"), ("d", &long)] {
            put(&mut bytes, name, content.len() as u64, &mut &*content).unwrap();
        }
        finish(&mut bytes).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let found = index(&mut File::open(&path).unwrap()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b/c", "d"]);
        let (at, size) = found["d"];
        assert_eq!(bytes[usize::try_from(at).unwrap()..][..usize::try_from(size).unwrap()], long);
        for len in (0..bytes.len() - 2 * BLOCK + 1).step_by(100) {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert!(index(&mut File::open(&path).unwrap()).is_err(), "{len}");
        }
        bytes[BLOCK + 3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(index(&mut File::open(&path).unwrap()).is_err());
        assert!(put(&mut Vec::new(), &"x".repeat(101), 0, &mut io::empty()).is_err());
        assert!(header(&"x".repeat(100), SIZE_MAX).is_ok() && header("x", SIZE_MAX + 1).is_err());
    }
}
