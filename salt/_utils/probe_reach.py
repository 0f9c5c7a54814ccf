"""
Read parts of a file by each method that clients have, without mounting anything.

``http://HOST/path``
    in ranges
``tftp://HOST/path``
    from the file's beginning on
``ftp://HOST/path``
    without a password
``smb://HOST/share/path``
    as a guest
``nfs://HOST/what/is/mounted!/path``
    over NFS 3, as all first stages can
``nfs4://HOST/what/is/mounted!/path``
    over NFS 4, or 3 where altboot's mount.nfs would fall back to it
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from typing import Optional

import probe_ftp
import probe_http
import probe_nfs
import probe_smb
import probe_tftp
from probe_wire import NO_ANSWER, Unreachable

__all__ = ["NO_ANSWER", "Unreachable", "read"]

_Ranges = list[tuple[int, int]]
_Read = tuple[Optional[int], list[bytes]]


def read(
    url: str, ranges: _Ranges, timeout: float, agent: str = ""
) -> tuple[int | None, list[bytes]]:
    """
    Return a file's size, None when the server does not say it, and the bytes of each range; fewer
    where the file ends.

    url
        The file, as above; with ``HOST:PORT`` another port (for NFS that of rpcbind).

    ranges
        Pairs of offset and length. TFTP sends all that is before them, too.

    timeout
        Seconds to wait for an answer; all may take a second more for each MiB, over TFTP ten.

    agent
        What web servers log as the client.

    Raises Unreachable with the cause.
    """
    match = re.fullmatch(r"(\w+)://([^/:@]+)(?::([0-9]{1,5}))?(/.*)", url, re.DOTALL)
    if not match or match[1] not in _READERS:
        raise Unreachable("the address has no method that clients have")
    if any(offset < 0 or length < 0 for offset, length in ranges):
        raise ValueError(ranges)
    port = int(match[3] or _PORTS[match[1]])
    return _READERS[match[1]](match[2], port, match[4], ranges, timeout, agent)


def _http(host: str, port: int, path: str, ranges: _Ranges, timeout: float, agent: str) -> _Read:
    return probe_http.read(host, path.partition("#")[0], ranges, timeout, port, agent)


def _tftp(host: str, port: int, path: str, ranges: _Ranges, timeout: float, _agent: str) -> _Read:
    most = max((offset + length for offset, length in ranges), default=0)
    # RFC 3617, 3: the slash after the host does not belong to the name.
    size, data = probe_tftp.read(host, _plain(path[1:]), most, timeout, port)
    return size, [data[offset : offset + length] for offset, length in ranges]


def _ftp(host: str, port: int, path: str, ranges: _Ranges, timeout: float, _agent: str) -> _Read:
    return probe_ftp.read(host, _plain(path), ranges, timeout, port)


def _smb(host: str, port: int, path: str, ranges: _Ranges, timeout: float, _agent: str) -> _Read:
    share, _, file = _plain(path[1:]).partition("/")
    return probe_smb.read(host, share, file, ranges, timeout, port)


def _nfs(host: str, port: int, path: str, ranges: _Ranges, timeout: float, _agent: str) -> _Read:
    export, _, file = path.partition("!/")
    return probe_nfs.read(host, _plain(export), _plain(file), ranges, timeout, port)


def _nfs4(host: str, port: int, path: str, ranges: _Ranges, timeout: float, _agent: str) -> _Read:
    export, _, file = path.partition("!/")
    return probe_nfs.read4(host, _plain(export), _plain(file), ranges, timeout, port)


def _plain(path: str) -> str:
    return urllib.parse.unquote(path, errors="surrogateescape")


_PORTS = {
    "ftp": probe_ftp.PORT,
    "http": probe_http.PORT,
    "nfs": probe_nfs.PORT,
    "nfs4": probe_nfs.PORT_OF_4,
    "smb": probe_smb.PORT,
    "tftp": probe_tftp.PORT,
}
_READERS: dict[str, Callable[[str, int, str, _Ranges, float, str], _Read]] = {
    "ftp": _ftp,
    "http": _http,
    "nfs": _nfs,
    "nfs4": _nfs4,
    "smb": _smb,
    "tftp": _tftp,
}
