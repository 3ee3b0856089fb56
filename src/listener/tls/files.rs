//! The files of a certificate: read whole, bounded, and the key only if it is kept from others.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{FILE_BYTES_MAX, TlsError, TlsFiles};

/// What the files held at one time.
pub(super) struct Read {
    chain: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Reads all files.
pub(super) fn read(files: &TlsFiles) -> Result<Read, TlsError> {
    Ok(Read {
        chain: read_file(&files.chain, |_| Ok(()))?,
        key: read_file(&files.key, |file| private(&files.key, file))?,
        client_ca: files.client_ca.as_ref().map(|path| read_file(path, |_| Ok(()))).transpose()?,
    })
}

fn read_file(path: &Path, check: impl FnOnce(&File) -> Result<(), TlsError>) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(TlsError::Unusable { path: path.to_owned(), reason: "not a file".into() });
    }
    let file = File::open(path).map_err(unreadable)?;
    check(&file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Refuses a key that others may read or write. A group may read one of another owner: that is how a service is
/// handed a key it does not own (Kubernetes' fsGroup, Debian's ssl-cert). One's own needs no group, as ssh has it.
fn private(path: &Path, file: &File) -> Result<(), TlsError> {
    let metadata =
        file.metadata().map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o777;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & if own { 0o077 } else { 0o037 } == 0 {
        Ok(())
    } else {
        Err(TlsError::KeyReadable { path: path.to_owned(), mode })
    }
}

impl Read {
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [self.chain.as_slice(), &self.key].into_iter().chain(self.client_ca.as_deref())
    }

    pub(super) fn chain(&self, files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&files.chain, &self.chain)
    }

    pub(super) fn key(&self, files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| not_pem(&files.key, "private key", &e))
    }

    /// The authorities for client certificates, and where they come from.
    pub(super) fn client_ca<'f>(
        &self,
        files: &'f TlsFiles,
    ) -> Result<Option<(&'f PathBuf, Vec<CertificateDer<'static>>)>, TlsError> {
        let (Some(path), Some(bytes)) = (&files.client_ca, &self.client_ca) else { return Ok(None) };
        Ok(Some((path, certificates(path, bytes)?)))
    }
}

/// All certificates of a file, of which there must be one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(not_pem(path, "certificate", &PemError::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(error) => Err(not_pem(path, "certificate", &error)),
    }
}

/// Never shows what was in the file: it may be part of a key.
fn not_pem(path: &Path, what: &'static str, error: &PemError) -> TlsError {
    let reason = match error {
        PemError::NoItemsFound => "none found",
        PemError::MissingSectionEnd { .. } => "a section has no end",
        PemError::IllegalSectionStart { .. } => "a section has no proper beginning",
        PemError::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    TlsError::NotPem { path: path.to_owned(), what, reason: reason.to_owned() }
}
