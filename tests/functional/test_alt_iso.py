"""alt_iso through Salt's own loader, with images that xorriso made."""

import errno
import hashlib
import os
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

from _modules import alt_iso

ARGUMENTS = "root=bootchain bootchain=fg,altboot automatic=method:disk,uuid:$ROOT_UUID"
GRUB_CFG = f"""
menuentry "Install" --id 'linux' {{
  linux /boot/vmlinuz$KFLAVOUR {ARGUMENTS} stagename=live systemd.unit=install2.target lowmem
  initrd /boot/initrd$KFLAVOUR.img
}}
menuentry "Live" --id 'live' {{
  linux /boot/vmlinuz$KFLAVOUR {ARGUMENTS} stagename=live lowmem
  initrd /boot/initrd$KFLAVOUR.img
}}
"""
FILES = {
    ".disk/info": b"ALT p11 test/x86_64 build 2025-06-02\n",
    ".disk/arch": b"x86_64\n",
    "boot/grub/grub.cfg": GRUB_CFG.encode(),
    "boot/vmlinuz": b"kernel " * 20000,
    "boot/initrd.img": b"initrd " * 300000,
    "live": b"stage" * 900000,
    "ALTLinux/RPMS.main/a-1-alt1.x86_64.rpm": b"package",
    "EFI/BOOT/BOOTX64.EFI": b"loader",
}
CHECKED = ("boot/initrd.img", "boot/vmlinuz", "live")


def make_iso(folder, files):
    tree = folder / "source"
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "live").chmod(0o400)  # as Rock Ridge would restore it
    (tree / "out").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    iso = folder / "alt-test.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-iso-level", "3"]
    command += ["-V", "ALT p11 test/x86_64", "--modification-date=2025060211223300"]
    subprocess.run([*command, "-o", iso, tree], check=True, capture_output=True)
    return str(iso)


@pytest.fixture(scope="module")
def iso(tmp_path_factory):
    return make_iso(tmp_path_factory.mktemp("iso"), FILES)


@pytest.fixture
def places(tmp_path):
    """Return (directory, staging) as strings; neither is there yet."""
    return str(tmp_path / "tree"), str(tmp_path / "staging")


def content(directory):
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, directory)] = stream.read()
    return found


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
        "missing": {},
        "rejected": [
            {"path": "out", "reason": "the link points out of the tree"},
            {"path": "pipe", "reason": "it is a device, a pipe or a socket"},
        ],
    }


def test_inspect_says_what_is_missing(loaders, tmp_path):
    iso = make_iso(tmp_path, {"live": b"x", "boot/grub/grub.cfg": "меню".encode("koi8-r")})
    missing = loaders.modules.alt_iso.inspect(iso, image="old")["missing"]
    assert missing["kernel"] == "netboot:images:old:kernel"
    assert "arch" not in missing  # from the volume id


def test_unpack(loaders, iso, places):
    directory, staging = places
    facts = loaders.modules.alt_iso.unpack(iso, directory, staging)
    assert content(directory) == FILES
    for folder, folders, names in os.walk(directory):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o644
        assert not {"out", "pipe"} & {*folders, *names}
    assert facts["sha256"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in CHECKED}
    assert facts["tree"] == {
        "directory": directory,
        "layout": alt_iso.LAYOUT,
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


def test_a_client_always_finds_a_whole_tree(loaders, iso, places):
    directory, staging = places
    loaders.modules.alt_iso.unpack(iso, directory, staging)
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
                loaders.modules.alt_iso.unpack(iso, directory, staging)
        finally:
            done.set()
            client.join()
        assert reading.read() == FILES["live"][10:]
    assert absent == []
    assert os.stat(directory).st_ino != first
    assert os.listdir(staging) == []


def test_what_was_in_the_tree_before_goes(loaders, iso, places):
    directory, staging = places
    os.makedirs(os.path.join(directory, "old"))
    loaders.modules.alt_iso.unpack(iso, directory, staging)
    assert content(directory) == FILES
    assert not os.path.exists(os.path.join(directory, "old"))


def test_exchange_where_the_file_system_cannot(tmp_path, monkeypatch):
    """No file system of a test machine lacks RENAME_EXCHANGE: only the answer is replaced."""
    monkeypatch.setattr(alt_iso, "_exchange", lambda one, other: False)
    (tmp_path / "new").mkdir()
    (tmp_path / "now").mkdir()
    (tmp_path / "new/file").touch()
    alt_iso._put_in_place(*(str(tmp_path / name) for name in ("new", "now", "old")))
    assert sorted(os.listdir(tmp_path)) == ["now", "old"]
    assert os.listdir(tmp_path / "now") == ["file"]
    with pytest.raises(FileNotFoundError):
        alt_iso._put_in_place(*(str(tmp_path / name) for name in ("gone", "now", "older")))
    assert os.listdir(tmp_path / "now") == ["file"]


def test_exchange_tells_an_error_from_a_lack(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert alt_iso._exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(OSError, match="No such file") as caught:
        alt_iso._exchange(str(tmp_path / "a"), str(tmp_path / "c"))
    assert caught.value.errno == errno.ENOENT


KILLED = """
import sys
from _modules import alt_iso, alt_iso_facts, iso9660
alt_iso.__salt__ = {
    f"{module.__virtualname__}.{name}": function
    for module in (alt_iso_facts, iso9660)
    for name, function in vars(module).items()
    if callable(function)
}
alt_iso.unpack(*sys.argv[1:])
"""


def test_a_killed_run_leaves_the_old_tree_and_the_next_one_cleans_up(
    loaders, iso, places, tmp_path, request
):
    directory, staging = places
    big = make_iso(tmp_path, {**FILES, "live": bytes(128 * 2**20)})  # time to be killed in
    os.mkdir(directory)
    with open(os.path.join(directory, "live"), "w") as stream:
        stream.write("the old tree")
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, big, directory, staging], cwd=request.config.rootpath
    )
    deadline = time.monotonic() + 30
    while not _files_below(staging) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert content(directory) == {"live": b"the old tree"}
    assert len(os.listdir(staging)) == 1

    loaders.modules.alt_iso.unpack(iso, directory, staging)
    assert content(directory) == FILES
    assert os.listdir(staging) == []


def _files_below(folder):
    return [name for _, _, names in os.walk(folder) for name in names]


def test_a_truncated_image_changes_nothing(loaders, iso, places):
    directory, staging = places
    loaders.modules.alt_iso.unpack(iso, directory, staging)
    before = os.stat(directory).st_ino
    cut = os.path.join(os.path.dirname(directory), "cut.iso")
    shutil.copy(iso, cut)
    os.truncate(cut, os.path.getsize(iso) - 4096)
    with pytest.raises(CommandExecutionError, match=f"{cut} is truncated"):
        loaders.modules.alt_iso.unpack(cut, directory, staging)
    assert os.stat(directory).st_ino == before
    assert os.listdir(staging) == []


def test_an_image_that_changes_meanwhile_is_not_published(loaders, iso, places, monkeypatch):
    directory, staging = places
    copy = os.path.join(os.path.dirname(directory), "copy.iso")
    shutil.copy(iso, copy)
    monkeypatch.setattr(alt_iso, "__salt__", loaders.modules, raising=False)
    monkeypatch.setattr(alt_iso, "_flush", lambda tree: os.utime(copy, (1, 1)))
    with pytest.raises(CommandExecutionError, match=f"{copy} changed while it was unpacked"):
        alt_iso.unpack(copy, directory, staging)
    assert not os.path.exists(directory)
    assert os.listdir(staging) == []


def test_a_full_disk_is_found_before_anything_is_written(loaders, iso, places):
    directory, staging = places
    large = os.path.join(os.path.dirname(directory), "large.iso")
    shutil.copy(iso, large)
    os.truncate(large, shutil.disk_usage(os.path.dirname(directory)).free + 2**30)  # sparse
    with pytest.raises(CommandExecutionError, match=r"MiB are needed and \d+ MiB are free"):
        loaders.modules.alt_iso.unpack(large, directory, staging)
    assert not os.path.exists(directory)
    assert os.listdir(staging) == []


def test_places_that_will_not_do(loaders, iso, places, tmp_path):
    directory, staging = places
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("open")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:  # noqa: S108 - a tmpfs
        for place, work, message in (
            (directory, str(tmp_path / "open"), "set its mode to 0700"),
            (directory, str(tmp_path / "link"), "set its mode to 0700"),
            (directory, elsewhere, "are on different file systems"),
            (str(tmp_path / "file"), staging, "is not a directory; move it away"),
            (str(tmp_path / "link"), staging, "is not a directory; move it away"),
            (str(tmp_path / "no/parent"), staging, "no is not a directory; make it first"),
        ):
            with pytest.raises(SaltInvocationError, match=message):
                loaders.modules.alt_iso.unpack(iso, place, work)
    assert not os.path.exists(directory)
