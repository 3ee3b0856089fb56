"""A Tollgate node as its operator runs it: one process, a data directory, what it prints."""

import os
import re
import signal
import subprocess
import tempfile
import time


class Node:
    """The binary that NODE_BINARY names, on a data directory of its own that outlives each process.

    `variables` are added to its environment."""

    def __init__(self, **variables):
        self._variables = variables
        self._home = tempfile.TemporaryDirectory()
        self._process = None
        self.uri = None
        self.start()
        printed = dict(re.findall(r"^  (provider key|service id|service token|user key) +(\S+)", self.printed, re.M))
        self.provider_key = printed["provider key"]
        self.service_id = printed["service id"]
        self.service_token = printed["service token"]
        self.user_key = printed["user key"]

    def start(self):
        """Starts a process on any free port and waits until it serves."""
        # A TOLLGATE_ variable of the caller would change the node under test.
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
        env.update(self._variables)
        command = [os.environ["NODE_BINARY"], "serve", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0"]
        command += ["--log", "warn", "--data-dir", os.path.join(self._home.name, "data")]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self.printed = ""
        for line in self._process.stdout:
            self.printed += line
            if line.startswith("Stop with"):
                break
        else:
            raise RuntimeError(f"the node ended with {self._process.wait()} and printed: {self.printed}")
        self.uri = re.search(r"on (http://\S+)", self.printed).group(1)

    def stop(self):
        """Ends the process as an operator does."""
        self._process.send_signal(signal.SIGTERM)
        status = self._end()
        if status != 0:
            raise RuntimeError(f"the node ended with {status}")

    def kill(self):
        """Ends the process in the middle of whatever it does."""
        self._process.kill()
        self._end()

    def close(self):
        """Ends the process, if there is one still, and removes the data directory."""
        if self._process.returncode is None:
            self.kill()
        self._home.cleanup()

    def _end(self):
        status = self._process.wait(timeout=30)
        self._process.stdout.close()
        return status


def fresh_minute(seconds=20):
    """Returns when at least so many seconds of the current minute are left, so that exact counts hold.

    A minute's end is the only one to watch: hours and days end with one.
    """
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.05)
