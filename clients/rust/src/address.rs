//! Where a node is, and a stream to it.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

#[cfg(feature = "tls")]
use crate::tls::Tls;

/// Where a node listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// TCP: `host:port`.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP with TLS 1.3.
    #[cfg(feature = "tls")]
    Tls {
        /// `host:port`.
        address: String,
        /// Whom to trust, and who we are.
        tls: Tls,
    },
}

pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Both directions of a connection.
pub(crate) struct Stream {
    pub(crate) reader: ReadHalf,
    pub(crate) writer: WriteHalf,
    /// Whether what was written may wait in a buffer of the stream's until it is flushed.
    pub(crate) buffers: bool,
}

impl Address {
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Tcp(address) => {
                let (reader, writer) = tcp(address).await?.into_split();
                Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), buffers: false })
            }
            Address::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), buffers: false })
            }
            #[cfg(feature = "tls")]
            Address::Tls { address, tls } => {
                let (reader, writer) = tokio::io::split(tls.over(tcp(address).await?).await?);
                Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), buffers: true })
            }
        }
    }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Frames are gathered before they are written: what is written shall go at once.
    stream.set_nodelay(true)?;
    Ok(stream)
}
