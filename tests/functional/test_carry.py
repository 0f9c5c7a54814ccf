"""ISOs carried on a disk: exported with their sums, imported before the first apply or later."""

import contextlib
import hashlib
import os
import random
import subprocess
import threading

import pytest
from salt.exceptions import CommandExecutionError

import iso_hashes
import netboot_carry
import netboot_files
from iso_part import Part
from netboot_records import Records
from tests.unit.test_netboot_pillar import resolve

BODY = random.Random(3).randbytes(3_000_000)  # noqa: S311 (any bytes will do)
OTHER = BODY[::-1]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Server:
    """A netboot server: records and a root of its own, images by name with the right checksum."""

    def __init__(self, base, **images):
        self.records = Records(str(base / "records"))
        self.root = base / "export"
        self.dist = self.root / "dist"
        self.images = {
            name: {"url": f"http://127.0.0.1:9/{name}.iso", "checksum": {"sha256": sha256(body)}}
            for name, body in images.items()
        }

    @property
    def config(self):
        pillar = {"root": str(self.root), "images": self.images}
        resolved = resolve(pillar, state_dir=self.records.directory)
        assert resolved["problems"] == []
        return resolved["config"]

    def has(self, name, body):
        """Give it a verified ISO."""
        self.records.write("applied", "config", self.config)
        self.dist.mkdir(parents=True, exist_ok=True)
        path = self.dist / f"{name}.iso"
        path.write_bytes(body)
        self.records.write_iso(str(path), iso_hashes.digests(str(path), ["sha256"]))

    def imports(self, disk):
        return netboot_carry.import_(self.records, self.config, str(disk))

    def exports(self, disk, *names):
        return netboot_carry.export(self.records, str(disk), names)


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def here(tmp_path):
    """The server that has them."""
    server = Server(tmp_path / "here", a=BODY, b=OTHER)
    server.has("a", BODY)
    server.has("b", OTHER)
    return server


@pytest.fixture
def there(tmp_path):
    """One on which nothing was applied yet."""
    return Server(tmp_path / "there", a=BODY, b=OTHER)


def test_there_and_back(here, there, disk):
    done = here.exports(disk)
    assert done["copied"] == {"a.iso": 3_000_000, "b.iso": 3_000_000}
    assert sorted(os.listdir(disk)) == ["README.txt", "SHA256SUM", "a.iso", "b.iso"]
    check = ["sha256sum", "--check", "--strict", "SHA256SUM"]
    assert subprocess.run(check, cwd=disk, check=False, capture_output=True).returncode == 0
    assert there.imports(disk)["imported"] == {"a.iso": 3_000_000, "b.iso": 3_000_000}
    assert (there.dist / "a.iso").read_bytes() == BODY
    assert (there.root / ".staging").stat().st_mode & 0o777 == 0o700
    assert os.listdir(there.root / ".staging") == []
    again = there.imports(disk)
    assert (again["imported"], again["there"]) == ({}, ["a.iso", "b.iso"])


def test_next_apply_fetches_nothing(modules, records, here, disk, tmp_path):
    here.exports(disk)
    there = Server(tmp_path / "third", a=BODY)
    there.records = records
    there.imports(disk)
    pillar = {"interface": "lo", "root": str(there.root), "images": there.images}
    done = modules.state.apply("netboot.images", pillar={"netboot": pillar})
    fetched = next(one for one in done.raw.values() if one["__id__"].endswith("-a-fetched"))
    assert (fetched["result"], fetched["changes"]) == (True, {})
    assert fetched["comment"].endswith("a.iso is verified.")


def test_only_what_is_missing_is_copied(here, disk):
    here.exports(disk, "a")
    before = (disk / "a.iso").stat().st_mtime_ns
    done = here.exports(disk)
    assert (list(done["copied"]), done["there"]) == (["b.iso"], ["a.iso"])
    assert (disk / "a.iso").stat().st_mtime_ns == before
    (disk / "a.iso").write_bytes(BODY[:-1] + b"?")
    assert list(here.exports(disk)["copied"]) == ["a.iso"]
    assert (disk / "a.iso").read_bytes() == BODY


def test_copy_that_was_broken_off_is_resumed(here, disk):
    """As when the disk was pulled, or the machine switched off."""
    (disk / ".netboot").mkdir()
    url = f"file://{here.dist}/a.iso"
    with contextlib.closing(Part(str(disk / ".netboot"), str(disk / "a.iso"), {})) as part:
        validator = "{0.st_ino}-{0.st_mtime_ns}".format(os.stat(here.dist / "a.iso"))
        part.write_note(url, validator, len(BODY))
        part.add(BODY[:2_000_000])
    assert not (disk / "a.iso").exists()
    seen = []
    add = Part.add

    def counted(self, chunk):
        seen.append(len(chunk))
        add(self, chunk)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Part, "add", counted)
        here.exports(disk, "a")
    assert sum(seen) == 1_000_000
    assert (disk / "a.iso").read_bytes() == BODY


@pytest.fixture
def small(disk):
    """A disk with 4 MB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4000k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_small_disk_is_refused_beforehand(here, small):
    with pytest.raises(CommandExecutionError, match="has room for .* but 6000000 are to be copied"):
        here.exports(small)
    assert os.listdir(small) == []
    assert list(here.exports(small, "a")["copied"]) == ["a.iso"]


def test_large_iso_on_fat(here, disk, monkeypatch):
    """A stand-in for a disk with FAT, which this kernel does not know."""
    monkeypatch.setattr(netboot_carry, "_file_system", lambda _directory: "vfat")
    monkeypatch.setattr(netboot_carry, "_MOST_ON_FAT", 2_000_000)
    with pytest.raises(CommandExecutionError, match="FAT file system, where no file has 4 GiB"):
        here.exports(disk)


def test_disk_without_modes(here, there, disk, monkeypatch):
    """A stand-in for exFAT, where permissions cannot be set."""

    def refuse(_handle, _mode):
        raise PermissionError(1, "Operation not permitted")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fchmod", refuse)
        assert len(here.exports(disk)["copied"]) == 2
    monkeypatch.setattr(netboot_files.os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(PermissionError):
        netboot_files.write(str(disk / "x"), "of somebody else")


def test_what_is_not_verified_is_not_copied(here, disk):
    (here.dist / "a.iso").write_bytes(BODY[:-1] + b"?")
    done = here.exports(disk)
    assert list(done["skipped"]) == ["a"]
    assert sorted(os.listdir(disk)) == ["README.txt", "SHA256SUM", "b.iso"]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["c"], "There is no image 'c'; there are: a, b."), (["aa"], "did you mean a?")],
)
def test_image_that_is_not_there(here, disk, names, said):
    with pytest.raises(CommandExecutionError) as raised:
        here.exports(disk, *names)
    assert said in str(raised.value)


@pytest.mark.parametrize("path", ["disk", "/nonexistent/disk"])
def test_directory_that_is_not_there(here, there, path):
    for does in (here.exports, there.imports):
        with pytest.raises(CommandExecutionError, match="absolute path|is the disk mounted"):
            does(path)


def test_wrong_isos_are_named_and_stay_out(here, there, disk):
    here.exports(disk)
    (disk / "a.iso").write_bytes(BODY[:-1] + b"?")
    there.images["c"] = {"url": "http://127.0.0.1:9/c.iso", "checksum": {"sha256": "0" * 64}}
    (disk / "d.iso").touch()
    done = there.imports(disk)
    assert list(done["imported"]) == ["b.iso"]
    assert "a.iso is not the expected file: its sha256 is" in done["wrong"]["a.iso"]
    assert (done["missing"], done["unknown"]) == (["c"], ["d.iso"])
    assert os.listdir(there.dist) == ["b.iso"]


def test_disk_of_another_revision(here, there, disk):
    """Its sums are right, but not those of the pillar."""
    here.exports(disk)
    there.images["a"]["checksum"] = {"sha256": "1" * 64}
    assert "the disk or the pillar is outdated" in there.imports(disk)["wrong"]["a.iso"]


def test_checksum_of_the_pillar_counts_without_sums(here, there, disk):
    here.exports(disk)
    (disk / "SHA256SUM").unlink()
    there.images["b"] = {"url": "http://127.0.0.1:9/b.iso", "sums": True}
    done = there.imports(disk)
    assert list(done["imported"]) == ["a.iso"]
    assert done["wrong"] == {"b.iso": "neither the pillar nor a sum file has its digest"}


def test_image_with_its_digest_from_a_sum_file(here, there, disk):
    here.exports(disk)
    there.images["b"] = {"url": "http://127.0.0.1:9/b.iso", "sums": True, "refresh": True}
    there.imports(disk)
    assert there.records.iso("b.iso")["sums"]["checksum"] == {"sha256": sha256(OTHER)}


def test_outdated_iso_is_replaced(here, there, disk):
    there.has("a", OTHER)
    here.exports(disk)
    assert there.imports(disk)["imported"]["a.iso"] == 3_000_000
    assert (there.dist / "a.iso").read_bytes() == BODY


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir, lambda path: os.truncate(path, 2 << 20)])
@pytest.mark.parametrize("do", [Server.exports, Server.imports])
def test_sum_file_that_is_none(here, disk, do, kind):
    """The disk may be anybody's: a FIFO would keep the minion for ever."""
    sums = disk / "SHA256SUM"
    sums.touch()
    if kind in (os.mkfifo, os.mkdir):
        sums.unlink()
    kind(sums)
    said = []

    def run():
        with pytest.raises(CommandExecutionError, match="SHA256SUM cannot be read: ") as raised:
            do(here, disk)
        said.append(raised)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert said


def test_copies_do_not_follow_a_link_off_the_disk(here, disk, tmp_path):
    (disk / ".netboot").symlink_to(tmp_path)
    with pytest.raises(CommandExecutionError, match=r"/\.netboot is a link; remove it\.$"):
        here.exports(disk)
    assert os.listdir(disk) == [".netboot"]
