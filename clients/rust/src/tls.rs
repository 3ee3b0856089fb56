//! TLS 1.3: whom to trust, and who we are.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// The protocol's name in ALPN.
const ALPN: &[u8] = b"tollgate/1";

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key is no PEM.
    #[error("not PEM: {0}")]
    Pem(#[from] pem::Error),
    /// There is no certificate in what should have some.
    #[error("no certificate")]
    NoCertificate,
    /// rustls does not take it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The node's name is neither a host name nor an IP address.
    #[error("not a name of a host: {0}")]
    Name(String),
}

/// How connections are protected. Made once; clones share it.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts nodes that call themselves `name` and have a certificate of one of the authorities in `roots_pem`.
    pub fn new(name: &str, roots_pem: &[u8]) -> Result<Tls, TlsError> {
        Tls::build(name, roots_pem, None)
    }

    /// The same, and shows a certificate of our own to nodes that ask for one.
    pub fn with_certificate(
        name: &str,
        roots_pem: &[u8],
        certificates_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Tls, TlsError> {
        Tls::build(name, roots_pem, Some((certificates_pem, key_pem)))
    }

    fn build(name: &str, roots_pem: &[u8], own: Option<(&[u8], &[u8])>) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(roots_pem)? {
            roots.add(certificate)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificates_pem, key_pem)) => {
                let key = PrivateKeyDer::from_pem_slice(key_pem)?;
                builder.with_client_auth_cert(certificates(certificates_pem)?, key)?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        Ok(Tls { config: Arc::new(config), name })
    }

    pub(crate) async fn over(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls {{ name: {:?}, .. }}", self.name)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(TlsError::NoCertificate) } else { Ok(all) }
}
