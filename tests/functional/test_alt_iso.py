"""alt_iso through Salt's own loader, with images that xorriso made."""

import errno
import fcntl
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

import iso_tree
from tests.isos import BOOT, FILES, STAGES, content, make_iso


@pytest.fixture(scope="module")
def iso(tmp_path_factory):
    return make_iso(tmp_path_factory.mktemp("iso") / "alt-test.iso", hostile=True)


@pytest.fixture
def places(tmp_path):
    """Return (directory, staging) as strings; neither is there yet."""
    return str(tmp_path / "tree"), str(tmp_path / "staging")


def test_inspect(loaders, iso):
    facts = loaders.modules.alt_iso.inspect(iso, image="test")
    size = len(FILES["live"])
    assert facts == {
        "arch": "x86_64",
        "product": "ALT p11 test",
        "version": "",
        "branch": "p11",
        "volume_id": "ALT p11 test/x86_64",
        "uuid": "2025-06-02-11-22-33-00",
        "build_date": "2025-06-02",
        "dialect": "altboot",
        "dialect_source": "boot/grub/grub.cfg",
        "kernel": "boot/vmlinuz",
        "initrd": "boot/initrd.img",
        "boot_source": "boot/grub/grub.cfg",
        "flavours": {},
        "stages": {"live": {"path": "live", "size": size, "ramdisk_size": size // 1024 + 1}},
        "livecd": {"stage": "live", "argument": ""},
        "installer": {"stage": "live", "argument": "systemd.unit=install2.target"},
        "rescue": None,
        "http_iso": True,
        "efi_loaders": ["EFI/BOOT/BOOTX64.EFI"],
        "repository": True,
        "missing": {"version": ""},
        "secure_boot": {
            "shim": "",
            "grub": "",
            "grub_version": "",
            "lacks": "no-shim",
            "files": {},
            "inside": {},
        },
        "sha256": {},
        "rejected": [
            {"path": "out", "reason": "the link points out of the tree"},
            {"path": "pipe", "reason": "it is a device, a pipe or a socket"},
        ],
    }


def test_inspect_says_what_is_missing(loaders, tmp_path):
    files = {"live": b"x", "boot/grub/grub.cfg": "меню".encode("koi8-r")}
    iso = make_iso(tmp_path / "alt.iso", files)
    missing = loaders.modules.alt_iso.inspect(iso, image="old")["missing"]
    assert missing["kernel"] == "netboot:images:old:kernel"
    assert "arch" not in missing  # from the volume id


def test_unpack(iso, places):
    directory, staging = places
    facts = iso_tree.unpack(iso, directory, staging)
    assert content(directory) == FILES
    for folder, folders, names in os.walk(directory):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o644
        assert not {"out", "pipe"} & {*folders, *names}
    assert facts["sha256"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in STAGES}
    assert facts["tree"] == {
        "directory": directory,
        "layout": iso_tree.LAYOUT,
        "files": len(FILES),
        "bytes": sum(map(len, FILES.values())),
        "iso": {
            "path": iso,
            "size": os.path.getsize(iso),
            "mtime_ns": os.stat(iso).st_mtime_ns,
        },
    }
    assert [entry["path"] for entry in facts["rejected"]] == ["out", "pipe"]
    assert os.listdir(staging) == []
    assert stat.S_IMODE(os.stat(staging).st_mode) == 0o700


def test_a_client_always_finds_a_whole_tree(iso, places):
    directory, staging = places
    iso_tree.unpack(iso, directory, staging)
    first = os.stat(directory).st_ino
    absent, done = [], threading.Event()

    def ask():
        while not done.is_set():
            for name in ("live", "boot/vmlinuz"):
                try:
                    if os.stat(os.path.join(directory, name)).st_size != len(FILES[name]):
                        absent.append(name)
                except OSError:
                    absent.append(name)

    client = threading.Thread(target=ask)
    client.start()
    with open(os.path.join(directory, "live"), "rb") as reading:
        reading.read(10)
        try:
            for _ in range(3):
                iso_tree.unpack(iso, directory, staging)
        finally:
            done.set()
            client.join()
        (kept,) = iso_tree.sweep(staging)["in_use"]
        assert content(os.path.join(staging, kept)) == FILES
        assert reading.read() == FILES["live"][10:]
    assert absent == []
    assert os.stat(directory).st_ino != first
    # the first tree, which was being read, stayed until nobody did
    assert [name[:4] for name in os.listdir(staging)] == ["old-"]
    assert len(iso_tree.sweep(staging)["removed"]) == 1
    assert os.listdir(staging) == []


def test_what_was_in_the_tree_before_goes(iso, places):
    directory, staging = places
    os.makedirs(os.path.join(directory, "old"))
    iso_tree.unpack(iso, directory, staging)
    assert content(directory) == FILES
    assert not os.path.exists(os.path.join(directory, "old"))


def test_exchange_where_the_file_system_cannot(tmp_path, monkeypatch):
    """No file system of a test machine lacks RENAME_EXCHANGE: only the answer is replaced."""
    monkeypatch.setattr(iso_tree, "_exchange", lambda one, other: False)
    (tmp_path / "new").mkdir()
    (tmp_path / "now").mkdir()
    (tmp_path / "new/file").touch()
    iso_tree._put_in_place(*(str(tmp_path / name) for name in ("new", "now", "old")))
    assert sorted(os.listdir(tmp_path)) == ["now", "old"]
    assert os.listdir(tmp_path / "now") == ["file"]
    with pytest.raises(FileNotFoundError):
        iso_tree._put_in_place(*(str(tmp_path / name) for name in ("gone", "now", "older")))
    assert os.listdir(tmp_path / "now") == ["file"]


def test_exchange_tells_an_error_from_a_lack(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert iso_tree._exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(OSError, match="No such file") as caught:
        iso_tree._exchange(str(tmp_path / "a"), str(tmp_path / "c"))
    assert caught.value.errno == errno.ENOENT


UNPACK = """
import itertools, sys
sys.path.insert(0, "salt/_utils")
import iso_tree
print("ready", flush=True)
directory, staging, times, *isos = sys.argv[1:]
for _, iso in zip(range(int(times)), itertools.cycle(isos)):
    iso_tree.unpack(iso, directory, staging)
"""


@pytest.fixture
def unpacking(request, places):
    """Start a process that unpacks images in turn, so many times."""

    def _unpacking(times, *isos):
        run = subprocess.Popen(
            [sys.executable, "-c", UNPACK, *places, str(times), *isos],
            cwd=request.config.rootpath,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert run.stdout.readline() == "ready\n"
        return run

    return _unpacking


def test_killed_at_any_point_the_tree_is_whole_and_the_next_run_cleans_up(
    iso, places, unpacking, tmp_path
):
    directory, staging = places
    more = {"new": bytes(2**20), **{f"packages/{number}": b"rpm" for number in range(200)}}
    other = make_iso(tmp_path / "other.iso", more=more)
    whole = {"old": FILES, "new": {**FILES, **more}}
    chance = random.Random(os.getpid())  # noqa: S311 - not for secrets
    begun = time.monotonic()
    assert unpacking(2, iso, other).wait() == 0
    took = time.monotonic() - begun
    seen, interrupted, killed, end = set(), 0, 0, begun + 300
    # By chance, so until it has met all that there is to meet.
    while killed < 25 or seen != {"old", "new"} or interrupted <= 5:
        assert time.monotonic() < end, f"{killed} kills met {seen}, {interrupted} while unpacking"
        killed += 1
        run = unpacking(100000, iso, other)
        time.sleep(chance.uniform(0, took))
        run.kill()
        assert run.wait() == -signal.SIGKILL, "it ended before it could be killed"
        if os.path.lexists(directory):
            found = content(directory)
            seen.update(name for name, files in whole.items() if files == found)
            assert found in whole.values()
        if os.path.isdir(staging):
            interrupted += bool(os.listdir(staging))
            assert len(os.listdir(staging)) <= 1

    iso_tree.unpack(iso, directory, staging)
    assert content(directory) == FILES
    assert os.listdir(staging) == []


def test_two_at_once(iso, places, unpacking, tmp_path):
    directory, staging = places
    other = make_iso(tmp_path / "other.iso", more={"new": b""})
    runs = [unpacking(10, one) for one in (iso, other)]
    assert [run.wait(300) for run in runs] == [0, 0]
    assert content(directory) in (FILES, {**FILES, "new": b""})
    assert os.listdir(staging) == []


@pytest.fixture
def small_disk(tmp_path):
    """Mount a tmpfs of a given size; only root can."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def _small_disk(options):
        mount = ["mount", "-t", "tmpfs", "-o", options, "small", folder]
        subprocess.run(mount, check=True)
        return str(folder / "tree"), str(folder / "staging")

    yield _small_disk
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=16m,nr_inodes=9", "No space left on device"),
        ("size=5m", "7 MiB are needed, but only 5 MiB are free"),
    ],
)
def test_full_disk(iso, small_disk, options, said):
    places = small_disk(options)
    with pytest.raises(CommandExecutionError, match=said):
        iso_tree.unpack(iso, *places)
    assert not os.path.exists(places[0])
    assert os.listdir(places[1]) == []
    folder = os.path.dirname(places[0])
    subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=100", folder], check=True)
    iso_tree.unpack(iso, *places)
    assert content(places[0]) == FILES


def test_some_files_only(iso, places):
    facts = iso_tree.unpack(iso, *places, names=BOOT)
    assert content(places[0]) == {name: FILES[name] for name in BOOT}
    assert facts["sha256"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in STAGES}
    assert facts["tree"]["bytes"] == sum(len(FILES[name]) for name in BOOT)


def test_kernel_that_the_caller_knows_better_has_its_digest(iso, places):
    overrides = {"kernel": "EFI/BOOT/BOOTX64.EFI"}
    facts = iso_tree.unpack(iso, *places, overrides=overrides)
    digest = hashlib.sha256(FILES["EFI/BOOT/BOOTX64.EFI"]).hexdigest()
    assert facts["sha256"]["EFI/BOOT/BOOTX64.EFI"] == digest


def test_sweep_leaves_what_is_locked_or_gone_on_with(tmp_path):
    staging = tmp_path / "staging"
    staging.mkdir(mode=0o700)
    for name in ("mine.iso", "live.iso", "dead.iso"):
        (staging / f"{name}.part").touch()
        (staging / f"{name}.part.json").touch()
    (staging / ".netboot.dead.iso.part.json.new").touch()
    (staging / "unpack-x").mkdir()
    (staging / "of the admin").touch()
    with open(staging / "live.iso.part") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        swept = iso_tree.sweep(str(staging), ["mine.iso"])
    killed = ".netboot.dead.iso.part.json.new"
    assert swept["removed"] == [killed, "dead.iso.part", "dead.iso.part.json", "unpack-x"]
    left = {"mine.iso.part", "mine.iso.part.json", "live.iso.part", "live.iso.part.json"}
    assert set(os.listdir(staging)) == {*left, "of the admin"}


def test_sweep_waits_for_nobody(tmp_path):
    (tmp_path / "unpack-x").mkdir()
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert iso_tree.sweep(str(tmp_path))["removed"] == []
    finally:
        os.close(handle)
    assert iso_tree.sweep(str(tmp_path))["removed"] == ["unpack-x"]


def test_a_truncated_image_changes_nothing(iso, places):
    directory, staging = places
    iso_tree.unpack(iso, directory, staging)
    before = os.stat(directory).st_ino
    cut = os.path.join(os.path.dirname(directory), "cut.iso")
    shutil.copy(iso, cut)
    os.truncate(cut, os.path.getsize(iso) - 4096)
    with pytest.raises(CommandExecutionError, match=f"{cut} is truncated"):
        iso_tree.unpack(cut, directory, staging)
    assert os.stat(directory).st_ino == before
    assert os.listdir(staging) == []


def test_an_image_that_changes_meanwhile_is_not_published(iso, places, monkeypatch):
    directory, staging = places
    copy = os.path.join(os.path.dirname(directory), "copy.iso")
    shutil.copy(iso, copy)
    monkeypatch.setattr(iso_tree, "_flush", lambda tree: os.utime(copy, (1, 1)))
    with pytest.raises(CommandExecutionError, match=f"{copy} changed while it was being unpacked"):
        iso_tree.unpack(copy, directory, staging)
    assert not os.path.exists(directory)
    assert os.listdir(staging) == []


def test_places_that_will_not_do(iso, places, tmp_path):
    directory, staging = places
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("open")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:  # noqa: S108 - a tmpfs
        for place, work, message in (
            (directory, str(tmp_path / "open"), "set its mode to 0700"),
            (directory, str(tmp_path / "link"), "set its mode to 0700"),
            (directory, elsewhere, "must be on the same file system"),
            (str(tmp_path / "file"), staging, "is not a directory; move it away"),
            (str(tmp_path / "link"), staging, "is not a directory; move it away"),
            (str(tmp_path / "no/parent"), staging, "no is not a directory; create it first"),
        ):
            with pytest.raises(SaltInvocationError, match=message):
                iso_tree.unpack(iso, place, work)
    assert not os.path.exists(directory)
