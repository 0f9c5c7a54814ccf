"""
A partly fetched ISO: its bytes, the note about their source, and its progress.

The bytes are in ``NAME.part`` in a directory that is closed to others, beside a note
(``NAME.part.json``). A later run resumes the download after hashing the existing bytes again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from io import FileIO
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_files
from iso_hashes import CHUNK, Aside, Hashes
from netboot_names import shown

# Data are flushed to the disk at these intervals, so that little is left to flush at the end.
_FLUSH_BYTES = 16 << 20

# What is left of the disk for other programs: a share of it, and at most so many bytes.
_RESERVE = 0.02
_RESERVE_BYTES = 256 << 20

_NONE = type(None)
_NOTE: dict[str, Any] = {
    "url": str,
    "validator": (str, _NONE),
    "total": (int, _NONE),
    "from": int,
    "started": (int, float),
    "inode": int,
}


def progress(part: str) -> dict[str, Any] | None:
    """
    Return the progress of a part, or None if it has just been completed.

    part
        Its path.
    """
    try:
        found = os.stat(part)
    except FileNotFoundError:
        return None
    note = read_note(part)
    size, total = found.st_size, note.get("total")
    rate = left = None
    running = _locked_by_anybody(found.st_ino)
    seconds = time.time() - note.get("started", 0)
    if running and note and seconds > 0:
        rate = max(0, size - note["from"]) / seconds
    if rate and total:
        left = int((total - size) / rate)
    return {
        "file": os.path.basename(part)[: -len(".part")],
        "url": shown(note.get("url", "")),
        "size": size,
        "total": total,
        "percent": 100 * size // total if total else None,
        "rate": int(rate) if rate else None,
        "seconds_left": left,
        "running": running,
    }


def _locked_by_anybody(inode: int) -> bool:
    # proc_locks(5). Trying to lock the file could make a run that is just starting fail.
    with open("/proc/locks", encoding="ascii") as locks:
        return any(f":{inode} " in line for line in locks)


def in_words(one: dict[str, Any]) -> str:
    """
    Return the progress of a part as a sentence fragment.

    one
        The result of ``progress``.
    """
    words = [f"{one['percent']} %" if one["total"] else f"{one['size'] / 1e6:.1f} MB"]
    if one["rate"]:
        words.append(f"{one['rate'] / 1e6:.1f} MB/s")
    if one["seconds_left"] is not None:
        words.append(f"{one['seconds_left']} s left")
    return ", ".join(words)


class Part:
    """An unverified file. Received data are written, hashed and flushed in parallel."""

    def __init__(self, staging: str, path: str, checksum: dict[str, str]) -> None:
        self._path = part_path(staging, path)
        self._kinds = checksum
        self._file = _open_locked(self._path)
        self._disk = Aside(lambda _: os.fdatasync(self._file.fileno()))
        self._hashes = Hashes(checksum)
        self.size = self._flushed = 0
        self.note = read_note(self._path)
        if self.note:
            for chunk in iter(lambda: self._file.read(CHUNK), b""):
                self._hashes.add(chunk)
                self.size += len(chunk)
        else:
            self._file.truncate(0)

    def add(self, chunk: bytes) -> None:
        """Append received data."""
        if self.note.get("total") is None:
            self._check_reserve(len(chunk))
        self._hashes.add(chunk)
        self.size += len(chunk)
        left = memoryview(chunk)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as err:
            if err.errno in (errno.ENOSPC, errno.EDQUOT):
                # A full disk affects other programs too.
                if self.note.get("total") is None:
                    self._refuse_endless()
                self.start_over()
            raise
        if self.size - self._flushed >= _FLUSH_BYTES:
            self._flushed = self.size
            self._disk.put(None)

    def start_over(self) -> None:
        """Discard the received data."""
        # The note goes first: a part without a note is not resumed.
        unlink(note_path(self._path))
        self._file.seek(0)
        self._file.truncate(0)
        self._hashes.close()
        self._hashes = Hashes(self._kinds)
        self.note = {}
        self.size = self._flushed = 0

    def digests(self) -> dict[str, str]:
        """Return the digests once everything was received."""
        return self._hashes.digests()

    def check_space(self, total: int | None) -> None:
        """Refuse a file that does not fit on the disk beside the rest of other fetches."""
        if total is None:
            return
        directory = os.path.dirname(self._path)
        others = 0
        for name in os.listdir(directory):
            part = os.path.join(directory, name)
            one = progress(part) if name.endswith(".part") and part != self._path else None
            if one and one["running"] and one["total"]:
                others += max(0, one["total"] - one["size"])
        free = max(0, room(directory) - others)
        if total - self.size > free:
            raise CommandExecutionError(
                f"it has {total} bytes, but only {free} are free on the disk of {self._path}"
                + (f", which already has {self.size} of them" if self.size else "")
            )

    def _check_reserve(self, more: int) -> None:
        """Refuse more data of a file whose size is unknown before the disk is full."""
        directory = os.path.dirname(self._path)
        if room(directory) < more:
            self._refuse_endless()

    def _refuse_endless(self) -> None:
        size = self.size
        self.start_over()
        raise CommandExecutionError(
            f"it has more than {size} bytes (the server does not send its size), for which there "
            f"is no room on the disk of {self._path}"
        )

    def write_note(self, url: str, validator: str | None, total: int | None) -> None:
        """Note the source of the data to come, for the run that resumes the download."""
        self.note = {
            "url": url,
            "validator": validator,
            "total": total,
            "from": self.size,
            "started": time.time(),
            "inode": os.fstat(self._file.fileno()).st_ino,
        }
        netboot_files.write(note_path(self._path), json.dumps(self.note), mode=0o600)

    def publish(self, path: str) -> None:
        """Give the file its name."""
        self._disk.close()
        netboot_files.set_mode(self._file.fileno(), 0o644)
        os.fsync(self._file.fileno())
        os.replace(self._path, path)
        netboot_files.sync_directory(os.path.dirname(path))

    def close(self) -> None:
        """Close the part, and remove it if it cannot be resumed."""
        with contextlib.suppress(OSError):
            self._disk.close()
        self._hashes.close()
        if not (self.size and self.note):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                    unlink(note_path(self._path))
                    os.unlink(self._path)
        self._file.close()


def room(directory: str) -> int:
    """
    Return how many bytes may be written to a disk so that some are left for other programs.

    directory
        A directory on it.
    """
    disk = shutil.disk_usage(directory)
    return disk.free - min(int(disk.total * _RESERVE), _RESERVE_BYTES)


def _open_locked(path: str) -> FileIO:
    """Open a part and lock it against other runs while it is open."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder of the lock may just have published the file.
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                return FileIO(handle, "r+b")
        except BlockingIOError as err:
            os.close(handle)
            raise CommandExecutionError(
                f"{path} is being fetched by another run on this machine; wait until it ends."
            ) from err
        except FileNotFoundError:
            pass
        os.close(handle)


def part_path(staging: str, path: str) -> str:
    """
    Return the path of an ISO while it is unverified.

    staging, path
        The directory for unverified files, and the final path of the ISO.
    """
    return os.path.join(staging, os.path.basename(path) + ".part")


def note_path(part: str) -> str:
    """
    Return the path of a part's note.

    part
        Its path.
    """
    return part + ".json"


def read_note(part: str) -> dict[str, Any]:
    """
    Return the note of a part: its source; empty if there is no note.

    part
        Its path.
    """
    try:
        with open(note_path(part), encoding="utf-8") as file:
            note = json.load(file)
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    right = isinstance(note, dict) and all(
        isinstance(note.get(key), kind) for key, kind in _NOTE.items()
    )
    return note if right else {}


def unlink(path: str) -> None:
    """
    Remove a file if it exists.

    path
        Its path.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
