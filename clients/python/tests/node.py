"""A Tollgate node as its operator runs it: the binary that NODE_BINARY names."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Iterable

from tollgate import Options
from tollgate.codec.numbers import Feature
from tollgate.connection import Connection

BINARY = os.environ.get("NODE_BINARY")
with_node = unittest.skipUnless(
    BINARY, "NODE_BINARY does not name a node to test with (target/debug/tollgate, say)"
)

_USER, _PASSWORD = "porta", "secret"


def free_port() -> int:
    """A port that a node can take, and take again after a restart."""
    with socket.create_server(("127.0.0.1", 0)) as it:
        return it.getsockname()[1]


class Node:
    """A process on a data directory of its own, which outlives it."""

    def __init__(self, *arguments: str, tls: bool = False) -> None:
        self._home = tempfile.TemporaryDirectory()
        self.home = Path(self._home.name)
        self.socket = self.home / "socket"
        self.port = free_port()
        self.tcp = f"127.0.0.1:{self.port}"
        self._arguments = list(arguments)
        if tls:
            self._certificate()
        self.start()

    def start(self, *more: str) -> None:
        """Starts a process and waits until it serves."""
        # A TOLLGATE_ variable of the caller would change the node under test.
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
        env.update(TOLLGATE_INTERNAL_API_USER=_USER, TOLLGATE_INTERNAL_API_PASSWORD=_PASSWORD)
        command = [
            BINARY,
            "serve",
            "--http",
            "127.0.0.1:0",
            "--tcp",
            self.tcp,
            "--unix",
            self.socket,
            "--log",
            "warn",
        ]
        command += ["--data-dir", self.home / "data", *self._arguments, *more]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        printed = ""
        for line in self._process.stdout:
            printed += line
            if line.startswith("Stop with"):
                break
        else:
            raise RuntimeError(f"the node ended with {self._process.wait()} and printed: {printed}")
        found = re.search(r"on (http://\S+)", printed)
        assert found is not None, printed
        self._http = found.group(1)

    def needs(self, test: unittest.TestCase, *features: Feature) -> None:
        """Fails a test if the node does not say that it offers what the test is about."""
        connection = Connection(Options(self.tcp, secret=self.secret), time.monotonic() + 10)
        offered = connection.welcome.features
        connection.close()
        missing = [feature.name for feature in features if not offered & feature]
        test.assertEqual(missing, [], "the node does not offer this")

    @property
    def secret(self) -> str:
        """What opens all services."""
        return (self.home / "data" / "node-secret").read_text().splitlines()[0]

    def call(self, method: str, path: str, body: Any = None) -> None:
        """A call of the internal API. Raises unless it is answered 2xx."""
        login = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._http + path, data, {"Authorization": f"Basic {login}"}, method=method
        )
        urllib.request.urlopen(request, timeout=10).close()

    def set_up(self, calls: Iterable[list]) -> None:
        for method, path, body in calls:
            self.call(method, path, body)

    def terminate(self) -> None:
        """Asks the process to end, and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ends the process as an operator does. Raises if it does not end well."""
        self.terminate()
        status = self.wait()
        if status:
            raise RuntimeError(f"the node ended with {status}")

    def take_over(self) -> None:
        """Replaces the process by another one, as an upgrade does, and waits until the first has ended."""
        before = self._process
        self.start("--take-over")
        assert before.stdout is not None
        with before.stdout:
            status = before.wait(timeout=60)
        if status:
            raise RuntimeError(f"the node that was replaced ended with {status}")

    def kill(self) -> None:
        """Ends the process in the middle of whatever it does."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """How the process ended."""
        status = self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def close(self) -> None:
        """Ends the process, if there is one still, and removes its data."""
        if self._process.returncode is None:
            self.kill()
        self._home.cleanup()

    def _certificate(self) -> None:
        """A certificate for `localhost` that is its own authority."""
        self.certificate = self.home / "certificate.pem"
        key = self.home / "key.pem"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                key,
                "-out",
                self.certificate,
            ],
            check=True,
            capture_output=True,
        )
        self._arguments += ["--tcp-tls-cert", self.certificate, "--tcp-tls-key", key]


def catalog(service: str, limit: int) -> Iterable[list]:
    """A service of version 1 with metrics `hits` (limited), `search` below it, `bytes`, and two applications."""
    at = f"/internal/services/{service}"
    yield [
        "POST",
        "/internal/services/",
        {"service": {"id": service, "provider_key": "pk", "backend_version": "1"}},
    ]
    yield ["PUT", f"{at}/metrics/1", {"metric": {"name": "hits"}}]
    yield ["PUT", f"{at}/metrics/2", {"metric": {"name": "search", "parent_id": "1"}}]
    yield ["PUT", f"{at}/metrics/3", {"metric": {"name": "bytes"}}]
    yield ["PUT", f"{at}/plans/50/usagelimits/1/eternity", {"usagelimit": {"eternity": limit}}]
    for id_ in ("one", "two"):
        yield [
            "PUT",
            f"{at}/applications/{id_}",
            {"application": {"state": "active", "plan_id": "50", "plan_name": "P"}},
        ]
        yield ["PUT", f"{at}/applications/{id_}/key/{service}-{id_}", None]
    yield [
        "POST",
        "/internal/service_tokens/",
        {"service_tokens": {f"token-{service}": {"service_id": service}}},
    ]
