"""
Read files of a FAT file system, such as the one that firmware boots from an ISO. Pure.

FAT12, FAT16 and FAT32 with long names, as Microsoft's "FAT32 File System Specification" has them.
The file system lies in a stranger's ISO, so every number in it is checked, and chains of clusters
end after as many as fit into what is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple

#: A function that returns the bytes of the file system from an offset on, of a length.
Read = Callable[[int, int], bytes]

#: The most bytes of a file. Boot loaders have up to 5 MB.
MOST_BYTES = 16 << 20
_MOST_DIRECTORY = 1 << 20
_ENTRY = 32
_LONG, _DIRECTORY, _VOLUME = 0x0F, 0x10, 0x08  # attributes
_DELETED, _END = 0xE5, 0x00
# An entry has 13 letters of a long name, in three places.
_LETTERS = (slice(1, 11), slice(14, 26), slice(28, 32))
# Clusters by type of the file system (specification, "Determination of FAT type").
_FAT12, _FAT16 = 4085, 65525
_RUN = 1 << 20


class Unreadable(Exception):
    """The file system is none or is damaged, or a file is too large."""


class _Entry(NamedTuple):
    name: str
    is_directory: bool
    cluster: int
    size: int


class Fat:
    """A file system whose header was read. Raises Unreadable when it is none."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size
        boot = self._exactly(0, 512)

        def number(offset: int, length: int) -> int:
            return int.from_bytes(boot[offset : offset + length], "little")

        sector, self._per_cluster = number(11, 2), number(13, 1)
        tables, roots = number(16, 1), number(17, 2)
        sectors = number(19, 2) or number(32, 4)
        table = number(22, 2) or number(36, 4)
        fit = sector in (512, 1024, 2048, 4096) and tables in (1, 2)
        # A power of two.
        if not fit or not self._per_cluster or self._per_cluster & (self._per_cluster - 1):
            raise Unreadable
        self._table = number(14, 2) * sector
        self._root = self._table + tables * table * sector
        self._roots = roots * _ENTRY
        self._data = self._root + -(-self._roots // sector) * sector
        self._cluster = self._per_cluster * sector
        self._clusters = (sectors * sector - self._data) // self._cluster
        if not self._table or self._clusters < 1:
            raise Unreadable
        self._bits = 12 if self._clusters < _FAT12 else 16 if self._clusters < _FAT16 else 32
        self._first = number(44, 4) if self._bits == 32 else 0

    def read(self, path: str) -> tuple[str, bytes] | None:
        """
        Return a file's path as it is written there, and its content; None if it is not there.

        path
            Its path, in any case.

        Raises Unreadable when the file system is damaged, or the file is too large.
        """
        entry = _Entry("", True, self._first, 0)
        found = []
        for part in path.split("/"):
            if not entry.is_directory:
                return None
            named = (
                one for one in self._entries(entry.cluster) if one.name.lower() == part.lower()
            )
            one = next(named, None)
            if one is None:
                return None
            entry = one
            found.append(entry.name)
        if entry.is_directory:
            return None
        if entry.size > MOST_BYTES:
            raise Unreadable
        content = self._chain(entry.cluster, entry.size) if entry.size else b""
        if len(content) < entry.size:
            raise Unreadable
        return "/".join(found), content[: entry.size]

    def _entries(self, cluster: int) -> Iterator[_Entry]:
        """Yield what a directory contains; cluster 0 is the root's, as ``..`` has it."""
        if cluster:
            data = self._chain(cluster, _MOST_DIRECTORY)
        else:
            data = self._exactly(self._root, self._roots)
        letters: dict[int, bytes] = {}
        for place in range(0, len(data) - _ENTRY + 1, _ENTRY):
            raw = data[place : place + _ENTRY]
            if raw[0] == _END:
                return
            if raw[0] == _DELETED:
                letters = {}
            elif raw[11] & 0x3F == _LONG:
                letters[raw[0] & 0x3F] = b"".join(raw[part] for part in _LETTERS)
            elif raw[11] & _VOLUME:
                letters = {}
            else:
                name = _long(letters) or _short(raw)
                letters = {}
                at = int.from_bytes(raw[26:28], "little")
                if self._bits == 32:
                    at |= int.from_bytes(raw[20:22], "little") << 16
                size = int.from_bytes(raw[28:32], "little")
                yield _Entry(name, bool(raw[11] & _DIRECTORY), at, size)

    def _chain(self, cluster: int, most: int) -> bytes:
        """Return the content of a chain of clusters, as far as it may be."""
        found, left = [], -(-most // self._cluster)
        start = cluster
        while left:
            if not 2 <= cluster < self._clusters + 2:
                raise Unreadable
            left -= 1
            following = self._next(cluster)
            run = (cluster + 1 - start) * self._cluster
            # What lies side by side is read at once.
            if following != cluster + 1 or run >= _RUN or not left:
                offset = self._data + (start - 2) * self._cluster
                found.append(self._exactly(offset, run))
                start = following
            if not following:
                break
            cluster = following
        return b"".join(found)

    def _next(self, cluster: int) -> int:
        """Return the cluster that follows another; 0 at the end."""
        if self._bits == 12:
            pair = int.from_bytes(self._exactly(self._table + cluster * 3 // 2, 2), "little")
            value = pair >> 4 if cluster % 2 else pair & 0xFFF
        else:
            width = self._bits // 8
            raw = self._exactly(self._table + cluster * width, width)
            # The upper four bits of FAT32 have no meaning.
            value = int.from_bytes(raw, "little") & 0x0FFFFFFF
        last = (1 << min(self._bits, 28)) - 8
        return 0 if value >= last else value

    def _exactly(self, offset: int, length: int) -> bytes:
        if offset + length > self._size:
            raise Unreadable
        data = self._read(offset, length)
        if len(data) != length:
            raise Unreadable
        return data


def _long(letters: dict[int, bytes]) -> str:
    """Return a long name from its parts by number; they precede the entry, the last one first."""
    if sorted(letters) != list(range(1, len(letters) + 1)):
        return ""
    name = b"".join(letters[number] for number in sorted(letters)).decode("utf-16-le", "replace")
    return name.partition("\0")[0].rstrip("\uffff")


def _short(raw: bytes) -> str:
    """Return a short name, in the case that Windows NT notes in it."""
    name, extension = (
        raw[part].decode("ascii", "replace").rstrip() for part in (slice(0, 8), slice(8, 11))
    )
    name = name.lower() if raw[12] & 0x08 else name
    extension = extension.lower() if raw[12] & 0x10 else extension
    return f"{name}.{extension}" if extension else name
