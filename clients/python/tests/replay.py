"""Replays `proto/golden/session.json` against a node."""

from __future__ import annotations

import re
import socket
import time
from typing import Any, Dict, List

from tests.node import Node
from tollgate import Options
from tollgate.codec.message import FrameReader, decode
from tollgate.handshake import Handshake

_NAME = re.compile(r"<([a-z0-9-]+):(\d+)>")
_TIMEOUT_S = 20


class Replay:
    """One run. `failures` is what differs from what is expected, a line each."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: Dict[str, str] = {}
        self._plain: Any = None
        self._frames: List[str] = []
        self._reader = FrameReader()
        self.failures: List[str] = []

    def run(self, session: Dict[str, Any]) -> None:
        self._node.set_up(session["setup"])
        for step in session["steps"]:
            self._step(step)
        self._open(None)

    def _step(self, step: Dict[str, Any]) -> None:
        if "connect" in step:
            self._connect(step["connect"])
        elif "open" in step:
            self._open(self._node.port)
        elif "call" in step:
            self._node.call(*step["call"])
        elif "wait_ms" in step:
            time.sleep(step["wait_ms"] / 1000)
        else:
            if "stop" in step:
                self._node.terminate()
            self._exchange(step)

    def _open(self, port: Any) -> None:
        if self._plain is not None:
            self._plain.close()
        self._reader, self._frames = FrameReader(), []
        if port is not None:
            self._plain = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)

    def _connect(self, how: Dict[str, Any]) -> None:
        self._open(self._node.port)
        wanted = {name: how[name] for name in ("service", "window", "frame_max") if name in how}
        secret = {"token": how["secret"]} if "secret" in how else {"secret": self._node.secret}
        handshake = Handshake(Options(self._node.tcp, **wanted, **secret))
        self._plain.sendall(handshake.opening())
        while handshake.welcome is None:
            answer = handshake.receive(decode(bytes.fromhex(self._next())))
            if answer is not None:
                self._plain.sendall(answer)
        self._reader.frame_max = handshake.welcome.frame_max

    def _next(self) -> str:
        """The next frame, in hex. Raises ConnectionError if there is none."""
        while not self._frames:
            data = self._plain.recv(65_536)
            if not data:
                raise ConnectionError("the node ended the connection")
            self._frames += [frame.hex() for frame in self._reader.feed(data)]
        return self._frames.pop(0)

    def _exchange(self, step: Dict[str, Any]) -> None:
        name = step.get("name", "stop")
        sent = _NAME.sub(lambda it: self._known.get(it[1], "00" * int(it[2])), step.get("send", ""))
        try:
            self._plain.sendall(bytes.fromhex(sent))
            found = [self._next() for _ in step["expect"]]
        except OSError as reason:
            self.failures.append(f"{name}: {reason}")
            return
        for expected in step["expect"]:
            self._compare(name, expected, found)
        if step.get("closed"):
            self._closed(name)

    def _compare(self, name: str, expected: str, found: List[str]) -> None:
        """Takes the frame with the id that is expected, and keeps what it names."""
        id_ = expected[16:32]
        frame = next((it for it in found if it[16:32] == id_), None)
        if frame is None:
            self.failures.append(f"{name}: no answer has the id {id_}, of {found}")
            return
        match = re.fullmatch(self._pattern(expected), frame)
        if match is None:
            self.failures.append(f"{name}:\n  expected {expected}\n  found    {frame}")
            return
        self._known.update({group.replace("_", "-")[1:]: text for group, text in match.groupdict().items()})

    def _pattern(self, expected: str) -> str:
        def named(it: re.Match) -> str:
            if it[1] in self._known:
                return self._known[it[1]]
            group = "n" + it[1].replace("-", "_")
            if group in seen:
                return f"(?P={group})"
            seen.add(group)
            return f"(?P<{group}>[0-9a-f]{{{2 * int(it[2])}}})"

        seen: set = set()
        whole = expected.replace("?", ".").replace("*", ".*")
        return _NAME.sub(named, whole)

    def _closed(self, name: str) -> None:
        try:
            more = self._next()
            self.failures.append(f"{name}: the connection goes on with {more}")
        except socket.timeout:
            self.failures.append(f"{name}: the connection stays open")
        except OSError:
            pass
