//! Frames: sixteen bytes of head, then a body, cut out of a stream and put into one.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{EncodeError, FRAME_MAX_AT_FIRST, HEAD_LEN, Status};

/// What a frame says before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The operation's number; with [`super::ANSWER`] set in answers.
    pub operation: u8,
    /// Of a request; zero in answers.
    pub flags: u8,
    /// Of an answer; zero in requests.
    pub status: Status,
    /// Chosen by the client, repeated in the answer.
    pub id: u64,
}

/// A frame, its body not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says before its body.
    pub head: Head,
    /// The rest.
    pub body: Bytes,
}

/// Why a stream cannot be read on, or a frame not be written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length that no frame may have here. What follows cannot be told apart any more.
    #[error("a frame of {length} bytes, where 16 to {max} are possible")]
    Length {
        /// What it says.
        length: u32,
        /// The connection's frame maximum.
        max: u32,
    },
    /// The stream ended, or failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Cuts frames out of a stream of bytes.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    /// The longest frame in either direction, in bytes.
    pub frame_max: u32,
}

impl Default for FrameCodec {
    fn default() -> FrameCodec {
        FrameCodec { frame_max: FRAME_MAX_AT_FIRST }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = stream.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        let whole = length as usize;
        // Before anything is kept for it: a length is only believed within the maximum.
        if whole < HEAD_LEN || length > self.frame_max {
            return Err(FrameError::Length { length, max: self.frame_max });
        }
        if stream.len() < whole {
            stream.reserve(whole - stream.len());
            return Ok(None);
        }
        let mut frame = stream.split_to(whole).freeze();
        frame.advance(4);
        let head = Head {
            operation: frame.get_u8(),
            flags: frame.get_u8(),
            status: Status(frame.get_u16_le()),
            id: frame.get_u64_le(),
        };
        Ok(Some(Frame { head, body: frame }))
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, stream: &mut BytesMut) -> Result<(), FrameError> {
        let whole = HEAD_LEN.saturating_add(frame.body.len());
        let length = u32::try_from(whole).unwrap_or(u32::MAX);
        if length > self.frame_max {
            return Err(FrameError::Length { length, max: self.frame_max });
        }
        put_head(stream, length, frame.head);
        stream.extend_from_slice(&frame.body);
        Ok(())
    }
}

fn put_head(stream: &mut BytesMut, length: u32, head: Head) {
    stream.put_u32_le(length);
    stream.put_u8(head.operation);
    stream.put_u8(head.flags);
    stream.put_u16_le(head.status.0);
    stream.put_u64_le(head.id);
}

/// Appends a frame whose body `write` appends. If that fails, or the frame gets longer than `frame_max`, `stream` is
/// what it was before.
pub fn put_frame(
    stream: &mut BytesMut,
    frame_max: u32,
    head: Head,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = stream.len();
    put_head(stream, 0, head);
    let written = write(stream).and_then(|()| {
        let length = stream.len() - start;
        match u32::try_from(length) {
            Ok(length) if length <= frame_max => Ok(length),
            _ => Err(EncodeError::TooLong { what: "the frame", max: frame_max as usize }),
        }
    });
    match written {
        Ok(length) => {
            stream[start..start + 4].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        Err(error) => {
            stream.truncate(start);
            Err(error)
        }
    }
}
