"""Files of FAT file systems that mkfs.fat and mtools made, whole and damaged."""

import random
import time

import pytest

import iso_fat
from lab.iso.scratch import run

CONTENT = bytes(range(256)) * 5000
LONG = "EFI/BOOT/A long name, with spaces, that takes several entries.efi"
FILES = {
    "EFI/BOOT/BOOTX64.EFI": b"shim",
    "EFI/BOOT/grubx64.efi": CONTENT,
    "EFI/BOOT/empty.img": b"",
    LONG: b"long",
    **{f"EFI/BOOT/number {number:03}.conf": b"%d" % number for number in range(80)},
}
KIB = {12: 4096, 16: 20000, 32: 40000}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """File systems by type, as bytes."""
    folder = tmp_path_factory.mktemp("fat")
    made = {}
    for bits, kib in KIB.items():
        image = folder / f"fat{bits}"
        words = ["-s", "1"] if bits == 32 else []
        run("mkfs.fat", "-F", str(bits), *words, "-C", str(image), str(kib))
        run("mmd", "-i", str(image), "::EFI", "::EFI/BOOT")
        for name, content in FILES.items():
            (folder / "file").write_bytes(content)
            run("mcopy", "-i", str(image), str(folder / "file"), f"::{name}")
        made[bits] = image.read_bytes()
    return made


def fat(image):
    return iso_fat.Fat(lambda offset, length: image[offset : offset + length], len(image))


@pytest.mark.parametrize("bits", KIB)
def test_files(images, bits):
    system = fat(images[bits])
    assert system._bits == bits
    for name, content in FILES.items():
        assert system.read(name) == (name, content)
        assert system.read(name.swapcase()) == (name, content)
    for name in ("EFI", "EFI/BOOT/none", "EFI/BOOT/BOOTX64.EFI/more", "none/BOOTX64.EFI", ""):
        assert system.read(name) is None


def test_content_in_pieces(tmp_path):
    """What lies in many places, as after files were removed."""
    image = tmp_path / "fat"
    run("mkfs.fat", "-C", str(image), "4096")
    (tmp_path / "small").write_bytes(b"x" * 3000)
    (tmp_path / "large").write_bytes(CONTENT)
    for number in range(100):
        run("mcopy", "-i", str(image), str(tmp_path / "small"), f"::small{number}")
    for number in range(0, 100, 2):
        run("mdel", "-i", str(image), f"::small{number}")
    run("mcopy", "-i", str(image), str(tmp_path / "large"), "::large")
    assert fat(image.read_bytes()).read("LARGE") == ("large", CONTENT)


@pytest.mark.parametrize("bits", KIB)
def test_damaged_file_systems_are_unreadable_or_read(images, bits):
    whole = images[bits]
    system = fat(whole)
    chance = random.Random(1)  # noqa: S311
    unreadable = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            tables = chance.randrange(system._table, min(system._data, system._table + 8000))
            data = chance.randrange(system._data, system._data + 20000)
            damaged[chance.choice((chance.randrange(64), tables, data))] = chance.randrange(256)
        begun = time.monotonic()
        try:
            fat(bytes(damaged)).read("EFI/BOOT/grubx64.efi")
        except iso_fat.Unreadable:
            unreadable += 1
        assert time.monotonic() - begun < 2
    assert unreadable > 20


@pytest.mark.parametrize("bits", KIB)
def test_clusters_in_a_circle_end(images, bits):
    """Each cluster is followed by the second one, whatever is looked for."""
    system = fat(images[bits])
    two = {12: b"\x02\x20\x00", 16: b"\x02\x00", 32: b"\x02\x00\x00\x00"}[bits]
    length = system._root - system._table
    image = bytearray(images[bits])
    image[system._table : system._table + length] = (two * length)[:length]
    begun = time.monotonic()
    for name in ("EFI/BOOT/grubx64.efi", "EFI/BOOT/none"):
        try:
            found = fat(bytes(image)).read(name)
            assert found is None or found[1] != CONTENT
        except iso_fat.Unreadable:
            pass
    assert time.monotonic() - begun < 5


def test_file_that_says_to_be_huge(images):
    image = bytearray(images[16])
    place = image.index(b"GRUBX64 EFI")
    image[place + 28 : place + 32] = (iso_fat.MOST_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(iso_fat.Unreadable):
        fat(bytes(image)).read("EFI/BOOT/grubx64.efi")


@pytest.mark.parametrize("image", [b"", bytes(512), b"\xff" * 4096, b"\xeb\x3c\x90mkfs.fat"])
def test_no_file_system(image):
    with pytest.raises(iso_fat.Unreadable):
        fat(image)
