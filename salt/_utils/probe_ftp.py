"""
Read parts of a file over FTP, without a password: RFC 959, 1635; SIZE, and REST in stream mode:
RFC 3659.
"""

from __future__ import annotations

import ftplib
import os
import re
from typing import Any

from probe_wire import Budget, Unreachable, Wire, connect, kept, one_line

PORT = ftplib.FTP_PORT
# RFC 959, 5.4: the file is not there, or must not be read; servers do not tell which.
_UNAVAILABLE = "550"


class _Ftp(ftplib.FTP):
    """A session whose connections are within a budget."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def open(self, host: str, port: int) -> None:
        self.sock: Any = connect(host, port, self._budget)
        self.af = self.sock.family
        # Greetings may be in any encoding.
        self.file = self.sock.makefile("r", encoding="utf-8", errors="replace")
        self.welcome = self.getresp()

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Wire, Any]:
        _host, port = self.makepasv()
        # The server must not choose another host.
        data = connect(self.sock.getpeername()[0], port, self._budget)
        try:
            if rest:
                self.sendcmd(f"REST {rest}")
            answer = self.sendcmd(cmd)
            if answer[0] != "1":
                raise ftplib.error_reply(answer)  # noqa: S321 (an error)
        except BaseException:
            data.close()
            raise
        return data, None


def read(
    host: str, path: str, ranges: list[tuple[int, int]], timeout: float = 10, port: int = PORT
) -> tuple[int | None, list[bytes]]:
    """
    Return a file's size, None when the server does not say it, and the bytes of each range; fewer
    where the file ends.

    host, path, port
        The server; the file there.

    ranges
        Pairs of offset and length.

    timeout
        Seconds, see ``probe_wire.Budget``.

    Raises Unreachable.
    """
    if any(char in path for char in "\r\n\0"):
        raise Unreachable("there is no such file", missing=True)
    ftp = _Ftp(Budget(timeout, kept(ranges)))
    try:
        ftp.open(host, port)
        # For commands: names are sent as the bytes that they are.
        ftp.encoding, path = "latin-1", os.fsencode(path).decode("latin-1")
        _login(ftp)
        ftp.voidcmd("TYPE I")
        size = _size(ftp, path)
        parts = [_part(ftp, path, size, offset, length) for offset, length in ranges]
        ftp.putcmd("QUIT")
    except (ftplib.Error, ValueError) as err:
        text = one_line(err)
        raise Unreachable(f"the server answers {text}", text.startswith(_UNAVAILABLE)) from None
    except EOFError:
        raise Unreachable(f"the server closed the connection on TCP {port}") from None
    finally:
        ftp.close()
    return size, parts


def _login(ftp: ftplib.FTP) -> None:
    try:
        ftp.login()
    except ftplib.error_perm as err:
        raise Unreachable(f"a login without a password is refused: {one_line(err)}") from None


def _size(ftp: ftplib.FTP, path: str) -> int | None:
    try:
        said = ftp.sendcmd(f"SIZE {path}")
    except ftplib.error_perm as err:
        if str(err).startswith(_UNAVAILABLE):
            raise
        return None  # a server without it
    match = re.fullmatch(r"213 ([0-9]{1,18})\s*", said)
    if not match:
        raise Unreachable(f"the server says that the file's size is {one_line(said[4:])}")
    return int(match[1])


def _part(ftp: ftplib.FTP, path: str, size: int | None, offset: int, length: int) -> bytes:
    right = length if size is None else max(0, min(length, size - offset))
    data = bytearray()
    with ftp.transfercmd(f"RETR {path}", rest=offset or None) as connection:
        while len(data) < right:
            chunk = connection.recv(min(right - len(data), 1 << 16))
            if not chunk:
                break
            data += chunk
    try:
        ftp.voidresp()
    except ftplib.Error:
        if len(data) < right:
            raise
        # RFC 959, 4.2.2, 426: what the server says of a transfer that was closed before its end.
    if size is not None and len(data) < right:
        raise Unreachable(f"it ends after {offset + len(data)} of {size} bytes")
    return bytes(data)
