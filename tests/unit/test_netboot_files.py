"""Replacing files: by writers that are killed, and by several at once."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import netboot_files
from tests.conftest import CHECKOUT

WRITE = """
import os, signal, sys
sys.path.insert(0, "salt/_utils")
import netboot_files
path, staging, at, *texts = sys.argv[1:]
if at:
    setattr(os, at, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
for text in texts:
    netboot_files.write(path, text * 20_000, staging=staging or None)
"""


@pytest.fixture(params=["beside the file", "in the staging directory"])
def places(request, tmp_path):
    """The file's path, and where it is while it is written."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "files").mkdir()
    return tmp_path / "files/a", "" if request.param == "beside the file" else str(staging)


def start(places, at, *texts):
    command = [sys.executable, "-c", WRITE, *map(str, places), at, *texts]
    return subprocess.Popen(command, cwd=CHECKOUT)


def everything(path):
    return sorted(name for _, _, names in os.walk(path.parent.parent) for name in names)


@pytest.mark.parametrize("at", ["fchmod", "fsync", "replace"])
def test_killed_writer_leaves_nothing_to_the_next(places, at):
    path, staging = places
    path.write_text("old")
    assert start(places, at, "longer").wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    assert everything(path) == [".netboot.a.new", "a"]
    netboot_files.write(str(path), "new", 0o640, staging or None)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert everything(path) == ["a"]


def test_writers_at_once_never_mix(places):
    path, _ = places
    writers = [start(places, "", *[letter] * 200) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        text = netboot_files.read(str(path)) or "a" * 20_000
        assert (set(text) <= set("abc"), len(set(text)), len(text)) == (True, 1, 20_000)
        seen.add(text[0])
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(seen) > 1
    assert everything(path) == ["a"]


def test_failed_write_leaves_nothing(places, monkeypatch):
    path, staging = places

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        netboot_files.write(str(path), "new", staging=staging or None)
    assert everything(path) == []


def test_link_in_its_place_is_refused(places, tmp_path):
    path, staging = places
    other = tmp_path / "other"
    other.write_text("of somebody")
    folder = staging or str(path.parent)
    os.symlink(other, os.path.join(folder, ".netboot.a.new"))
    with pytest.raises(OSError, match="symbolic links"):
        netboot_files.write(str(path), "new", staging=staging or None)
    assert other.read_text() == "of somebody"


def test_staging_on_another_file_system_or_nowhere_is_no_obstacle(tmp_path):
    for staging in ("/proc", str(tmp_path / "missing")):
        netboot_files.write(str(tmp_path / "a"), staging, staging=staging)
        assert (tmp_path / "a").read_text() == staging
    assert everything(tmp_path / "x/y") == ["a"]


LEFT = ["site.conf.abc", ".site.conf.new", "site.confABCDEFGH", "site.conf", "site.config_a8s9d"]


def test_what_killed_writes_left_beside_a_file(tmp_path):
    """Of Salt's file.managed and of ours; nothing of anybody else."""
    ours = [".netboot.site.conf.new", "site.confk3_x9zab"]
    for name in (*ours, *LEFT):
        (tmp_path / name).touch(0o600 if name in ours else 0o644)
    (tmp_path / "site.conflinklink").symlink_to(tmp_path / "site.conf")
    path = str(tmp_path / "site.conf")
    assert netboot_files.sweep(path) == [str(tmp_path / name) for name in ours]
    assert netboot_files.left_behind(path) == []
    assert {one.name for one in tmp_path.iterdir()} == {*LEFT, "site.conflinklink"}


def test_staging_directory_is_swept_of_killed_writes_alone(places):
    path, staging = places
    folder = staging or str(path.parent)
    assert start(places, "fsync", "text").wait() == -signal.SIGKILL
    kept = ["alt.iso.part", "menu.iso", "foreign.menu.1"]
    for name in (*kept, "menu.a1b2c3d4"):
        Path(folder, name).touch()
    held = Path(folder, ".netboot.held.new").open("w")
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert netboot_files.sweep_directory(folder) == [".netboot.a.new", "menu.a1b2c3d4"]
    assert sorted(os.listdir(folder)) == sorted([*kept, ".netboot.held.new"])


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
def test_modes_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        netboot_files.make_directory(str(tmp_path / "a/b"))
        netboot_files.write(str(tmp_path / "a/b/c"), "text")
    finally:
        os.umask(before)
    assert netboot_files.opened(map(str, tmp_path.glob("a/**/*"))) == {}
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    (tmp_path / "a/b/c").chmod(0o640)
    assert netboot_files.difference(str(tmp_path / "a/b"), {"c": "text"}) == {"c": "changed"}
    paths = [str(tmp_path / name) for name in ("a/b/c", "a", "missing")]
    assert netboot_files.opened(paths, test=True) == {paths[0]: "mode 0644"}
    assert netboot_files.opened(paths) == {paths[0]: "mode 0644"}
    assert netboot_files.opened(paths) == {}
