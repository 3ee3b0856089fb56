"""The opening of a connection, without the connection."""

from __future__ import annotations

import hmac
import os
from typing import Optional, Tuple

from .calls import from_message
from .codec.fields import Field
from .codec.layout import HelloPart, ProofPart, WelcomePart
from .codec.message import Message, encode
from .codec.numbers import CLIENT_NAME_MAX, OPENING, VERSION, Method, Operation, Status, Tag, status_class
from .codec.proof import client_proof, node_proof
from .errors import NotTheNode, Refused, Unavailable
from .options import Options

_HELLO_ID, _PROOF_ID = 1, 2
_WAITED_FOR = frozenset({Status.WAIT, Status.OVERLOADED, Status.DRAINING})


class Handshake:
    """Says what to send until there is a welcome."""

    def __init__(self, options: Options, nonce: Optional[bytes] = None) -> None:
        self._options = options
        self._method, self._secret = options.proof
        self._service = (options.service or "").encode() if self._method is Method.SERVICE_TOKEN else b""
        self._nonce = nonce or os.urandom(32)
        self._node_nonce = b""
        self.welcome: Optional[WelcomePart] = None

    def opening(self) -> bytes:
        """The first bytes of a connection, HELLO among them."""
        options = self._options
        fixed = HelloPart(self._method, VERSION, VERSION, options.frame_max, options.window, 0, self._nonce)
        name = options.name.encode()[:CLIENT_NAME_MAX].decode(errors="ignore")
        fields: Tuple[Field, ...] = ((Tag.CLIENT, name),)
        if self._method is Method.SERVICE_TOKEN:
            fields += ((Tag.SERVICE, self._service.decode()),)
        return OPENING + encode(Message(Operation.HELLO, id=_HELLO_ID, fixed=fixed, fields=fields))

    def receive(self, message: Message) -> Optional[bytes]:
        """What to send next; None if the handshake is over.

        Raises `Refused`, `NotTheNode`, or `Unavailable` if the node wants to be asked later."""
        if message.operation == Operation.GOAWAY:
            raise Unavailable(f"goaway: {message.field(Tag.MESSAGE) or message.fixed.why}")
        if message.status in _WAITED_FOR:
            raise Unavailable(f"the node lets wait: {message.field(Tag.MESSAGE) or message.status}")
        if status_class(message.status):
            from_message(message)
        if (
            message.operation == Operation.HELLO
            and message.status == Status.CHALLENGE
            and self._secret is not None
        ):
            return self._prove(message.fixed.nonce)
        proven = message.operation == Operation.PROOF and self._node_nonce
        if not proven and (message.operation != Operation.HELLO or self._secret is not None):
            raise NotTheNode("an answer that is out of place in a handshake")
        self._take(message.fixed)
        return None

    def _prove(self, node_nonce: bytes) -> bytes:
        assert self._secret is not None
        self._node_nonce = node_nonce
        mac = client_proof(self._secret, self._nonce, node_nonce, self._method, self._service)
        return encode(Message(Operation.PROOF, id=_PROOF_ID, fixed=ProofPart(mac)))

    def _take(self, welcome: WelcomePart) -> None:
        if welcome.version != VERSION:
            raise Refused(Operation.HELLO, Status.NOT_SUPPORTED, f"version {welcome.version}")
        if self._secret is not None and self._options.verify_node:
            mac = node_proof(self._secret, self._nonce, self._node_nonce)
            if not hmac.compare_digest(mac, welcome.mac):
                raise NotTheNode("who answers cannot prove to have the secret")
        self.welcome = welcome
