"""The HTTP server of web.py, which runs it as a program inside the lab's namespace.

python3 webserver.py DIRECTORY ADDRESS PORT LOG BYTES_PER_SECOND
"""

import http.server
import json
import re
import sys
import time
from pathlib import Path


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, with one byte range so that an interrupted download can go on (RFC 9110, 14.2)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._log(super().do_GET)

    def do_HEAD(self):
        self._log(super().do_HEAD)

    def _log(self, answer):
        self.status, self.sent = None, 0
        try:
            answer()
        except ConnectionError:
            self.close_connection = True
        finally:
            line = {
                "method": self.command,
                "path": self.path,
                "status": self.status,
                "bytes": self.sent,
            }
            self.server.log.write(json.dumps(line) + "\n")

    def send_head(self):
        self.left = None
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or not path.is_file():
            return super().send_head()
        size, first = path.stat().st_size, int(asked[1])
        last = min(int(asked[2] or size), size - 1)
        if first > last:
            self.send_error(416)
            return None
        self.left = last - first + 1
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(self.left))
        self.end_headers()
        file = path.open("rb")
        file.seek(first)
        return file

    def copyfile(self, source, outputfile):
        size = min(1 << 20, self.server.rate // 10 or 1 << 20)
        while block := source.read(min(size, self.left if self.left is not None else size)):
            outputfile.write(block)
            if self.server.rate:
                time.sleep(len(block) / self.server.rate)
            self.sent += len(block)
            if self.left is not None:
                self.left -= len(block)

    def log_request(self, code="-", size="-"):
        self.status = int(code)

    def log_message(self, format, *args):
        """Nothing: _log has it all."""


def main(directory, address, port, log, rate):
    """Serve `directory` until killed; say "ready" on stdout once requests are answered."""

    def handler(*args):
        return Handler(*args, directory=directory)

    with http.server.ThreadingHTTPServer((address, int(port)), handler) as server:
        server.rate = int(rate)
        server.log = Path(log).open("a", buffering=1)  # noqa: SIM115
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
