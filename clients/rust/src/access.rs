//! Who a client is to the node, and the proofs of it.

use std::fmt;

use ring::hmac;

use crate::codec::Method;

/// How a client proves to the node who it is. Secrets never cross the wire, and are not shown by `Debug`.
#[derive(Clone)]
pub enum Access {
    /// Not at all: for a Unix socket, whose node knows the user on the other side. Opens what the node's configuration
    /// says. The node proves nothing either.
    Socket,
    /// The node's secret: a line of the file `node-secret` in its data directory, without the line end. Opens all
    /// services, so that calls must name theirs.
    NodeSecret(String),
    /// A service token. Opens its service alone, so that calls need not name it.
    ServiceToken {
        /// Id of the service.
        service: String,
        /// The token.
        token: String,
    },
}

impl Access {
    pub(crate) fn method(&self) -> Method {
        match self {
            Access::Socket => Method::None,
            Access::NodeSecret(_) => Method::NodeSecret,
            Access::ServiceToken { .. } => Method::ServiceToken,
        }
    }

    pub(crate) fn service(&self) -> Option<&str> {
        match self {
            Access::ServiceToken { service, .. } => Some(service),
            Access::Socket | Access::NodeSecret(_) => None,
        }
    }

    fn key(&self) -> hmac::Key {
        let secret = match self {
            Access::Socket => "",
            Access::NodeSecret(secret) => secret,
            Access::ServiceToken { token, .. } => token,
        };
        hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
    }

    /// What only a client that knows the secret can say.
    pub(crate) fn client_proof(&self, client_nonce: &[u8; 32], node_nonce: &[u8; 32]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key());
        context.update(b"tollgate proof 1");
        context.update(client_nonce);
        context.update(node_nonce);
        context.update(&[self.method().number()]);
        context.update(self.service().unwrap_or_default().as_bytes());
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }

    /// Whether `proof` is what only a node that knows the secret can say. Compared in constant time.
    pub(crate) fn is_node(&self, client_nonce: &[u8; 32], node_nonce: &[u8; 32], proof: &[u8; 32]) -> bool {
        let mut said = [0; 80];
        said[..16].copy_from_slice(b"tollgate server1");
        said[16..48].copy_from_slice(node_nonce);
        said[48..].copy_from_slice(client_nonce);
        hmac::verify(&self.key(), &said, proof).is_ok()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Socket => f.write_str("Socket"),
            Access::NodeSecret(_) => f.write_str("NodeSecret(..)"),
            Access::ServiceToken { service, .. } => write!(f, "ServiceToken {{ service: {service:?}, .. }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_depends_on_secret_nonces_method_and_service() {
        let token = |service: &str, token: &str| Access::ServiceToken {
            service: service.to_owned(),
            token: token.to_owned(),
        };
        let all = [
            token("1", "a").client_proof(&[1; 32], &[2; 32]),
            token("1", "b").client_proof(&[1; 32], &[2; 32]),
            token("2", "a").client_proof(&[1; 32], &[2; 32]),
            token("1", "a").client_proof(&[3; 32], &[2; 32]),
            token("1", "a").client_proof(&[1; 32], &[3; 32]),
            token("1", "a").client_proof(&[2; 32], &[1; 32]),
            Access::NodeSecret("a".to_owned()).client_proof(&[1; 32], &[2; 32]),
        ];
        for (at, proof) in all.iter().enumerate() {
            assert!(!all[..at].contains(proof), "{at}");
        }
    }

    #[test]
    fn a_clients_own_proof_sent_back_does_not_pass_for_the_nodes() {
        let access = Access::NodeSecret("secret".to_owned());
        let proof = access.client_proof(&[1; 32], &[2; 32]);
        assert!(!access.is_node(&[1; 32], &[2; 32], &proof));
        assert!(!access.is_node(&[1; 32], &[2; 32], &[0; 32]));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Access::ServiceToken { service: "7".into(), token: "hidden".into() });
        assert!(shown.contains('7') && !shown.contains("hidden"), "{shown}");
        assert!(!format!("{:?}", Access::NodeSecret("hidden".into())).contains("hidden"));
    }

    /// Each handshake of the specification's golden ones that has a proof.
    #[test]
    fn proofs_are_those_of_the_golden_handshakes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/golden/handshake.json");
        let text = std::fs::read_to_string(path).expect("the golden handshakes");
        let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut seen = 0;
        for handshake in all.as_array().expect("a list") {
            let text = |name: &str| handshake.get(name).and_then(|value| value.as_str());
            let (Some(secret), Some(proof)) = (text("secret"), text("proof")) else { continue };
            let access = match text("service") {
                Some(service) => {
                    Access::ServiceToken { service: service.to_owned(), token: secret.to_owned() }
                }
                None => Access::NodeSecret(secret.to_owned()),
            };
            let nonces = (bytes(text("client_nonce")), bytes(text("node_nonce")));
            assert_eq!(access.client_proof(&nonces.0, &nonces.1), bytes(Some(proof)), "{handshake}");
            assert!(access.is_node(&nonces.0, &nonces.1, &bytes(text("server_proof"))), "{handshake}");
            seen += 1;
        }
        assert!(seen >= 3, "{seen}");
    }

    fn bytes(hex: Option<&str>) -> [u8; 32] {
        let hex = hex.expect("hex");
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
        std::array::from_fn(byte)
    }
}
