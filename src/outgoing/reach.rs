//! Which addresses may be called.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// What may be called.
#[derive(Clone, Debug)]
pub struct Reach(Option<Bounds>);

#[derive(Clone, Debug)]
struct Bounds {
    /// Ports of our own listeners.
    own: Vec<u16>,
    allowed: Vec<Allowed>,
}

/// Something that may be called though it is where calls of others must not lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// A host, by the name that the URL has, in lower case: whatever its addresses are.
    Host(String),
    /// The addresses that begin with these bits.
    Net(IpAddr, u8),
}

/// Why an address is not called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address} is not called: it {why} (--outgoing-allow lists what is called nevertheless)")]
pub struct NotAllowed {
    /// The address.
    pub address: SocketAddr,
    why: &'static str,
}

impl Reach {
    /// Everything: for commands that a person gives.
    #[must_use]
    pub fn anywhere() -> Reach {
        Reach(None)
    }

    /// What is not on this machine or link, and whatever of it is listed. `own` are the addresses of our own listeners.
    #[must_use]
    pub fn outside(own: &[SocketAddr], allowed: Vec<Allowed>) -> Reach {
        Reach(Some(Bounds { own: own.iter().map(SocketAddr::port).collect(), allowed }))
    }

    /// Whether an address of a host, named as in the URL, may be called.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, host: &str, address: SocketAddr) -> Result<(), NotAllowed> {
        let Some(bounds) = &self.0 else { return Ok(()) };
        let ip = embedded(address.ip());
        if bounds.allowed.iter().any(|allowed| allowed.covers(host, ip)) {
            return Ok(());
        }
        let why = if ip.is_loopback() {
            "is this machine"
        } else if is_link(ip) {
            "is on this machine's link, describes it, or stands for no host"
        } else if bounds.own.contains(&address.port()) && is_ours(ip) {
            "is a listener of this node"
        } else {
            return Ok(());
        };
        Err(NotAllowed { address, why })
    }
}

/// The IPv4 address that an IPv6 address leads to, by whatever translates it on the way, else itself: mapped and compatible ones (RFC 4291), NAT64's
/// prefixes (RFC 6052, RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214).
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = ip.to_canonical() else { return ip.to_canonical() };
    let four = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    match six.segments() {
        // Of these, the unspecified and the loopback address are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => six.into(),
        [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => four(high, low),
        _ => six.into(),
    }
}

/// Where clouds tell machines about themselves and their credentials, outside what is link-local: Amazon, Google, Azure, Alibaba, Oracle.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

fn is_link(ip: IpAddr) -> bool {
    let stands_for_no_host = match ip {
        IpAddr::V4(four) => {
            four.octets()[0] == 0 || four.is_link_local() || four.is_multicast() || four.is_broadcast()
        }
        IpAddr::V6(six) => six.is_unspecified() || six.is_unicast_link_local() || six.is_multicast(),
    };
    stands_for_no_host || METADATA.contains(&ip)
}

/// Whether an address is one of this machine's: only on those can a socket be bound. Where that cannot be told, it is.
fn is_ours(ip: IpAddr) -> bool {
    !matches!(UdpSocket::bind((ip, 0)), Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable)
}

impl Allowed {
    fn covers(&self, host: &str, ip: IpAddr) -> bool {
        match self {
            Allowed::Host(name) => name.eq_ignore_ascii_case(host),
            Allowed::Net(net, bits) => match (net, ip) {
                (IpAddr::V4(net), IpAddr::V4(ip)) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                    net.to_bits() & mask == ip.to_bits() & mask
                }
                (IpAddr::V6(net), IpAddr::V6(ip)) => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                    net.to_bits() & mask == ip.to_bits() & mask
                }
                _ => false,
            },
        }
    }
}

/// Why a text is not an [`Allowed`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is neither a host, nor an address, nor a network such as 10.0.0.0/8")]
pub struct AllowedError(String);

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Allowed, AllowedError> {
        let wrong = || AllowedError(text.to_owned());
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let whole = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        if let Some((net, bits)) = text.split_once('/') {
            let net = bare(net).ok_or_else(wrong)?;
            let bits = bits.parse().ok().filter(|bits| *bits <= whole(net)).ok_or_else(wrong)?;
            return Ok(Allowed::Net(net, bits));
        }
        if let Some(ip) = bare(text) {
            return Ok(Allowed::Net(ip, whole(ip)));
        }
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if text.is_empty() || !text.chars().all(is_host) {
            return Err(wrong());
        }
        Ok(Allowed::Host(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Host(host) => f.write_str(host),
            Allowed::Net(net, bits) => write!(f, "{net}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(texts: &[&str]) -> Vec<Allowed> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_on_this_machine_or_link_is_not_called() {
        let reach = Reach::outside(&[], Vec::new());
        for refused in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "169.254.169.254:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::1]:80",
            "[::]:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
            "[fd00:ec2::254]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[64:ff9b:1::a9fe:a9fe]:80",
            "[::127.0.0.1]:80",
            "[2002:7f00:1::1]:80",
            "[fe80::5efe:7f00:1]:80",
            "[2001:db8::5efe:7f00:1]:80",
            "[2001:db8::200:5efe:a9fe:a9fe]:80",
            "[fd20:ce::254]:80",
            "168.63.129.16:80",
            "100.100.100.200:80",
            "192.0.0.192:80",
        ] {
            assert!(reach.check("name.example", refused.parse().unwrap()).is_err(), "{refused}");
            assert!(Reach::anywhere().check("name.example", refused.parse().unwrap()).is_ok(), "{refused}");
        }
        for taken in [
            "10.0.0.1:80",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "[64:ff9b::c000:201]:80",
            "[2002:c000:201::1]:80",
        ] {
            assert!(reach.check("name.example", taken.parse().unwrap()).is_ok(), "{taken}");
        }
    }

    #[test]
    fn what_is_listed_is_called_by_name_address_or_network() {
        let reach = Reach::outside(&[], allowed(&["Hooks.example", "127.0.0.0/30", "[::1]", "169.254.1.1"]));
        let is_called = |host, address: &str| reach.check(host, address.parse().unwrap()).is_ok();
        assert!(is_called("hooks.EXAMPLE", "127.0.0.99:80") && !is_called("other.example", "127.0.0.99:80"));
        assert!(is_called("x", "127.0.0.3:80") && !is_called("x", "127.0.0.4:80"));
        assert!(
            is_called("x", "[::1]:80") && is_called("x", "169.254.1.1:1") && !is_called("x", "169.254.1.2:1")
        );
        let all = Reach::outside(&[], allowed(&["0.0.0.0/0"]));
        assert!(all.check("x", "127.0.0.1:1".parse().unwrap()).is_ok());
        assert!(all.check("x", "[::1]:1".parse().unwrap()).is_err());
    }

    #[test]
    fn listeners_of_our_own_are_found_under_every_address_of_this_machine() {
        // An address of this machine that is not loopback, if it has one: that by which it would call out.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let Ok(()) = socket.connect("192.0.2.1:9") else { return };
        let ip = socket.local_addr().unwrap().ip();
        if ip.is_loopback() {
            return;
        }
        let reach = Reach::outside(&["0.0.0.0:3000".parse().unwrap()], Vec::new());
        assert!(reach.check("x", SocketAddr::new(ip, 3000)).is_err());
        assert!(reach.check("x", SocketAddr::new(ip, 3001)).is_ok());
        assert!(reach.check("x", "192.0.2.1:3000".parse().unwrap()).is_ok());
    }

    #[test]
    fn what_can_be_listed() {
        for (text, shown) in [
            ("a.example", "a.example"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("[2001:db8::]/32", "2001:db8::/32"),
        ] {
            assert_eq!(text.parse::<Allowed>().map(|it| it.to_string()).as_deref(), Ok(shown));
        }
        for text in ["", "a b", "10.0.0.0/33", "::/129", "a.example/8", "http://a.example", "a:80"] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
