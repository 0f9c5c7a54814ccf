"""
Open the file at a URL, from any byte on: http, https, ftp and file.

Redirects are followed over http and https; proxies are those of the environment (``http_proxy``,
``https_proxy``, ``ftp_proxy``, ``no_proxy``).

Standard library only: requests is not in the thin of Salt 3006 and 3007.
"""

from __future__ import annotations

import base64
import contextlib
import ftplib
import http.client
import os
import re
import socket
import ssl
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from salt.exceptions import CommandExecutionError

# A chunk is still in the processor's cache when it is hashed and written.
CHUNK = 1 << 18
CONNECT_TIMEOUT_S = 10

# RFC 9110, 15.5.9 and 15.6; RFC 6585, 4: the same request may succeed later.
_BUSY = (408, 429, 500, 502, 503, 504)
_GONE = (404, 410)

# Bytes a second; anything slower is useless: 4 GB would take 46 days.
MIN_RATE = 1024

# The sum file of a directory has a few hundred lines.
_TEXT_LIMIT = 1 << 20
_TEXT_PAUSES_S = (1, 3)


class Source:
    """
    An open source.

    start
        Offset of its first byte: as requested, or 0 if the server cannot resume or has another
        file now.
    total
        Size of the whole file in bytes, or None if the server does not send it.
    validator
        String by which the server recognizes that its file is unchanged, or None.
    url
        URL after redirects.
    chunks
        Iterator over the data. Raises ConnectionError when they break off or stall, and its
        subclass ConnectionAbortedError when they come too slowly.
    """

    def __init__(
        self,
        start: int,
        total: int | None,
        validator: str | None,
        url: str,
        chunks: Iterator[bytes],
        close: Callable[[], object],
    ) -> None:
        self.start, self.total, self.validator, self.url = start, total, validator, url
        self.chunks, self.close = chunks, close


def text(
    url: str, stall_timeout_s: int, unless: str | None = None
) -> tuple[str, str | None] | None:
    """
    Return a small text file and its validator, or None if it is unchanged.

    url
        Its URL. An https URL must not redirect to any other scheme.

    stall_timeout_s
        As for ``open_source``.

    unless
        Validator of the file that is already known: the server is asked whether it changed.

    Raises FileNotFoundError when there is no such file, CommandExecutionError on other errors.
    """
    for pause in (*_TEXT_PAUSES_S, None):
        try:
            source = _open(url, 0, None, unless, stall_timeout_s)
            with contextlib.closing(source):
                if url.startswith("https:") and not source.url.startswith("https:"):
                    raise CommandExecutionError(
                        f"{shown(url)} redirects to {shown(source.url)}, which is not https."
                    )
                content = b""
                for chunk in source.chunks:
                    content += chunk
                    if len(content) > _TEXT_LIMIT:
                        raise CommandExecutionError(f"{shown(url)} is too large for a sum file.")
            return content.decode("utf-8", "replace"), source.validator
        except _Unchanged:
            return None
        except ConnectionError as err:
            if pause is None:
                raise CommandExecutionError(f"{shown(url)} cannot be read: {err}") from err
            time.sleep(pause)
    return None


def shown(text: str) -> str:
    """
    Return a text without the users and passwords in its URLs, for messages.

    text
        A URL, or a sentence that contains URLs.
    """
    return re.sub(r"//[^/\s]*@", "//", text)


class _Unchanged(Exception):
    """The file is unchanged."""


def open_source(
    url: str, stall_timeout_s: int, start: int = 0, validator: str | None = None
) -> Source:
    """
    Open a source.

    url
        URL: http, https, ftp or file.

    stall_timeout_s
        Seconds without data, or with fewer than ``MIN_RATE`` bytes a second, after which the source
        counts as stalled.

    start : 0
        Offset of the first byte.

    validator : None
        ``validator`` of the source that the bytes before ``start`` came from: if the file has
        changed since, it is sent from the beginning. None: the caller has to check that.

    Raises ConnectionError when a retry may help, FileNotFoundError when there is no such file,
    CommandExecutionError when this source is unusable.
    """
    return _open(url, start, validator, None, stall_timeout_s)


def _open(
    url: str, start: int, validator: str | None, unless: str | None, stall_timeout_s: int
) -> Source:
    """Open a source; raises _Unchanged if it still has the validator ``unless``."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme == "file":
        return _open_file(url, start, validator, unless)
    if scheme == "ftp" and not _proxy(url):
        return _open_ftp(url, start, validator, unless, stall_timeout_s)
    return _open_http(url, start, validator, unless, stall_timeout_s)


def _paced(chunks: Iterator[bytes], stall_timeout_s: int) -> Iterator[bytes]:
    """Yield the chunks while they come fast enough; the consumer's time does not count."""
    waited, came = 0.0, 0
    asked = time.monotonic()
    for chunk in chunks:
        waited += time.monotonic() - asked
        came += len(chunk)
        yield chunk
        if came >= MIN_RATE * stall_timeout_s:
            waited, came = 0.0, 0
        elif waited > stall_timeout_s:
            raise ConnectionAbortedError(f"only {came} bytes were received in {stall_timeout_s} s")
        asked = time.monotonic()


def _proxy(url: str) -> str | None:
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


# -- http, https, and ftp through an http proxy ---------------------------------------------------


def _open_http(
    url: str, start: int, validator: str | None, unless: str | None, stall_timeout_s: int
) -> Source:
    # The digest is of the file itself, not of a compressed form.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    if unless:
        headers["If-None-Match" if unless.startswith('"') else "If-Modified-Since"] = unless
    try:
        response = _http_opener(stall_timeout_s).open(_http_request(url, headers))
    except urllib.error.HTTPError as err:
        response = err
    except (OSError, http.client.HTTPException, ValueError) as err:
        cause = getattr(err, "reason", err)
        if isinstance(cause, (ssl.SSLError, ValueError)):
            raise CommandExecutionError(_cause(cause)) from err
        raise ConnectionError(_cause(cause)) from err
    status = response.status
    if unless and status == 304:
        response.close()
        raise _Unchanged
    first, total = _extent(response)
    if start and (status == 416 or (status == 206 and first != start)):
        response.close()
        return _open_http(url, 0, None, None, stall_timeout_s)
    wrong = _refusal(response, first)
    if wrong:
        response.close()
        raise wrong
    tag = response.headers.get("ETag", "")
    return Source(
        first or 0,
        total,
        # RFC 9110, 13.1.5: a weak tag (W/"...") does not prove that the bytes are the same.
        tag if tag.startswith('"') else response.headers.get("Last-Modified"),
        response.url,
        _paced(_http_chunks(response), stall_timeout_s),
        response.close,
    )


def _extent(response: Any) -> tuple[int | None, int | None]:
    """Return first byte and size of the whole file (or None) from a response (RFC 9110, 14.4)."""
    if response.status == 206:
        told = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        if not told:
            return None, None
        return int(told[1]), None if told[2] == "*" else int(told[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _refusal(response: Any, first: int | None) -> OSError | CommandExecutionError | None:
    """Return the error that a response means, or None."""
    status: int = response.status
    said = f"{status} {response.reason or ''}".strip().partition("\n")[0]
    if status in _GONE:
        return FileNotFoundError(said)
    if status in _BUSY:
        return ConnectionError(said)
    if status not in (200, 206) or first is None:
        return CommandExecutionError(f"the server answered {said}")
    # A login or error page, or an encoding of the file with a different digest.
    kind = response.headers.get("Content-Type", "")
    encoding = response.headers.get("Content-Encoding", "identity")
    if kind.startswith("text/html") or encoding != "identity":
        return CommandExecutionError(
            f"the server sent {kind if encoding == 'identity' else encoding}, not the file"
        )
    return None


def _http_request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 (http and https alone, see _http_opener)
        urllib.parse.urlunsplit(parts._replace(netloc=host)), headers=headers
    )
    if user:
        word = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        # Not for a server that a redirect may point to.
        request.add_unredirected_header("Authorization", f"Basic {word}")
    return request


def _http_chunks(response: Any) -> Iterator[bytes]:
    try:
        # read1, as read would wait for a whole chunk.
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as err:
        raise ConnectionError(_cause(err)) from err


def _http_opener(stall_timeout_s: int) -> urllib.request.OpenerDirector:
    """Return an opener for http and https only: redirects must not reach local files."""

    def connection(kind: Any) -> Any:
        class Connection(kind):  # type: ignore[misc]
            def connect(self) -> None:
                self.timeout = CONNECT_TIMEOUT_S
                super().connect()
                self.sock.settimeout(stall_timeout_s)

        return Connection

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: Any) -> Any:
            return self.do_open(connection(http.client.HTTPConnection), request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: Any) -> Any:
            return self.do_open(connection(http.client.HTTPSConnection), request)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        Http(),
        Https(),
    ):
        opener.add_handler(handler)
    return opener


def _cause(err: Any) -> str:
    # Its own text is "timed out". Before Python 3.10, socket.timeout is not a TimeoutError.
    if isinstance(err, (TimeoutError, socket.timeout)):
        return "timed out without receiving data"
    return getattr(err, "strerror", None) or str(err) or type(err).__name__


# -- ftp (RFC 959; SIZE, MDTM and REST in stream mode: RFC 3659) ---------------------------------


def _open_ftp(
    url: str, start: int, validator: str | None, unless: str | None, stall_timeout_s: int
) -> Source:
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path[1:])
    ftp = ftplib.FTP(timeout=CONNECT_TIMEOUT_S)  # noqa: S321 (the data are verified)
    try:
        ftp.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        ftp.timeout = stall_timeout_s
        if ftp.sock:
            ftp.sock.settimeout(stall_timeout_s)
        ftp.login(*(urllib.parse.unquote(word or "") for word in (parts.username, parts.password)))
        ftp.voidcmd("TYPE I")
        size, time_ = _ftp_says(ftp, f"SIZE {path}"), _ftp_says(ftp, f"MDTM {path}")
        if unless and unless == time_:
            ftp.close()
            raise _Unchanged
        if validator and validator != time_:
            start = 0
        start, data = _ftp_data(ftp, path, start)
    except (ftplib.error_perm, ftplib.error_proto, ValueError) as err:
        ftp.close()
        if str(err).startswith("550"):
            raise FileNotFoundError(str(err)) from err
        raise CommandExecutionError(f"the server answered {err}") from err
    except (ftplib.error_temp, ftplib.error_reply, EOFError, OSError) as err:
        ftp.close()
        raise ConnectionError(str(err) or "the server closed the connection") from err

    def close() -> None:
        data.close()
        ftp.close()

    return Source(
        start,
        int(size) if size and size.isdigit() else None,
        time_,
        url,
        _paced(_ftp_chunks(ftp, data), stall_timeout_s),
        close,
    )


def _ftp_says(ftp: ftplib.FTP, command: str) -> str | None:
    """Return the answer to a command that not all servers support, or None."""
    try:
        return ftp.sendcmd(command)[4:].strip()
    except ftplib.error_perm as err:
        if str(err).startswith("550"):
            raise
        return None


def _ftp_data(ftp: ftplib.FTP, path: str, start: int) -> tuple[int, socket.socket]:
    """Return first byte and connection of a transfer; from 0 if the server cannot resume."""
    if start:
        try:
            return start, ftp.transfercmd(f"RETR {path}", rest=start)
        except ftplib.error_perm as err:
            if str(err).startswith("550"):
                raise
    return 0, ftp.transfercmd(f"RETR {path}")


def _ftp_chunks(ftp: ftplib.FTP, data: socket.socket) -> Iterator[bytes]:
    try:
        while chunk := data.recv(CHUNK):
            yield chunk
        data.close()
        ftp.voidresp()
    except (ftplib.Error, EOFError, OSError) as err:
        raise ConnectionError(str(err) or "the server closed the connection") from err


# -- file -----------------------------------------------------------------------------------------


def _open_file(url: str, start: int, validator: str | None, unless: str | None) -> Source:
    path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path)
    try:
        # Without O_NONBLOCK, opening a FIFO would block.
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)  # noqa: SIM115
    except FileNotFoundError as err:
        raise FileNotFoundError(err.strerror) from err
    except OSError as err:
        raise CommandExecutionError(err.strerror) from err
    found = os.fstat(file.fileno())
    now = f"{found.st_ino}-{found.st_mtime_ns}"
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise CommandExecutionError("it is not a regular file")
    if unless and unless == now:
        file.close()
        raise _Unchanged
    if (validator and validator != now) or start > found.st_size:
        start = 0
    file.seek(start)
    return Source(start, found.st_size, now, url, _file_chunks(file), file.close)


def _file_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as err:
        raise ConnectionError(err.strerror) from err
