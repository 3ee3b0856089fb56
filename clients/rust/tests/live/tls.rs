//! TLS 1.3, with certificates of both sides.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tollgate_client::{Access, Address, Call, Client, Options, Tls};

use crate::node::{Node, SERVICE, TOKEN, application};

/// An authority, and a certificate and key that it signed for `localhost`.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let own = own.signed_by(&key, &issuer).expect("a certificate");
    (authority.pem(), own.pem(), key.serialize_pem())
}

#[tokio::test]
async fn calls_go_over_tls_and_only_to_who_is_trusted() {
    let (authority, certificate, key) = certificates();
    let files = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        path.display().to_string()
    };
    let (authority_file, certificate_file, key_file) =
        (write("ca.pem", &authority), write("cert.pem", &certificate), write("key.pem", &key));
    let arguments = [
        "--tcp-tls-cert",
        &certificate_file,
        "--tcp-tls-key",
        &key_file,
        "--tcp-tls-client-ca",
        &authority_file,
    ];
    let Some(node) = Node::start(&arguments) else { return };
    node.set_up(10, 1);
    let client = |tls: Tls| {
        let access = Access::ServiceToken { service: SERVICE.to_owned(), token: TOKEN.to_owned() };
        let address = Address::Tls { address: node.tcp.clone(), tls };
        Client::new(address, access, Options::default()).expect("possible options")
    };
    let (own, own_key, roots) = (certificate.as_bytes(), key.as_bytes(), authority.as_bytes());
    let good = client(Tls::with_certificate("localhost", roots, own, own_key).expect("TLS"));
    good.ready(Duration::from_secs(10)).await.expect("a connection");
    for _ in 0..20 {
        let verdict = good.check(&Call::new(&application(0)).usage("hits", 1)).await.expect("a decision");
        assert!(verdict.allowed());
    }
    let (stranger, ..) = certificates();
    let suspicious =
        client(Tls::with_certificate("localhost", stranger.as_bytes(), own, own_key).expect("TLS"));
    assert!(suspicious.ready(Duration::from_millis(500)).await.is_err(), "an authority that is not trusted");
    let nameless = client(Tls::new("localhost", roots).expect("TLS"));
    assert!(nameless.ready(Duration::from_millis(500)).await.is_err(), "no certificate of its own");
    let elsewhere = client(Tls::with_certificate("example.org", roots, own, own_key).expect("TLS"));
    assert!(elsewhere.ready(Duration::from_millis(500)).await.is_err(), "another's name");
}
