//! Frames: a header of 16 bytes and a body.

use super::{Operation, Status, WireError};

/// Bytes of a header.
pub const HEADER_LEN: usize = 16;
/// The frame maximum up to WELCOME, and for clients that want no other.
pub const FRAME_MAX_DEFAULT: u32 = 64 << 10;
/// The least that a client may ask for.
pub const FRAME_MAX_LEAST: u32 = 4 << 10;
/// The most that a node gives.
pub const FRAME_MAX_GREATEST: u32 = 1 << 20;

/// What every frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of the frame, these 16 included.
    pub length: u32,
    /// What is asked, or answered.
    pub operation: Operation,
    /// How a request is meant.
    pub flags: super::Flags,
    /// How it fared (answers).
    pub status: Status,
    /// Chosen by the client.
    pub id: u64,
}

impl Header {
    /// Reads a header; any bytes are one.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Header {
        let [l0, l1, l2, l3, operation, flags, s0, s1, id @ ..] = *bytes;
        Header {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            operation: Operation(operation),
            flags: super::Flags(flags),
            status: Status(u16::from_le_bytes([s0, s1])),
            id: u64::from_le_bytes(id),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.operation.0;
        bytes[5] = self.flags.0;
        bytes[6..8].copy_from_slice(&self.status.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }
}

/// The first frame of `received`: its header and body. `None` if more bytes must come first.
///
/// # Errors
/// Its length is impossible; nothing after it can be read.
pub fn split(received: &[u8], frame_max: u32) -> Result<Option<(Header, &[u8])>, WireError> {
    let Some((head, rest)) = received.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let header = Header::read(head);
    // Before the rest is there: nobody waits, and keeps room, for a frame that is refused anyway.
    if header.length > frame_max || (header.length as usize) < HEADER_LEN {
        return Err(WireError::FrameLength { length: header.length, max: frame_max });
    }
    Ok(rest.get(..header.length as usize - HEADER_LEN).map(|body| (header, body)))
}

/// A frame that is being written at the end of a buffer.
pub struct Frame<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
}

impl<'a> Frame<'a> {
    /// Begins an answer.
    pub fn answer(out: &'a mut Vec<u8>, to: Operation, status: Status, id: u64) -> Frame<'a> {
        Frame::begin(out, to.answer(), super::Flags::default(), status, id)
    }

    /// Begins a request.
    pub fn request(out: &'a mut Vec<u8>, operation: Operation, flags: super::Flags, id: u64) -> Frame<'a> {
        Frame::begin(out, operation, flags, Status::OK, id)
    }

    fn begin(
        out: &'a mut Vec<u8>,
        operation: Operation,
        flags: super::Flags,
        status: Status,
        id: u64,
    ) -> Frame<'a> {
        let begin = out.len();
        out.extend_from_slice(&Header { length: 0, operation, flags, status, id }.bytes());
        Frame { out, begin }
    }

    /// Says how it fared, if that turned out otherwise than when it was begun.
    pub fn status(&mut self, status: Status) {
        self.out[self.begin + 6..self.begin + 8].copy_from_slice(&status.0.to_le_bytes());
    }

    /// The body, to be written behind what is there.
    pub fn body(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Ends it: its length is known now. Returns that.
    pub fn end(self) -> usize {
        let length = self.out.len() - self.begin;
        let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        self.out[self.begin..self.begin + 4].copy_from_slice(&bytes);
        length
    }
}
