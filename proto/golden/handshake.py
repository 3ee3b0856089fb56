"""The openings of connections of handshake.json."""

import hashlib
import hmac

from frames import NODE_TIME_US
from layout import answer, error, frame, request

OPENING = "f7544741" + "54450d0a"
CLIENT_NONCE, NODE_NONCE = bytes(range(32)).hex(), bytes(range(0x80, 0xA0)).hex()
CASES = [
    ("node secret", "node secret", "0123456789abcdef0123456789abcdef", None),
    ("service token", "service token", "token-of-7001", "7001"),
    ("service token and service id beyond ASCII", "service token", "Schlüssel ☃", "größe"),
    ("none", "none", None, None),
]


def mac(secret, label, *parts):
    return hmac.new(secret.encode(), label + b"".join(parts), hashlib.sha256).hexdigest()


def proof(secret, method, service, client_nonce=CLIENT_NONCE, node_nonce=NODE_NONCE):
    nonces = bytes.fromhex(client_nonce) + bytes.fromhex(node_nonce)
    return mac(secret, b"tollgate proof 1", nonces, bytes([method]), (service or "").encode())


def server_proof(secret):
    return mac(secret, b"tollgate server1", bytes.fromhex(NODE_NONCE), bytes.fromhex(CLIENT_NONCE))


def hello(method, service, nonce=CLIENT_NONCE, id_=1, **more):
    fixed = {"method": method, "lowest": 1, "highest": 1, "frame_max": 65_536, "window": 256, "features": []}
    fields = [("CLIENT", "golden")] + ([("SERVICE", service)] if service is not None else [])
    return request("HELLO", id_, fields=fields, **(fixed | {"nonce": nonce} | more))


def step(from_, meaning):
    return {"from": from_, "hex": frame(meaning), "meaning": meaning}


def case(name, method, secret, service):
    proven = secret is not None
    welcome = {
        "version": 1, "frame_max": 65_536, "window": 256, "idle_ms": 60_000, "features": ["DURABLE", "RESERVE", "ALL"],
        "session": 1, "node": 0x1122334455667788, "time_us": NODE_TIME_US, "catalog": 3,
        "mac": server_proof(secret) if proven else "00" * 32,
    }  # fmt: skip
    frames = [step("client", hello(method, service))]
    found = {"name": name, "method": method, "service": service, "secret": secret, "opening": OPENING,
             "client_nonce": CLIENT_NONCE, "node_nonce": NODE_NONCE, "proof": None, "server_proof": None}  # fmt: skip
    if proven:
        number = ["none", "node secret", "service token"].index(method)
        found |= {"proof": proof(secret, number, service), "server_proof": server_proof(secret)}
        frames.append(step("node", answer("HELLO", 1, "CHALLENGE", nonce=NODE_NONCE)))
        frames.append(step("client", request("PROOF", 2, mac=found["proof"])))
    frames.append(
        step(
            "node",
            answer(
                "PROOF" if proven else "HELLO", 2 if proven else 1, fields=[("NODE", "tollgate")], **welcome
            ),
        )
    )
    return found | {"frames": frames}


def refused():
    """A wrong secret, and no common version."""
    found = case("wrong secret", *CASES[1][1:])
    wrong = step("node", error("PROOF", "PROOF_INVALID", 2, message="wrong secret"))
    old = {"name": "no common version", "opening": OPENING, "frames": [
        step("client", hello("none", None, lowest=2, highest=65_535)),
        step("node", error("HELLO", "NOT_SUPPORTED", 1, message="this node speaks version 1")),
    ]}  # fmt: skip
    return [found | {"frames": found["frames"][:-1] + [wrong]}, old]


def all_cases():
    return [case(*it) for it in CASES] + refused()
