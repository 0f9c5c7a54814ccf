"""Web servers in the lab's namespace: where ISOs come from."""

import json
import subprocess
import sys
from pathlib import Path

from .host import LabError, tail


class Web:
    """An HTTP server for one directory; made by Lab.web()."""

    def __init__(self, lab, directory, port, rate=None):
        self.url = f"http://{lab.address}:{port}"
        self.log = lab.logs / f"web-{port}.jsonl"
        errors = lab.logs / f"web-{port}-errors.log"
        with errors.open("w") as stderr:
            self._process = lab.popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("webserver.py")),
                    str(Path(directory).resolve()),
                    lab.address,
                    str(port),
                    str(self.log),
                    str(rate or 0),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        if self._process.stdout.readline() != "ready\n":
            raise LabError(f"The web server on port {port} did not start:\n{tail(errors)}")

    def requests(self):
        """The requests answered so far: dicts with method, path, status and bytes sent."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self):
        """End the server, as when a mirror goes away."""
        self._process.kill()
        self._process.wait()
