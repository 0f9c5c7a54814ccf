"""
Sources that stall or lie: each is left in time, with an error of one line, and the next is tried.
"""

import hashlib
import re
import socket
import ssl
import subprocess
import time

import pytest
from salt.exceptions import CommandExecutionError

import iso_sources
import iso_sums
from iso_download import Fetches, How

from .sources import BadFtp, BadWeb, Raw, serving

BODY = bytes(range(256)) * 1000
DIGEST = {"sha256": hashlib.sha256(BODY).hexdigest()}
STALL_S = 0.5


@pytest.fixture
def bad():
    with serving(BadWeb()) as server:
        server.files["/a.iso"] = BODY
        yield server


@pytest.fixture
def fetch(tmp_path):
    """Fetch from sources, and return the file's content and the messages about sources."""
    (tmp_path / "staging").mkdir(mode=0o700)

    def _fetch(*sources, attempts=1):
        run = Fetches(How(str(tmp_path / "staging"), attempts, STALL_S), {})
        run.fetch(list(sources), str(tmp_path / "a.iso"), DIGEST)
        return (tmp_path / "a.iso").read_bytes()

    return _fetch


def http(*answers):
    """Answer each request with some bytes; the last of them drips, or comes for ever."""

    def play(_server, connection, drip):
        connection.recv(4096)
        for answer in answers:
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                drip(*answer)

    return play


def ftp(*answers):
    """Answer each command in turn."""

    def play(server, connection, drip):
        for answer in answers:
            if isinstance(answer, tuple):
                drip(*answer)
                return
            if answer == "PASV":
                data = socket.create_server(("127.0.0.1", 0))
                port = data.getsockname()[1]
                answer = f"227 (127,0,0,1,{port >> 8},{port & 255})".encode()
            connection.sendall(answer + b"\r\n")
            if answer.startswith(b"150"):
                data.accept()[0].close()
                server.released.wait(30)
            connection.recv(4096)

    return play


LOGIN = (b"220 a", b"331 b", b"230 c", b"200 d")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD = 0
STALLS = {
    "status line drips": ("http", http((b"H",))),
    "header drips": ("http", http(b"HTTP/1.1 200 OK\r\nX: ", (b"y",))),
    "100 Continue drips": ("http", http((b"HTTP/1.1 100 Continue\r\n\r\n",))),
    "100 Continue for ever": ("http", http((b"HTTP/1.1 100 Continue\r\n\r\n", FLOOD))),
    "headers for ever": ("http", http(b"HTTP/1.1 200 OK\r\n", (b"X: y\r\n", FLOOD))),
    "chunk extension drips": ("http", http(CHUNKED + b"5;", (b"x",))),
    "chunk size drips": ("http", http(CHUNKED + b"5\r\nabcde\r\n", (b"0",))),
    "trailers drip": ("http", http(CHUNKED + b"1\r\na\r\n0\r\n", (b"X: y\r\n",))),
    "trailers for ever": ("http", http(CHUNKED + b"1\r\na\r\n0\r\n", (b"X: y\r\n", FLOOD))),
    "handshake drips": ("https", http(b"\x16\x03\x03\x40\x00", (b"\x02",))),
    "banner drips": ("ftp", ftp((b"2",))),
    "lines of the banner drip": ("ftp", ftp((b"220-x\r\n",))),
    "banner for ever": ("ftp", ftp((b"220-x\r\n", FLOOD))),
    "answer drips": ("ftp", ftp(b"220 a", (b"331-x\r\n",))),
    "end is not told": ("ftp", ftp(*LOGIN, b"213 9", b"213 20250101000000", "PASV", b"150 x")),
}


@pytest.mark.parametrize(("scheme", "play"), STALLS.values(), ids=STALLS)
def test_stall_before_the_next_byte(bad, fetch, caplog, scheme, play):
    with serving(Raw(play)) as raw:
        begun = time.monotonic()
        assert fetch(f"{scheme}://{raw.at}/a.iso", f"{bad.url}/a.iso") == BODY
    assert time.monotonic() - begun < 20  # these stalls do not end by themselves
    assert f"{scheme}://{raw.at}/a.iso cannot be fetched: " in caplog.text
    assert re.search("timed out|more than 262144 bytes|more than 100 headers", caplog.text)


def test_tunnel_of_a_proxy_that_drips(bad, fetch, caplog, monkeypatch):
    with serving(Raw(http(b"HTTP/1.1 200 OK\r\n", (b"X: y\r\n",)))) as raw:
        monkeypatch.setenv("https_proxy", f"http://{raw.at}")
        begun = time.monotonic()
        assert fetch("https://nowhere.invalid/a.iso", f"{bad.url}/a.iso") == BODY
    assert time.monotonic() - begun < 20  # these stalls do not end by themselves
    assert "nowhere.invalid/a.iso cannot be fetched: timed out" in caplog.text


def test_slow_redirects_have_one_deadline(bad, fetch, caplog):
    def play(server, connection, _drip):
        connection.recv(4096)
        server.released.wait(0.2)
        server.asked = getattr(server, "asked", 0) + 1
        connection.sendall(
            f"HTTP/1.1 302 x\r\nLocation: /{server.asked}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    with serving(Raw(play)) as raw:
        assert fetch(f"http://{raw.at}/a.iso", f"{bad.url}/a.iso") == BODY
        assert 2 <= raw.asked <= 3
    assert "timed out" in caplog.text


def test_redirect_with_an_endless_body_is_followed(bad, fetch):
    head = f"HTTP/1.1 302 x\r\nLocation: {bad.url}/a.iso\r\n\r\n".encode()
    with serving(Raw(http(head, (b"x" * 1000, FLOOD)))) as raw:
        assert fetch(f"http://{raw.at}/b.iso") == BODY


def test_source_that_breaks_off_after_each_byte(bad, fetch):
    def play(server, connection, _drip):
        start = int((re.search(rb"bytes=(\d+)-", connection.recv(4096)) or [0, 0])[1])
        server.asked = getattr(server, "asked", 0) + 1
        range_ = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}" if start else ""
        connection.sendall(
            f"HTTP/1.1 {206 if start else 200} x\r\nContent-Range: {range_}\r\n"
            f"Content-Length: {len(BODY) - start}\r\n\r\n".encode()
            + BODY[start : start + 1]
        )

    with serving(Raw(play)) as raw:
        assert fetch(f"http://{raw.at}/a.iso", f"{bad.url}/a.iso", attempts=2) == BODY
        assert raw.asked == 2


def test_sum_file_has_to_come_in_time(bad, monkeypatch):
    """At a rate at which an ISO would be accepted."""
    monkeypatch.setattr(iso_sources, "_TEXT_PAUSES_S", ())
    bad.files["/SHA512SUM"] = bytes(100_000)
    bad.always = {"slow": 0.05}
    begun = time.monotonic()
    with pytest.raises(CommandExecutionError, match="timed out"):
        iso_sums.expected([f"{bad.url}/a.iso"], STALL_S)
    assert time.monotonic() - begun < 4


# Numbers, addresses and texts that are wrong

OK = "HTTP/1.1 200 OK\r\n"
LIES = {
    "superscript": http(f"{OK}Content-Length: \xb2\r\n\r\n".encode("latin-1")),
    "5000 digits": http(f"{OK}Content-Length: {'9' * 5000}\r\n\r\n".encode()),
    "negative": http(f"{OK}Content-Length: -5\r\n\r\nabcde".encode()),
    "two": http(f"{OK}Content-Length: 5, 5\r\n\r\nabcde".encode()),
    "range": http(b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-\xb2/5\r\n\r\nabcde"),
    "5000 digits in a range": http(
        f"HTTP/1.1 206 x\r\nContent-Range: bytes 0-4/{'9' * 5000}\r\n\r\nabcde".encode()
    ),
    "chunk": http(CHUNKED + b"\xb2\r\nabcde\r\n"),
    "negative chunk": http(CHUNKED + b"-5\r\nabcde\r\n"),
    "status": http(b"HTTP/1.1 2\xb20 OK\r\n\r\n"),
    "no http": http(b"\x00\xff" * 100 + b"\r\n"),
    "several lines": http(b"HTTP/1.1 403 no\x1b[2J\x85no\rno\r\n\r\n"),
    "type": http(OK.encode() + b"Content-Type: text/html\x1b[2J\r\n\r\n"),
    "redirect to ftp": http(b"HTTP/1.1 302 x\r\nLocation: ftp://127.0.0.1/a.iso\r\n\r\n"),
    "redirect to nowhere": http(b"HTTP/1.1 302 x\r\nLocation: http://[::1/a.iso\r\n\r\n"),
    "redirect to a port": http(b"HTTP/1.1 302 x\r\nLocation: http://h:x/a.iso\r\n\r\n"),
    "redirect to a host": http(
        f"HTTP/1.1 302 x\r\nLocation: http://{'x' * 70}.y/a.iso\r\n\r\n".encode()
    ),
    "size": ftp(*LOGIN, "213 \xb2".encode(), b"213 x"),
    "5000 digits of a size": ftp(*LOGIN, b"213 " + b"9" * 5000, b"213 x"),
    "port": ftp(*LOGIN, b"213 9", b"213 x", b"227 (127,0,0,1,999,999)"),
    "extended port": ftp(*LOGIN, b"213 9", b"213 x", b"229 (|||99999|)"),
    "5000 digits of a port": ftp(
        *LOGIN, b"213 9", b"213 x", b"227 (127,0,0,1,2," + b"9" * 5000 + b")"
    ),
    "refusal of several lines": ftp(b"530-no\r\nno\x1b[2J\r\n530 no"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_of_a_server(bad, fetch, caplog, lie):
    scheme = "ftp" if LIES[lie].__qualname__.startswith("ftp") else "http"
    with serving(Raw(LIES[lie])) as raw:
        assert fetch(f"{scheme}://{raw.at}/a.iso", f"{bad.url}/a.iso") == BODY
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith(f"{scheme}://{raw.at}/a.iso ")
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.parametrize("head", ["Content-Type: Text/HTML", "Content-Encoding: GZIP"])
def test_page_that_is_not_the_file(bad, fetch, caplog, head):
    """Its type is told in any case (RFC 9110, 8.3.1 and 8.4.1), not only its digest."""
    with serving(Raw(http(f"{OK}{head}\r\nContent-Length: 5\r\n\r\nabcde".encode()))) as raw:
        assert fetch(f"http://{raw.at}/a.iso", f"{bad.url}/a.iso") == BODY
    assert f"the server sent {head.partition(' ')[2].lower()}, not the file" in caplog.text


def test_encoding_that_is_none(fetch):
    head = f"{OK}Content-Encoding: Identity\r\nContent-Length: {len(BODY)}\r\n\r\n"
    with serving(Raw(http(head.encode() + BODY))) as raw:
        assert fetch(f"http://{raw.at}/a.iso") == BODY


def test_banner_in_any_encoding(fetch):
    with serving(BadFtp()) as server:
        server.files["a.iso"] = BODY
        server.banner = "220 \u043f\u0440\u0438\u0432\u0435\u0442".encode("koi8-r")
        assert fetch(f"{server.url}/a.iso") == BODY


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/a.iso",
        "https://h]/a.iso",
        "http://h:99999/a.iso",
        "http://h:0/a.iso",
        "ftp://h:x/a.iso",
        "http://:80/a.iso",
        "http://:@/a.iso",
        f"http://{'x' * 70}.y/a.iso",
        f"ftp://{'x' * 70}.y/a.iso",
        "file:///a%00.iso",
        "file://[/a.iso",
        "gopher://h/a.iso",
        "a.iso",
    ],
)
def test_broken_url(bad, fetch, caplog, url):
    assert fetch(url, f"{bad.url}/a.iso") == BODY
    assert f"{url.replace(':@', '')} cannot be fetched: " in caplog.text


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "http://[::1", "http://h:x"])
def test_proxy_that_cannot_be_used(bad, fetch, caplog, monkeypatch, scheme, proxy):
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch(f"{scheme}://nowhere.invalid/a.iso", f"{bad.url}/a.iso") == BODY
    assert "nowhere.invalid/a.iso cannot be fetched: " in caplog.text
    assert "secret" not in caplog.text


def test_damaged_note_is_ignored(bad, fetch, tmp_path):
    for note in ("[]", '{"url": 5}', '{"total": "9"}', "[" * 100_000, "5"):
        (tmp_path / "staging/a.iso.part").write_bytes(b"half")
        (tmp_path / "staging/a.iso.part.json").write_text(note)
        assert fetch(f"{bad.url}/a.iso") == BODY


# Redirects


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """A web server with TLS, whose certificate this process trusts."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    command += " -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key -out cert"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    with serving(BadWeb()) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
        yield server


SUMS = f"{DIGEST['sha256']}  a.iso\n".encode()


def test_https(secure, fetch):
    secure.files.update({"/a.iso": BODY, "/SHA256SUM": SUMS})
    assert fetch(f"{secure.url}/a.iso") == BODY
    assert iso_sums.expected([f"{secure.url}/a.iso"], 60)["checksum"] == DIGEST


def test_sum_file_over_https_never_leaves_https(bad, secure):
    """Not even for a hop: over http -> https an attacker chooses any server."""
    secure.files.update({"/SHA256SUM": SUMS, "/forged": b"0" * 64 + b"  a.iso\n"})
    bad.files["/hop"] = b""
    secure.faults = [{}, {"to": f"{bad.url}/hop"}]
    bad.faults = [{"to": f"{secure.url}/forged"}]
    with pytest.raises(CommandExecutionError, match=r"redirects to http://.*, which is not https"):
        iso_sums.expected([f"{secure.url}/a.iso"], 60)
    assert bad.asked == []


def test_sum_file_over_https_may_move_within_https(secure):
    secure.files.update({"/old/SHA256SUM": b"", "/SHA256SUM": SUMS})
    secure.faults = [{}, {"to": f"{secure.url}/SHA256SUM"}]
    assert iso_sums.expected([f"{secure.url}/old/a.iso"], 60)["checksum"] == DIGEST


def test_iso_with_a_known_digest_may_take_any_hop(bad, secure, fetch):
    secure.files["/b.iso"] = b""
    secure.faults = [{"to": f"{bad.url}/a.iso"}]
    assert fetch(f"{secure.url}/b.iso") == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_status_that_is_a_redirect(bad, fetch, status):
    bad.files["/b.iso"] = b""
    bad.faults = [{"to": "/a.iso", "as": status}]
    assert fetch(f"{bad.url}/b.iso") == BODY
