"""A web server on loopback that answers several ranges at once, as nginx does for zsync."""

import http.server
import re
import threading

BOUNDARY = "THIS_SEPARATES"


class RangesWeb(http.server.ThreadingHTTPServer):
    """
    Serves ``files`` (bytes by path).

    asked
        Path and Range of each request.
    sent
        Bytes of bodies, by path.
    stalled
        Paths of which a ranges' answer stops after its head.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.asked, self.sent, self.stalled = {}, [], {}, ()
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Nothing: who asked was killed."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        server, path = self.server, re.sub(r"^\w+://[^/]*", "", self.path)
        server.asked.append((self.path, self.headers["Range"]))
        self.close_connection = True
        if path not in server.files:
            self.send_error(404)
            return
        whole = server.files[path]
        ranges = [
            (int(first), min(int(last or len(whole)), len(whole) - 1))
            for first, last in re.findall(r"(\d+)-(\d*)", self.headers["Range"] or "")
        ]
        kind, data = "application/octet-stream", whole
        self.send_response(206 if ranges else 200)
        if len(ranges) == 1:
            ((first, last),) = ranges
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
            data = whole[first : last + 1]
        elif ranges:
            kind = f"multipart/byteranges; boundary={BOUNDARY}"
            data = b"".join(self._part(whole, *one) for one in ranges)
            data += f"\r\n--{BOUNDARY}--\r\n".encode()
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        if ranges and path in server.stalled:
            self.wfile.flush()
            server.released.wait(60)
            return
        if body:
            server.sent[path] = server.sent.get(path, 0) + len(data)
            self.wfile.write(data)

    def _part(self, whole, first, last):
        head = f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
        head += f"Content-Range: bytes {first}-{last}/{len(whole)}\r\n\r\n"
        return head.encode() + whole[first : last + 1]

    def log_message(self, *args):
        """Nothing: `asked` has it all."""
