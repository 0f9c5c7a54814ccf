"""Servers on loopback that misbehave on purpose: HTTP, FTP, and any bytes."""

import contextlib
import http.server
import re
import socketserver
import threading
import time


@contextlib.contextmanager
def serving(server):
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


class BadWeb(http.server.ThreadingHTTPServer):
    """
    Serves ``files`` (bytes by path) with ranges (RFC 9110, 14), except as ``faults`` say.

    faults
        One map for each of the next requests, in order:
        ``status`` (answer that and no more), ``html`` (a page instead of the file), ``cut`` (close
        after so many bytes), ``stall`` (send no more after so many bytes), ``drip`` (send a byte
        every tenth of a second after so many bytes), ``length`` (announce so many bytes; None:
        none), ``whole`` (ignore Range), ``slow`` (seconds to wait in each of a hundred steps),
        ``to`` (redirect, ``as`` 302 or another status), ``meanwhile`` (called half way).
    asked
        Path, Range and If-Range of each request.
    authorizations
        Who each request said it is from, as the header has it.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Web)
        self.files, self.tags, self.faults, self.asked = {}, {}, [], []
        self.always, self.authorizations = {}, []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        path = re.sub(r"^\w+://[^/]*", "", self.path)  # as a proxy is asked
        server.asked.append((self.path, self.headers["Range"], self.headers["If-Range"]))
        server.authorizations.append(self.headers["Authorization"])
        fault = server.faults.pop(0) if server.faults else server.always
        self.close_connection = True
        if path not in server.files:
            self.send_error(404)
            return
        if "status" in fault:
            self.send_error(fault["status"])
            return
        if "to" in fault:
            self.send_response(fault.get("as", 302))
            self.send_header("Location", fault["to"])
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        body, tag = server.files[path], server.tags.get(path)
        if "html" in fault:
            body, tag = b"<html>log in first</html>", None
        self._send(body, tag, fault)

    def _send(self, body, tag, fault):
        start = self._start(tag, fault)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if tag:
            self.send_header("ETag", tag)
        kind = "text/html" if "html" in fault else "application/octet-stream"
        self.send_header("Content-Type", kind)
        length = fault.get("length", len(body) - start)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        body = body[start:]
        end = fault.get("cut", fault.get("stall", fault.get("drip", len(body))))
        step = max(1, len(body) // 100)
        with contextlib.suppress(ConnectionError):
            for at in range(0, min(end, len(body)), step):
                if "meanwhile" in fault and at >= len(body) // 2:
                    fault.pop("meanwhile")()
                self.wfile.write(body[at : min(at + step, end)])
                time.sleep(fault.get("slow", 0))
            if "stall" in fault:
                self.server.released.wait(30)
            if "drip" in fault:
                for byte in body[end:]:
                    self.wfile.write(bytes([byte]))
                    if self.server.released.wait(0.1):
                        break

    def _start(self, tag, fault):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if not asked or "whole" in fault or self.headers["If-Range"] not in (None, tag):
            return 0
        return int(asked[1])

    def log_message(self, *args):
        """Nothing: `asked` has it all."""


class BadFtp(socketserver.ThreadingTCPServer):
    """
    An FTP server (RFC 959, 2428, 3659) for ``files``, bytes by path.

    faults
        As for BadWeb: ``cut``, ``stall``. ``lacks``: commands that it does not know.
    asked
        The lines that clients sent.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Ftp)
        self.files, self.faults, self.asked, self.lacks = {}, [], [], ()
        self.changed, self.banner = "20250429101112", b"220 ready"
        self.released = threading.Event()
        self.url = f"ftp://127.0.0.1:{self.server_address[1]}"


class _Ftp(socketserver.StreamRequestHandler):
    def handle(self):
        self.start, self.data = 0, None
        self.wfile.write(self.server.banner + b"\r\n")
        for line in self.rfile:
            line = line.decode().strip()
            self.server.asked.append(line)
            word, _, rest = line.partition(" ")
            if word in self.server.lacks or not hasattr(self, f"do_{word}"):
                self._say("502 not here")
            else:
                getattr(self, f"do_{word}")(rest)

    def _say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def do_USER(self, _name):
        self._say("331 password?")

    def do_PASS(self, _password):
        self._say("230 welcome")

    def do_TYPE(self, _kind):
        self._say("200 done")

    def do_SIZE(self, path):
        found = self.server.files.get(path)
        self._say("550 no such file" if found is None else f"213 {len(found)}")

    def do_MDTM(self, path):
        self._say(f"213 {self.server.changed}")

    def do_PASV(self, _nothing):
        self.data = socketserver.socket.create_server(("127.0.0.1", 0))
        port = self.data.getsockname()[1]
        self._say(f"227 here (127,0,0,1,{port >> 8},{port & 255})")

    def do_REST(self, start):
        self.start = int(start)
        self._say("350 go on")

    def do_RETR(self, path):
        body, start = self.server.files.get(path), self.start
        self.start = 0
        if body is None:
            self._say("550 no such file")
            return
        fault = self.server.faults.pop(0) if self.server.faults else {}
        self._say("150 it comes")
        connection, _ = self.data.accept()
        self.data.close()
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(body[start:][: fault.get("cut", fault.get("stall"))])
            if "stall" in fault:
                self.server.released.wait(30)
        self._say("426 broken off" if fault else "226 that was it")


class Raw(socketserver.ThreadingTCPServer):
    """
    A server that does what ``play`` does with each connection.

    play
        Called with this server, the connection, and a function that sends it some bytes, each
        after a pause, for ever.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, play):
        super().__init__(("127.0.0.1", 0), _Raw)
        self.play, self.released = play, threading.Event()
        self.at = f"127.0.0.1:{self.server_address[1]}"


class _Raw(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            self.server.play(self.server, self.request, self._drip)

    def _drip(self, piece, pause_s=0.05):
        while not self.server.released.is_set():
            self.request.sendall(piece)
            self.server.released.wait(pause_s)
