//! The `3scale-options` header, which is read in place where it is plain and as a form where it is not.

use tollgate::http::options::Options;

/// One input.
pub fn run(header: &[u8]) {
    let options = Options::parse(header);
    if header.len() < 1 << 16 && !header.iter().any(|byte| matches!(byte, b'%' | b'+' | b' ')) {
        let mut escaped = Vec::new();
        for byte in header {
            match byte {
                b'&' | b'=' => escaped.push(*byte),
                _ => escaped.extend(format!("%{byte:02x}").bytes()),
            }
        }
        assert_eq!(options, Options::parse(&escaped));
    }
}
