"""
Find out whether files that are about to be removed are in use.

:platform: Linux

An open file survives its removal, but clients need more than that: they resume downloads by range,
open the stage after the kernel, or hold an NFS handle, which no process shows.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator

import netboot_run

Inode = tuple[int, int]

# The kernel's NFS server opens a file only during a request, so nothing shows who still needs it.
NFSD_THREADS = "/proc/fs/nfsd/threads"  # nfsd(7)
NFS_GRACE_S = 24 * 3600


def in_use(paths: list[str]) -> list[str]:
    """
    Return the paths that a process of this machine has open or mapped.

    The process may be any: nginx, smbd, vsftpd, dnsmasq, a backup. Files are compared by device and
    inode, so that renames, chroots and mount namespaces do not matter.

    paths
        Absolute paths; a directory includes everything below it. A missing path is not in use.

    Returns a list, in the order of ``paths``. Needs root to see other users' processes.
    """
    wanted = {path: set(_inodes(path)) for path in paths}
    if not any(wanted.values()):
        return []
    opened = set(_opened())
    return [path for path in paths if wanted[path] & opened]


def nfs_wait_s(since: float) -> float:
    """
    Return for how many seconds NFS clients may still need files that were taken out of service.

    since
        When they were taken out of service, in seconds since 1970.

    Returns 0 on a machine whose kernel serves no NFS.
    """
    try:
        with open(NFSD_THREADS, encoding="ascii") as file:
            serves = int(file.read()) > 0
    except (OSError, ValueError):
        return 0
    return max(0, since + NFS_GRACE_S - time.time()) if serves else 0


def nfs_let_go() -> None:
    """
    Make the kernel's NFS server release file systems that no client reads any more.

    It holds exports in its cache until that is flushed, and, since Linux 5.19, files of clients
    that were switched off without closing them (their status is then ``courtesy``;
    fs/nfsd/nfs4state.c), so that such a file system cannot be unmounted for a day.
    """
    if not os.path.exists(NFSD_THREADS):
        return
    for client in glob.glob(f"{os.path.dirname(NFSD_THREADS)}/clients/*"):
        try:
            with open(f"{client}/info", encoding="utf-8", errors="replace") as file:
                is_gone = "status: courtesy" in file.read()
            if is_gone:
                with open(f"{client}/ctl", "w", encoding="ascii") as file:
                    file.write("expire\n")
        except OSError:  # it has disconnected
            continue
    netboot_run.tried("exportfs", "-f")


def _inodes(path: str) -> Iterator[Inode]:
    """Yield (device, inode) of a file, or of a directory and everything below it."""
    try:
        yield _inode(os.lstat(path))
    except OSError:
        return
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            try:
                yield _inode(os.lstat(os.path.join(directory, name)))
            except OSError:
                continue


def _opened() -> Iterator[Inode]:
    """Yield (device, inode) of all files that processes have open or mapped."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("fd", "map_files"):
            directory = f"/proc/{process}/{kind}"
            try:
                names = os.listdir(directory)
            except OSError:  # it ended, or access is denied
                continue
            for name in names:
                try:
                    yield _inode(os.stat(os.path.join(directory, name)))
                except OSError:
                    continue


def _inode(found: os.stat_result) -> Inode:
    return found.st_dev, found.st_ino
