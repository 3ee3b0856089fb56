//! A caller of the internal API, for the node that we start ourselves.

use std::io::{Read, Write};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::http::Head;
use super::target::Stream;
use super::{LoadError, Target};

/// One connection.
pub(super) struct InternalApi {
    stream: Stream,
    host: SocketAddr,
    authorization: String,
    received: Vec<u8>,
}

impl InternalApi {
    pub(super) fn connect(address: SocketAddr, user: &str, password: &str) -> Result<InternalApi, LoadError> {
        let stream = Target::Http(address).connect()?;
        let authorization = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Ok(InternalApi { stream, host: address, authorization, received: Vec::new() })
    }

    /// Makes a call, which must be answered with a success. `path` comes below `/internal`.
    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, LoadError> {
        let (status, answer) = self.exchange(method, path, body)?;
        let text = String::from_utf8_lossy(&answer);
        if !(200..300).contains(&status) {
            let what = format!("{method} /internal{path}");
            return Err(LoadError::Refused { what, why: format!("{status} {text}") });
        }
        serde_json::from_str(&text).map_err(|_| LoadError::Http("its body is no JSON"))
    }

    fn exchange(&mut self, method: &str, path: &str, body: &Value) -> Result<(u16, Vec<u8>), LoadError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /internal{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            self.authorization,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.received.clear();
        loop {
            if let Some(head) = Head::read(&self.received)?
                && let Some(body) = self.received.get(head.length..head.length + head.body_length)
            {
                return Ok((head.status, body.to_vec()));
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece)? {
                0 => return Err(LoadError::Closed),
                count => self.received.extend_from_slice(&piece[..count]),
            }
        }
    }
}
