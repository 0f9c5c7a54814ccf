"""An HTTP server that answers as ALT's first stage must not accept.

    python3 badserver.py DIRECTORY ADDRESS PORT

The first folder of the path says what is wrong with the answer; the rest is a path in DIRECTORY:
/redirect/, /lower-case/ (content-length:), /no-length/, /late/ (HEAD takes 9 s), /short/ (GET
breaks off half way), /long/ (GET brings more than HEAD told), /get-404/ (HEAD is fine, GET is not).
"""

import http.server
import sys
import time
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves whole files, each with the fault that the path names."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        _, fault, name = self.path.split("/", 2)
        head = self.command == "HEAD"
        body = (Path(sys.argv[1]) / name).read_bytes()
        length = len(body)
        if fault == "late" and head:
            time.sleep(9)
        if fault == "get-404" and not head:
            self.send_error(404)
            return
        if fault == "redirect":
            self.send_response(301)
            self.send_header("Location", f"/good/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "short" and not head:
            body = body[: length // 2]
        if fault == "long" and not head:
            body += b"\0" * 512
            length += 512
        self.send_response(200)
        if fault == "lower-case":
            self.send_header("content-length", str(length))
        elif fault != "no-length":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if not head:
            self.wfile.write(body)


if __name__ == "__main__":
    address = (sys.argv[2], int(sys.argv[3]))
    with http.server.ThreadingHTTPServer(address, Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
