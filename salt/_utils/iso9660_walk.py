"""
Walk the directories of ISO 9660 images, hostile ones too.

ECMA-119 volumes with Rock Ridge (SUSP and RRIP 1.12): names, links, types, continuation areas,
relocated directories, files over 4 GiB in several extents.  Without Rock Ridge the plain
ISO 9660 names are used in lower case; Joliet is not read, because every ALT image has Rock Ridge.

Images come from elsewhere, so nothing in them is trusted.  Whatever a volume contains, it is walked
in a few seconds and less than 100 MB, or refused.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

# A file, directory, link or volume: its fields by name.
Entry = dict[str, Any]

SECTOR = 2048  # ECMA-119 6.1.2; the only logical block size that ISO makers use
FIRST_DESCRIPTOR = 16  # ECMA-119 6.2.1: sectors 0 to 15 are the system area
CHUNK = 1024 * 1024

# Limits for hostile images, far above any ALT image: these contain thousands of packages, and 6000
# packages take about 1 MiB of directories.
MAX_DESCRIPTORS = 32
MAX_DEPTH = 32
MAX_PATH_BYTES = 2048
MAX_CONTINUATIONS = 32
MAX_NAME_BYTES = 255
MAX_TARGET_BYTES = 4095
# Of the whole image. What is shared by many records counts for each: it is read for each.
LIMITS = {
    "entries": 80_000,
    "rejected entries": 10_000,
    "directory records": 170_000,
    "bytes of directories": 64 * 1024 * 1024,
    "continuation areas": 200_000,
    "bytes of continuation areas": 32 * 1024 * 1024,
    "Rock Ridge fields": 1_000_000,
    "bytes of paths": 16 * 1024 * 1024,
}

# ECMA-119 9.1.6, file flags
IS_DIRECTORY = 0x02
IS_ASSOCIATED = 0x04
IS_CONTINUED = 0x80

# RRIP 4.1.3.1 and 4.1.4: flags of an SL component and of an NM entry
CONTINUES = 0x01
IS_CURRENT = 0x02
IS_PARENT = 0x04
IS_ROOT = 0x08
# Opening, and the volume descriptor


class Iso:
    """An open image: its descriptor and bounded reads."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self.handle = handle
        self.rejected: list[Entry] = []
        self._spent = dict.fromkeys(LIMITS, 0)
        self._entries: list[Entry] | None = None
        self.size = os.fstat(handle).st_size
        self.descriptor = self._primary_descriptor()
        sectors, block = struct.unpack_from("<I", self.descriptor, 80)[0], self.descriptor[128:130]
        if block != struct.pack("<H", SECTOR):
            raise CommandExecutionError(f"{path}: its logical blocks are not {SECTOR} bytes long.")
        self.volume_size = sectors * SECTOR
        if self.volume_size > self.size:
            raise CommandExecutionError(
                f"{path} is truncated: its volume has {self.volume_size} bytes, the file "
                f"{self.size}; fetch it again."
            )

    def _primary_descriptor(self) -> bytes:
        for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MAX_DESCRIPTORS):
            data = os.pread(self.handle, SECTOR, number * SECTOR)
            if len(data) < SECTOR or data[1:7] != b"CD001\x01" or data[0] == 255:
                break
            if data[0] == 1:
                return data
        raise CommandExecutionError(f"{self.path} is not an ISO 9660 image.")

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly that many bytes; the caller has checked that they are in the file."""
        data = os.pread(self.handle, length, offset)
        if len(data) != length:
            raise CommandExecutionError(f"{self.path} ended while it was being read.")
        return data

    def holds(self, offset: int, length: int) -> bool:
        return offset + length <= self.size

    def spend(self, what: str, amount: int = 1) -> None:
        """Count something that takes time or memory. Raises CommandExecutionError at its limit."""
        self._spent[what] += amount
        if self._spent[what] > LIMITS[what]:
            raise CommandExecutionError(
                f"{self.path} cannot be used: it has more than {LIMITS[what]} {what}, and no ALT "
                "image has so many."
            )

    def reject(self, path: str, reason: str) -> None:
        """List an entry as rejected."""
        self.spend("rejected entries")
        self.spend("bytes of paths", _memory(path))
        self.rejected.append({"path": path, "reason": reason})

    def entries(self) -> list[Entry]:
        """Return all entries, sorted by path; the directories are read once."""
        if self._entries is None:
            self._entries = _walk(self)
            self.rejected.sort(key=lambda entry: entry["path"])
        return self._entries


@contextlib.contextmanager
def opened(path: str) -> Iterator[Iso]:
    """
    Open an image.

    path
        The ISO file.

    Raises ``CommandExecutionError`` when the file cannot be read, is not an ISO 9660 image or is
    shorter than the volume in it.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be opened: {reason(err)}.") from err
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise CommandExecutionError(f"{path} is not a regular file.")
        yield Iso(path, handle)
    finally:
        os.close(handle)


# Walking the directories


class _Rejected(Exception):
    """An entry that is not listed; the text is the reason."""


def _walk(iso: Iso) -> list[Entry]:
    """Return all entries, sorted by path; bad entries are rejected."""
    entries: list[Entry] = []
    visited = set()
    root = iso.descriptor[156:190]  # ECMA-119 8.4.18
    skip = _rock_ridge(iso, root)
    pending = [("", *_extent(root))]
    while pending:
        parent, offset, length = pending.pop()
        try:
            if offset in visited:
                raise _Rejected("the directory is a loop: another directory has the same data")
            if not length or not iso.holds(offset, length):
                raise _Rejected("the directory lies beyond the end of the file")
            visited.add(offset)
            iso.spend("bytes of directories", length)
            for path, entry in _directory(iso, parent, offset, length, skip):
                iso.spend("entries")
                iso.spend("bytes of paths", _memory(path) + _memory(entry["target"]))
                entries.append(entry)
                if entry["type"] == "dir":
                    pending.append((path, *entry.pop("extent")))
        except _Rejected as err:
            iso.reject(parent or "/", str(err))
    entries.sort(key=lambda entry: entry["path"])
    return entries


def _directory(iso: Iso, parent: str, offset: int, length: int, skip: int | None) -> Any:
    """Yield (path, entry) of one directory; bad entries are rejected."""
    names = set()
    sections: Any = None
    identifier = b""  # of a file whose last extent is still to come
    for record in _records(iso, offset, length):
        raw = record[33 : 33 + record[32]]
        if raw in (b"\0", b"\1"):  # ECMA-119 7.6.2: the directory itself and its parent
            continue
        flags = record[25]
        if sections is None:
            sections, identifier, first = [], raw, record
        elif raw != identifier:
            _reject_unfinished(iso, parent, identifier)
            sections, identifier, first = [], raw, record
        sections.append((*_extent(record), record[26] or record[27]))
        if flags & IS_CONTINUED:
            continue
        parts, sections = sections, None
        path = _join(parent, _printable(_plain_name(raw)))
        try:
            fields = _fields(iso, first, skip)
            name = fields["name"] if fields["name"] is not None else _plain_name(raw)
            path = _join(parent, _printable(name))
            if fields["relocated"]:  # RRIP 4.1.5.3: it is listed where its CL entry is
                continue
            path = _join(parent, _checked_name(name))
            if len(path.encode()) > MAX_PATH_BYTES or path.count("/") >= MAX_DEPTH:
                raise _Rejected(
                    f"its path has more than {MAX_DEPTH} directories or {MAX_PATH_BYTES} bytes"
                )
            if path in names:
                raise _Rejected("the directory contains its name twice")
            names.add(path)
            yield path, _entry(iso, path, flags, parts, fields)
        except _Rejected as err:
            iso.reject(path, str(err))
    if sections is not None:
        _reject_unfinished(iso, parent, identifier)


def _reject_unfinished(iso: Iso, parent: str, identifier: bytes) -> None:
    path = _join(parent, _printable(_plain_name(identifier)))
    iso.reject(path, "the last of its extents is missing")


def _records(iso: Iso, offset: int, length: int) -> Any:
    """Yield the records of a directory; none crosses a sector (ECMA-119 6.8.1.1)."""
    for start in range(offset, offset + length, CHUNK):
        data = iso.read(start, min(CHUNK, offset + length - start))
        for position in range(0, len(data), SECTOR):
            yield from _records_of_sector(iso, data[position : position + SECTOR])


def _records_of_sector(iso: Iso, data: bytes) -> Any:
    position = 0
    while position < len(data) and data[position]:
        size = data[position]
        if size < 34 or position + size > len(data) or 33 + data[position + 32] > size:
            raise _Rejected("the rest of the directory is damaged")
        iso.spend("directory records")
        yield data[position : position + size]
        position += size


def _extent(record: bytes) -> Any:
    """Return (offset, length) in bytes; extended attributes come before the data (9.1.2)."""
    location, length = struct.unpack_from("<I4xI", record, 2)
    return (location + record[1]) * SECTOR, length


def _entry(iso: Iso, path: str, flags: int, parts: Any, fields: dict[str, Any]) -> Any:
    """Return the entry for the listing; a directory also has its extent."""
    kind = _kind(flags, fields)
    entry = {"path": path, "type": kind, "size": 0, "extents": [], "target": ""}
    if kind == "dir":
        if fields["child"] is not None:
            entry["extent"] = _moved_directory(iso, fields["child"])
        else:
            entry["extent"] = parts[0][:2]
    elif kind == "link":
        entry["target"] = _checked_target(path, fields["target"])
        entry["size"] = len(entry["target"].encode())
    else:
        for offset, length, interleaved in parts:
            if interleaved:
                raise _Rejected("its data are interleaved")
            if length and not iso.holds(offset, length):
                raise _Rejected("its data lie beyond the end of the file")
            if length:
                entry["extents"].append([offset, length])
        entry["size"] = sum(length for _, length in entry["extents"])
    return entry


def _kind(flags: int, fields: dict[str, Any]) -> Any:
    if flags & IS_ASSOCIATED:
        raise _Rejected("it is an associated file (ECMA-119 9.1.6)")
    is_directory = bool(flags & IS_DIRECTORY) or fields["child"] is not None
    mode = stat.S_IFMT(fields["mode"]) or (stat.S_IFDIR if is_directory else stat.S_IFREG)
    if mode in (stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        raise _Rejected("it is a device, a pipe or a socket")
    if fields["special"]:
        raise _Rejected(f"its data are stored in a special form ({fields['special']})")
    if (mode == stat.S_IFDIR) != is_directory:
        raise _Rejected("ISO 9660 and Rock Ridge disagree on whether it is a directory")
    if (mode == stat.S_IFLNK) != (fields["target"] is not None):
        raise _Rejected("it is a link without a target, or a file with a link target")
    if is_directory:
        return "dir"
    return "link" if mode == stat.S_IFLNK else "file"


def _moved_directory(iso: Iso, location: int) -> Any:
    """Return (offset, length) of the directory that a CL entry points to (RRIP 4.1.5.1)."""
    offset = location * SECTOR
    if not iso.holds(offset, SECTOR):
        raise _Rejected("the relocated directory lies beyond the end of the file")
    own = iso.read(offset, SECTOR)  # its first record describes itself
    if own[0] < 34 or own[33] != 0:
        raise _Rejected("the relocated directory is damaged")
    return offset, _extent(own)[1]


# Rock Ridge


def _rock_ridge(iso: Iso, root: bytes) -> Any:
    """
    Return how many bytes to skip in each system use field, or None without Rock Ridge.

    SUSP 5.3: the SP entry is the first entry in the root directory's own record.
    """
    offset, length = _extent(root)
    if length < SECTOR or not iso.holds(offset, SECTOR):
        raise CommandExecutionError(f"{iso.path}: the root directory is beyond the file's end.")
    own = iso.read(offset, SECTOR)
    field = own[34 : own[0]]
    if len(field) >= 7 and field[:2] == b"SP" and field[2] >= 7 and field[4:6] == b"\xbe\xef":
        return field[6]
    return None


def _fields(iso: Iso, record: bytes, skip: int | None) -> Any:
    """Return the Rock Ridge fields of a record that matter here (RRIP 4.1)."""
    fields: dict[str, Any] = {
        "name": None,
        "mode": 0,
        "target": None,
        "child": None,
        "relocated": False,
        "special": "",
    }
    if skip is None:
        return fields
    start = 33 + record[32] + (record[32] + 1) % 2  # ECMA-119 9.1.12: padded to an even length
    name, target = b"", _Target()
    for signature, data in _system_use(iso, record[start + skip :]):
        if signature == b"NM" and data:
            if data[0] & (IS_CURRENT | IS_PARENT):
                raise _Rejected("its name means the directory itself or its parent")
            name += data[1:]
            if len(name) > MAX_NAME_BYTES:
                raise _Rejected(f"its name is longer than {MAX_NAME_BYTES} bytes")
            fields["name"] = name
        elif signature == b"PX" and len(data) >= 4:
            fields["mode"] = struct.unpack_from("<I", data)[0]
        elif signature == b"SL" and data:
            iso.spend("Rock Ridge fields", target.add(data[1:]))
            fields["target"] = b""
        elif signature == b"CL" and len(data) >= 4:
            fields["child"] = struct.unpack_from("<I", data)[0]
        elif signature == b"RE":
            fields["relocated"] = True
        elif signature in (b"ZF", b"SF"):
            fields["special"] = signature.decode()
    if fields["target"] is not None:
        fields["target"] = target.text()
    return fields


def _system_use(iso: Iso, area: bytes) -> Any:
    """Yield (signature, data) of each SUSP entry, through its continuation areas (SUSP 5.1)."""
    for _ in range(MAX_CONTINUATIONS):
        position, following = 0, None
        while position + 4 <= len(area):
            iso.spend("Rock Ridge fields")
            signature, size = area[position : position + 2], area[position + 2]
            if size < 4 or position + size > len(area) or signature == b"ST":
                break
            data = area[position + 4 : position + size]
            position += size
            if signature == b"CE" and len(data) >= 24:
                following = struct.unpack_from("<I4xI4xI", data)
            else:
                yield signature, data
        if following is None:
            return
        block, offset, length = following
        if offset + length > SECTOR or not iso.holds(block * SECTOR + offset, length):
            raise _Rejected("its Rock Ridge fields lie beyond their sector or the file")
        iso.spend("continuation areas")
        iso.spend("bytes of continuation areas", length)
        area = iso.read(block * SECTOR + offset, length)
    raise _Rejected("its Rock Ridge fields never end")


class _Target:
    """A link's target, assembled from the components of its SL entries (RRIP 4.1.3.1)."""

    def __init__(self) -> None:
        self.components: list[bytes] = []
        self.open = False  # the last component continues in the next record
        self.size = 0

    def add(self, data: bytes) -> int:
        """Add the components of an SL entry; return how many there were."""
        position = count = 0
        while position + 2 <= len(data):
            flags, size = data[position], data[position + 1]
            text = data[position + 2 : position + 2 + size]
            position += 2 + size
            if flags & IS_ROOT:
                text = b"/"
            elif flags & IS_PARENT:
                text = b".."
            elif flags & IS_CURRENT:
                text = b"."
            count += 1
            self.size += len(text) + 1
            if self.size > MAX_TARGET_BYTES:
                raise _Rejected(f"its target is longer than {MAX_TARGET_BYTES} bytes")
            if self.open:
                self.components[-1] += text
            else:
                self.components.append(text)
            self.open = bool(flags & CONTINUES)
        return count

    def text(self) -> bytes:
        return b"/".join(self.components)


# Names


def _plain_name(raw: bytes) -> Any:
    """Return an ISO 9660 identifier as Linux shows it: lower case, no version, no last dot."""
    name = raw.split(b";")[0].lower()
    return name[:-1] if name.endswith(b".") else name


def _checked_name(name: Any) -> Any:
    if name in (b"", b".", b"..") or b"/" in name:
        raise _Rejected("its name leaves the directory")
    if len(name) > MAX_NAME_BYTES:
        raise _Rejected(f"its name is longer than {MAX_NAME_BYTES} bytes")
    return _checked_text(name, "name")


def _checked_target(path: str, target: bytes) -> Any:
    """
    Return a link's target if it cannot leave the tree.

    ``..`` may only come first, and not more often than the link is deep: then each further step
    goes down from a real directory, even if a later component is another link.
    """
    text = _checked_text(target, "target")
    if not text or text.startswith("/"):
        raise _Rejected("the link points out of the tree")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if climbs > path.count("/") or ".." in parts[climbs:]:
        raise _Rejected("the link points out of the tree")
    return text


def _checked_text(data: bytes, what: str) -> Any:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _Rejected(f"its {what} is not UTF-8") from None
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise _Rejected(f"its {what} contains control characters")
    return text


def _printable(name: Any) -> Any:
    return name.decode("utf-8", "backslashreplace").encode("unicode_escape").decode()


def _memory(text: str) -> int:
    # One character of another plane is enough to make Python take four bytes for all of them.
    return len(text) if text.isascii() else 4 * len(text)


def _join(parent: str, name: Any) -> Any:
    return f"{parent}/{name}" if parent else name


def reason(error: OSError) -> Any:
    """
    Return the cause of an error of the system, with the file.

    error
        The error.
    """
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
