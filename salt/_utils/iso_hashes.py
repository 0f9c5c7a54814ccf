"""
Digests of files, several at once, each computed in its own thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, Callable

from salt.exceptions import CommandExecutionError

import netboot_files
from netboot_shapes import IsoRecord

CHUNK = 1 << 20
# Chunks that may wait for a hasher: they determine how much memory a fetch takes.
_WAITING = 8


def digests(path: str, kinds: Iterable[str]) -> IsoRecord:
    """
    Hash a file.

    path
        The file (absolute path).

    kinds
        Algorithms: sha512, sha256, sha1, md5. SHA-256 is always among them.

    Returns a map: ``size`` (bytes), ``digests``, ``identity`` (see ``netboot_files``),
    ``verified_at`` (seconds since 1970). Raises CommandExecutionError when the file cannot be read.
    """
    before = netboot_files.identity(path)
    try:
        with open(path, "rb", buffering=0) as file, contextlib.closing(Hashes(kinds)) as hashes:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                hashes.add(chunk)
            found = hashes.digests()
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be read: {err.strerror}") from err
    if before is None or before != netboot_files.identity(path):
        raise CommandExecutionError(f"{path} changed while it was being read; apply again.")
    return {
        "size": before["size"],
        "digests": found,
        "identity": before,
        "verified_at": int(time.time()),
    }


class Aside:
    """Process items one after another in a separate thread."""

    def __init__(self, work: Callable[[Any], object]) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(_WAITING)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Any], object]) -> None:
        while True:
            ended, item = self._queue.get()
            if ended:
                return
            try:
                if not self._error:
                    work(item)
            except OSError as err:
                self._error = err

    def put(self, item: Any) -> None:
        self._queue.put((False, item))

    def close(self) -> None:
        """Wait until all items are processed. Raises the OSError that occurred."""
        if self._thread.is_alive():
            self._queue.put((True, None))
            self._thread.join()
        if self._error:
            raise self._error


class Hashes:
    """Several digests of the same bytes, each computed in a thread (hashlib releases the GIL)."""

    def __init__(self, kinds: Iterable[str]) -> None:
        # SHA-256 is always needed: `hash=` of ALT's first stage accepts no other.
        self._hashers = {kind: hashlib.new(kind) for kind in {"sha256", *kinds}}
        self._asides = [Aside(hasher.update) for hasher in self._hashers.values()]

    def add(self, chunk: bytes) -> None:
        for aside in self._asides:
            aside.put(chunk)

    def digests(self) -> dict[str, str]:
        self.close()
        return {kind: hasher.hexdigest() for kind, hasher in self._hashers.items()}

    def close(self) -> None:
        for aside in self._asides:
            aside.close()


def compare(what: str, found: dict[str, str], checksum: dict[str, str]) -> None:
    """
    Raise CommandExecutionError when a digest differs.

    what
        The file or its URL, for the message.

    found, checksum
        Actual and expected digests, by algorithm.
    """
    for kind, wanted in sorted(checksum.items()):
        if found[kind] != wanted.lower():
            raise CommandExecutionError(
                f"{what} is not the expected file: its {kind} is {found[kind]}, "
                f"not {wanted.lower()}."
            )
