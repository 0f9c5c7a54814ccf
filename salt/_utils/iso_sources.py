"""
Open the file at a URL, from any byte on: http, https, ftp and file.

Standard library only: requests is not in the thin of Salt 3006 and 3007.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO

from salt.exceptions import CommandExecutionError

import netboot_proxy
from iso_ftp import open_ftp
from iso_http import open_http, size_over_http
from iso_wire import CHUNK, Guard, Source, Unchanged, one_line
from netboot_names import shown

# The sum file of a directory has a few hundred lines.
_TEXT_LIMIT = 1 << 20
_TEXT_PAUSES_S = (1, 3)


def text(
    url: str, stall_timeout_s: int, unless: str | None = None
) -> tuple[bytes, str | None] | None:
    """
    Return the content of a small text file and its validator, or None if it is unchanged.

    url
        Its URL. An https URL must not redirect to any other scheme, not even on the way.

    stall_timeout_s
        Seconds in which the whole file must come.

    unless
        Validator of the file that is already known: the server is asked whether it changed.

    Raises FileNotFoundError when there is no such file, CommandExecutionError on other errors.
    """
    for pause in (*_TEXT_PAUSES_S, None):
        try:
            guard = Guard(stall_timeout_s, whole=True)
            source = _open(url, 0, None, unless, guard, https_only=url.startswith("https:"))
            with contextlib.closing(source):
                content = b""
                for chunk in source.chunks:
                    content += chunk
                    if len(content) > _TEXT_LIMIT:
                        raise CommandExecutionError(f"{shown(url)} is too large for a sum file.")
            return content, source.validator
        except Unchanged:
            return None
        except ConnectionError as err:
            if pause is None:
                raise CommandExecutionError(f"{shown(url)} cannot be read: {err}") from err
            time.sleep(pause)
    return None


def open_source(
    url: str, stall_timeout_s: float, start: int = 0, validator: str | None = None
) -> Source:
    """
    Open a source.

    url
        URL: http, https, ftp or file.

    stall_timeout_s
        Seconds without data, or with fewer than ``MIN_RATE`` bytes a second, after which the source
        counts as stalled. All that comes before the first byte has to come in this time.

    start : 0
        Offset of the first byte.

    validator : None
        ``validator`` of the source that the bytes before ``start`` came from: if the file has
        changed since, it is sent from the beginning. None: the caller has to check that.

    Raises ConnectionError when a retry may help, FileNotFoundError when there is no such file,
    CommandExecutionError when this source is unusable.
    """
    return _open(url, start, validator, None, Guard(stall_timeout_s))


def size(url: str, stall_timeout_s: float) -> int | None:
    """
    Return the size of the file at a URL, or None if its server does not say it; without its data.

    url, stall_timeout_s
        See ``open_source``. Of ftp nothing is asked.

    Raises as ``open_source`` does.
    """
    guard = Guard(stall_timeout_s)
    if url.startswith(("http:", "https:")) or netboot_proxy.of(url):
        return size_over_http(url, guard)
    if url.startswith("file:"):
        with contextlib.closing(_open(url, 0, None, None, guard)) as source:
            return source.total
    return None


def _open(
    url: str,
    start: int,
    validator: str | None,
    unless: str | None,
    guard: Guard,
    https_only: bool = False,
) -> Source:
    """Open a source; raises Unchanged if it still has the validator ``unless``."""
    try:
        parts = urllib.parse.urlsplit(url)
        scheme = parts.scheme
        if scheme not in ("http", "https", "ftp", "file"):
            raise ValueError("it is none of http, https, ftp and file")
        if scheme != "file" and (parts.port == 0 or not parts.hostname):
            raise ValueError("it has no host, or port 0")
        if scheme == "file":
            return _open_file(url, start, validator, unless)
        if scheme == "ftp" and not netboot_proxy.of(url):
            return open_ftp(url, start, validator, unless, guard)
        return open_http(url, start, validator, unless, guard, https_only)
    except ValueError as err:
        # The cause quotes what may be a part of a password.
        why = "" if "@" in url else f": {one_line(err)}"
        raise CommandExecutionError(f"it is not a valid URL{why}") from err


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
        raise Unchanged
    if (validator and validator != now) or start > found.st_size:
        start = 0
    file.seek(start)
    return Source(start, found.st_size, now, _file_chunks(file), file.close)


def _file_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as err:
        raise ConnectionError(err.strerror) from err
