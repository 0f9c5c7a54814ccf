"""Reading ranges over HTTP, from servers on loopback that answer as written here."""

import http.server
import re
import socket
import threading
import time

import pytest

import probe_http
import probe_reach
from probe_wire import Unreachable
from tests.functional.sources import Raw, serving

DATA = bytes(range(256)) * 40


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves DATA at any path in ranges, as nginx does."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked, self.released, self.data = [], threading.Event(), DATA
        self.at = f"127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        data = self.server.data
        self.server.asked.append((self.path, self.headers["Range"], self.headers["User-Agent"]))
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        if first >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        last = min(last, len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *args):
        """Nothing: `asked` has it all."""


@pytest.fixture
def web():
    with serving(RangeServer()) as server:
        yield server


def test_ranges(web):
    ranges = [(0, 10), (5000, 100), (len(DATA) - 3, 3), (len(DATA) - 3, 99), (len(DATA) + 9, 4)]
    url = f"http://{web.at}/dist/a%20b c.iso?x=1"
    assert probe_reach.read(url, ranges, 3, "probe/1") == (
        len(DATA),
        [DATA[offset : offset + length] for offset, length in ranges],
    )
    assert web.asked[1] == ("/dist/a%20b%20c.iso?x=1", "bytes=5000-5099", "probe/1")


def test_empty_ranges_and_files(web):
    assert probe_reach.read(f"http://{web.at}/x", [(0, 0)], 3) == (len(DATA), [b""])
    web.data = b""
    assert probe_reach.read(f"http://{web.at}/x", [(0, 0)], 3) == (0, [b""])
    assert probe_reach.read(f"http://{web.at}/x", [(0, 5)], 3) == (0, [b""])


def answering(*pieces):
    def play(server, connection, drip):
        connection.recv(4096)
        for piece in pieces:
            if isinstance(piece, tuple):
                drip(*piece)
            else:
                connection.sendall(piece)
        if pieces[-1:] == (b"",):
            server.released.wait(30)

    return Raw(play)


def head(status="206 Partial Content", **headers):
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode()


def ranged(said, body=b"x" * 10, **headers):
    return head(Content_Range=said, Content_Length=len(body), **headers) + body


def refused(offset, length, *pieces, timeout=5.0):
    with serving(answering(*pieces)) as server:
        port = server.server_address[1]
        with pytest.raises(Unreachable) as err:
            probe_http.read("127.0.0.1", "/x", [(offset, length)], timeout, port)
    return err.value


def taken(offset, length, *pieces):
    with serving(answering(*pieces)) as server:
        port = server.server_address[1]
        size, (data,) = probe_http.read("127.0.0.1", "/x", [(offset, length)], 5, port)
    return size, data


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (head("404 Not Found"), "the server answers 404 Not Found"),
        (head("403 Forbidden"), "the server answers 403 Forbidden"),
        (head("500 \x07bad"), "the server answers 500 bad"),
        (head("416 No", Content_Range="bytes */20"), "the server answers 416 No"),
        (
            head("302 Found", Location="http://a/b"),
            "the server redirects to http://a/b (302 Found)",
        ),
        (
            head("200 OK", Content_Length=20) + b"x" * 20,
            "the server ignores Range: it answers 200 OK from byte 10 on",
        ),
        (ranged("bytes 0-9/20"), "the server answers with another range: bytes 0-9/20"),
        (ranged("bytes 10-18/20", b"x" * 9), "the server answers with another range: bytes 10-18"),
        (ranged("bytes 10-29/40", b"x" * 20), "the server answers with another range"),
        (ranged("bytes 10-19/15"), "the server answers with another range: bytes 10-19/15"),
        (ranged("bytes 10-19/" + "9" * 5000), "the server answers with another range"),
        (head() + b"x", "the server answers with another range: none"),
        (ranged("bytes 10-19/20", b"x" * 9), "the server sends 9 of 10 bytes"),
        (ranged("bytes 10-19/20", b"x" * 11), "the server sends more than the range"),
        (
            head(Content_Range="bytes 10-19/20", Content_Length=10) + b"x" * 4,
            "the server sends 4 of 10 bytes",
        ),
        (
            head(Content_Range="bytes 10-19/20", Transfer_Encoding="chunked") + b"zz\r\n",
            "the server does not answer in HTTP: ",
        ),
        (
            head(Content_Range="bytes 10-19/20", Transfer_Encoding="chunked") + b"-5\r\n",
            "the server ",
        ),
        (b"SSH-2.0-x\r\n", "the server does not answer in HTTP: BadStatusLine"),
        (b"HTTP/1.1 206 " + b"x" * 70000, "the server does not answer in HTTP: LineTooLong"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "the server does not answer in HTTP: HTTPEx"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20000, "the server sends more than was asked for"),
        (b"HTTP/1.1 2", "the server does not answer in HTTP: BadStatusLine HTTP/1.1 2"),
    ],
)
def test_refused_or_hostile(answer, cause):
    err = refused(10, 10, answer)
    assert str(err).startswith(cause)
    assert err.missing == ("404" in cause)


def test_server_that_closes_at_once():
    err = refused(0, 1)
    assert str(err) == "the server does not answer in HTTP: it closed the connection"


def test_whole_answer_from_the_beginning():
    assert taken(0, 4, head("200 OK", Content_Length=20) + b"x" * 20) == (20, b"xxxx")
    assert taken(0, 40, head("200 OK", Content_Length=20) + b"x" * 20) == (20, b"x" * 20)
    assert taken(0, 40, head("200 OK") + b"x" * 20) == (20, b"x" * 20)
    assert taken(0, 4, head("200 OK") + b"x" * 20) == (None, b"xxxx")
    assert taken(0, 9, head("206 x", Content_Range="bytes 0-8/*") + b"x" * 9) == (None, b"x" * 9)


@pytest.mark.parametrize(
    "pieces",
    [[b""], [(b"H",)], [head("200 OK")[:-2], (b"X: y\r\n",)], [ranged("bytes 0-9/10")[:-5], b""]],
)
def test_server_that_drips_or_stalls(pieces):
    began = time.monotonic()
    err = refused(0, 1 << 18, *pieces, timeout=0.3)
    assert re.match(r"TCP \d+ stopped answering after \d+ bytes|no answer on TCP ", str(err))
    assert time.monotonic() - began < 20  # these stalls do not end by themselves


def test_no_server():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        cause = rf"^no answer on TCP {port} \(connection refused\)$"
        with pytest.raises(Unreachable, match=cause):
            probe_reach.read(f"http://127.0.0.1:{port}/x", [(0, 1)], 3)


@pytest.mark.parametrize(
    "url",
    [
        "gopher://127.0.0.1/x",
        "http://127.0.0.1",
        "http:///x",
        "http://u:p@127.0.0.1/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_addresses_without_a_method(url):
    with pytest.raises(Unreachable, match="^the address has no method that clients have$"):
        probe_reach.read(url, [(0, 1)], 1)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("401 Unauthorized", ""),
        ("429 Too Many Requests", ""),  # others guess
        ("200 OK", "the server gives it for any password"),
        ("403 Forbidden", "the server answers 403 Forbidden"),
    ],
)
def test_file_for_which_a_password_is_wanted(status, cause):
    with serving(answering(head(status, Content_Length=0))) as server:
        port = server.server_address[1]
        assert probe_http.guarded("127.0.0.1", "/private/granted", 5, port) == cause
