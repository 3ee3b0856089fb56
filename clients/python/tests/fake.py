"""A node in this process that does what a healthy one does not."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Callable, List

from tollgate.codec import layout
from tollgate.codec.message import FrameReader, Message, decode, encode
from tollgate.codec.numbers import NEVER, OPENING, Operation, Status
from tollgate.codec.proof import client_proof, node_proof

SECRET = b"the secret"


class Peer:
    """A connection of a client, after its handshake."""

    def __init__(self, plain: socket.socket, number: int) -> None:
        self._plain, self.number = plain, number

    def answer(self, request: Message, fixed: Any, status: int = Status.OK, **more: Any) -> None:
        self.send(encode(Message(request.operation, True, 0, status, request.id, fixed, **more)))

    def refuse(self, request: Message, status: int, retry_ms: int = 0) -> None:
        self.answer(request, layout.ErrorPart(retry_ms), status)

    def goaway(self, why: int) -> None:
        self.send(encode(Message(Operation.GOAWAY, True, fixed=layout.GoawayPart(why, 5000))))

    def send(self, data: bytes) -> None:
        self._plain.sendall(data)

    def end(self) -> None:
        self._plain.shutdown(socket.SHUT_RDWR)


class FakeNode:
    """Listens on a free port. `respond(peer, request)` says what is done with each request; its thread is the
    connection's."""

    def __init__(self, respond: Callable[[Peer, Message], None], **welcome: Any) -> None:
        self.node = 7
        self.honest = True
        """Has the secret, and can prove it."""
        self.requests: List[Message] = []
        self.peers = 0
        self._respond, self._welcome = respond, welcome
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for plain in self._sockets:
            try:
                plain.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            plain.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(plain)
            self.peers += 1
            threading.Thread(target=self._serve, args=(plain, self.peers), daemon=True).start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        peer, reader = Peer(plain, number), FrameReader()
        try:
            assert plain.recv(len(OPENING), socket.MSG_WAITALL) == OPENING
            hello = proof = None
            node_nonce = os.urandom(32)
            while data := plain.recv(65_536):
                for frame in reader.feed(data):
                    message = decode(frame)
                    if hello is None:
                        hello = message
                        peer.answer(hello, layout.ChallengePart(node_nonce), Status.CHALLENGE)
                    elif proof is None:
                        proof = message
                        self._prove(peer, hello, proof, node_nonce)
                    else:
                        self.requests.append(message)
                        self._respond(peer, message)
        except OSError:
            pass
        finally:
            plain.close()

    def _prove(self, peer: Peer, hello: Message, proof: Message, node_nonce: bytes) -> None:
        wanted = client_proof(SECRET, hello.fixed.nonce, node_nonce, hello.fixed.method, b"")
        if proof.fixed.mac != wanted:
            peer.refuse(proof, Status.PROOF_INVALID)
            return
        mac = node_proof(SECRET if self.honest else b"guessed", hello.fixed.nonce, node_nonce)
        part = layout.WelcomePart(1, 65_536, 256, 60_000, 0, 1, self.node, 0, 1, mac)
        peer.answer(proof, part._replace(**self._welcome))


def decision(yes: int = 1, **more: Any) -> layout.DecisionPart:
    """A decision that no limit concerns."""
    return layout.DecisionPart(yes, 1, 0 if yes else 1, 0, 0, 0, 0, NEVER, 0, 0, 1, 0)._replace(**more)


RECEIPT = layout.ReceiptPart(0, 1, 1)
PONG = layout.PongPart(5, 6)
