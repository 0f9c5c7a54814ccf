"""Debian's signed boot files, laid out on the medium as ALT lays out its own.

ALT's names (mkimage-profiles, features.in/efi): the shim has the firmware's name, GRUB the one that
the shim looks for beside it. They are in the ISO's tree or in its El Torito image.
"""

import os
import shutil
import struct

from lab.host import apt_of
from lab.iso.debian import DEBIAN_ARCHES
from lab.iso.scratch import IsoError, run, unfinished
from lab.iso.trees import set_times, write

#: Where boot files lie for firmware that starts the medium itself.
TREE, EL_TORITO = "tree", "eltorito"
EFI_IMAGE = "EFI/.efiboot.img"
BIOS_IMAGE = "boot/grub/eltorito.img"
# UEFI's suffix of these architectures (UEFI specification, 3.5.1.1), upper-case in BOOT*.EFI.
SUFFIXES = {"x86_64": "x64", "aarch64": "aa64"}
# The Debian that has it, its package, the file in it.
FILES = {
    "shim": ("trixie", "shim-signed", "usr/lib/shim/shim{suffix}.efi.signed"),
    "grub": (
        "trixie",
        "grub-efi-{debian}-signed",
        "usr/lib/grub/{target}-efi-signed/grubnet{suffix}.efi.signed",
    ),
    # Debian 12's: as old as that of ALT p10.
    "grub-2.06": (
        "bookworm",
        "grub-efi-{debian}-signed",
        "usr/lib/grub/{target}-efi-signed/grubnet{suffix}.efi.signed",
    ),
}


def signed_file(cache, what, arch):
    """The path of a file that Debian has signed, or for the shim Microsoft; fetched once and kept.

    cache: folder for downloads (Path). what: a key of FILES. arch: a key of SUFFIXES.
    Raises IsoError when there is none, or apt cannot fetch it.
    """
    if what not in FILES or arch not in SUFFIXES:
        raise IsoError(f"Debian has no signed {what} for {arch}: see lab/iso/signed.py")
    release, _, path = FILES[what]
    names = {
        "suffix": SUFFIXES[arch],
        "debian": DEBIAN_ARCHES[arch],
        "target": arch.replace("aarch64", "arm64"),
    }
    kept = cache / "signed" / f"{release}-{arch}"
    if not kept.exists():
        wanted = {row[1].format(**names) for row in FILES.values() if row[0] == release}
        with apt_of(release, names["debian"]) as environment, unfinished(kept) as work:
            packages = work / "packages"
            packages.mkdir()
            run("apt-get", "-q", "download", *wanted, cwd=packages, environment=environment)
            for package in packages.iterdir():
                run("dpkg-deb", "-x", str(package), str(work / "root"))
    return kept / "root" / path.format(**names)


def without_signature(program):
    """A PE file (bytes) as it was before it was signed."""
    entry, start, _ = _certificate_table(program)
    return program[:entry] + bytes(8) + program[entry + 8 : start] if start else program


def with_one_signature(program, number):
    """A PE file (bytes) with one of its signatures, counted from 0."""
    entry, start, size = _certificate_table(program)
    signatures, place = [], start
    while place < start + size:
        length = struct.unpack_from("<I", program, place)[0]
        length += -length % 8
        signatures.append(program[place : place + length])
        place += length
    table = struct.pack("<II", start, len(signatures[number]))
    return program[:entry] + table + program[entry + 8 : start] + signatures[number]


def _certificate_table(program):
    """Where a PE32+ file (bytes) says where its signatures are; where they are, how long in all."""
    # The fifth data directory (Microsoft, "PE Format"); 0, 0 without signatures.
    entry = struct.unpack_from("<I", program, 0x3C)[0] + 24 + 112 + 4 * 8
    return entry, *struct.unpack_from("<II", program, entry)


def boot_files(cache, arch, grub, unsigned):
    """What an ISO starts by itself: content (bytes) by path.

    grub: a key of FILES. unsigned: which come without their signature, of "shim" and "grub".
    """
    places = {"shim": f"BOOT{SUFFIXES[arch].upper()}.EFI", "grub": f"grub{SUFFIXES[arch]}.efi"}
    found = {}
    for name, place in places.items():
        path = signed_file(cache, grub if name == "grub" else name, arch)
        content = path.read_bytes()
        found[f"EFI/BOOT/{place}"] = without_signature(content) if name in unsigned else content
    return found


def add_el_torito(medium, files, arch, epoch):
    """Puts files into a FAT image on the medium; returns xorriso's words that make it bootable.

    On PCs there is an entry for a BIOS before it, as on ALT's.
    """
    image, tree = medium / EFI_IMAGE, medium.with_name("efi-image")
    write(tree, files)
    set_times(tree, epoch)
    image.parent.mkdir(parents=True, exist_ok=True)
    kib = sum(len(content) for content in files.values()) // 1024 + 1024
    run("mkfs.fat", "--invariant", "-C", str(image), str(kib), epoch=epoch)
    image.chmod(0o644)
    # File by file, as a folder has its files in an order of its own; FAT has local times.
    environment = {**os.environ, "TZ": "UTC"}
    for folder in ("::EFI", "::EFI/BOOT"):
        run("mmd", "-i", str(image), folder, epoch=epoch, environment=environment)
    copies = (str(tree / name) for name in sorted(files))
    copy = ["mcopy", "-m", "-i", str(image), *copies, "::EFI/BOOT"]
    run(*copy, epoch=epoch, environment=environment)
    shutil.rmtree(tree)
    words = ["-e", EFI_IMAGE, "-no-emul-boot"]
    if arch != "x86_64":
        return words
    write(medium, {BIOS_IMAGE: "Not a program: this image boots over the network.\n".ljust(2048)})
    bios = ["-b", BIOS_IMAGE, "-no-emul-boot", "-boot-load-size", "4"]
    return [*bios, "-eltorito-alt-boot", *words]
