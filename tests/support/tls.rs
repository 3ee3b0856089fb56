//! An authority of a test's own, and a client that trusts it.
#![allow(dead_code)] // Each test binary uses its part.

use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A connection by TLS.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and what it has signed.
pub(crate) struct Authority {
    pub(crate) certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `localhost`.
    pub(crate) fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Those who trust nobody else.
    pub(crate) fn trusted(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }

    /// What a client without a certificate needs.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        Arc::new(builder.with_root_certificates(self.trusted()).with_no_client_auth())
    }
}

/// Speaks TLS with who calls itself `localhost`. The handshake comes with the first bytes.
pub(crate) fn over(stream: TcpStream, config: Arc<ClientConfig>) -> Tls {
    StreamOwned::new(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap(), stream)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
