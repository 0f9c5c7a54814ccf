"""
Read and extract ISO 9660 images without mounting them and without any other program.

:platform: Linux
:depends: nothing beyond Python's standard library

ECMA-119 volumes with Rock Ridge (SUSP and RRIP 1.12): names, links, types, continuation areas,
relocated directories, files over 4 GiB in several extents.  Without Rock Ridge the plain
ISO 9660 names are used in lower case; Joliet is not read, because every ALT image has Rock Ridge.

Images come from elsewhere, so nothing in them is trusted.  An entry that could do harm (its name
or link leaves the tree, it is a device, its data lie beyond the end of the file, ...) is listed in
``rejected`` with the reason and is never written; a volume that is invalid as a whole (truncated,
not an ISO, more than 100000 entries) raises ``CommandExecutionError``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

# A file, directory, link or volume: its fields by name.
Entry = dict[str, Any]

SECTOR = 2048  # ECMA-119 6.1.2; the only logical block size that ISO makers use
FIRST_DESCRIPTOR = 16  # ECMA-119 6.2.1: sectors 0 to 15 are the system area

# Limits for hostile images, far above any ALT image: these contain thousands of packages, and 6000
# packages take about 1 MiB of directories.
MAX_DESCRIPTORS = 32
MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 64 * 1024 * 1024  # of all directories together
MAX_DEPTH = 32
MAX_PATH_BYTES = 2048
MAX_CONTINUATIONS = 32

CHUNK = 1024 * 1024
# For files that are hashed while they are written: fewer hand-overs between the two threads.
HASHED_CHUNK = 4 * CHUNK

# Extracted files are served, but Rock Ridge's modes can be root-only
DIRECTORY_MODE = 0o755
FILE_MODE = 0o644

# ECMA-119 9.1.6, file flags
IS_DIRECTORY = 0x02
IS_ASSOCIATED = 0x04
IS_CONTINUED = 0x80

# RRIP 4.1.3.1 and 4.1.4: flags of an SL component and of an NM entry
CONTINUES = 0x01
IS_CURRENT = 0x02
IS_PARENT = 0x04
IS_ROOT = 0x08


def volume(path: str) -> Entry:
    """
    Return the fields of the primary volume descriptor (ECMA-119 8.4).

    path
        The ISO file.

    Returns ``volume_id``, ``system_id``, ``publisher``, ``uuid`` (``YYYY-MM-DD-hh-mm-ss-cc`` from
    the modification date, else from the creation date: what blkid and GRUB call the volume's
    UUID, and what altboot's ``uuid:`` expects), ``created`` (ISO 8601, with its offset from UTC)
    and ``size``, the volume's size in bytes.  Dates that are not set are empty strings.

    Raises ``CommandExecutionError`` when the file cannot be read, is not an ISO 9660 image or is
    shorter than the volume in it.
    """
    with _opened(path) as iso:
        return {
            "volume_id": _text(iso.descriptor[40:72]),
            "system_id": _text(iso.descriptor[8:40]),
            "publisher": _text(iso.descriptor[318:446]),
            "uuid": _uuid(iso.descriptor[830:847]) or _uuid(iso.descriptor[813:830]),
            "created": _date(iso.descriptor[813:830]),
            "size": iso.volume_size,
        }


def listing(path: str) -> dict[str, list[Entry]]:
    """
    Return every entry of an image, sorted by path.

    path
        The ISO file.

    Returns ``entries``, a list of ``path`` (relative, with ``/``), ``type`` (``file``, ``dir`` or
    ``link``), ``size`` in bytes, ``extents`` (``[offset, length]`` in bytes, in order) and
    ``target`` (of a link); and ``rejected``, a list of ``path`` and ``reason``.  Control characters
    in the path of a rejected entry are shown as escapes.

    Raises ``CommandExecutionError`` as :func:`volume` does, and for an image with more than
    100000 entries or 64 MiB of directories.
    """
    with _opened(path) as iso:
        entries, rejected = _walk(iso)
    return {"entries": entries, "rejected": rejected}


def read(path: str, name: Any, limit: int = CHUNK) -> Any:
    """
    Return the content of one small file of an image: text, or bytes when it is not UTF-8.

    path
        The ISO file.

    name
        The file's path in the image, such as ``boot/grub/grub.cfg``.

    limit : 1048576
        The most bytes to read; a longer file is an error.

    Raises ``CommandExecutionError`` when there is no such file, when it was rejected or when it is
    longer than ``limit``.
    """
    name = _relative(name)
    with _opened(path) as iso:
        entry = _chosen(iso, [name])[0]
        if entry["type"] != "file":
            raise CommandExecutionError(f"{path}: {name} is a {entry['type']}, not a file.")
        if entry["size"] > limit:
            raise CommandExecutionError(
                f"{path}: {name} has {entry['size']} bytes; the limit is {limit}."
            )
        content = b"".join(iso.read(offset, length) for offset, length in entry["extents"])
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def find(path: str, names: Any) -> list[Entry]:
    """
    Return the entries of some files or directories of an image, as :func:`listing` returns them.

    path
        The ISO file.

    names
        Their paths in the image.

    Raises ``CommandExecutionError`` when one of them is missing or was rejected.
    """
    with _opened(path) as iso:
        chosen: list[Entry] = _chosen(iso, [_relative(name) for name in _as_list(names)])
        return chosen


def digests(path: str, names: Any) -> dict[str, str]:
    """
    Return the SHA-256 of some files of an image, by path; nothing is written.

    path
        The ISO file.

    names
        The files' paths in the image.

    Raises ``CommandExecutionError`` when one of them is missing, was rejected or is not a file.
    """
    found = {}
    with _opened(path) as iso:
        for entry in _chosen(iso, [_relative(name) for name in _as_list(names)]):
            if entry["type"] != "file":
                raise CommandExecutionError(
                    f"{path}: {entry['path']} is a {entry['type']}, not a file."
                )
            digest = hashlib.sha256()
            for offset, length in entry["extents"]:
                for start in range(0, length, CHUNK):
                    digest.update(iso.read(offset + start, min(CHUNK, length - start)))
            found[entry["path"]] = digest.hexdigest()
    return found


def extract(path: str, directory: str, names: Any = None, sha256: Any = None) -> dict[str, Any]:
    """
    Write the tree of an image, or some of it, to a new directory.

    Directories get mode 0755 and files 0644, whatever the image says, and belong to the user who
    runs this.  Entries with the same data become hard links, as they are in the image.  Digests are
    of the very bytes that were written.  Nothing is made durable (fsync) or atomic here; on any
    error the directory is left half written for the caller to remove.

    path
        The ISO file.

    directory
        Where to write.  It must not exist or must be empty; its parent must exist.

    names : None
        A list of files and directories of the image (directories with all their content).  Default:
        the whole tree.

    sha256 : None
        A list of files of the image whose SHA-256 to return.

    Returns ``files``, ``dirs`` and ``links`` (how many were written), ``bytes``, ``sizes`` and
    ``sha256`` (of the requested files, by their path in the image) and ``rejected``.

    Raises ``CommandExecutionError`` when the image cannot be read, a requested file is missing or
    was rejected, the files overlap, or the disk is full; ``SaltInvocationError`` when the directory
    is not empty.
    """
    names = [_relative(name) for name in _as_list(names)]
    sha256 = [_relative(name) for name in _as_list(sha256)]
    if os.path.lexists(directory):
        if os.path.islink(directory) or not os.path.isdir(directory) or os.listdir(directory):
            raise SaltInvocationError(f"{directory} is not an empty directory; choose another.")
    with _opened(path) as iso:
        entries, rejected = _walk(iso)
        if names:
            entries = _select(iso, entries, rejected, names)
        contents = _group_by_extents(entries)
        _refuse_overlap(iso, contents)
        by_path = {entry["path"]: entry for entry in entries}
        for name in sha256:
            if by_path.get(name, {}).get("type") != "file":
                raise CommandExecutionError(_missing(iso, rejected, name))
        try:
            digests = _write_tree(iso, directory, entries, contents, set(sha256))
        except OSError as err:
            raise CommandExecutionError(f"{path} cannot be extracted: {_reason(err)}.") from err
    kinds = [entry["type"] for entry in entries]
    return {
        "files": kinds.count("file"),
        "dirs": kinds.count("dir"),
        "links": kinds.count("link"),
        "bytes": sum(entry["size"] for entry in entries),
        "sizes": {name: by_path[name]["size"] for name in sha256},
        "sha256": digests,
        "rejected": rejected,
    }


# Opening, and the volume descriptor


class _Iso:
    """An open image: its descriptor and bounded reads."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self.handle = handle
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


@contextlib.contextmanager
def _opened(path: str) -> Iterator[_Iso]:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be opened: {_reason(err)}.") from err
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise CommandExecutionError(f"{path} is not a regular file.")
        yield _Iso(path, handle)
    finally:
        os.close(handle)


def _text(field: bytes) -> str:
    # ECMA-119 7.4.3 allows few characters, padded with spaces; ISO makers use others as well
    return field.decode("utf-8", "replace").rstrip(" \0")


def _uuid(date: bytes) -> str:
    digits = date[:16].decode("ascii", "replace")
    if not digits.isdigit() or not int(digits):
        return ""
    cut = (0, 4, 6, 8, 10, 12, 14, 16)
    return "-".join(digits[start:end] for start, end in zip(cut, cut[1:]))


def _date(date: bytes) -> str:
    # ECMA-119 8.4.26.1: 16 digits, then the offset from UTC in quarters of an hour
    parts = _uuid(date).split("-")
    if len(parts) != 7:
        return ""
    year, month, day, hour, minute, second, _ = parts
    quarters = struct.unpack("b", date[16:17])[0]
    offset = "{}{:02}:{:02}".format("-" if quarters < 0 else "+", *divmod(abs(quarters) * 15, 60))
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{offset}"


# Walking the directories


class _Rejected(Exception):
    """An entry that is not listed; the text is the reason."""


def _walk(iso: _Iso, wanted: Any = None) -> tuple[list[Entry], list[Entry]]:
    """
    Return (entries, rejected), sorted by path; with ``wanted``, a list of paths, only
    directories on the way to these are opened.
    """
    entries: list[Entry] = []
    rejected: list[Entry] = []
    visited, directory_bytes = set(), 0
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
            directory_bytes += length
            if directory_bytes > MAX_DIRECTORY_BYTES:
                raise CommandExecutionError(
                    f"{iso.path}: its directories take more than {MAX_DIRECTORY_BYTES} bytes."
                )
            for path, entry in _directory(iso, parent, offset, length, skip, rejected):
                if entry["type"] != "dir":
                    entries.append(entry)
                else:
                    child = entry.pop("extent")
                    entries.append(entry)
                    if wanted is None or any(name.startswith(path + "/") for name in wanted):
                        pending.append((path, *child))
                if len(entries) + len(rejected) > MAX_ENTRIES:
                    raise CommandExecutionError(f"{iso.path} has more than {MAX_ENTRIES} entries.")
        except _Rejected as err:
            rejected.append({"path": parent or "/", "reason": str(err)})
    entries.sort(key=lambda entry: entry["path"])
    rejected.sort(key=lambda entry: entry["path"])
    return entries, rejected


def _directory(
    iso: _Iso, parent: str, offset: int, length: int, skip: int | None, rejected: list[Entry]
) -> Any:
    """Yield (path, entry) of one directory; bad entries go to ``rejected``."""
    names = set()
    sections: Any = None
    identifier = b""  # of a file whose last extent is still to come
    for record in _records(iso.read(offset, length)):
        raw = record[33 : 33 + record[32]]
        if raw in (b"\0", b"\1"):  # ECMA-119 7.6.2: the directory itself and its parent
            continue
        flags = record[25]
        if sections is None:
            sections, identifier, first = [], raw, record
        elif raw != identifier:
            shown = _join(parent, _printable(_plain_name(identifier)))
            rejected.append({"path": shown, "reason": "the last of its extents is missing"})
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
            rejected.append({"path": path, "reason": str(err)})
    if sections is not None:
        shown = _join(parent, _printable(_plain_name(identifier)))
        rejected.append({"path": shown, "reason": "the last of its extents is missing"})


def _records(data: bytes) -> Any:
    """Yield the records of a directory; none crosses a sector (ECMA-119 6.8.1.1)."""
    for start in range(0, len(data), SECTOR):
        end = min(start + SECTOR, len(data))
        position = start
        while position < end and data[position]:
            size = data[position]
            if size < 34 or position + size > end or 33 + data[position + 32] > size:
                raise _Rejected("the rest of the directory is damaged")
            yield data[position : position + size]
            position += size


def _extent(record: bytes) -> Any:
    """Return (offset, length) in bytes; extended attributes come before the data (9.1.2)."""
    location, length = struct.unpack_from("<I4xI", record, 2)
    return (location + record[1]) * SECTOR, length


def _entry(iso: _Iso, path: str, flags: int, parts: Any, fields: dict[str, Any]) -> Any:
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


def _moved_directory(iso: _Iso, location: int) -> Any:
    """Return (offset, length) of the directory that a CL entry points to (RRIP 4.1.5.1)."""
    offset = location * SECTOR
    if not iso.holds(offset, SECTOR):
        raise _Rejected("the relocated directory lies beyond the end of the file")
    own = iso.read(offset, SECTOR)  # its first record describes itself
    if own[0] < 34 or own[33] != 0:
        raise _Rejected("the relocated directory is damaged")
    return offset, _extent(own)[1]


# Rock Ridge


def _rock_ridge(iso: _Iso, root: bytes) -> Any:
    """
    Return how many bytes to skip in each system use field, or None without Rock Ridge.

    SUSP 5.3: the SP entry is the first entry in the root directory's own record.
    """
    offset, length = _extent(root)
    if length < SECTOR or not iso.holds(offset, SECTOR):
        raise CommandExecutionError(f"{iso.path}: the root directory is beyond the file's end.")
    own = iso.read(offset, SECTOR)
    field = own[34 : own[0]]
    if field[:7][:2] == b"SP" and field[2] >= 7 and field[4:6] == b"\xbe\xef":
        return field[6]
    return None


def _fields(iso: _Iso, record: bytes, skip: int | None) -> Any:
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
            fields["name"] = name
        elif signature == b"PX" and len(data) >= 4:
            fields["mode"] = struct.unpack_from("<I", data)[0]
        elif signature == b"SL" and data:
            target.add(data[1:])
            fields["target"] = target.text()
        elif signature == b"CL" and len(data) >= 4:
            fields["child"] = struct.unpack_from("<I", data)[0]
        elif signature == b"RE":
            fields["relocated"] = True
        elif signature in (b"ZF", b"SF"):
            fields["special"] = signature.decode()
    return fields


def _system_use(iso: _Iso, area: bytes) -> Any:
    """Yield (signature, data) of each SUSP entry, through its continuation areas (SUSP 5.1)."""
    for _ in range(MAX_CONTINUATIONS):
        position, following = 0, None
        while position + 4 <= len(area):
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
        area = iso.read(block * SECTOR + offset, length)
    raise _Rejected("its Rock Ridge fields never end")


class _Target:
    """A link's target, assembled from the components of its SL entries (RRIP 4.1.3.1)."""

    def __init__(self) -> None:
        self.components: list[bytes] = []
        self.open = False  # the last component continues in the next record

    def add(self, data: bytes) -> None:
        position = 0
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
            if self.open:
                self.components[-1] += text
            else:
                self.components.append(text)
            self.open = bool(flags & CONTINUES)

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
    if len(name) > 255:
        raise _Rejected("its name is longer than 255 bytes")
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


def _join(parent: str, name: Any) -> Any:
    return f"{parent}/{name}" if parent else name


def _relative(name: Any) -> Any:
    return os.path.normpath(str(name)).strip("/")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value or ())


def _reason(error: OSError) -> Any:
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


# Choosing and writing


def _chosen(iso: _Iso, names: Any) -> Any:
    """Return the entries of these paths; only the directories on the way are read."""
    entries, rejected = _walk(iso, names)
    found = {entry["path"]: entry for entry in entries}
    for name in names:
        if name not in found:
            raise CommandExecutionError(_missing(iso, rejected, name))
    return [found[name] for name in names]


def _missing(iso: _Iso, rejected: list[Entry], name: Any) -> Any:
    for entry in rejected:
        if entry["path"] == name or name.startswith(entry["path"] + "/"):
            return f"{iso.path}: {entry['path']} was rejected: {entry['reason']}."
    return f"{iso.path} has no file {name}."


def _select(iso: _Iso, entries: list[Entry], rejected: list[Entry], names: Any) -> Any:
    """Return the entries named, all below a directory named, and the parents of each."""
    found = {entry["path"] for entry in entries}
    for name in names:
        if name not in found:
            raise CommandExecutionError(_missing(iso, rejected, name))
    below = tuple(name + "/" for name in names)
    chosen = {path for path in found if path in names or path.startswith(below)}
    for path in list(chosen):
        while "/" in path:
            path = path.rpartition("/")[0]
            chosen.add(path)
    return [entry for entry in entries if entry["path"] in chosen]


def _group_by_extents(entries: list[Entry]) -> Any:
    """Return {extents: [paths]} of the files with data, in the order of the data in the image."""
    contents: dict[Any, list[str]] = {}
    for entry in entries:
        if entry["extents"]:
            key = tuple(map(tuple, entry["extents"]))
            contents.setdefault(key, []).append(entry["path"])
    return dict(sorted(contents.items()))


def _refuse_overlap(iso: _Iso, contents: Any) -> Any:
    """Refuse files that partly share their data: a small image could fill any disk."""
    total = sum(length for extents in contents for _, length in extents)
    if total > iso.size:
        raise CommandExecutionError(
            f"{iso.path}: its files overlap: they have {total} bytes in total, more than the image."
        )


def _write_tree(
    iso: _Iso, directory: str, entries: list[Entry], contents: Any, digests_wanted: Any
) -> Any:
    """Write directories, files and, last, links; return the digests by path."""
    digests = {}
    if not os.path.isdir(directory):
        os.mkdir(directory)
    os.chmod(directory, DIRECTORY_MODE)
    for entry in entries:  # sorted: a directory comes before what is in it
        target = os.path.join(directory, entry["path"])
        if entry["type"] == "dir":
            os.mkdir(target)
            os.chmod(target, DIRECTORY_MODE)
        elif entry["type"] == "file" and not entry["extents"]:
            os.close(_create(target))
            if entry["path"] in digests_wanted:
                digests[entry["path"]] = hashlib.sha256().hexdigest()
    # Large files whose digests are wanted are written beside the many small ones
    thread = concurrent.futures.ThreadPoolExecutor
    with thread(max_workers=1) as hasher, thread(max_workers=1) as writer:
        hashed = {}
        for extents, paths in contents.items():
            if not digests_wanted.isdisjoint(paths):
                first = os.path.join(directory, paths[0])
                hashed[extents] = writer.submit(_write_hashed, iso, first, extents, hasher)
        for extents, paths in contents.items():
            if extents not in hashed:
                _write_file(iso, os.path.join(directory, paths[0]), extents)
        for extents, written in hashed.items():
            digests.update(dict.fromkeys(contents[extents], written.result()))
    for paths in contents.values():
        for other in paths[1:]:
            os.link(os.path.join(directory, paths[0]), os.path.join(directory, other))
    for entry in entries:
        if entry["type"] == "link":
            os.symlink(entry["target"], os.path.join(directory, entry["path"]))
    return {path: digest for path, digest in digests.items() if path in digests_wanted}


def _create(path: str) -> Any:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.fchmod(handle, FILE_MODE)
    return handle


def _write_file(iso: _Iso, path: str, extents: list[Any]) -> Any:
    """Copy extents to a new file, inside the kernel."""
    handle = _create(path)
    try:
        for offset, length in extents:
            while length:
                sent = os.sendfile(handle, iso.handle, offset, length)
                if not sent:
                    raise CommandExecutionError(f"{iso.path} ended while it was being read.")
                offset += sent
                length -= sent
    finally:
        os.close(handle)


def _write_hashed(iso: _Iso, path: str, extents: list[Any], hasher: Any) -> Any:
    """
    Copy extents to a new file, and return the SHA-256 of what was written.

    The digest runs in the hasher's thread (hashlib releases the GIL) while this thread reads and
    writes the next chunk, hence two buffers.
    """
    digest = hashlib.sha256()
    pending = None
    buffers = [memoryview(bytearray(HASHED_CHUNK)) for _ in range(2)]
    handle = _create(path)
    try:
        for offset, length in extents:
            while length:
                buffers.reverse()
                chunk = buffers[0][: min(HASHED_CHUNK, length)]
                chunk = chunk[: os.preadv(iso.handle, [chunk], offset)]
                if not chunk:
                    raise CommandExecutionError(f"{iso.path} ended while it was being read.")
                if pending:
                    pending.result()
                pending = hasher.submit(digest.update, chunk)
                offset += len(chunk)
                length -= len(chunk)
                while chunk:
                    chunk = chunk[os.write(handle, chunk) :]
        if pending:
            pending.result()
    finally:
        os.close(handle)
    return digest.hexdigest()
