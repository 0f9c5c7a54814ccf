"""
List a directory of a squashfs, such as a stage inside an ISO, without mounting it.

:depends: nothing beyond Python's standard library

The layout is that of Linux' fs/squashfs/squashfs_fs.h, version 4. Only inodes and directories are
read, a few blocks. Stages come from elsewhere, so every number in them is checked. What cannot be
read, such as a compression that Python does not bring (zstd, lzo, lz4), is unknown, and no error.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Callable

from salt.exceptions import CommandExecutionError

Read = Callable[[int, int], bytes]

_MAGIC = 0x73717368
_SUPERBLOCK = struct.Struct("<5I6H8Q")
_BLOCK = 8192  # of metadata, once decompressed
_UNCOMPRESSED = 1 << 15
_GZIP, _XZ = 1, 4
_DIRECTORY, _LONG_DIRECTORY = 1, 8
_MOST_LISTING = 4 << 20  # of one directory, in bytes
_XZ_MEMORY = 64 << 20


class Unreadable(Exception):
    """The file system is none, is damaged, or is compressed in another way."""


def names(read: Read, size: int, path: str) -> list[str] | None:
    """
    Return the names in a directory, or None if it is not there or cannot be read.

    read
        A function that returns the bytes of the squashfs from an offset on, of a length.

    size
        Size of the squashfs in bytes.

    path
        Path of the directory, such as ``usr/lib``.
    """
    try:
        system = _Squashfs(read, size)
        inode = system.root
        for part in path.split("/"):
            inode = dict(system.entries(inode))[part]
        return sorted(name for name, _ in system.entries(inode))
    except (Unreadable, KeyError, struct.error, zlib.error, lzma.LZMAError, CommandExecutionError):
        return None


def part_reader(iso: Any, extents: list[Any]) -> Read:
    """
    Return a function that reads a file of an ISO, as :func:`names` takes it.

    iso
        What ``iso9660_walk.opened`` yields.

    extents
        The file's extents, see ``iso9660.listing``.
    """

    def read(offset: int, length: int) -> bytes:
        data = b""
        for start, size in extents:
            if offset < size and length > len(data):
                data += iso.read(start + offset, min(size - offset, length - len(data)))
            offset = max(offset - size, 0)
        return data

    return read


class _Squashfs:
    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size
        fields = _SUPERBLOCK.unpack(self._exactly(0, _SUPERBLOCK.size))
        magic, compression, major = fields[0], fields[5], fields[9]
        if magic != _MAGIC or major != 4 or compression not in (_GZIP, _XZ):
            raise Unreadable
        self._compression = compression
        self.root: int = fields[11]
        self._inodes, self._directories = fields[15], fields[16]

    def _exactly(self, offset: int, length: int) -> bytes:
        if offset + length > self._size:
            raise Unreadable
        data = self._read(offset, length)
        if len(data) != length:
            raise Unreadable
        return data

    def _metadata(self, start: int, offset: int, length: int) -> bytes:
        """Return decompressed bytes: from an offset in the block at ``start`` on."""
        data = b""
        while len(data) < offset + length:
            (header,) = struct.unpack("<H", self._exactly(start, 2))
            stored = header & (_UNCOMPRESSED - 1)
            raw = self._exactly(start + 2, stored)
            block = raw if header & _UNCOMPRESSED else self._decompressed(raw)
            if not block or len(block) > _BLOCK:
                raise Unreadable
            data += block
            start += 2 + stored
        return data[offset : offset + length]

    def _decompressed(self, raw: bytes) -> bytes:
        if self._compression == _GZIP:
            return zlib.decompressobj().decompress(raw, _BLOCK)
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(raw, _BLOCK)

    def entries(self, inode: int) -> Iterator[tuple[str, int]]:
        """Yield name and inode of what a directory contains."""
        start, offset, length = self._listing(inode)
        # The size counts the entries . and .., which are not stored.
        if not 3 <= length <= _MOST_LISTING:
            raise Unreadable
        data = self._metadata(self._directories + start, offset, length - 3)
        place = 0
        while place < len(data):
            count, block, _ = struct.unpack_from("<3I", data, place)
            place += 12
            for _ in range(count + 1):
                at, _, _, last = struct.unpack_from("<HhHH", data, place)
                name = data[place + 8 : place + 9 + last]
                place += 9 + last
                yield name.decode("utf-8", "replace"), block << 16 | at

    def _listing(self, inode: int) -> tuple[int, int, int]:
        """Return where a directory's listing lies, and its size."""
        start, offset = self._inodes + (inode >> 16), inode & 0xFFFF
        (kind,) = struct.unpack("<H", self._metadata(start, offset, 2))
        if kind == _DIRECTORY:
            block, _, size, at = struct.unpack("<IIHH", self._metadata(start, offset, 28)[16:])
            return block, at, size
        if kind == _LONG_DIRECTORY:
            fields = struct.unpack("<IIIIHH", self._metadata(start, offset, 36)[16:])
            return fields[2], fields[5], fields[1]
        raise Unreadable
