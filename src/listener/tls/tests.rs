//! What is refused of certificate files, and that the old stays when the new is bad.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn issue() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

struct Fixture {
    _dir: tempfile::TempDir,
    files: TlsFiles,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let files = TlsFiles { chain: at("chain.pem"), key: at("key.pem"), client_ca: None };
    let (chain, key) = issue();
    write(&files.chain, &chain);
    write(&files.key, &key);
    Fixture { _dir: dir, files }
}

fn refusal(files: &TlsFiles) -> String {
    Certificates::load(files.clone(), b"http/1.1").unwrap_err().to_string()
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let Fixture { files, _dir } = fixture();
    assert!(Certificates::load(files.clone(), b"http/1.1").is_ok());
    for (mode, good) in [(0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o601, false)] {
        std::fs::set_permissions(&files.key, Permissions::from_mode(mode)).unwrap();
        let loaded = Certificates::load(files.clone(), b"http/1.1");
        assert_eq!(loaded.is_ok(), good, "{mode:o}");
        let text = loaded.map(drop).map_or_else(|error| error.to_string(), |()| String::new());
        assert!(good || text.contains("chmod 600") && text.contains("key.pem"), "{text}");
    }
}

#[test]
fn what_is_no_certificate_or_key_is_refused_by_name() {
    let Fixture { mut files, _dir } = fixture();
    let (chain, key) = (files.chain.clone(), files.key.clone());
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for (path, text, expected) in [
        (&key, "", "key.pem: no private key"),
        (&key, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "key.pem: no private key"),
        (&key, "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "key.pem: "),
        (&chain, "", "chain.pem: no certificate"),
        (&chain, "-----BEGIN CERTIFICATE-----\nMIIB\n", "chain.pem: no certificate"),
        (&chain, broken, "chain.pem: "),
    ] {
        let good = std::fs::read_to_string(path).unwrap();
        write(path, text);
        assert!(refusal(&files).contains(expected), "{}", refusal(&files));
        write(path, &good);
    }
    files.client_ca = Some(chain.with_file_name("none.pem"));
    assert!(refusal(&files).contains("none.pem"));
    files.client_ca = Some(key);
    assert!(refusal(&files).contains("no certificate"));
    files.client_ca = Some(chain.with_file_name("."));
    assert!(refusal(&files).contains("not a file"));
}

#[test]
fn files_are_bounded_in_size() {
    let Fixture { files, _dir } = fixture();
    let mut text = std::fs::read_to_string(&files.chain).unwrap();
    text.extend(std::iter::repeat_n('\n', FILE_BYTES_MAX as usize - text.len()));
    write(&files.chain, &text);
    assert!(Certificates::load(files.clone(), b"http/1.1").is_ok());
    text.push('\n');
    write(&files.chain, &text);
    assert!(refusal(&files).contains("larger than"), "{}", refusal(&files));
}

#[test]
fn a_key_of_another_certificate_is_never_used() {
    let Fixture { files, _dir } = fixture();
    let certificates = Certificates::load(files.clone(), b"http/1.1").unwrap();
    let before = certificates.current.load_full();
    let (chain, key) = issue();
    // Whoever replaces two files replaces one after the other.
    write(&files.chain, &chain);
    assert!(matches!(certificates.reload(false), Err(TlsError::Mismatch { .. })));
    assert!(refusal(&files).contains("does not belong"));
    assert!(!certificates.reload(false).unwrap(), "what is known to be bad is reported once");
    assert!(certificates.reload(true).is_err(), "unless somebody asks");
    assert!(Arc::ptr_eq(&before, &certificates.current.load_full()), "the old one stays");
    write(&files.key, &key);
    assert!(certificates.reload(false).unwrap());
    assert!(!Arc::ptr_eq(&before, &certificates.current.load_full()));
    assert!(!certificates.reload(false).unwrap(), "what has not changed is not read anew");
}

#[test]
fn a_file_that_vanishes_or_is_laid_open_changes_nothing() {
    let Fixture { files, _dir } = fixture();
    let certificates = Certificates::load(files.clone(), b"http/1.1").unwrap();
    let key = std::fs::read_to_string(&files.key).unwrap();
    std::fs::remove_file(&files.key).unwrap();
    assert!(matches!(certificates.reload(false), Err(TlsError::Unreadable { .. })));
    write(&files.key, &key);
    std::fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(certificates.reload(false), Err(TlsError::KeyReadable { .. })));
    std::fs::set_permissions(&files.key, Permissions::from_mode(0o600)).unwrap();
    assert!(certificates.reload(false).is_ok());
}
