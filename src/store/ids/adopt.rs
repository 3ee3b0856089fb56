//! Copying all slices as another node's.

use std::path::Path;

use super::error::IdsError;
use super::format::{Identity, parse_name};
use super::{Slices, writer};
use crate::journal::{Directory, NodeId, Sequence};

/// The last sequence that the slice in a file of that name covers; `None` for other files.
#[must_use]
pub fn slice_ends(name: &str) -> Option<Sequence> {
    parse_name(name).map(|(_, to)| to)
}

impl Slices {
    /// Writes every slice to the directory `path`, which is made if it is missing, as `node_id` would have written it.
    ///
    /// # Errors
    /// Storage errors, and damage.
    pub fn copy_as(&self, path: &Path, node_id: NodeId) -> Result<(), IdsError> {
        let disk = Directory::open(path).map_err(IdsError::io("open", &path.display().to_string()))?;
        for slice in &self.list.load_full().slices {
            let header = *slice.header();
            let identity = Identity { node_id, ..header.identity };
            let mut records = slice.records();
            writer::write(&disk, identity, header.before, header.ids, || records.next())?;
        }
        Ok(())
    }
}
