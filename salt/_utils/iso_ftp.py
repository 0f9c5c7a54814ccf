"""
Open files over ftp: RFC 959; SIZE, MDTM and REST in stream mode: RFC 3659.
"""

from __future__ import annotations

import ftplib
import re
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

from iso_wire import CHUNK, Guard, Source, Unchanged, cause, connect, one_line, paced


class _Ftp(ftplib.FTP):
    """A session whose connections are guarded."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def open(self, host: str, port: int) -> None:
        self.sock = connect(self._guard, host, port)
        self.af = self.sock.family
        # Banners may be in any encoding.
        self.file = self.sock.makefile("r", encoding=self.encoding, errors="replace")
        self.welcome = self.getresp()

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, Any]:
        _, port = self.makepasv()
        # The server must not choose another host.
        data = connect(self._guard, self.sock.getpeername()[0], port)  # type: ignore[union-attr]
        try:
            if rest is not None:
                self.sendcmd(f"REST {rest}")
            answer = self.sendcmd(cmd)
            if answer[0] == "2":  # as the base class says: some servers send this first
                answer = self.getresp()
            if answer[0] != "1":
                raise ftplib.error_reply(answer)  # noqa: S321 (an error)
        except BaseException:
            data.close()
            raise
        return data, None


def open_ftp(
    url: str, start: int, validator: str | None, unless: str | None, guard: Guard
) -> Source:
    """
    Open a source over ftp.

    url, start, validator
        See ``iso_sources.open_source``.

    unless
        Raise Unchanged if the file still has this validator.

    guard
        The limits of its connections.
    """
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path[1:])
    ftp = _Ftp(guard)
    try:
        ftp.open(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        ftp.login(*(urllib.parse.unquote(word or "") for word in (parts.username, parts.password)))
        ftp.voidcmd("TYPE I")
        size, time_ = _says(ftp, f"SIZE {path}"), _says(ftp, f"MDTM {path}")
        if size is not None and not re.fullmatch("[0-9]{1,18}", size):
            raise CommandExecutionError(f"the server says that the file's size is {one_line(size)}")
        if time_ is not None and not re.fullmatch(r"[0-9]{14}(\.[0-9]{1,9})?", time_):
            time_ = None
        if unless and unless == time_:
            raise Unchanged
        if validator and validator != time_:
            start = 0
        start, data = _data(ftp, path, start)
    except (ftplib.error_perm, ftplib.error_proto, ValueError) as err:
        ftp.close()
        if str(err).startswith("550"):
            raise FileNotFoundError(one_line(err)) from err
        raise CommandExecutionError(f"the server answered {one_line(err)}") from err
    except (ftplib.error_temp, ftplib.error_reply, EOFError, OSError) as err:
        ftp.close()
        raise ConnectionError(_broken(err)) from err
    except BaseException:
        ftp.close()
        raise

    def close() -> None:
        data.close()
        ftp.close()

    total = None if size is None else int(size)
    return Source(start, total, time_, paced(_chunks(ftp, data), guard), close)


def _broken(err: BaseException) -> str:
    return cause(err) if str(err) else "the server closed the connection"


def _says(ftp: ftplib.FTP, command: str) -> str | None:
    """Return the answer to a command that not all servers support, or None."""
    try:
        return ftp.sendcmd(command)[4:].strip()
    except ftplib.error_perm as err:
        if str(err).startswith("550"):
            raise
        return None


def _data(ftp: ftplib.FTP, path: str, start: int) -> tuple[int, socket.socket]:
    """Return first byte and connection of a transfer; from 0 if the server cannot resume."""
    if start:
        try:
            return start, ftp.transfercmd(f"RETR {path}", rest=start)
        except ftplib.error_perm as err:
            if str(err).startswith("550"):
                raise
    return 0, ftp.transfercmd(f"RETR {path}")


def _chunks(ftp: ftplib.FTP, data: socket.socket) -> Iterator[bytes]:
    try:
        while chunk := data.recv(CHUNK):
            yield chunk
        data.close()
        ftp.voidresp()
    except (ftplib.Error, EOFError, OSError) as err:
        raise ConnectionError(_broken(err)) from err
