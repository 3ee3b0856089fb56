"""The integration suite of 3scale's own Python client, as published, against a fresh node.

NODE_BINARY=path/to/tollgate python run.py [pytest's arguments]

What is left out is in deselected.txt, with reasons.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "threescalepy"))

from node import Node  # noqa: E402

TOKEN = "the-administrators-token"


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


def main():
    import tests.integration

    suite = pathlib.Path(tests.integration.__file__).parent
    node = Node(TOLLGATE_ADMIN_TOKEN=TOKEN)
    try:
        variables = {
            "THREESCALE_PROVIDER_URL": node.uri,
            "THREESCALE_PROVIDER_TOKEN": TOKEN,
            "THREESCALE_MASTER_URL": node.uri,
            "THREESCALE_MASTER_TOKEN": "",
            "TEST_API_BACKEND": "http://httpbin.example.com:80",
            "LEFT_OUT": " ".join(line for line in deselected() if "::" in line),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "left_out", str(suite)]
        command += whole_files(suite) + sys.argv[1:]
        return subprocess.run(command, env={**os.environ, **variables}, cwd=HERE).returncode
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
