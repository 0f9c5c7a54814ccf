"""
Read parts of a file over HTTP: RFC 9110, 14 (ranges), RFC 9112. Redirects are refused: altboot's
curl does not follow them.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import urllib.parse
from typing import Any

from probe_wire import Budget, Unreachable, connect, kept, one_line

PORT = 80
_MISSING = (404, 410)


class _Http(http.client.HTTPConnection):
    """A connection within a budget."""

    def __init__(self, host: str, port: int, budget: Budget) -> None:
        super().__init__(host, port)
        self._budget = budget

    def connect(self) -> None:
        self.sock: Any = connect(self.host, self.port, self._budget)


def read(
    host: str,
    target: str,
    ranges: list[tuple[int, int]],
    timeout: float = 10,
    port: int = PORT,
    agent: str = "",
) -> tuple[int | None, list[bytes]]:
    """
    Return a file's size, None when the server does not say it, and the bytes of each range; fewer
    where the file ends.

    host, target, port
        The server; path and query as a URL has them.

    ranges
        Pairs of offset and length.

    timeout
        Seconds, see ``probe_wire.Budget``.

    agent
        Name for the server's log.

    Raises Unreachable.
    """
    connection = _Http(host, port, Budget(timeout, kept(ranges)))
    target = urllib.parse.quote(target, safe="%/:=&?~+!$,;'@()*[]")
    size: int | None = None
    parts = []
    try:
        for offset, length in ranges:
            size, data = _part(connection, target, offset, length, agent)
            parts.append(data)
    except (http.client.HTTPException, ValueError) as err:
        raise Unreachable(f"the server does not answer in HTTP: {_words(err)}") from None
    finally:
        connection.close()
    return size, parts


def guarded(host: str, target: str, timeout: float = 10, port: int = PORT, agent: str = "") -> str:
    """
    Return what is wrong with a file for which the server wants a password; empty: it refuses a
    wrong one.

    host, target, timeout, port, agent
        See ``read``.

    Raises Unreachable.
    """
    connection = _Http(host, port, Budget(timeout, 0))
    nobody = base64.b64encode(os.urandom(12).hex().encode() + b":").decode("ascii")
    headers = {"Authorization": f"Basic {nobody}", **({"User-Agent": agent} if agent else {})}
    try:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
    except (http.client.HTTPException, ValueError) as err:
        raise Unreachable(f"the server does not answer in HTTP: {_words(err)}") from None
    finally:
        connection.close()
    if answer.status == 200:
        return "the server gives it for any password"
    # 429: somebody else guesses, which the server limits.
    return "" if answer.status in (401, 429) else str(_refused(answer, 0))


def _words(err: Exception) -> str:
    if isinstance(err, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(err, http.client.IncompleteRead):
        return f"it ends after {len(err.partial)} bytes"
    return one_line(f"{type(err).__name__} {err}")


def _part(
    connection: http.client.HTTPConnection, target: str, offset: int, length: int, agent: str
) -> tuple[int | None, bytes]:
    last = offset + max(length, 1) - 1
    headers = {"Range": f"bytes={offset}-{last}", **({"User-Agent": agent} if agent else {})}
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    if answer.status == 206:
        return _partial(answer, offset, last, length)
    if answer.status == 200 and not offset:
        return _whole(connection, answer, length)
    if answer.status == 416:
        size = re.fullmatch(r"bytes \*/([0-9]{1,18})", answer.getheader("Content-Range", ""))
        if size and int(size[1]) <= offset:
            connection.close()
            return int(size[1]), b""
    raise _refused(answer, offset)


def _partial(
    answer: http.client.HTTPResponse, offset: int, last: int, length: int
) -> tuple[int | None, bytes]:
    said = answer.getheader("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", said)
    if not match or int(match[1]) != offset:
        raise Unreachable(f"the server answers with another range: {one_line(said) or 'none'}")
    size = None if match[3] == "*" else int(match[3])
    right = last if size is None else min(last, size - 1)
    if int(match[2]) != right:
        raise Unreachable(f"the server answers with another range: {one_line(said)}")
    data = answer.read(right - offset + 1)
    if len(data) != right - offset + 1:
        raise Unreachable(f"the server sends {len(data)} of {right - offset + 1} bytes")
    if answer.read(1):
        raise Unreachable("the server sends more than the range")
    return size, data[:length]


def _whole(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, length: int
) -> tuple[int | None, bytes]:
    """Take the beginning of an answer without ranges, as servers give to scripts they make."""
    size = answer.length
    data = answer.read(length)
    if size is not None and len(data) < min(length, size):
        raise Unreachable(f"the server sends {len(data)} of {size} bytes")
    if size is None and len(data) < length:
        size = len(data)
    connection.close()
    return size, data


def _refused(answer: http.client.HTTPResponse, offset: int) -> Unreachable:
    said = f"{answer.status} {one_line(answer.reason)}".strip()
    if 300 <= answer.status < 400:
        to = one_line(answer.getheader("Location", "")) or "nowhere"
        return Unreachable(f"the server redirects to {to} ({said})")
    if answer.status == 200:
        return Unreachable(f"the server ignores Range: it answers {said} from byte {offset} on")
    return Unreachable(f"the server answers {said}", missing=answer.status in _MISSING)
