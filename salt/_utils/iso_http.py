"""
Open files over http and https, and over ftp through an http proxy.

Redirects are followed over http and https; proxies are that of the pillar, or those of the
environment (``http_proxy``, ``https_proxy``, ``ftp_proxy``, ``no_proxy``), see ``netboot_proxy``.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import string
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_proxy
from iso_wire import CHUNK, Guard, Source, Unchanged, cause, connect, one_line, paced, tls
from netboot_names import shown

# RFC 9110, 15.5.9 and 15.6; RFC 6585, 4: the same request may succeed later.
_BUSY = (408, 429, 500, 502, 503, 504)
_GONE = (404, 410)
# RFC 9110, 15.5.6 and 15.6.2: the server has the file, but not for this request.
_NO_HEAD = (405, 501)

_NUMBER = "[0-9]{1,18}"
# RFC 9110, 8.8.3: a weak tag (W/"...") does not prove that the bytes are the same (13.1.5).
_TAG = r'"[\x21\x23-\x7e\x80-\xff]{0,256}"'
_DATE = r"[A-Za-z0-9,: +-]{1,64}"


def open_http(
    url: str,
    start: int,
    validator: str | None,
    unless: str | None,
    guard: Guard,
    https_only: bool = False,
) -> Source:
    """
    Open a source over http or https.

    url, start, validator
        See ``iso_sources.open_source``.

    unless
        Raise Unchanged if the file still has this validator.

    guard
        The limits of its connections.

    https_only : False
        Refuse every redirect to another scheme.
    """
    # The digest is of the file itself, not of a compressed form.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    if unless:
        headers["If-None-Match" if unless.startswith('"') else "If-Modified-Since"] = unless
    response = _answer(url, headers, guard, https_only)
    if unless and response.status == 304:
        response.close()
        raise Unchanged
    try:
        first, total = _extent(response)
        again = start and (response.status == 416 or (response.status == 206 and first != start))
        wrong = None if again else _refusal(response, first)
        if wrong:
            raise wrong
    except BaseException:
        response.close()
        raise
    if again:
        response.close()
        return open_http(url, 0, None, None, guard, https_only)
    chunks = paced(_chunks(response), guard)
    return Source(first or 0, total, _validator(response.headers), chunks, response.close)


def size_over_http(url: str, guard: Guard) -> int | None:
    """
    Return the size of a file, or None if the server does not say it; without its data.

    url, guard
        See ``open_http``.
    """
    response = _answer(url, {"Accept-Encoding": "identity"}, guard, False, "HEAD")
    response.close()
    if response.status in _NO_HEAD:
        return None
    first, total = _extent(response)
    if wrong := _refusal(response, first):
        raise wrong
    return total


def _answer(
    url: str, headers: dict[str, str], guard: Guard, https_only: bool, method: str = "GET"
) -> Any:
    try:
        return _opener(guard, https_only).open(_request(url, headers, method))
    except urllib.error.HTTPError as err:
        return err
    except (OSError, http.client.HTTPException, ValueError) as err:
        reason = getattr(err, "reason", err)
        problem = reason if isinstance(reason, BaseException) else err
        if isinstance(problem, (ssl.SSLError, ValueError, http.client.InvalidURL)):
            raise CommandExecutionError(cause(problem)) from err
        raise ConnectionError(cause(problem)) from err


def _extent(response: Any) -> tuple[int | None, int | None]:
    """Return first byte and size of the whole file (or None) from a response (RFC 9110, 14.4)."""
    if response.status == 206:
        given = response.headers.get("Content-Range", "").strip()
        told = re.fullmatch(rf"bytes ({_NUMBER})-{_NUMBER}/({_NUMBER}|\*)", given)
        if not told:
            return None, None
        return int(told[1]), None if told[2] == "*" else int(told[2])
    length = response.headers.get("Content-Length", "").strip()
    if not length or response.headers.get("Transfer-Encoding"):  # RFC 9112, 6.3
        return 0, None
    if not re.fullmatch(_NUMBER, length):
        raise CommandExecutionError(f"the server sent the Content-Length {one_line(length)!r}")
    return 0, int(length)


def _refusal(response: Any, first: int | None) -> OSError | CommandExecutionError | None:
    """Return the error that a response means, or None."""
    status: int = response.status
    said = one_line(f"{status} {response.reason or ''}".strip().partition("\n")[0])
    if status in _GONE:
        return FileNotFoundError(said)
    if status in _BUSY:
        return ConnectionError(said)
    if status not in (200, 206) or first is None:
        return CommandExecutionError(f"the server answered {said}")
    # A login or error page, or an encoding of the file with a different digest.
    kind = response.headers.get("Content-Type", "").lower()
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if kind.startswith("text/html") or encoding != "identity":
        what = one_line(kind if encoding == "identity" else encoding)
        return CommandExecutionError(f"the server sent {what}, not the file")
    return None


def _validator(headers: Any) -> str | None:
    """Return what identifies this version of the file; it is sent to the server later."""
    for name, form in (("ETag", _TAG), ("Last-Modified", _DATE)):
        value: str = headers.get(name, "")
        if re.fullmatch(form, value):
            return value
    return None


def _request(url: str, headers: dict[str, str], method: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    # What is not quoted yet: spaces, other scripts.
    path, query = (urllib.parse.quote(part, string.punctuation) for part in parts[2:4])
    request = urllib.request.Request(  # noqa: S310 (http and https alone, see _opener)
        urllib.parse.urlunsplit((parts.scheme, host, path, query, "")),
        headers=headers,
        method=method,
    )
    if user:
        word = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        # Not for a server that a redirect may point to.
        request.add_unredirected_header("Authorization", f"Basic {word}")
    return request


def _chunks(response: Any) -> Iterator[bytes]:
    try:
        # read1, as read would wait for a whole chunk.
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise ConnectionError(cause(err)) from err


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects over http and https."""

    def __init__(self, https_only: bool) -> None:
        self._schemes = ("https",) if https_only else ("http", "https")

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        # The base class reads what came with it to the end, which there may not be.
        fp.close()
        if urllib.parse.urlsplit(newurl).scheme not in self._schemes:
            raise CommandExecutionError(
                f"{shown(req.full_url)} redirects to {shown(one_line(newurl))}, which is not "
                f"{' or '.join(self._schemes)}"
            )
        return _request(newurl, dict(req.headers), req.get_method())

    # Python knows 308 since 3.11.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


class _Proxies(urllib.request.ProxyHandler):
    """Proxies of the pillar or the environment."""

    def __init__(self) -> None:
        super().__init__(netboot_proxy.urls())

    def proxy_open(self, req: Any, proxy: str, type: str) -> Any:  # noqa: A002 (its name)
        if req.host and netboot_proxy.bypassed(req.host):
            return None
        if netboot_proxy.is_set():
            # Not by the base class, which obeys no_proxy.
            scheme = req.type
            req.set_proxy(urllib.parse.urlsplit(proxy).netloc, "http")
            return None if scheme != "ftp" else self.parent.open(req)
        # Its value may contain a password.
        if "://" in proxy and not re.match("https?://", proxy):
            raise CommandExecutionError(
                f"{type}_proxy of the environment is not the http:// URL of a proxy"
            )
        return super().proxy_open(req, proxy, type)


def _opener(guard: Guard, https_only: bool) -> urllib.request.OpenerDirector:
    """Return an opener for http and https only: redirects must not reach local files."""

    def connection(kind: Any) -> Any:
        class Connection(kind):  # type: ignore[misc]
            def connect(self) -> None:
                self._create_connection = lambda address, *_: connect(guard, *address)
                super().connect()

        return Connection

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: Any) -> Any:
            return self.do_open(connection(http.client.HTTPConnection), request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: Any) -> Any:
            kind = connection(http.client.HTTPSConnection)
            return self.do_open(kind, request, context=tls(guard))

    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(),
        _Redirects(https_only),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        Http(),
        Https(),
    ):
        opener.add_handler(handler)
    return opener
