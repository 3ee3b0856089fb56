"""Who is who: the HMACs of the handshake."""

from __future__ import annotations

import hashlib
import hmac


def client_proof(secret: bytes, client_nonce: bytes, node_nonce: bytes, method: int, service: bytes) -> bytes:
    """Proves that the client has the secret. `service` is empty unless the method is the service token's."""
    return _mac(secret, b"tollgate proof 1", client_nonce, node_nonce, bytes([method]), service)


def node_proof(secret: bytes, client_nonce: bytes, node_nonce: bytes) -> bytes:
    """Proves that the node has it."""
    return _mac(secret, b"tollgate server1", node_nonce, client_nonce)


def _mac(secret: bytes, *parts: bytes) -> bytes:
    return hmac.new(secret, b"".join(parts), hashlib.sha256).digest()
