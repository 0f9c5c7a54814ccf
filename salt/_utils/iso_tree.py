"""
Inspect an ALT image, and unpack it for network boot.

:platform: Linux

The image is read by ``iso9660``, without mounting; ``iso_facts`` derives its facts.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

import iso9660
import iso9660_walk
import iso_confined
import iso_facts
import iso_secure_boot
import iso_squashfs
import netboot_files
import netboot_in_use

log = logging.getLogger(__name__)

# Version of the tree's layout (modes, links, omitted entries).  A tree with another version has to
# be unpacked again.
LAYOUT = 1

WORK_PREFIX = "unpack-"
# Files of half-fetched ISOs (iso_part); NAME.part is locked by the process that fetches it
PART = re.compile(r"(?:\.netboot\.)?(.+)\.part(\.json(\.new)?)?")
OLD_PREFIX = "old-"  # a tree that was replaced while it was in use

# Boot menus have up to 30 KB
_MOST_TEXT = 256 * 1024

AT_FDCWD = -100  # Linux, include/uapi/linux/fcntl.h
RENAME_EXCHANGE = 2  # Linux, include/uapi/linux/fs.h


def inspect(
    path: str, image: str = "NAME", overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """
    Return the facts of an ALT image, read from its own file list and boot menus.

    path
        The ISO file.

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    overrides : None
        Facts that the caller knows better, such as ``kernel``; ``secure_boot`` depends on them, the
        others are as they are in the image.

    Returns the dict that ``iso_facts.derive`` describes, and ``rejected``: entries that are never
    unpacked, each with its reason; if the installer's stage can be read, ``installer_names``:
    which of ``iso_facts.INSTALLER_NAMES`` it has; and, for architectures whose firmware knows
    Secure Boot, ``secure_boot``, see ``iso_secure_boot``.

    Raises ``CommandExecutionError`` when the file cannot be read, is not an ISO 9660 image or is
    truncated.
    """
    with iso9660_walk.opened(path) as iso:
        return _read(iso, image, overrides)[0]


def _read(
    iso: iso9660_walk.Iso, image: str, overrides: dict[str, str] | None
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the facts of an image, and the size of each of its files by path."""
    listing = iso9660.listing(iso)
    sizes = {entry["path"]: entry["size"] for entry in listing["entries"] if entry["extents"]}
    contents = {}
    for name in iso_facts.texts():
        if 0 < sizes.get(name, 0) <= _MOST_TEXT:
            content = iso9660.read(iso, name)
            if isinstance(content, bytes):  # an old menu in another encoding
                content = content.decode("utf-8", "replace")
            contents[name] = content
    facts = iso_facts.derive(
        iso9660.volume(iso),
        listing["entries"],
        contents,
        file_name=os.path.basename(iso.path),
        image=image,
    )
    facts["rejected"] = listing["rejected"]
    facts.update(_installer_names(iso, listing["entries"], facts))
    facts.update(iso_secure_boot.facts(iso, listing["entries"], {**facts, **(overrides or {})}))
    return facts, sizes


def _installer_names(
    iso: iso9660_walk.Iso, entries: list[dict[str, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the fact ``installer_names``, if the installer's stage can be read."""
    stage = facts["stages"].get((facts["installer"] or {}).get("stage"))
    if not stage:
        return {}
    (entry,) = (one for one in entries if one["path"] == stage["path"])
    read = iso_squashfs.part_reader(iso, entry["extents"])
    found = iso_squashfs.names(read, entry["size"], iso_facts.INSTALLER_BACKENDS)
    if found is None:
        return {}
    return {"installer_names": sorted(set(found) & set(iso_facts.INSTALLER_NAMES))}


def iso(path: str) -> dict[str, Any]:
    """
    Return what identifies a tree's ISO in its record: ``path``, ``size`` and ``mtime_ns``.

    path
        The ISO file.
    """
    found = os.stat(path)
    return {"path": path, "size": found.st_size, "mtime_ns": found.st_mtime_ns}


def digests(path: str, facts: dict[str, Any]) -> dict[str, str]:
    """
    Return the SHA-256 of what clients boot of an image, without unpacking it.

    path
        The ISO file.

    facts
        The result of :func:`inspect`, with the pillar's overrides.
    """
    return iso9660.digests(path, _checked_files(facts))


def unpack(
    path: str,
    directory: str,
    staging: str,
    image: str = "NAME",
    overrides: dict[str, str] | None = None,
    names: Collection[str] | None = None,
    kept: str | None = None,
) -> dict[str, Any]:
    r"""
    Unpack an ALT image or some files of it; the tree replaces ``directory`` atomically.

    The tree is written to a work directory below ``staging``, flushed to the disk, and only then
    exchanged with ``directory`` in one step (``renameat2`` with ``RENAME_EXCHANGE``), so that a
    client always finds the complete old tree or the complete new tree.  Where the file system does
    not support that, the old tree is renamed away first, and ``directory`` is absent for an
    instant.  Then the old tree is removed; while a file of it is open, it stays in ``staging``, and
    a later call removes it.

    Only one call unpacks at a time in a staging directory; others wait.  What a killed run left
    there is removed by the next run; after a kill between two renames, ``directory`` is absent,
    never half written.  This function always unpacks: the caller decides whether that is needed,
    from the previous result.

    path
        The ISO file.  It should have been verified.

    directory
        Path of the tree: replaced when it exists.  Directories get mode 0755, files 0644.

    staging
        A directory on the same file system that belongs to the user who runs this, mode 0700.  It
        is created when it is absent, and must not be served.

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    overrides : None
        Facts that the caller knows better, such as ``kernel``.

    names : None
        The files to unpack, by their path in the image.  Default: the whole tree.  What starts with
        Secure Boot is always unpacked, out of the El Torito image, too.

    kept : None
        Where the old tree goes, in the same step, instead of being removed: a free path on the same
        file system.

    Returns the facts as :func:`inspect` does, with ``overrides``, and ``sha256``:
    ``{path: digest}`` of kernels, initrds, stages and of what starts with Secure Boot, unpacked or
    not, computed while they were written; and ``tree``, to be recorded:
    ``{directory, layout, files, bytes, iso: {path, size, mtime_ns}}``.

    Raises ``CommandExecutionError`` when the image cannot be read, the disk is too small or the
    tree cannot be put in place; ``SaltInvocationError`` when ``directory`` or ``staging`` is
    unsuitable.  In both cases ``directory`` is unchanged.
    """
    directory = os.path.abspath(directory)
    try:
        with iso9660_walk.opened(path) as opened:
            found = os.fstat(opened.handle)
            facts, sizes = _read(opened, image, overrides)
            facts.update(overrides or {})
            inside = iso_secure_boot.inside(facts)
            if names:
                names = {*names, *iso_secure_boot.paths(facts)} - set(inside)
            checked = _checked_files(facts)
            only_hashed = [name for name in checked if names and name not in names]
            _check_places(directory, staging)
            with _work_folder(staging) as work:
                tree = os.path.join(work, "tree")
                # the whole tree is as large as the image, apart from names and the ends of blocks
                needed = sum(sizes.get(name, 0) for name in names) if names else found.st_size
                _check_space(path, work, needed)
                written = iso9660.extract(
                    opened, tree, names, [name for name in checked if name not in only_hashed]
                )
                written["sha256"].update(iso9660.digests(opened, only_hashed))
                for name, place in inside.items():
                    content = iso_secure_boot.content(opened, place)
                    written["sha256"][name] = iso9660.add(tree, name, content)
                    written["files"] += 1
                    written["bytes"] += len(content)
                _flush(tree)
                _check_unchanged(path, found)
                old = os.path.join(work, "old")
                if kept and os.path.lexists(directory):
                    os.rename(tree, kept)
                    netboot_files.sync_directory(os.path.dirname(kept))
                    exchange(kept, directory)
                else:
                    _put_in_place(tree, directory, old)
                _keep_while_read(next(filter(os.path.lexists, (tree, old)), None), staging)
    except OSError as err:
        what = f"{err.filename}: {err.strerror}" if err.filename else err.strerror
        raise CommandExecutionError(f"{path} cannot be unpacked: {what}.") from err
    facts["sha256"] = written["sha256"]
    facts["tree"] = {
        "directory": directory,
        "layout": LAYOUT,
        "files": written["files"],
        "bytes": written["bytes"],
        "iso": iso(path),
    }
    return facts


def sweep(staging: str, keep: Collection[str] | None = ()) -> dict[str, list[str]]:
    """
    Remove from a staging directory what killed runs and replaced trees left, unless it is in use.

    staging
        The directory.

    keep
        Names of half-fetched ISOs that a later run resumes; None: all of them.

    Returns the names of what was removed and of what is still in use: ``{removed, in_use}``.  While
    another run is unpacking, nothing is touched.
    """
    handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _swept(staging, keep)
    except BlockingIOError:
        return {"removed": [], "in_use": []}
    finally:
        os.close(handle)


def set_aside(directory: str, staging: str) -> str | None:
    """
    Move a tree out of service, to the staging directory, from where :func:`sweep` removes it.

    directory
        The tree.

    staging
        The staging directory, as for :func:`unpack`.

    Returns its new path, or None when there is no such directory or another file system is mounted
    on it.
    """
    if not os.path.isdir(directory) or os.path.ismount(directory):
        return None
    aside = tempfile.mkdtemp(prefix=OLD_PREFIX, dir=staging)
    os.rename(directory, aside)
    return aside


def exchange(tree: str, directory: str) -> None:
    """
    Exchange two trees of a file system in one step, or as nearly so as that can; see
    :func:`unpack`.

    tree
        The tree that goes to ``directory``.

    directory
        Its place; what is there goes to that of ``tree``.
    """
    old = f"{tree}.old"
    _put_in_place(tree, directory, old)
    if os.path.lexists(old):
        os.rename(old, tree)
    netboot_files.sync_directory(os.path.dirname(tree))


def _swept(staging: str, keep: Collection[str] | None = None) -> dict[str, list[str]]:
    """Sweep a staging directory that this process has locked; without ``keep``, ISOs stay."""
    removed: list[str] = []
    read: list[str] = []
    for name in sorted(os.listdir(staging)):
        path = os.path.join(staging, name)
        part = PART.fullmatch(name)
        if name.startswith((OLD_PREFIX, iso_confined.PREFIX)) and _is_read(path):
            read.append(name)
        elif name.startswith((OLD_PREFIX, WORK_PREFIX, iso_confined.PREFIX)):
            shutil.rmtree(path)
            removed.append(name)
        elif part and keep is not None and part.group(1) not in keep:
            with _locked(os.path.join(staging, f"{part.group(1)}.part")) as free:
                if free:
                    os.unlink(path)
                    removed.append(name)
    if removed:
        log.info("Removed leftovers from %s: %s", staging, ", ".join(removed))
    return {"removed": removed, "in_use": read}


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bool]:
    """Lock a file, and yield whether that succeeded."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(handle)


def _is_read(old: str) -> bool:
    """Return whether a replaced tree may still be in use; its ctime is that of its rename."""
    return bool(netboot_in_use.nfs_wait_s(os.lstat(old).st_ctime) or netboot_in_use.in_use([old]))


def _keep_while_read(old: str | None, staging: str) -> None:
    """Move a replaced tree that is in use out of the work directory, which is removed now."""
    if old and os.listdir(old) and _is_read(old):
        os.rename(old, tempfile.mkdtemp(prefix=OLD_PREFIX, dir=staging))


def _checked_files(facts: dict[str, Any]) -> list[str]:
    """Return the files of an ISO's own tree whose digests a client or a probe can need."""
    names = {facts["kernel"], facts["initrd"]}
    names.update(set(iso_secure_boot.paths(facts)) - set(iso_secure_boot.inside(facts)))
    for flavour in facts["flavours"].values():
        names.update(flavour.values())
    names.update(stage["path"] for stage in facts["stages"].values())
    return sorted(names - {""})


def _check_places(directory: str, staging: str) -> None:
    """Create the staging directory; both must be suitable before anything is written."""
    parent = os.path.dirname(directory)
    if os.path.lexists(directory) and (os.path.islink(directory) or not os.path.isdir(directory)):
        raise SaltInvocationError(f"{directory} is not a directory; move it away.")
    if not os.path.isdir(parent):
        raise SaltInvocationError(f"{parent} is not a directory; create it first.")
    with contextlib.suppress(FileExistsError):
        os.mkdir(staging, 0o700)
    found = os.lstat(staging)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SaltInvocationError(
            f"{staging} must be a directory that only its owner can access; set its mode to 0700."
        )
    if found.st_dev != os.stat(parent).st_dev:
        raise SaltInvocationError(
            f"{staging} and {parent} must be on the same file system; choose another directory."
        )


@contextlib.contextmanager
def _work_folder(staging: str) -> Iterator[str]:
    """
    Yield an empty directory below ``staging``, and remove it afterwards.

    The kernel drops the lock on the staging directory with the process that holds it, so any work
    directory that exists while this process holds it was left by a killed run.
    """
    handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _swept(staging)
        work = tempfile.mkdtemp(prefix=WORK_PREFIX, dir=staging)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


def _check_space(path: str, work: str, needed: int) -> None:
    free = shutil.disk_usage(work).free
    if needed > free:
        raise CommandExecutionError(
            f"{path} cannot be unpacked: {-(-needed // 2**20)} MiB are needed, but only "
            f"{free // 2**20} MiB are free on the file system of {work}."
        )


def _check_unchanged(path: str, before: os.stat_result) -> None:
    now = os.stat(path)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    ):
        raise CommandExecutionError(f"{path} changed while it was being unpacked; apply again.")


def _flush(tree: str) -> None:
    """
    Make the tree durable: after a power failure there must be no record without its tree.

    One syncfs(2) instead of an fsync per file: an image has thousands of small packages.
    """
    handle = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc().syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), tree)
    finally:
        os.close(handle)


def _put_in_place(tree: str, directory: str, old: str) -> None:
    """Exchange ``directory`` with ``tree``; the old tree ends up in the work directory."""
    if not os.path.lexists(directory):
        os.rename(tree, directory)
    elif not _exchange(tree, directory):
        os.rename(directory, old)
        try:
            os.rename(tree, directory)
        except OSError:
            os.rename(old, directory)
            raise
    netboot_files.sync_directory(os.path.dirname(directory))


def _exchange(one: str, other: str) -> bool:
    """
    Exchange two paths atomically; return False where that is not possible.

    renameat2 is in Linux since 3.15 and in glibc since 2.28; the file system must support the flag
    (ext4, xfs, btrfs, tmpfs, overlayfs do, NFS and ZFS before 2.2 do not) or fails with EINVAL.
    """
    try:
        renameat2 = _libc().renameat2
    except AttributeError:
        return False
    if not renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        return True
    error = ctypes.get_errno()
    if error in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(error, os.strerror(error), other)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
