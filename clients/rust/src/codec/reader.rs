//! Bytes taken from the front of a slice, each length checked before it is believed.

use super::status::Status;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends before what it announces.
    #[error("the body ends too early")]
    Short,
    /// The fixed part is shorter than the specification says.
    #[error("a fixed part of {found} bytes, where {wanted} are prescribed")]
    FixedPart {
        /// Its length, as it says itself.
        found: usize,
        /// The least that it has to be.
        wanted: usize,
    },
    /// A field goes beyond the end of the frame, or its value is too short for its kind.
    #[error("field {0:#06x} is cut short")]
    Field(u16),
    /// A field that may come once came again.
    #[error("field {0:#06x} comes twice")]
    Twice(u16),
    /// A field that has to be understood, and is not.
    #[error("field {0:#06x} is not known, and may not be skipped")]
    NotKnown(u16),
    /// A text that is not UTF-8.
    #[error("field {0:#06x} is not UTF-8")]
    NotText(u16),
    /// A value that the specification does not have.
    #[error("{0} has a value that means nothing")]
    Value(&'static str),
    /// More metrics than a call may name.
    #[error("more than 255 metrics")]
    TooManyMetrics,
    /// No such operation.
    #[error("operation {0:#04x} is not known")]
    UnknownOperation(u8),
}

impl DecodeError {
    /// The status with which a node would refuse such a request.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            DecodeError::NotKnown(_) => Status::NOT_SUPPORTED,
            DecodeError::NotText(_) => Status::NOT_VALID_DATA,
            DecodeError::UnknownOperation(_) => Status::UNKNOWN_OPERATION,
            _ => Status::MALFORMED,
        }
    }
}

/// Why something cannot be said in this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text or field beyond its longest.
    #[error("{what} has more than {max} bytes")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// The longest that it may be, in bytes.
        max: usize,
    },
    /// More of something than a frame's counter can say.
    #[error("more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    /// Splits a body into its fixed part, at least `wanted` bytes long and with its length already read, and the
    /// rest. What a later version appended to the fixed part is left unread in it.
    pub(super) fn with_fixed(body: &'a [u8], wanted: usize) -> Result<(Reader<'a>, Reader<'a>), DecodeError> {
        let mut whole = Reader::new(body);
        let found = usize::from(whole.u16()?);
        if found < wanted {
            return Err(DecodeError::FixedPart { found, wanted });
        }
        let fixed = whole.take(found - 2)?;
        Ok((Reader::new(fixed), whole))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.left
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.left = left;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.left = left;
        Ok(*taken)
    }

    /// Passes over bytes that are zero and not looked at.
    pub(super) fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        self.take(length).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte that says yes or no.
    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value(what)),
        }
    }
}
