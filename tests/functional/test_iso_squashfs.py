"""Directories of squashfs images that mksquashfs made, whole and damaged; and of an ISO's stage."""

import random
import subprocess

import pytest

import iso_facts
import iso_squashfs
import iso_tree
from lab.host import require
from tests.isos import make_iso

BACKENDS = iso_facts.INSTALLER_BACKENDS
NAMES = ["grub", "pkg-install-init", "postinstall", "remount-destination"]


@pytest.fixture(scope="module", autouse=True)
def _program():
    require("mksquashfs")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes squashfs images whose directories need several blocks of metadata."""
    tree = tmp_path_factory.mktemp("stage") / "tree"
    for folder, names in (
        (BACKENDS, NAMES),
        ("usr/lib/many", [f"library-{number:05}-of-a-long-name.so.1" for number in range(3000)]),
        ("usr/share/empty", []),
    ):
        (tree / folder).mkdir(parents=True)
        for name in names:
            (tree / folder / name).write_bytes(name.encode())

    def make(*options):
        image = tree.with_suffix(f".{'-'.join(options)}")
        command = ["mksquashfs", tree, image, "-quiet", "-no-progress", "-all-root", *options]
        subprocess.run(command, check=True, capture_output=True)
        return image.read_bytes()

    return make


def reader(image):
    return lambda offset, length: image[offset : offset + length]


def names(image, path=BACKENDS):
    return iso_squashfs.names(reader(image), len(image), path)


@pytest.mark.parametrize(
    "options",
    [
        ("-comp", "gzip"),
        ("-comp", "xz"),
        ("-comp", "xz", "-Xbcj", "x86"),
        ("-comp", "gzip", "-noI"),
        ("-comp", "xz", "-no-fragments", "-b", "1M"),
    ],
)
def test_names(make, options):
    image = make(*options)
    assert names(image) == NAMES
    assert len(names(image, "usr/lib/many")) == 3000
    assert names(image, "usr/share/empty") == []
    assert names(image, "usr") == ["lib", "share"]
    assert names(image, "usr/bin") is None
    assert names(image, f"{BACKENDS}/grub") is None


def test_other_compressions_are_unknown(make):
    assert names(make("-comp", "zstd")) is None


@pytest.mark.parametrize("image", [b"", b"hsqs", b"hsqs" + bytes(200), b"stage" * 1000])
def test_no_squashfs(image):
    assert names(image) is None


@pytest.mark.parametrize("compression", ["gzip", "xz"])
def test_damaged_images_are_unknown_or_read(make, compression):
    """Whatever the bytes: no error, and no names that are not there but for changed letters."""
    image = make("-comp", compression)
    chance = random.Random(1)  # noqa: S311
    different = 0
    for _ in range(300):
        damaged = bytearray(image)
        for _ in range(chance.randint(1, 4)):
            where = chance.choice([chance.randrange(96), chance.randrange(len(image))])
            damaged[where] = chance.randrange(256)
        found = names(bytes(damaged[: chance.choice([len(image), chance.randrange(len(image))])]))
        assert found is None or len(found) <= 5
        different += found != NAMES
    assert different > 50


def test_file_in_several_extents():
    """As stages over 4 GiB lie in an ISO."""

    class Iso:
        data = b"..abc....defgh.ij"

        def read(self, offset, length):
            assert offset + length <= len(self.data)
            return self.data[offset : offset + length]

    read = iso_squashfs.part_reader(Iso(), [[2, 3], [9, 5], [15, 2]])
    whole = b"abcdefghij"
    for offset in range(len(whole) + 1):
        for length in range(len(whole) + 1 - offset):
            assert read(offset, length) == whole[offset : offset + length]


@pytest.mark.parametrize(
    ("options", "found"),
    [(("-comp", "xz"), [one for one in NAMES if one != "grub"]), (("-comp", "zstd"), None)],
)
def test_names_in_the_stage_of_an_iso(make, tmp_path, options, found):
    iso = make_iso(tmp_path / "a.iso", more={"live": make(*options)})
    assert iso_tree.inspect(iso).get("installer_names") == found
