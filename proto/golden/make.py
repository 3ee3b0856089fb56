"""Writes frames.json, handshake.json and session.json beside this file; `make.py --check` compares instead."""

import json
import sys
from pathlib import Path

import frames
import handshake
import session
from layout import NEVER

HERE = Path(__file__).resolve().parent


def plain(value):
    """The same for JSON: numbers that many readers of JSON would round become texts, 2^64-1 becomes `never`."""
    if isinstance(value, dict):
        return {name: plain(it) for name, it in value.items()}
    if isinstance(value, list):
        return [plain(it) for it in value]
    if value in (NEVER, str(NEVER)) and not isinstance(value, bool):
        return "never"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    return value


def lines(value, depth):
    """JSON with one line for each value that lies `depth` deep."""
    if depth == 0 or not isinstance(value, (dict, list)):
        return json.dumps(plain(value), ensure_ascii=False)
    if isinstance(value, dict):
        inner = [f"{json.dumps(name)}: {lines(it, depth - 1)}" for name, it in value.items()]
        return "{\n" + ",\n".join(inner) + "\n}"
    return "[\n" + ",\n".join(lines(it, depth - 1) for it in value) + "\n]"


FILES = {
    "frames.json": lambda: lines(frames.all_entries(), 1),
    "handshake.json": lambda: lines(handshake.all_cases(), 1),
    "session.json": lambda: lines(session.whole(), 2),
}


def main():
    check, stale = "--check" in sys.argv, []
    for name, text in FILES.items():
        path, wanted = HERE / name, text() + "\n"
        if not check:
            path.write_text(wanted, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != wanted:
            stale.append(name)
    if stale:
        sys.exit(f"not what make.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
