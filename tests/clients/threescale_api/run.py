"""The integration suite of 3scale's own Python client, as published, against a fresh node and its test gateway.

NODE_BINARY=path/to/tollgate python run.py [pytest's arguments]

What is left out is in deselected.txt, with reasons.
"""

import contextlib
import os
import pathlib
import random
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "threescalepy"))

from node import Node  # noqa: E402

TOKEN = "the-administrators-token"
MASTER_TOKEN = "the-masters-token"
# Of the test gateway: two for each service that there is at a time.
PORTS = 100


def deselected():
    """The lines of deselected.txt that are not comments."""
    lines = (HERE / "deselected.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def whole_files(suite):
    """Pytest's arguments that leave out files and folders. Fails on a line that leaves nothing out."""
    made = []
    for line in deselected():
        if not (suite / line.split("::")[0]).exists():
            raise SystemExit(f"deselected.txt: {line}: there is no such test in the suite")
        if "::" not in line:
            made.append(f"--ignore={suite / line}")
    return made


def free_ports():
    """The first of so many ports next to each other on which nobody listens, below those that the system gives to anybody."""
    for _ in range(100):
        first = random.randrange(10_000, 30_000, PORTS)
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for port in range(first, first + PORTS):
                sockets.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise SystemExit("there are no free ports for the gateway")


@contextlib.contextmanager
def gateway(node):
    """A test gateway of the node, which echoes."""
    command = [os.environ["NODE_BINARY"], "gateway", "--url", node.uri, "--upstream", "echo"]
    env = {**os.environ, "TOLLGATE_ADMIN_TOKEN": TOKEN}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not any(line.startswith("Stop with") for line in process.stdout):
                raise RuntimeError(f"the gateway ended with {process.wait()}")
            yield
        finally:
            process.terminate()


def main():
    import tests.integration

    suite = pathlib.Path(tests.integration.__file__).parent
    first = free_ports()
    place = f"http://127.0.0.1:{first}-{first + PORTS - 1}"
    node = Node(TOLLGATE_ADMIN_TOKEN=TOKEN, TOLLGATE_MASTER_TOKEN=MASTER_TOKEN, TOLLGATE_GATEWAY_ENDPOINT=place)
    try:
        variables = {
            "THREESCALE_PROVIDER_URL": node.uri,
            "THREESCALE_PROVIDER_TOKEN": TOKEN,
            "THREESCALE_MASTER_URL": node.uri,
            "THREESCALE_MASTER_TOKEN": MASTER_TOKEN,
            "TEST_API_BACKEND": "http://httpbin.example.com:80",
            "LEFT_OUT": " ".join(line for line in deselected() if "::" in line),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "left_out", str(suite)]
        command += whole_files(suite) + sys.argv[1:]
        with gateway(node):
            return subprocess.run(command, env={**os.environ, **variables}, cwd=HERE).returncode
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
