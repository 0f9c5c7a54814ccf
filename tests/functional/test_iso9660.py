"""iso9660 against images that xorriso made, some of them damaged or hostile afterwards."""

import hashlib
import os
import random
import stat
import struct
import subprocess

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

import iso9660
import iso9660_walk

SECTOR = 2048
LONG_NAME = "очень длинное имя, которому нужна ещё одна область продолжения " * 2
LONG_PLAIN = "_" * 30  # its ISO 9660 name
FILES = {
    ".disk/info": b"ALT Test 11.0 x86_64 build 2025-06-02\n",
    "aa": b"two letters\n",
    "a_b": b"three letters\n",
    "boot/vmlinuz": bytes(range(256)) * 400,
    "dup_a": b"first\n",
    "dup_b": b"second\n",
    "empty": b"",
    "koi8": "меню".encode("koi8-r"),
    "part_1": b"1" * SECTOR,
    "part_2": b"the rest\n",
    "sub/inner": b"inner\n",
    "sub/deep/er": b"deeper\n",
    LONG_NAME: b"long\n",
}
LINKS = {"sub/to_kernel": "../boot/vmlinuz", "dangling": "nowhere", "here": "./sub/./inner"}
HOSTILE_LINKS = {
    "abs": "/etc/passwd",
    "out": "../etc",
    "sub/out": "../../etc",
    "sub/detour": "deep/../../aa",
    "bell": "a\abell",
}


def xorriso(tree, iso, *options):
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-iso-level", "3", *options]
    subprocess.run([*command, "-o", iso, tree], check=True, capture_output=True)
    return str(iso)


def fill(tree, files, links=()):
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    for name, target in dict(links).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    return tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = fill(tmp_path_factory.mktemp("tree"), FILES, {**LINKS, **HOSTILE_LINKS})
    os.mkfifo(tree / "pipe")
    os.link(tree / "boot/vmlinuz", tree / "same")
    (tree / "boot/vmlinuz").chmod(0o600)
    return tree


@pytest.fixture(scope="module")
def good(tree, tmp_path_factory):
    return xorriso(
        tree,
        tmp_path_factory.mktemp("iso") / "good.iso",
        *("-R", "-J", "-V", "ALT Test 11.0 x86_64", "-sysid", "LINUX"),
        *("-publisher", "BASEALT LTD", "--modification-date=2025060211223300"),
    )


class Patch:
    """A copy of an image whose bytes a test changes."""

    def __init__(self, good, copy):
        self.path = str(copy)
        with open(good, "rb") as stream:
            self.data = bytearray(stream.read())

    def save(self):
        with open(self.path, "wb") as stream:
            stream.write(self.data)
        return self.path

    def record(self, name):
        """Offset of a directory record by the ISO 9660 identifier that xorriso gives it."""
        for identifier in (f"{name.upper()}.;1".encode(), name.upper().encode()):
            found = self.data.find(identifier, 16 * SECTOR)
            while found >= 0:
                start = found - 33
                flags, length = self.data[start + 25], self.data[start + 32]
                if length == len(identifier) and flags in (0, 2) and self.data[start] > 34:
                    return start
                found = self.data.find(identifier, found + 1)
        raise AssertionError(f"no record of {name}")

    def field(self, name, signature):
        """Offset of a Rock Ridge field of an entry."""
        start = self.record(name)
        found = self.data.find(signature, start, start + self.data[start])
        assert found > 0, f"{name} has no {signature}"
        return found

    def put(self, offset, content):
        self.data[offset : offset + len(content)] = content

    def extent(self, name):
        return struct.unpack_from("<I4xI", self.data, self.record(name) + 2)

    def set_extent(self, name, location, length):
        start = self.record(name)
        struct.pack_into("<I4xI", self.data, start + 2, location, length)


@pytest.fixture
def patch(good, tmp_path):
    return Patch(good, tmp_path / "patched.iso")


def paths(listing, kind):
    return {entry["path"] for entry in listing["entries"] if entry["type"] == kind}


# Good images


def test_volume(good):
    assert iso9660.volume(good) == {
        "volume_id": "ALT Test 11.0 x86_64",
        "system_id": "LINUX",
        "publisher": "BASEALT LTD",
        "uuid": "2025-06-02-11-22-33-00",
        "created": "2025-06-02T11:22:33+00:00",
        "size": os.path.getsize(good),
    }


@pytest.mark.parametrize(
    ("date", "uuid", "created"),
    [
        (b"2025060211223300\0", "2025-06-02-11-22-33-00", "2025-06-02T11:22:33+00:00"),
        (b"2025060211223345\x0c", "2025-06-02-11-22-33-45", "2025-06-02T11:22:33+03:00"),
        (b"2025060211223300\xf2", "2025-06-02-11-22-33-00", "2025-06-02T11:22:33-03:30"),
        (b"0000000000000000\0", "", ""),
        (b"\xff" * 17, "", ""),
    ],
)
def test_dates(patch, date, uuid, created):
    descriptor = 16 * SECTOR
    patch.put(descriptor + 813, date)
    patch.put(descriptor + 830, b"0" * 16 + b"\0")  # no modification date
    found = iso9660.volume(patch.save())
    assert (found["uuid"], found["created"]) == (uuid, created)


def test_modification_date_is_the_uuid(patch):
    patch.put(16 * SECTOR + 830, b"2024010203040506")
    assert iso9660.volume(patch.save())["uuid"] == "2024-01-02-03-04-05-06"


def test_listing(good):
    listing = iso9660.listing(good)
    assert paths(listing, "file") == {*FILES, "same"}
    assert paths(listing, "dir") == {".disk", "boot", "sub", "sub/deep"}
    assert {e["path"]: e["target"] for e in listing["entries"] if e["type"] == "link"} == LINKS
    assert [entry["path"] for entry in listing["entries"]] == sorted(
        entry["path"] for entry in listing["entries"]
    )
    with open(good, "rb") as stream:
        for entry in listing["entries"]:
            if entry["path"] in FILES:
                content = b""
                for offset, length in entry["extents"]:
                    stream.seek(offset)
                    content += stream.read(length)
                assert content == FILES[entry["path"]]
                assert entry["size"] == len(content)


def test_harmful_entries_are_rejected_with_their_reason(good):
    rejected = {entry["path"]: entry["reason"] for entry in iso9660.listing(good)["rejected"]}
    assert rejected.pop("pipe") == "it is a device, a pipe or a socket"
    assert rejected.pop("bell") == "its target contains control characters"
    assert set(rejected) == set(HOSTILE_LINKS) - {"bell"}
    assert set(rejected.values()) == {"the link points out of the tree"}


def test_read(good):
    assert iso9660.read(good, ".disk/info") == FILES[".disk/info"].decode()
    assert iso9660.read(good, "/sub//inner/") == "inner\n"
    assert iso9660.read(good, "koi8") == FILES["koi8"]
    assert iso9660.read(good, "empty") == ""
    assert iso9660.read(good, "aa", limit=len(FILES["aa"])) == FILES["aa"].decode()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("boot/vmlinuz", "has 102400 bytes; the limit is 1000"),
        ("boot", "boot is a dir, not a file"),
        ("dangling", "dangling is a link, not a file"),
        ("boot/grub.cfg", "has no file boot/grub.cfg"),
        ("pipe", "pipe was rejected: it is a device, a pipe or a socket"),
    ],
)
def test_read_refuses(good, name, message):
    with pytest.raises(CommandExecutionError, match=message):
        iso9660.read(good, name, limit=1000)


def test_extract_writes_the_tree(good, tmp_path):
    umask = os.umask(0o077)
    try:
        result = iso9660.extract(good, str(tmp_path / "out"), sha256=["boot/vmlinuz", "empty"])
    finally:
        os.umask(umask)
    out = tmp_path / "out"
    written = {str(path.relative_to(out)): path for path in out.rglob("*")}
    assert set(written) == {*FILES, *LINKS, "same", ".disk", "boot", "sub", "sub/deep"}
    for name, content in FILES.items():
        assert written[name].read_bytes() == content
    for name, target in LINKS.items():
        assert os.readlink(written[name]) == os.path.normpath(target) or name == "here"
    for path in [out, *written.values()]:
        if not path.is_symlink():
            expected = 0o755 if path.is_dir() else 0o644
            assert stat.S_IMODE(path.stat().st_mode) == expected, path
    assert written["same"].samefile(written["boot/vmlinuz"])
    assert result["sha256"] == {
        name: hashlib.sha256(FILES[name]).hexdigest() for name in ("boot/vmlinuz", "empty")
    }
    assert result["sizes"] == {"boot/vmlinuz": 102400, "empty": 0}
    assert (result["files"], result["dirs"], result["links"]) == (len(FILES) + 1, 4, len(LINKS))
    assert "pipe" in {entry["path"] for entry in result["rejected"]}


def test_digest_of_a_large_file(tmp_path):
    large = random.Random(1).randbytes(8 * 2**20 + 1)  # noqa: S311 - not for secrets
    fill(tmp_path / "tree", {"live": large})
    iso = xorriso(tmp_path / "tree", tmp_path / "large.iso", "-R")
    result = iso9660.extract(iso, str(tmp_path / "out"), sha256=["live"])
    assert result["sha256"] == {"live": hashlib.sha256(large).hexdigest()}
    assert (tmp_path / "out/live").read_bytes() == large


def test_extract_some(good, tmp_path):
    result = iso9660.extract(good, str(tmp_path), names=["sub/deep", "aa"], sha256="aa")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert written == {"aa", "sub", "sub/deep", "sub/deep/er"}
    assert result["sha256"] == {"aa": hashlib.sha256(FILES["aa"]).hexdigest()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["nothing"]}, "has no file nothing"),
        ({"names": ["pipe"]}, "pipe was rejected"),
        ({"names": ["sub"], "sha256": ["aa"]}, "has no file aa"),
        ({"sha256": ["boot"]}, "has no file boot"),
        ({"sha256": ["abs"]}, "abs was rejected: the link points out of the tree"),
    ],
)
def test_extract_refuses_names(good, tmp_path, options, message):
    with pytest.raises(CommandExecutionError, match=message):
        iso9660.extract(good, str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_extract_wants_an_empty_directory(good, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("full", "full/file", "link"):
        with pytest.raises(SaltInvocationError, match="not an empty directory"):
            iso9660.extract(good, str(tmp_path / name))
    with pytest.raises(CommandExecutionError, match="No such file or directory"):
        iso9660.extract(good, str(tmp_path / "no/parent"))


def test_plain_iso9660(tree, tmp_path):
    iso = xorriso(tree, tmp_path / "plain.iso", "--norock")
    listing = iso9660.listing(iso)
    assert {"boot/vmlinuz", "aa", "sub/inner"} <= paths(listing, "file")
    assert iso9660.read(iso, "sub/inner") == "inner\n"


def test_relocated_directories(tmp_path):
    deep = "/".join(f"d{level}" for level in range(1, 12))
    fill(tmp_path / "tree", {f"{deep}/file": b"deep\n"})
    subprocess.run(
        ["xorriso", "-compliance", "deep_paths_off", "-rr_reloc_dir", "rr_moved"]
        + ["-outdev", tmp_path / "deep.iso", "-map", tmp_path / "tree", "/", "-commit"],
        check=True,
        capture_output=True,
    )
    image = (tmp_path / "deep.iso").read_bytes()
    assert b"CL\x0c\x01" in image
    assert b"RE\x04\x01" in image
    listing = iso9660.listing(str(tmp_path / "deep.iso"))
    assert paths(listing, "file") == {f"{deep}/file"}
    assert iso9660.read(str(tmp_path / "deep.iso"), f"{deep}/file") == "deep\n"


def join_parts(patch):
    """As makers store files over 4 GiB: the same identifier again, all but the last flagged."""
    first, second = patch.record("part_1"), patch.record("part_2")
    patch.data[first + 25] |= 0x80
    patch.put(second + 33, patch.data[first + 33 : first + 33 + patch.data[first + 32]])


def test_file_in_several_extents(patch):
    join_parts(patch)
    path = patch.save()
    found = {entry["path"]: entry for entry in iso9660.listing(path)["entries"]}
    assert "part_2" not in found
    assert len(found["part_1"]["extents"]) == 2
    assert iso9660.read(path, "part_1").encode() == FILES["part_1"] + FILES["part_2"]


def test_data_beyond_four_gibibytes(patch, tmp_path):
    patch.set_extent("part_1", 1000, 4 * 2**30 - SECTOR)
    patch.set_extent("part_2", 3 * 2**20, 9)
    patch.set_extent("aa", 3 * 2**20, 9)
    join_parts(patch)
    path = patch.save()
    with open(path, "r+b") as stream:
        stream.seek(3 * 2**20 * SECTOR)
        stream.write(b"far away\n")
    found = {entry["path"]: entry for entry in iso9660.listing(path)["entries"]}
    assert found["part_1"]["size"] == 4 * 2**30 - SECTOR + 9
    assert found["part_1"]["extents"][1] == [6 * 2**30, 9]
    iso9660.extract(path, str(tmp_path / "out"), names=["aa"])
    assert (tmp_path / "out/aa").read_bytes() == b"far away\n"


# Hostile images: one entry is wrong, the rest stays


def name_becomes(old, new):
    def change(patch):
        patch.put(patch.field(old, b"NM") + 5, new)

    return change


def mode_becomes(name, mode):
    def change(patch):
        struct.pack_into("<I", patch.data, patch.field(name, b"PX") + 4, mode)

    return change


def extent_becomes(name, location, length):
    def change(patch):
        old = patch.extent(name)
        patch.set_extent(name, *(o if n is None else n for o, n in zip(old, (location, length))))

    return change


def byte_becomes(name, offset, value):
    def change(patch):
        patch.data[patch.record(name) + offset] = value

    return change


def signature_becomes(name, old, new):
    def change(patch):
        patch.put(patch.field(name, old), new)

    return change


def continuation(patch):
    """Return the offset of the only CE field and of the area that it points to."""
    found = patch.data.index(b"CE\x1c\x01", patch.data.index(b"PART_1.;1"))
    block, offset = struct.unpack_from("<I4xI", patch.data, found + 4)
    return found, block * SECTOR + offset


def continuation_loops(patch):
    field, area = continuation(patch)
    patch.put(area, patch.data[field : field + 28])


def continuation_lies_far(patch):
    field, _ = continuation(patch)
    struct.pack_into("<I", patch.data, field + 4, 2**31)


def continuation_is_long(patch):
    field, _ = continuation(patch)
    struct.pack_into("<I", patch.data, field + 20, SECTOR + 1)


def directory_is_its_parent(patch):
    patch.set_extent("deep", *patch.extent("sub"))


def names_itself(patch):
    patch.data[patch.field("aa", b"NM") + 4] = 4


HOSTILE = {
    "parent": (name_becomes("aa", b".."), "..", "its name leaves the directory"),
    "current": (name_becomes("aa", b"./"), "./", "its name leaves the directory"),
    "slash": (name_becomes("a_b", b"a/b"), "a/b", "its name leaves the directory"),
    "newline": (name_becomes("a_b", b"a\nb"), "a\\nb", "its name contains control characters"),
    "escape": (name_becomes("a_b", b"a\x1bb"), "a\\x1bb", "its name contains control characters"),
    "nul": (name_becomes("a_b", b"a\0b"), "a\\x00b", "its name contains control characters"),
    "c1": (name_becomes("a_b", b"a\xc2\x9b"), "a\\x9b", "its name contains control characters"),
    "latin1": (name_becomes("a_b", b"a\xffb"), "a\\\\xffb", "its name is not UTF-8"),
    "twice": (name_becomes("dup_b", b"dup_a"), "dup_a", "the directory contains its name twice"),
    "block device": (mode_becomes("aa", 0o060644), "aa", "it is a device, a pipe or a socket"),
    "socket": (mode_becomes("aa", 0o140644), "aa", "it is a device, a pipe or a socket"),
    "no target": (mode_becomes("aa", 0o120777), "aa", "it is a link without"),
    "no directory": (mode_becomes("aa", 0o040755), "aa", "disagree on whether it is a directory"),
    "directory file": (
        mode_becomes("sub", 0o100644),
        "sub",
        "disagree on whether it is a directory",
    ),
    "far data": (extent_becomes("aa", 2**32 - 1, None), "aa", "its data lie beyond the end"),
    "long data": (extent_becomes("aa", None, 2**32 - 1), "aa", "its data lie beyond the end"),
    "far directory": (extent_becomes("sub", 2**31, None), "sub", "the directory lies beyond"),
    "empty directory": (extent_becomes("sub", None, 0), "sub", "the directory lies beyond"),
    "interleaved": (byte_becomes("aa", 26, 1), "aa", "its data are interleaved"),
    "associated": (byte_becomes("aa", 25, 4), "aa", "it is an associated file"),
    "endless file": (byte_becomes("dup_b", 25, 0x80), "dup_b", "the last of its extents is miss"),
    "compressed": (signature_becomes("aa", b"TF", b"ZF"), "aa", "stored in a special form (ZF)"),
    "names itself": (names_itself, "aa", "means the directory itself"),
    "far relocation": (
        signature_becomes("sub", b"TF", b"CL"),
        "sub",
        "the relocated directory lies beyond",
    ),
    "loop": (directory_is_its_parent, "sub/deep", "the directory is a loop"),
    "endless fields": (continuation_loops, LONG_PLAIN, "its Rock Ridge fields never end"),
    "far fields": (continuation_lies_far, LONG_PLAIN, "lie beyond their sector or the file"),
    "long fields": (continuation_is_long, LONG_PLAIN, "lie beyond their sector or the file"),
    "damaged": (byte_becomes("inner", 0, 20), "sub", "the rest of the directory is damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_entry(patch, tmp_path, case):
    change, name, reason = HOSTILE[case]
    change(patch)
    path = patch.save()
    rejected = iso9660.listing(path)["rejected"]
    new = [entry for entry in rejected if entry["path"] not in {*HOSTILE_LINKS, "pipe"}]
    assert [entry["path"] for entry in new] == [name]
    assert reason in new[0]["reason"]
    result = iso9660.extract(path, str(tmp_path / "out"), sha256=["boot/vmlinuz"])
    assert result["sha256"] == {"boot/vmlinuz": hashlib.sha256(FILES["boot/vmlinuz"]).hexdigest()}
    assert sorted(os.listdir(tmp_path)) == ["out", "patched.iso"]
    kept = {entry["path"] for entry in iso9660.listing(path)["entries"]}
    out = tmp_path / "out"
    assert {str(found.relative_to(out)) for found in out.rglob("*")} == kept


def test_link_through_a_directory_link_stays_inside(tmp_path):
    """Resolved one after the other these links would leave, although neither seems to."""
    fill(tmp_path / "tree", {"a/b/file": b""}, {"a/b/up": "../..", "a/b/out": "up/../etc"})
    listing = iso9660.listing(xorriso(tmp_path / "tree", tmp_path / "links.iso", "-R"))
    assert paths(listing, "link") == {"a/b/up"}
    assert [entry["path"] for entry in listing["rejected"]] == ["a/b/out"]


def test_too_deep(tmp_path):
    inside = "/".join("d" for _ in range(iso9660_walk.MAX_DEPTH - 1))
    fill(tmp_path / "tree", {f"{inside}/file": b"", f"{inside}/d/file": b""})
    listing = iso9660.listing(xorriso(tmp_path / "tree", tmp_path / "deep.iso", "-R", "-D"))
    assert paths(listing, "file") == {f"{inside}/file"}
    assert [entry["path"] for entry in listing["rejected"]] == [f"{inside}/d/file"]


# Images that are wrong as a whole


def test_truncated(good, tmp_path):
    cut = tmp_path / "cut.iso"
    with open(good, "rb") as stream:
        cut.write_bytes(stream.read()[:-SECTOR])
    for function in (iso9660.volume, iso9660.listing):
        with pytest.raises(CommandExecutionError, match=f"{cut} is truncated"):
            function(str(cut))


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 40 * SECTOR, b"\xff" * 80 * SECTOR])
def test_no_iso(tmp_path, content):
    (tmp_path / "x.iso").write_bytes(content)
    with pytest.raises(CommandExecutionError, match=r"x\.iso is not an ISO 9660 image"):
        iso9660.volume(str(tmp_path / "x.iso"))


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in ((".", "not a regular"), ("pipe", "not a regular"), ("no", "No such")):
        with pytest.raises(CommandExecutionError, match=message):
            iso9660.volume(str(tmp_path / name))


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (80, struct.pack("<I", 2**32 - 1), "is truncated"),
        (128, struct.pack("<H", 512), "logical blocks"),
        (158, struct.pack("<I", 2**32 - 1), "the root directory is beyond"),
        (166, struct.pack("<I", 0), "the root directory is beyond"),
    ],
)
def test_damaged_descriptor(patch, offset, content, message):
    patch.put(16 * SECTOR + offset, content)
    with pytest.raises(CommandExecutionError, match=message):
        iso9660.listing(patch.save())


def test_overlapping_files_are_not_written(patch, tmp_path):
    size = len(patch.data)
    for number, name in enumerate(("aa", "a_b")):
        patch.set_extent(name, number, size - number * SECTOR)
    with pytest.raises(CommandExecutionError, match="its files overlap"):
        iso9660.extract(patch.save(), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("entries", 10),
        ("rejected entries", 2),
        ("directory records", 10),
        ("bytes of directories", 2 * SECTOR),
        ("continuation areas", 0),
        ("bytes of continuation areas", 10),
        ("Rock Ridge fields", 20),
        ("bytes of paths", 50),
    ],
)
def test_limits(good, monkeypatch, what, limit):
    monkeypatch.setitem(iso9660_walk.LIMITS, what, limit)
    with pytest.raises(CommandExecutionError, match=f"has more than {limit} {what}, and no ALT"):
        iso9660.listing(good)


@pytest.mark.parametrize("seed", range(8))
def test_any_damage_is_an_error_or_a_safe_listing(good, tmp_path, seed):
    """Random changes in the descriptors and directories: nothing else may ever happen."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    patch = Patch(good, tmp_path / "damaged.iso")
    end = min(offset for e in iso9660.listing(good)["entries"] for offset, _ in e["extents"])
    original = bytes(patch.data)
    results = set()
    for number in range(40):
        patch.data[:] = original
        for _ in range(chance.choice((1, 3, 30))):
            place = chance.randrange(16 * SECTOR, end)
            patch.data[place] = chance.choice((0, 1, 2, 46, 47, 128, 255, chance.randrange(256)))
        out = tmp_path / str(number)
        try:
            listing = iso9660.listing(patch.save())
            iso9660.extract(patch.path, str(out))
        except CommandExecutionError:
            results.add("refused")
            continue
        results.add("listed")
        for entry in listing["entries"]:
            assert not {"", ".", ".."} & set(entry["path"].split("/"))
            if entry["type"] == "link":
                inside = os.path.realpath(out / entry["path"])
                assert inside.startswith(f"{out}/") or inside == str(out)
    assert "listed" in results
    outside = set(os.listdir(tmp_path)) - {str(number) for number in range(40)}
    assert outside == {"damaged.iso"}
