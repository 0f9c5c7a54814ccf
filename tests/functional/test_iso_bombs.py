"""
Small ISOs that would take minutes or gigabytes: each is inspected or refused within 5 s and 100 MB.
"""

import json
import os
import struct
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

SECTOR = 2048
MOST_S, MOST_MB = 5, 100

# Each image in a process of its own, so that one has not what another has freed.
INSPECT = """
import json, os, resource, sys, time
sys.path.insert(0, "salt/_utils")
import iso_tree
from salt.exceptions import CommandExecutionError
for path in sys.argv[1:]:
    if not os.fork():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.process_time()
        try:
            facts = iso_tree.inspect(path)
            said = f"listed, {len(facts['rejected'])} rejected"
        except CommandExecutionError as err:
            said = str(err)
        took = time.process_time() - begun
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([said, took, grown / 1024]), flush=True)
        os._exit(0)
    os.wait()
"""


def both(number):
    """A number of four bytes in both orders (ECMA-119 7.3.3)."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def record(identifier, sector=0, length=0, flags=0, use=b""):
    """A directory record (ECMA-119 9.1)."""
    name = identifier + b"\0" * (1 - len(identifier) % 2)
    size = 33 + len(name) + len(use)
    size += size % 2
    head = bytes([size, 0]) + both(sector) + both(length) + bytes(7) + bytes([flags, 0, 0])
    return (head + b"\1\0\0\1" + bytes([len(identifier)]) + name + use).ljust(size, b"\0")


def field(signature, data):
    return signature + bytes([4 + len(data), 1]) + data


def named(name):
    return field(b"NM", b"\0" + name)


def continued(sector, length=SECTOR):
    return field(b"CE", both(sector) + both(0) + both(length))


SP = field(b"SP", b"\xbe\xef\0")
LINK = field(b"PX", both(0o120777))


def directory(records, own=b"\0", use=b""):
    """The sectors of a directory; its length must be patched into its own record by the caller."""
    sectors = [record(own, 18, 0, 2, use)]
    for one in records:
        if len(sectors[-1]) + len(one) > SECTOR:
            sectors.append(b"")
        sectors[-1] += one
    return b"".join(sector.ljust(SECTOR, b"\0") for sector in sectors)


def image(path, root, *others):
    """Write an image: its root directory at sector 18, then other sectors."""
    body = root + b"".join(others)
    sectors = 18 + len(body) // SECTOR
    descriptor = bytearray(SECTOR)
    descriptor[:7] = b"\1CD001\1"
    descriptor[80:88] = both(sectors)
    descriptor[128:132] = b"\0\x08\x08\0"
    descriptor[156:190] = record(b"\0", 18, len(root), 2)
    with open(path, "wb") as file:
        file.write(bytes(16 * SECTOR) + descriptor + b"\xffCD001\1".ljust(SECTOR, b"\0") + body)
    return str(path)


def plain(number):
    return f"{number:07}".encode()


def bad_names(path):
    name = named(b"../" + b"x" * 20)
    records = (record(plain(number), use=name) for number in range(200_000))
    return image(path, directory(records, use=SP))


def associated(path):
    return image(path, directory([record(b"ASSOC", flags=4)] * 500_000))


def shared_links(path):
    """Each record has the same chain of continuation areas, full of components."""
    chain, first = b"", 100
    component = b"\0\x01a" * 80
    for number in range(31):
        area = field(b"SL", b"\1" + component) * 8
        following = continued(first + number + 1) if number < 30 else b""
        chain += (area + following).ljust(SECTOR, b"\0")
    use = LINK + continued(first)
    root = directory((record(plain(n), use=use) for n in range(500)), use=SP)
    return image(path, root.ljust(82 * SECTOR, b"\0"), chain)


def shared_areas(path):
    """The same with areas that have nothing but small fields."""
    chain, first = b"", 2000
    for number in range(31):
        area = field(b"XX", b"") * 500
        following = continued(first + number + 1) if number < 30 else b""
        chain += (area + following).ljust(SECTOR, b"\0")
    root = directory((record(plain(n), use=continued(first)) for n in range(20_000)), use=SP)
    return image(path, root.ljust(1982 * SECTOR, b"\0"), chain)


def long_names(path):
    """Files with long names."""
    tail = b"x" * 150 + "\U0001f4c0".encode()  # for which Python takes four bytes a character
    names = (named(plain(number) + tail) for number in range(90_000))
    return image(path, directory((record(b"F", use=one) for one in names), use=SP))


def many_names(path):
    """As many files as are allowed, each in two extents."""
    records = []
    for number in range(80_000):
        name = named(plain(number) + b"\xf0\x9f\x93\x80" + b"x" * 40)
        records += [record(b"F", 18, 1, flags, name) for flags in (0x80, 0)]
    return image(path, directory(records, use=SP))


def deep_names(path):
    """Files whose directories have long names: paths of 2 KB."""
    return image(path, *deep_tree(named(b"d" * 200), 8, 12_000))


def deep_tree(name, depth, files):
    levels = []
    for level in range(depth):
        levels.append(directory([record(b"D", 19 + level, SECTOR, 2, name)], use=SP))
    last = directory(record(plain(n), use=named(plain(n) * 20)) for n in range(files))
    levels[-1] = directory([record(b"D", 18 + depth, len(last), 2, name)], use=SP)
    return [*levels, last]


def extents(path):
    return image(path, directory([record(b"F", 18, 1, 0x80)] * 400_000))


def dots(path):
    return image(path, directory([record(b"\0")] * 500_000))


def relocated(path):
    use = field(b"RE", b"")
    return image(path, directory([record(b"MOVED", use=use)] * 250_000, use=SP))


def nested(path):
    """Directories that begin in each other."""
    count = 20_000
    root = directory(record(plain(n), 18 + n, 2**24, 2) for n in range(1, count))
    return image(path, root.ljust(2**24 + count * SECTOR, b"\0"))


def names_without_end(path):
    chain = b""
    for number in range(31):
        chain += (named(b"x" * 240) * 8 + continued(1001 + number)).ljust(SECTOR, b"\0")
    root = directory((record(plain(n), use=continued(1000)) for n in range(9_000)), use=SP)
    return image(path, root.ljust(982 * SECTOR, b"\0"), chain)


def menus(path):
    """Boot menus as large as are read, of the shortest words and lines."""
    texts = [
        b"linux a b\n" * 26_000,
        (b"linux a automatic=x" + b" a" * 131_000)[: 2**18],
        b"label a\nkernel b\nappend automatic=x c\n" * 7_000,
        b"label=a\n" * 32_000,
        b"FEATURES +=" + b" \n" * 100_000,
        b"1." * 130_000,
        b" build" * 40_000,
        b"p11 " * 60_000,
    ]
    names = ["BOOT/GRUB/GRUB.CFG", "EFI/BOOT/GRUB.CFG", "SYSLINUX/ISOLINUX.CFG", "BOOT.CONF"]
    names += [".DISK/INITRD.MK", ".DISK/INFO", ".DISK/CPE", ".DISK/ARCH"]
    sectors = [len(text) // SECTOR + 1 for text in texts]
    tree, data = {}, 18 + 20
    for name, text, size in zip(names, texts, sectors):
        *parents, file = name.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[file] = (data, len(text))
        data += size
    made = []

    def make(place):
        number = len(made)
        made.append(b"")
        records = []
        for name, one in place.items():
            if isinstance(one, dict):
                records.append(record(name.encode(), 18 + make(one), SECTOR, 2))
            else:
                records.append(record(name.encode() + b";1", *one))
        made[number] = directory(records)
        return number

    make(tree)
    body = b"".join(made).ljust(20 * SECTOR, b"\0")
    body += b"".join(text.ljust(size * SECTOR, b"\0") for text, size in zip(texts, sectors))
    return image(path, body[:SECTOR], body[SECTOR:])


def cut_field(path):
    """The root's own record ends in the middle of its field."""
    return image(path, directory([record(b"F")], use=b"SP"))


BOMBS = {
    cut_field: "listed, 0 rejected",
    bad_names: "has more than 10000 rejected entries",
    associated: "has more than 10000 rejected entries",
    shared_links: "has more than 1000000 Rock Ridge fields",
    shared_areas: "has more than 1000000 Rock Ridge fields",
    long_names: "has more than 16777216 bytes of paths",
    deep_names: "has more than 16777216 bytes of paths",
    many_names: "listed, 0 rejected",
    extents: "has more than 170000 directory records",
    dots: "has more than 170000 directory records",
    relocated: "has more than 170000 directory records",
    nested: "has more than 67108864 bytes of directories",
    names_without_end: "listed, 9000 rejected",
    menus: "listed, 0 rejected",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What comes of each image, in seconds and MB."""
    folder = tmp_path_factory.mktemp("bombs")
    # Coverage of the processes would take longer than what they do.
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    paths = [make(folder / f"{make.__name__}.iso") for make in BOMBS]
    run = subprocess.run(
        [sys.executable, "-c", INSPECT, *paths],
        cwd=CHECKOUT,
        env=unmeasured,
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    for path in folder.iterdir():
        path.unlink()
    return dict(zip(BOMBS, map(json.loads, run.stdout.splitlines())))


@pytest.mark.parametrize("make", BOMBS, ids=lambda make: make.__name__)
def test_bomb(results, make):
    said, took_s, grown_mb = results[make]
    assert BOMBS[make] in said
    assert took_s < MOST_S
    assert grown_mb < MOST_MB
