"""
Find out whether somebody is reading files that are about to be removed.

:platform: Linux

A file that is open survives its removal, but a client asks for more than one: it resumes in ranges,
opens the stage after the kernel, or holds an NFS handle, which no process shows.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator

import netboot_run

Inode = tuple[int, int]

# The kernel's NFS server opens a file for each request only, so nothing shows who still wants it.
NFSD_THREADS = "/proc/fs/nfsd/threads"  # nfsd(7)
NFS_GRACE_S = 24 * 3600


def in_use(paths: list[str]) -> list[str]:
    """
    Return those of some files and folders that a process of this machine has open or mapped.

    Whatever the process is: nginx, smbd, vsftpd, dnsmasq, a backup. Files are compared by device
    and inode, so that renames, chroots and mount namespaces do not matter.

    paths
        Absolute paths; of a folder, all that is below it counts. What is not there is not in use.

    Returns a list, in the order of ``paths``. Needs root to see other users' processes.
    """
    wanted = {path: set(_inodes(path)) for path in paths}
    if not any(wanted.values()):
        return []
    opened = set(_opened())
    return [path for path in paths if wanted[path] & opened]


def nfs_wait_s(since: float) -> float:
    """
    Return for how many seconds NFS clients may still want what was taken out of service.

    since
        When it was, in seconds since 1970.

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
    Make the kernel's NFS server let go of file systems that no client reads any more.

    It holds what it once looked up among its exports until it is told to look again, and, since
    Linux 5.19, what a client had open that was switched off without a word (its status is then
    ``courtesy``; fs/nfsd/nfs4state.c), so that such a file system can't be unmounted for a day.
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
        except OSError:  # it went by itself
            continue
    netboot_run.tried("exportfs", "-f")


def _inodes(path: str) -> Iterator[Inode]:
    """Yield (device, inode) of a file, or of a folder and all that is below it."""
    try:
        yield _inode(os.lstat(path))
    except OSError:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                yield _inode(os.lstat(os.path.join(folder, name)))
            except OSError:
                continue


def _opened() -> Iterator[Inode]:
    """Yield (device, inode) of whatever the processes have open or mapped."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("fd", "map_files"):
            folder = f"/proc/{process}/{kind}"
            try:
                names = os.listdir(folder)
            except OSError:  # it ended, or is not ours to see
                continue
            for name in names:
                try:
                    yield _inode(os.stat(os.path.join(folder, name)))
                except OSError:
                    continue


def _inode(found: os.stat_result) -> Inode:
    return found.st_dev, found.st_ino
