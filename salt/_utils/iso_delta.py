"""
A new revision of an ISO from an old one and the blocks that changed, by zsync.

Its mirror has a control file ``FILE.zsync`` beside the file. What zsync makes is as unverified as
what a source sends: the digest of the whole file decides.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import urllib.parse
from collections.abc import Iterable
from typing import Callable

from salt.exceptions import CommandExecutionError

import iso_confined
import iso_sources
import iso_zsync
import netboot_files
import netboot_proxy
from iso_confined import Limits
from iso_hashes import CHUNK
from iso_part import Part
from netboot_names import shown

log = logging.getLogger(__name__)

#: Appended to the name of an ISO.
SUFFIX = ".zsync"
_MAKES, _USES = "zsyncmake", "zsync"
_CONTROL, _RESULT = "control", "result"
# Below, little is saved. It is not slower: tests/bench/bench_delta.py found a delta faster than a
# whole fetch from 4 MiB on, on lines slower than some 900 Mbit/s.
LEAST = 64 << 20
# A whole fetch at this rate, in bytes a second, would not take longer.
_SLOWEST = 100_000
_LEAST_S = 600
# zsyncmake reads 250 MB a second here.
_MAKES_AT = 4_000_000


def receive(
    part: Part,
    url: str,
    seeds: Iterable[str],
    staging: str,
    stall_timeout_s: int,
    meanwhile: Callable[[], object] = lambda: None,
) -> str | None:
    """
    Receive a file by its control file; return what that saved, in words.

    part
        The file to be received; it is empty.

    url
        Where it is.

    seeds
        Paths of files that may be older revisions.

    staging, stall_timeout_s
        See ``iso_download.How``.

    meanwhile
        Called several times a second while the part does not grow yet.

    Returns None, and leaves the part empty, where a whole fetch is due: there is no old revision or
    no control file, the file is small, zsync is missing or cannot reach it (https), or fails.
    """
    there = [path for path in dict.fromkeys(seeds) if os.path.isfile(path)]
    if not there or not _is_reachable(url) or not iso_confined.can_run(_USES):
        return None
    try:
        with iso_confined.directory(staging) as path:
            size = _prepare(part, url, path, stall_timeout_s)
            if not size:
                return None
            fetched = _fetch(url, path, there, size, stall_timeout_s, meanwhile)
            _take(part, url, os.path.join(path, _RESULT), size)
    except (CommandExecutionError, OSError, ValueError) as err:
        part.start_over()
        log.warning("%s: no delta, fetching all of it: %s", shown(url), err)
        return None
    return f"{(size - fetched) / 1e9:.2f} of {size / 1e9:.2f} GB reused"


def _is_reachable(url: str) -> bool:
    """Return whether zsync can fetch from a URL: it knows http, and neither users nor queries."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and "@" not in parts.netloc and not parts.query


def _prepare(part: Part, url: str, path: str, stall_timeout_s: int) -> int:
    """Write a control file of our own; return the file's size, or 0 where there is no delta."""
    size = iso_sources.size(url, stall_timeout_s) or 0
    if size < LEAST:
        return 0
    # Both what zsync makes and the part. First, as the size is what a stranger says.
    part.check_space(2 * size)
    try:
        source = iso_sources.open_source(f"{url}{SUFFIX}", stall_timeout_s)
    except FileNotFoundError:
        return 0
    most = iso_zsync.most(size)
    content = bytearray()
    with contextlib.closing(source):
        for chunk in source.chunks:
            content += chunk
            if len(content) > most:
                raise ValueError(f"its control file has more than {most} bytes")
    control = iso_zsync.parsed(bytes(content), size)
    quoted = urllib.parse.quote(_with_port(url), safe="!#$%&'()*+,/:;=?@[]~")
    with open(os.path.join(path, _CONTROL), "xb") as file:
        file.write(iso_zsync.written(control, quoted))
        os.fchmod(file.fileno(), 0o644)
    return size


def _with_port(url: str) -> str:
    """Return a URL with its port: zsync finds the usual one in /etc/services, if that is there."""
    parts = urllib.parse.urlsplit(url)
    netloc = parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:80"
    return urllib.parse.urlunsplit(parts._replace(netloc=netloc))


def _fetch(
    url: str,
    path: str,
    seeds: list[str],
    size: int,
    stall_timeout_s: int,
    meanwhile: Callable[[], object],
) -> int:
    """Run zsync; return the bytes that it says it fetched."""
    argv = [_USES]
    for seed in seeds:
        argv += ["-i", seed]
    limits = Limits(size, _LEAST_S + size / _SLOWEST, stall_timeout_s)
    proxy = netboot_proxy.of(url)
    environment = {"http_proxy": _with_port(proxy)} if proxy else {}
    said = iso_confined.run([*argv, "-o", _RESULT, _CONTROL], path, limits, environment, meanwhile)
    told = re.findall(r"used (\d{1,15}) local, fetched (\d{1,15})", said)
    local, fetched = map(int, told[-1]) if told else (0, 0)
    # Its exit status is 0 even if its source did not answer.
    if local + fetched < size:
        last = " ".join(re.sub(r"[^ -~]", " ", said).split()[-24:])
        raise CommandExecutionError(f"zsync got {local + fetched} of {size} bytes: {last}")
    return min(size, fetched)


def _take(part: Part, url: str, path: str, size: int) -> None:
    """Copy what zsync made: nobody else ever had the part open."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise ValueError(f"zsync made a file of {found.st_size} bytes, not of {size}")
        part.write_note(url, None, size)
        for chunk in iter(lambda: file.read(CHUNK), b""):
            part.add(chunk)
    if part.size != size:
        raise ValueError(f"of what zsync made {part.size} of {size} bytes could be read")


def can_make() -> bool:
    """Return whether this machine can make control files."""
    return iso_confined.can_run(_MAKES)


def make(iso: str, control: str, staging: str) -> None:
    """
    Write the control file of an ISO.

    iso, control
        Their absolute paths.

    staging
        Directory for unverified files.

    Raises CommandExecutionError when that fails.
    """
    size = os.stat(iso).st_size
    limits = Limits(iso_zsync.most(size), _LEAST_S + size / _MAKES_AT, _LEAST_S)
    try:
        with iso_confined.directory(staging) as path:
            argv = [_MAKES, "-C", "-u", "x", "-o", _RESULT, iso]
            iso_confined.run(argv, path, limits, {})
            made = os.open(os.path.join(path, _RESULT), os.O_RDONLY | os.O_NOFOLLOW)
            with open(made, "rb") as file:
                parsed = iso_zsync.parsed(file.read(iso_zsync.most(size) + 1), size)
        # Relative, as mirrors have several addresses.
        text = iso_zsync.written(parsed, urllib.parse.quote(os.path.basename(iso)))
        as_text = text.decode("utf-8", "surrogateescape")
        netboot_files.write(control, as_text, mode=0o644, staging=staging)
    except (OSError, ValueError) as err:
        raise CommandExecutionError(f"{control} cannot be made: {err}") from err
