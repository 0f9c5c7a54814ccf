"""
Tell what an ALT image is, and unpack it for network boot.

:platform: Linux
:depends: nothing beyond Python's standard library

The image is read by :mod:`iso9660`, without mounting; what it means is told by
:mod:`alt_iso_facts`.  Downloading and verifying an image is :mod:`iso_fetch`'s work.
"""

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile

from salt.exceptions import CommandExecutionError, SaltInvocationError

log = logging.getLogger(__name__)

__virtualname__ = "alt_iso"

# How a tree is laid out (modes, links, which entries are left out).  A tree unpacked with another
# number has to be unpacked again.
LAYOUT = 1

WORK_PREFIX = "unpack-"

AT_FDCWD = -100  # Linux, include/uapi/linux/fcntl.h
RENAME_EXCHANGE = 2  # Linux, include/uapi/linux/fs.h


def __virtual__():
    return __virtualname__


def layout():
    """
    Return the number of the way in which trees are laid out; a tree of another one is stale.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' alt_iso.layout
    """
    return LAYOUT


def inspect(path, image="NAME"):
    """
    Return the facts of an ALT image, read from its own file list and boot menus.

    path
        The ISO file.

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    Returns the dict that :func:`alt_iso_facts.derive <alt_iso_facts.derive>` describes, and
    ``rejected``: entries that are never unpacked, each with its reason.

    Raises ``CommandExecutionError`` when the file can't be read, is no ISO 9660 image or is
    truncated.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' alt_iso.inspect /srv/export/dist/alt-server-11.0-x86_64.iso
    """
    volume = __salt__["iso9660.volume"](path)
    listing = __salt__["iso9660.listing"](path)
    limit = 1024 * 1024
    sizes = {entry["path"]: entry["size"] for entry in listing["entries"] if entry["extents"]}
    contents = {}
    for name in __salt__["alt_iso_facts.texts"]():
        if 0 < sizes.get(name, 0) <= limit:
            content = __salt__["iso9660.read"](path, name, limit=limit)
            if isinstance(content, bytes):  # an old menu in another encoding
                content = content.decode("utf-8", "replace")
            contents[name] = content
    facts = __salt__["alt_iso_facts.derive"](
        volume, listing["entries"], contents, file_name=os.path.basename(path), image=image
    )
    facts["rejected"] = listing["rejected"]
    return facts


def unpack(path, directory, staging, image="NAME"):
    r"""
    Unpack a whole ALT image and put its tree in the place of ``directory`` at once.

    The tree is written to a work folder under ``staging``, flushed to the disk, and only then
    exchanged with ``directory`` in one step (``renameat2`` with ``RENAME_EXCHANGE``), so that a
    client always finds the whole old tree or the whole new one.  Where the file system can't
    exchange, the old tree is renamed away first and for an instant nothing is there.  Then the old
    tree is removed; clients go on reading the files that they have open.

    One unpacking runs at a time in a staging folder, another one waits.  What a killed run left
    there is removed by the next one; where the kill came between two renames, ``directory`` is
    absent, never half written.  This function always unpacks: whether it is needed is the caller's
    decision, from what was returned the last time.

    path
        The ISO file.  It should have been verified.

    directory
        Where the tree goes: replaced when it exists.  Directories get mode 0755, files 0644.

    staging
        A folder on the same file system that belongs to who runs this, mode 0700.  It is made when
        it is absent, and must not be served.

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    Returns the facts as :func:`inspect` does, and ``sha256``: ``{path: digest}`` of kernels,
    initrds and stages, computed while they were written; and ``tree``, to be recorded:
    ``{directory, layout, files, bytes, iso: {path, size, mtime_ns}}``.

    Raises ``CommandExecutionError`` when the image can't be read, the disk is too small or the
    tree can't be put in place; ``SaltInvocationError`` when ``directory`` or ``staging`` won't do.
    In both cases ``directory`` is as it was.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' alt_iso.unpack /srv/export/dist/alt-server-11.0-x86_64.iso \
            /srv/export/tftp/netboot/x86_64/alt-server-11.0 /srv/export/.staging
    """
    directory = os.path.abspath(directory)
    facts = inspect(path, image)
    try:
        iso = os.stat(path)
        _check_places(directory, staging)
        with _work_folder(staging) as work:
            tree = os.path.join(work, "tree")
            _check_space(path, work)
            written = __salt__["iso9660.extract"](path, tree, sha256=_checked_files(facts))
            _flush(tree)
            _check_unchanged(path, iso)
            _put_in_place(tree, directory, os.path.join(work, "old"))
    except OSError as exc:
        what = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
        raise CommandExecutionError(f"{path} can't be unpacked: {what}.") from exc
    facts["sha256"] = written["sha256"]
    facts["tree"] = {
        "directory": directory,
        "layout": LAYOUT,
        "files": written["files"],
        "bytes": written["bytes"],
        "iso": {"path": path, "size": iso.st_size, "mtime_ns": iso.st_mtime_ns},
    }
    return facts


def _checked_files(facts):
    """Return the files whose digests a client or a probe can ask for."""
    names = {facts["kernel"], facts["initrd"]}
    for flavour in facts["flavours"].values():
        names.update(flavour.values())
    names.update(stage["path"] for stage in facts["stages"].values())
    return sorted(names - {""})


def _check_places(directory, staging):
    """Make the staging folder; both must be fit before anything is written."""
    parent = os.path.dirname(directory)
    if os.path.lexists(directory) and (os.path.islink(directory) or not os.path.isdir(directory)):
        raise SaltInvocationError(f"{directory} is not a directory; move it away.")
    if not os.path.isdir(parent):
        raise SaltInvocationError(f"{parent} is not a directory; make it first.")
    with contextlib.suppress(FileExistsError):
        os.mkdir(staging, 0o700)
    found = os.lstat(staging)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SaltInvocationError(
            f"{staging} must be a directory of its own user only; set its mode to 0700."
        )
    if found.st_dev != os.stat(parent).st_dev:
        raise SaltInvocationError(
            f"{staging} and {parent} are on different file systems; name a folder on the same one."
        )


@contextlib.contextmanager
def _work_folder(staging):
    """
    Yield an empty folder under ``staging``, and remove it afterwards.

    The lock on the staging folder is the kernel's: it goes with the process that holds it, so any
    work folder found while it is ours is a killed run's.
    """
    handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for name in os.listdir(staging):
            if name.startswith(WORK_PREFIX):
                log.info("Removing %s, left behind by an interrupted run", name)
                shutil.rmtree(os.path.join(staging, name))
        work = tempfile.mkdtemp(prefix=WORK_PREFIX, dir=staging)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


def _check_space(path, work):
    """The tree is as large as the image, apart from names and the ends of blocks."""
    needed, free = os.stat(path).st_size, shutil.disk_usage(work).free
    if needed > free:
        raise CommandExecutionError(
            f"{path} can't be unpacked: {needed // 2**20} MiB are needed and {free // 2**20} MiB "
            f"are free on the file system of {work}."
        )


def _check_unchanged(path, before):
    now = os.stat(path)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    ):
        raise CommandExecutionError(f"{path} changed while it was unpacked; unpack it again.")


def _flush(tree):
    """
    Make the tree durable: a record of it must not outlive it in a power cut.

    One syncfs(2) instead of an fsync per file: an image has thousands of small packages.
    """
    handle = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc().syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), tree)
    finally:
        os.close(handle)


def _put_in_place(tree, directory, old):
    """Exchange ``directory`` with ``tree``; the former one ends up in the work folder."""
    if not os.path.lexists(directory):
        os.rename(tree, directory)
    elif not _exchange(tree, directory):
        os.rename(directory, old)
        try:
            os.rename(tree, directory)
        except OSError:
            os.rename(old, directory)
            raise
    parent = os.open(os.path.dirname(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _exchange(one, other):
    """
    Exchange two paths at once; return False where that isn't possible.

    renameat2 is in Linux since 3.15 and in glibc since 2.28; the file system must know the flag
    (ext4, xfs, btrfs, tmpfs, overlayfs do, NFS and ZFS before 2.2 don't) and says EINVAL if not.
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


def _libc():
    return ctypes.CDLL(None, use_errno=True)
