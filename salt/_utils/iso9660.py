"""
Read and extract ISO 9660 images without mounting them and without any other program.

:platform: Linux
:depends: nothing beyond Python's standard library

Images come from elsewhere, so nothing in them is trusted.  An entry that could do harm (its name
or link leaves the tree, it is a device, its data lie beyond the end of the file, ...) is listed in
``rejected`` with the reason and is never written; a volume that is invalid as a whole (truncated,
not an ISO, more than 80000 entries) raises ``CommandExecutionError``.

The functions take the path of an ISO file, or what ``iso9660_walk.opened`` yields: then the
directories are read only once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import struct
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from iso9660_walk import CHUNK, Entry, Iso, opened, reason

# For files that are hashed while they are written: fewer hand-overs between the two threads.
HASHED_CHUNK = 4 * CHUNK

# Extracted files are served, but Rock Ridge's modes can be root-only
DIRECTORY_MODE = 0o755
FILE_MODE = 0o644


def volume(image: str | Iso) -> Entry:
    """
    Return the fields of the primary volume descriptor (ECMA-119 8.4).

    image
        The ISO file.

    Returns ``volume_id``, ``system_id``, ``publisher``, ``uuid`` (``YYYY-MM-DD-hh-mm-ss-cc`` from
    the modification date, else from the creation date: what blkid and GRUB call the volume's
    UUID, and what altboot's ``uuid:`` expects), ``created`` (ISO 8601, with its offset from UTC)
    and ``size``, the volume's size in bytes.  Dates that are not set are empty strings.

    Raises ``CommandExecutionError`` when the file cannot be read, is not an ISO 9660 image or is
    shorter than the volume in it.
    """
    with _opened(image) as iso:
        return {
            "volume_id": _text(iso.descriptor[40:72]),
            "system_id": _text(iso.descriptor[8:40]),
            "publisher": _text(iso.descriptor[318:446]),
            "uuid": _uuid(iso.descriptor[830:847]) or _uuid(iso.descriptor[813:830]),
            "created": _date(iso.descriptor[813:830]),
            "size": iso.volume_size,
        }


def listing(image: str | Iso) -> dict[str, list[Entry]]:
    """
    Return every entry of an image, sorted by path.

    image
        The ISO file.

    Returns ``entries``, a list of ``path`` (relative, with ``/``), ``type`` (``file``, ``dir`` or
    ``link``), ``size`` in bytes, ``extents`` (``[offset, length]`` in bytes, in order) and
    ``target`` (of a link); and ``rejected``, a list of ``path`` and ``reason``.  Control characters
    in the path of a rejected entry are shown as escapes.

    Raises ``CommandExecutionError`` as :func:`volume` does, and for an image with more of anything
    than ``iso9660_walk.LIMITS``.
    """
    with _opened(image) as iso:
        return {"entries": iso.entries(), "rejected": iso.rejected}


def read(image: str | Iso, name: Any, limit: int = CHUNK) -> Any:
    """
    Return the content of one small file of an image: text, or bytes when it is not UTF-8.

    image
        The ISO file.

    name
        The file's path in the image, such as ``boot/grub/grub.cfg``.

    limit : 1048576
        The most bytes to read; a longer file is an error.

    Raises ``CommandExecutionError`` when there is no such file, when it was rejected or when it is
    longer than ``limit``.
    """
    name = _relative(name)
    with _opened(image) as iso:
        entry = _chosen(iso, [name])[0]
        if entry["type"] != "file":
            raise CommandExecutionError(f"{iso.path}: {name} is a {entry['type']}, not a file.")
        if entry["size"] > limit:
            raise CommandExecutionError(
                f"{iso.path}: {name} has {entry['size']} bytes; the limit is {limit}."
            )
        content = b"".join(iso.read(offset, length) for offset, length in entry["extents"])
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def find(image: str | Iso, names: Any) -> list[Entry]:
    """
    Return the entries of some files or directories of an image, as :func:`listing` returns them.

    image
        The ISO file.

    names
        Their paths in the image.

    Raises ``CommandExecutionError`` when one of them is missing or was rejected.
    """
    with _opened(image) as iso:
        chosen: list[Entry] = _chosen(iso, [_relative(name) for name in _as_list(names)])
        return chosen


def digests(image: str | Iso, names: Any) -> dict[str, str]:
    """
    Return the SHA-256 of some files of an image, by path; nothing is written.

    image
        The ISO file.

    names
        The files' paths in the image.

    Raises ``CommandExecutionError`` when one of them is missing, was rejected or is not a file.
    """
    found = {}
    with _opened(image) as iso:
        for entry in _chosen(iso, [_relative(name) for name in _as_list(names)]):
            if entry["type"] != "file":
                raise CommandExecutionError(
                    f"{iso.path}: {entry['path']} is a {entry['type']}, not a file."
                )
            digest = hashlib.sha256()
            for offset, length in entry["extents"]:
                for start in range(0, length, CHUNK):
                    digest.update(iso.read(offset + start, min(CHUNK, length - start)))
            found[entry["path"]] = digest.hexdigest()
    return found


def extract(
    image: str | Iso, directory: str, names: Any = None, sha256: Any = None
) -> dict[str, Any]:
    """
    Write the tree of an image, or some of it, to a new directory.

    Directories get mode 0755 and files 0644, whatever the image says, and belong to the user who
    runs this.  Entries with the same data become hard links, as they are in the image.  Digests are
    of the very bytes that were written.  Nothing is made durable (fsync) or atomic here; on any
    error the directory is left half written for the caller to remove.

    image
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
    with _opened(image) as iso:
        entries = iso.entries()
        if names:
            entries = _select(iso, names)
        contents = _group_by_extents(entries)
        _refuse_overlap(iso, contents)
        by_path = {entry["path"]: entry for entry in entries}
        for name in sha256:
            if by_path.get(name, {}).get("type") != "file":
                raise CommandExecutionError(_missing(iso, name))
        try:
            digests = _write_tree(iso, directory, entries, contents, set(sha256))
        except OSError as err:
            raise CommandExecutionError(f"{iso.path} cannot be extracted: {reason(err)}.") from err
    kinds = [entry["type"] for entry in entries]
    return {
        "files": kinds.count("file"),
        "dirs": kinds.count("dir"),
        "links": kinds.count("link"),
        "bytes": sum(entry["size"] for entry in entries),
        "sizes": {name: by_path[name]["size"] for name in sha256},
        "sha256": digests,
        "rejected": iso.rejected,
    }


def add(directory: str, name: str, content: bytes) -> str:
    """
    Write one more file to a directory that :func:`extract` wrote; return its SHA-256.

    directory
        The directory.

    name
        The file's path in it, without links; it must not exist.

    content
        Its content.
    """
    path = directory
    for part in name.split("/")[:-1]:
        path = os.path.join(path, part)
        if not os.path.lexists(path):
            os.mkdir(path)
            os.chmod(path, DIRECTORY_MODE)
    with open(_create(os.path.join(directory, name)), "wb") as stream:
        stream.write(content)
    return hashlib.sha256(content).hexdigest()


def _opened(image: str | Iso) -> contextlib.AbstractContextManager[Iso]:
    return contextlib.nullcontext(image) if isinstance(image, Iso) else opened(image)


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


def _relative(name: Any) -> Any:
    return os.path.normpath(str(name)).strip("/")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value or ())


# Choosing and writing


def _chosen(iso: Iso, names: Any) -> Any:
    """Return the entries of these paths."""
    found = {entry["path"]: entry for entry in iso.entries()}
    for name in names:
        if name not in found:
            raise CommandExecutionError(_missing(iso, name))
    return [found[name] for name in names]


def _missing(iso: Iso, name: Any) -> Any:
    for entry in iso.rejected:
        if entry["path"] == name or name.startswith(entry["path"] + "/"):
            return f"{iso.path}: {entry['path']} was rejected: {entry['reason']}."
    return f"{iso.path} has no file {name}."


def _select(iso: Iso, names: Any) -> Any:
    """Return the entries named, all below a directory named, and the parents of each."""
    entries = iso.entries()
    found = {entry["path"] for entry in entries}
    for name in names:
        if name not in found:
            raise CommandExecutionError(_missing(iso, name))
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


def _refuse_overlap(iso: Iso, contents: Any) -> Any:
    """Refuse files that partly share their data: a small image could fill any disk."""
    total = sum(length for extents in contents for _, length in extents)
    if total > iso.size:
        raise CommandExecutionError(
            f"{iso.path}: its files overlap: they have {total} bytes in total, more than the image."
        )


def _write_tree(
    iso: Iso, directory: str, entries: list[Entry], contents: Any, digests_wanted: Any
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


def _write_file(iso: Iso, path: str, extents: list[Any]) -> Any:
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


def _write_hashed(iso: Iso, path: str, extents: list[Any], hasher: Any) -> Any:
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
