//! Where the test gateway stands.

use std::fmt;
use std::str::FromStr;

/// The most ports of the gateway: each is a socket that it listens on.
pub const GATEWAY_PORTS_MAX: u16 = 4096;

/// A host and a range of ports, written `http://127.0.0.1:9000-9199`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayEndpoint {
    /// A name or an address; one of IPv6 in brackets.
    pub host: String,
    /// The first port.
    pub first: u16,
    /// The last, which is one of them.
    pub last: u16,
}

/// A text that is no such endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no URL with at most {GATEWAY_PORTS_MAX} ports such as http://127.0.0.1:9000-9199")]
pub struct NoGatewayEndpoint;

impl FromStr for GatewayEndpoint {
    type Err = NoGatewayEndpoint;

    fn from_str(text: &str) -> Result<GatewayEndpoint, NoGatewayEndpoint> {
        let parts = || {
            let rest = text.strip_prefix("http://")?;
            let (host, ports) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':')?;
            let (first, last) = ports.split_once('-')?;
            let authority = format!("{host}:{first}").parse::<hyper::http::uri::Authority>().ok()?;
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            let is_good = !host.is_empty()
                && authority.host() == host
                && first > 0
                && first <= last
                && last - first < GATEWAY_PORTS_MAX;
            is_good.then(|| GatewayEndpoint { host: host.to_owned(), first, last })
        };
        parts().ok_or(NoGatewayEndpoint)
    }
}

impl fmt::Display for GatewayEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}-{}", self.host, self.first, self.last)
    }
}

/// The endpoint that was written, if one was.
pub(super) fn read(written: Option<String>, problems: &mut Vec<String>) -> Option<GatewayEndpoint> {
    let text = written.filter(|text| !text.is_empty())?;
    text.parse()
        .map_err(|error: NoGatewayEndpoint| problems.push(format!("gateway_endpoint: \"{text}\" {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_so_many_ports() {
        let of = |text: &str| text.parse::<GatewayEndpoint>().map(|it| (it.host, it.first, it.last));
        assert_eq!(of("http://127.0.0.1:9000-9199"), Ok(("127.0.0.1".to_owned(), 9000, 9199)));
        assert_eq!(of("http://gateway.example:1-1/"), Ok(("gateway.example".to_owned(), 1, 1)));
        assert_eq!(of("http://[::1]:10000-14095"), Ok(("[::1]".to_owned(), 10_000, 14_095)));
        for bad in [
            "",
            "http://a",
            "http://a:1",
            "http://a:2-1",
            "http://a:0-1",
            "http://a:1-65536",
            "https://a:1-2",
            "http://a:10000-14096",
            "http://u@a:1-2",
            "http://a/b:1-2",
            "http://:1-2",
            "http://a:1-2/x",
            "http://a b:1-2",
        ] {
            assert_eq!(of(bad), Err(NoGatewayEndpoint), "{bad}");
        }
    }
}
