"""
Files that are replaced atomically: readers and power failures never see a partial file.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from salt.exceptions import CommandExecutionError

# Temporary files: of this version, and of those before 0.1.0.
_LEFT = re.compile(r"\.netboot\..+\.new|menu\.[A-Za-z0-9_]{8}")


def read(path: str) -> str | None:
    """
    Return the content of a file, or None if there is no such file.

    Bytes that are not UTF-8 become surrogates, which ``write`` converts back (PEP 383).

    path
        Absolute path.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(
    path: str,
    text: str,
    mode: int | None = None,
    staging: str | None = None,
    durable: bool = True,
) -> None:
    """
    Write a file; its directory must exist.

    path
        Absolute path.

    text
        Its new content.

    mode : None
        Its permissions. Default: unchanged, 0644 for a new file.

    staging : None
        Directory for the file while it is written. Default, and if it does not exist or is on
        another file system: the file's own directory.

    durable : True
        False: it need not outlive a power failure, so nothing waits for the disk.

    Raises OSError when it cannot be written.
    """
    _replace(path, text, mode, staging, durable)
    if durable:
        sync_directory(os.path.dirname(path))


def _replace(
    path: str, text: str, mode: int | None, staging: str | None, durable: bool = True
) -> None:
    data = text.encode(errors="surrogateescape")
    if mode is None:
        mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
    directory = os.path.dirname(path)
    if not staging or not _is_beside(staging, directory):
        staging = directory
    # Always the same name, so that what a killed write left is used up by the next one.
    temporary = os.path.join(staging, _temporary(path))
    with os.fdopen(_open_alone(temporary), "wb") as file:
        try:
            file.truncate(0)
            file.write(data)
            set_mode(file.fileno(), mode)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def set_mode(handle: int, mode: int) -> None:
    """
    Set the permissions of an open file; on a file system without any, such as exFAT, they stay.

    handle, mode
        The file, its permissions.
    """
    try:
        os.fchmod(handle, mode)
    except PermissionError:
        if os.fstat(handle).st_uid != os.geteuid():
            raise


def sweep_directory(directory: str) -> list[str]:
    """
    Remove what killed writes left in a staging directory, and return its names.

    directory
        The directory. Files that a writer has at this moment stay.
    """
    swept = []
    for name in sorted(os.listdir(directory)):
        if _LEFT.fullmatch(name) and _unlinked(os.path.join(directory, name)):
            swept.append(name)
    return swept


def _unlinked(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.lstat(path)):
            os.unlink(path)
            return True
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(handle)
    return False


def _is_beside(staging: str, directory: str) -> bool:
    try:
        return os.stat(staging).st_dev == os.stat(directory).st_dev
    except FileNotFoundError:
        return False


def _temporary(path: str) -> str:
    return f".netboot.{os.path.basename(path)}.new"


def left_behind(path: str) -> list[str]:
    """
    List what killed writes of a file left in its directory, by these states or by Salt's own.

    path
        Absolute path of the file, which need not exist.
    """
    directory, name = os.path.split(path)
    try:
        there = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # salt.utils.files.copyfile: the file's name, what tempfile.mkstemp appends, and its mode.
    salts = re.compile(rf"{re.escape(name)}[a-z0-9_]{{8}}")
    left = []
    for one in sorted(there):
        found = os.lstat(os.path.join(directory, one))
        closed = stat.S_IMODE(found.st_mode) == 0o600
        ours = one == _temporary(path) or (salts.fullmatch(one) and closed)
        if ours and stat.S_ISREG(found.st_mode):
            left.append(os.path.join(directory, one))
    return left


def sweep(path: str) -> list[str]:
    """
    Remove what ``left_behind`` lists, and return it.

    path
        Absolute path of the file.
    """
    left = left_behind(path)
    for one in left:
        os.unlink(one)
    return left


def _open_alone(path: str) -> int:
    """Open a temporary file, and wait until no other writer has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The writer before has renamed the file that was opened.
            if os.path.samestat(os.fstat(handle), os.lstat(path)):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_readable(path: str) -> bool:
    """Return whether services may read a file or directory, whatever the umask was."""
    mode = os.stat(path).st_mode
    wanted = 0o555 if stat.S_ISDIR(mode) else 0o444
    return mode & wanted == wanted


def opened(paths: Iterable[str], test: bool = False) -> dict[str, str]:
    """
    Let services read files and enter directories that somebody's umask or hand closed to them.

    paths
        Absolute paths; what does not exist is left out.

    test : False
        Only return what would be done.

    Returns the new modes by path, of those that were closed.
    """
    done = {}
    for path in paths:
        if os.path.exists(path) and not _is_readable(path):
            mode = 0o755 if os.path.isdir(path) else 0o644
            if not test:
                os.chmod(path, mode)
            done[path] = f"mode {mode:04o}"
    return done


def make_directory(path: str) -> None:
    """
    Make a directory that services may enter, with those above it, whatever the umask is.

    path
        Absolute path.
    """
    if os.path.isdir(path):
        return
    make_directory(os.path.dirname(path))
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103 (services enter it)


def sync_directory(path: str) -> None:
    """
    Make renames and removals in a directory durable across power failures.

    path
        Absolute path.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def identity(path: str) -> dict[str, int] | None:
    """
    Return what shows, without reading a file, whether it is unchanged: ``size`` (bytes),
    ``mtime_ns``, ``ctime_ns`` and ``inode``; or None if there is no such file.

    path
        Absolute path.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
    }


def is_written(identity: Mapping[str, int], was: Mapping[str, int]) -> bool:
    """
    Return whether a file was written or replaced, not only its owner, rights or links changed.

    identity, was
        What ``identity`` returns now, and returned then.
    """
    return any(identity[key] != was[key] for key in ("size", "mtime_ns", "inode"))


def difference(
    directory: str, files: Mapping[str, str], owned: Collection[str] = ()
) -> dict[str, str]:
    """
    Return what must change in a directory so that it contains these files: ``new``, ``changed`` or
    ``removed``, by file name.

    directory
        Absolute path.

    files
        Contents by file name.

    owned : ()
        Names of files in it that these states wrote before, and may remove.
    """
    changes = {}
    for name, text in files.items():
        path = os.path.join(directory, name)
        there = read(path)
        if there != text or not _is_readable(path):
            changes[name] = "new" if there is None else "changed"
    for name in owned:
        if name not in files and os.path.exists(os.path.join(directory, name)):
            changes[name] = "removed"
    return changes


def carry_out(
    directory: str, files: Mapping[str, str], changes: Mapping[str, str], staging: str
) -> None:
    """
    Carry out the changes that ``difference`` returned.

    directory, files, changes
        See ``difference``.

    staging
        Directory on the same file system, closed to others, for files while they are written.

    Raises CommandExecutionError when the directory cannot be written.
    """
    if not changes:
        return

    def change(name: str) -> None:
        path = os.path.join(directory, name)
        if changes[name] == "removed":
            os.unlink(path)
        else:
            _replace(path, files[name], 0o644, staging)

    try:
        # There may be thousands of scripts of hosts: waiting for the disk in parallel is faster.
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(change, changes))
        for one in {os.path.dirname(os.path.join(directory, name)) for name in changes}:
            sync_directory(one)
    except OSError as err:
        raise CommandExecutionError(f"{directory} cannot be written: {err}") from err
