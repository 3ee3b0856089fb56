//! URLs that records name: where gateways and private APIs are. The node calls none of them.

/// The parts of a URL that matter here.
#[derive(Debug)]
pub struct Endpoint<'u> {
    scheme: &'u str,
    /// With user and password, if there are any.
    authority: &'u str,
    /// Without user and port.
    pub host: &'u str,
    port: Option<u16>,
    /// Path, query and fragment, or nothing.
    rest: &'u str,
}

impl<'u> Endpoint<'u> {
    /// Takes a URL apart, if it is one of such a scheme with a host.
    #[must_use]
    pub fn parse(url: &'u str, schemes: &[&str]) -> Option<Endpoint<'u>> {
        let (scheme, after) = url.split_once("://")?;
        let scheme = schemes.iter().any(|it| scheme.eq_ignore_ascii_case(it)).then_some(scheme)?;
        if url.contains(|it: char| it.is_whitespace() || it.is_control() || !it.is_ascii()) {
            return None;
        }
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let after_host = place.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match place[after_host..].find(':').map(|at| at + after_host) {
            Some(at) => (&place[..at], Some(place[at + 1..].parse().ok()?)),
            None => (place, None),
        };
        let is_name =
            |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_' | '[' | ']' | ':');
        (!host.is_empty() && host.chars().all(is_name)).then_some(Endpoint {
            scheme,
            authority,
            host,
            port,
            rest,
        })
    }

    /// The port, or that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        let is_secure = self.scheme.eq_ignore_ascii_case("https") || self.scheme.eq_ignore_ascii_case("wss");
        self.port.unwrap_or(if is_secure { 443 } else { 80 })
    }

    /// The URL with its port: that of the scheme is put in where there is none, as the original does.
    #[must_use]
    pub fn with_port(&self) -> String {
        match self.port {
            Some(_) => format!("{}://{}{}", self.scheme, self.authority, self.rest),
            None => format!("{}://{}:{}{}", self.scheme, self.authority, self.port(), self.rest),
        }
    }

    /// Whether there is a path, or more.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !matches!(self.rest, "" | "/")
    }

    /// Whether it is the machine that a gateway itself runs on, by that name.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        host == "localhost" || host.ends_with(".localhost")
    }
}

/// The schemes of HTTP.
pub const WEB: [&str; 2] = ["http", "https"];
/// The schemes of private APIs.
pub const PRIVATE: [&str; 4] = ["http", "https", "ws", "wss"];

/// The host of a URL, if it has one.
#[must_use]
pub fn host_of(url: &str) -> Option<&str> {
    Endpoint::parse(url, &PRIVATE).map(|endpoint| endpoint.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_gets_that_of_its_scheme() {
        let with_port = |url| Endpoint::parse(url, &PRIVATE).map(|endpoint| endpoint.with_port());
        for (url, expected) in [
            ("http://a.example", "http://a.example:80"),
            ("https://a.example/path?q=1", "https://a.example:443/path?q=1"),
            ("wss://u:p@a.example", "wss://u:p@a.example:443"),
            ("http://a.example:8080/", "http://a.example:8080/"),
            ("http://[::1]/x", "http://[::1]:80/x"),
            ("http://[::1]:9/x", "http://[::1]:9/x"),
        ] {
            assert_eq!(with_port(url).as_deref(), Some(expected));
        }
        for url in
            ["a.example", "ftp://a.example", "http://", "http://a b", "http://a:b", "http://a:99999", ""]
        {
            assert_eq!(with_port(url), None, "{url}");
        }
        assert_eq!(host_of("https://api.example:443/x"), Some("api.example"));
        assert!(Endpoint::parse("http://LOCALHOST:1", &WEB).is_some_and(|it| it.is_localhost()));
    }
}
