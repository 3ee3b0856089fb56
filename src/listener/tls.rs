//! TLS of a listener: certificate, key and client authority from files, replaced while the node runs.
//!
//! TLS 1.3 only, one protocol only, no early data (which could be replayed). A client authority makes client
//! certificates a must. Sessions are resumed from a small memory of the configuration they began under, so that a
//! new client authority binds every connection made after it.
//!
//! The files are read every [`POLL`] and when asked ([`watch`]); what changed is checked as a whole before it
//! takes the place of what was: a chain, a key that fits its first certificate, an authority. What does not pass is
//! reported once, and the old stays. Connections keep what they began with.

mod files;

use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig, crypto::ring, version};
use tokio_util::sync::CancellationToken;

use files::Read;

/// How often the files are looked at. They are small; whoever replaces them waits no longer than this.
pub const POLL: Duration = Duration::from_secs(10);

/// The most bytes of a file: a chain has a few certificates, an authority file at most some hundred.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a listener's certificate comes from. All files are PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The listener's certificate, and those between it and an authority.
    pub chain: PathBuf,
    /// Its private key (PKCS#8, SEC1 or PKCS#1), which nobody else may read.
    pub key: PathBuf,
    /// Authorities for client certificates, which every client then needs.
    pub client_ca: Option<PathBuf>,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More than [`FILE_BYTES_MAX`].
    #[error("{}: larger than {FILE_BYTES_MAX} bytes, so hardly a certificate or key", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
    /// Somebody else may read the private key.
    #[error("{}: mode {mode:04o} lets others read this private key; chmod 600 it", path.display())]
    KeyReadable {
        /// Which one.
        path: PathBuf,
        /// The file's permissions.
        mode: u32,
    },
    /// No such item in the file, or it is not PEM.
    #[error("{}: no {what} in PEM form: {reason}", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("{}: this key does not belong to the first certificate of {}", key.display(), chain.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        chain: PathBuf,
    },
    /// What the file holds cannot be used.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The certificate that a listener shows now.
pub struct Certificates {
    files: TlsFiles,
    /// The only protocol that is offered.
    protocol: &'static [u8],
    current: ArcSwap<ServerConfig>,
    /// A fingerprint of what was last read, good or bad: what has not changed is not reported again.
    seen: Mutex<u64>,
}

impl Certificates {
    /// Reads the files, for a listener on which `protocol` (its name in ALPN) is spoken.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: TlsFiles, protocol: &'static [u8]) -> Result<Certificates, TlsError> {
        let read = files::read(&files)?;
        let current = ArcSwap::from_pointee(configure(&files, &read, protocol)?);
        let seen = Mutex::new(fingerprint(&Ok(read)));
        Ok(Certificates { files, protocol, current, seen })
    }

    /// Reads the files again; whether something new is used now. `anyway` tries what was seen to be bad once more.
    /// Blocks for as long as the files take to read.
    ///
    /// # Errors
    /// What is in the files now cannot be used, and what was there before still is.
    pub fn reload(&self, anyway: bool) -> Result<bool, TlsError> {
        // Held throughout: of two that reload, the one that read last must not be the first to write.
        let mut seen = self.seen.lock();
        let read = files::read(&self.files);
        let now = fingerprint(&read);
        if now == std::mem::replace(&mut *seen, now) && !anyway {
            return Ok(false);
        }
        self.current.store(Arc::new(configure(&self.files, &read?, self.protocol)?));
        Ok(true)
    }

    /// Where the certificate comes from.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Replaces certificates when their files change, and when `asked`, until `shutdown`. Without any there is still their
/// number to see, 0.
pub async fn watch(all: Vec<Arc<Certificates>>, asked: Arc<Notify>, shutdown: CancellationToken) {
    let reloads =
        ["new", "failed"].map(|result| metrics::counter!("tollgate_tls_reloads_total", "result" => result));
    loop {
        let anyway = tokio::select! {
            () = shutdown.cancelled() => return,
            () = asked.notified() => true,
            () = tokio::time::sleep(POLL) => false,
        };
        for certificates in &all {
            let chain = certificates.files.chain.display();
            let reloading = Arc::clone(certificates);
            // A file system may hang; the workers must not.
            match tokio::task::spawn_blocking(move || reloading.reload(anyway)).await {
                Ok(Ok(true)) => {
                    reloads[0].increment(1);
                    tracing::info!(%chain, "a new certificate is used from now on");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    reloads[1].increment(1);
                    tracing::error!(%error, %chain, "the old certificate stays: the new one cannot be used");
                }
                Err(error) => tracing::error!(%error, "reading a certificate panicked"),
            }
        }
    }
}

fn configure(files: &TlsFiles, read: &Read, protocol: &[u8]) -> Result<ServerConfig, TlsError> {
    let (chain, key) = (read.chain(files)?, read.key(files)?);
    let provider = Arc::new(ring::default_provider());
    let unusable = |path: &PathBuf, error: &dyn std::fmt::Display| TlsError::Unusable {
        path: path.clone(),
        reason: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| unusable(&files.chain, &error))?;
    let builder = match read.client_ca(files)? {
        None => builder.with_no_client_auth(),
        Some((path, authorities)) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|error| unusable(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, &error))?)
        }
    };
    // This compares the key with the first certificate.
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { key: files.key.clone(), chain: files.chain.clone() }
        }
        rustls::Error::InvalidCertificate(_) => unusable(&files.chain, &error),
        error => unusable(&files.key, &error),
    })?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn fingerprint(read: &Result<Read, TlsError>) -> u64 {
    let mut hasher = SipHasher13::new();
    match read {
        Ok(read) => read.parts().for_each(|part| {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }),
        Err(error) => hasher.write(error.to_string().as_bytes()),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
