//! Changes from a byte stream that comes in parts, cut anywhere: a checkpoint's catalog, which need not be in memory whole.

use prost::Message;

use super::{CatalogError, ChangeRecord, change_of};
use crate::model::catalog::Change;

/// A length has at most so many bytes.
const LENGTH_BYTES_MAX: usize = 10;

/// Decodes a run of changes as its bytes come.
#[derive(Default)]
pub struct Decoder {
    /// The beginning of a message whose end has not come yet.
    rest: Vec<u8>,
}

impl Decoder {
    /// Takes the next bytes; calls `visit` with each change that is whole with them, and what it says of the id sequence.
    ///
    /// # Errors
    /// The first message that cannot be read; those before it were visited.
    pub fn take(&mut self, bytes: &[u8], mut visit: impl FnMut(Change, u64)) -> Result<(), CatalogError> {
        self.rest.extend_from_slice(bytes);
        let mut left = self.rest.as_slice();
        while is_whole(left)? {
            let record = ChangeRecord::decode_length_delimited(&mut left)?;
            let next_id = record.next_id;
            visit(change_of(record)?, next_id);
        }
        let taken = self.rest.len() - left.len();
        self.rest.drain(..taken);
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// A message has begun that never ended.
    pub fn finish(self) -> Result<(), CatalogError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        ChangeRecord::decode_length_delimited(self.rest.as_slice())?;
        // Should it be whole after all, it was not shown to anybody.
        Err(CatalogError::Empty)
    }
}

/// Whether `bytes` begin with a whole message.
fn is_whole(bytes: &[u8]) -> Result<bool, CatalogError> {
    let Some(end) = bytes.iter().take(LENGTH_BYTES_MAX).position(|byte| *byte < 0x80) else {
        // Its length goes on in what is to come; or is none, as decoding it will say.
        return Ok(bytes.len() >= LENGTH_BYTES_MAX);
    };
    let len = prost::decode_length_delimiter(bytes)?;
    Ok(bytes.len() - end > len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalog::{decode, encode};
    use crate::model::id::{AccountId, TenantId};
    use crate::model::record::Account;
    use proptest::prelude::*;

    fn changes() -> Vec<Change> {
        let account = |at: u64| {
            let name = "n".repeat(usize::try_from(at).unwrap() * 50);
            Change::PutAccount(Account { id: AccountId(at), tenant: TenantId(1), name })
        };
        (0..8).map(account).chain([Change::DeletePlan(crate::model::id::PlanId(9))]).collect()
    }

    /// What a decoder makes of bytes that come in parts of these lengths.
    fn in_parts(mut bytes: &[u8], lens: &[usize]) -> (Vec<(Change, u64)>, bool) {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        for len in lens.iter().copied().cycle() {
            let (part, rest) = bytes.split_at(len.min(bytes.len()));
            if decoder.take(part, |change, next_id| seen.push((change, next_id))).is_err() {
                return (seen, false);
            }
            if rest.is_empty() {
                break;
            }
            bytes = rest;
        }
        (seen, decoder.finish().is_ok())
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_changes_come(
            lens in prop::collection::vec(1..200_usize, 1..20),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            encode(&changes(), 77, &mut bytes);
            let (seen, is_whole) = in_parts(&bytes, &lens);
            prop_assert!(is_whole);
            prop_assert_eq!(seen, changes().into_iter().map(|it| (it, 77)).collect::<Vec<_>>());
            // And one that ends too early ends like one that is decoded at once.
            let bytes = &bytes[..end.index(bytes.len())];
            let mut seen = Vec::new();
            let whole = decode(bytes, |change, next_id| seen.push((change, next_id))).is_ok();
            prop_assert_eq!(in_parts(bytes, &lens), (seen, whole));
        }

        #[test]
        fn any_bytes_decode_like_all_at_once(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            lens in prop::collection::vec(1..9_usize, 1..9),
        ) {
            let mut seen = Vec::new();
            let whole = decode(&bytes, |change, next_id| seen.push((change, next_id))).is_ok();
            prop_assert_eq!(in_parts(&bytes, &lens), (seen, whole));
        }
    }
}
