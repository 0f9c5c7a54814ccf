"""What clients load goes into the page cache: which files, newest first, as far as it has room."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from salt.exceptions import SaltInvocationError

import netboot_cache

MB = 1 << 20


def entry(stage, kernel="/k", initrd="/i"):
    return {"stage": {"path": stage, "bytes": 1}, "kernel": kernel, "initrd": initrd}


def test_files_of_the_menu(tmp_path):
    """Each once; not what is on another server, or not there."""
    config = {"root": str(tmp_path), "paths": {"tftp": f"{tmp_path}/tftp"}}
    (tmp_path / "tftp").mkdir()
    (tmp_path / "stage").write_bytes(b"s" * 9)
    (tmp_path / "tftp/k").write_bytes(b"k" * 5)
    entries = [entry("/stage", initrd="http://192.0.2.1/i"), entry("/stage"), entry("/missing")]
    found = netboot_cache.files(config, entries)
    assert found == {f"{tmp_path}/tftp/k": 5, f"{tmp_path}/stage": 9}


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ({"old": (1000, 1), "new": (9000, 5)}, ["new", "old"]),
        # What was unpacked together: small ones first.
        ({"stage": (9001, 50), "kernel": (9000, 5), "old": (1000, 1)}, ["kernel", "stage", "old"]),
    ],
)
def test_newest_first(found, order):
    assert netboot_cache.newest_first(found) == order


def cached(path, size):
    """How many MB of a file are in the page cache: who must not wait for the disk gets them."""
    with open(path, "rb", buffering=0) as file:
        there = 0
        for offset in range(0, size, MB):
            try:
                there += os.preadv(file.fileno(), [bytearray(MB)], offset, os.RWF_NOWAIT) == MB
            except BlockingIOError:
                continue
    return there


@pytest.fixture
def on_a_disk():
    """A directory on a disk, where /tmp may be in memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="netboot-cache.") as path:  # noqa: S108
        yield Path(path)


def test_all_of_a_file_is_read_ahead(on_a_disk):
    """Of 64 MB, asked for at once, the kernel would read as much as the disk's read-ahead is."""
    path, size = on_a_disk / "stage", 64 * MB
    with open(path, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(MB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not cached(path, MB), "/var/tmp must be on a disk, not in memory"
    assert netboot_cache._read_ahead(str(path), size, time.monotonic() + 20) == size
    until = time.monotonic() + 20
    while cached(path, size) < 64 and time.monotonic() < until:
        time.sleep(0.1)
    assert cached(path, size) == 64


def test_no_longer_than_a_time(tmp_path):
    (tmp_path / "stage").write_bytes(b"s" * MB)
    assert netboot_cache._read_ahead(str(tmp_path / "stage"), MB, time.monotonic() - 1) == 0


@pytest.mark.parametrize(
    ("clients", "link"), [(None, None), (0, None), (True, None), ("5", None), (5, 0), (5, 1e9)]
)
def test_plan_of_numbers_that_are_none(records, clients, link):
    with pytest.raises(SaltInvocationError, match=r"^(clients|link): must be an integer from 1 to"):
        netboot_cache.plan(records, clients, link)
