"""
What an ISO has for Secure Boot: its shim, the second stage that this starts, and its kernel.

ALT's ISOs have shim and GRUB in their own tree, or only in the FAT file system that firmware boots
from (El Torito), or in both; there they may be older (mkimage-profiles,
features.in/efi/stage1/scripts.d/50-efiboot-img).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from salt.exceptions import CommandExecutionError

import iso_facts
import iso_fat
import iso_squashfs
import netboot_signatures
from iso9660_walk import FIRST_DESCRIPTOR, MAX_DESCRIPTORS, SECTOR, Iso
from netboot_der import Unreadable
from netboot_shapes import SecureFacts
from netboot_signatures import Signed

#: Names by architecture of the file that firmware starts, and of what a shim starts after it
#: (shim's Make.defaults, DEFAULT_LOADER).
LOADERS = {
    arch: (f"EFI/BOOT/{first.upper()[:-4]}.EFI", f"EFI/BOOT/{first.replace('boot', 'grub')}")
    for first, arch in iso_facts.EFI_ARCHES.items()
}
# Where those out of the El Torito image go if the ISO's own tree has other files of their names.
_ELSEWHERE = "EFI.efiboot"

# El Torito, figures 2 to 5.
_SYSTEM = b"EL TORITO SPECIFICATION"
_EFI = 0xEF
_BOOTABLE = 0x88
_HEADER, _LAST_HEADER = 0x90, 0x91
_ENTRY = 32
# Names of such file systems where they are files of the ISO, too.
_IMAGES = re.compile(r"(?:.*/)?(?:\.?efiboot|efi)\.img", re.IGNORECASE)
_MOST_IMAGES = 4
_MOST_EXTENTS = 64  # of a program, which has one


def facts(iso: Iso, entries: list[dict[str, Any]], known: dict[str, Any]) -> dict[str, Any]:
    """
    Return the fact ``secure_boot`` of an image, see ``netboot_shapes.SecureFacts``; or nothing.

    iso
        What ``iso9660_walk.opened`` yields.

    entries
        ``entries`` of ``iso9660.listing``.

    known
        The other facts of the image, with the pillar's overrides.
    """
    if known["arch"] not in LOADERS:
        return {}
    files = {one["path"]: one for one in entries if one["type"] == "file" and one["extents"]}
    kinds = {one["path"]: one["type"] for one in entries}
    found: SecureFacts = {
        "shim": "",
        "grub": "",
        "grub_version": "",
        "lacks": "no-shim",
        "files": {},
        "inside": {},
    }
    shim, grub, found["inside"] = _loaders(iso, files, kinds, known["arch"])
    if shim:
        found["shim"] = shim.path
        found["files"][shim.path] = netboot_signatures.shape(shim.signed)
    if grub:
        found["grub"] = grub.path
        found["grub_version"] = grub.signed.versions.get("grub", "")
        found["files"][grub.path] = netboot_signatures.shape(grub.signed)
    kernel = files.get(known["kernel"])
    program = _of_iso(iso, kernel) if kernel else None
    if program:
        found["files"][known["kernel"]] = netboot_signatures.shape(program)
    if shim and shim.signed.arch == known["arch"] and netboot_signatures.valid(shim.signed):
        found["lacks"] = _lacks(shim.signed, program)
    return {"secure_boot": found}


def _lacks(shim: Signed, kernel: Signed | None) -> str:
    """Return why a kernel does not start with a shim; empty: it starts."""
    if not kernel or not netboot_signatures.valid(kernel):
        return "kernel-unsigned"
    return "" if netboot_signatures.accepts(shim, kernel) else "kernel-of-others"


def paths(known: Any) -> list[str]:
    """
    Return the paths in an image's tree of its shim and second stage, as far as it has them.

    known
        The facts of the image.
    """
    found = known.get("secure_boot") or {}
    return [found[name] for name in ("shim", "grub") if found.get(name)]


def inside(known: Any) -> dict[str, Any]:
    """
    Return those of them that are not in the ISO's own tree, with where they are.

    known
        The facts of the image.
    """
    found: dict[str, Any] = (known.get("secure_boot") or {}).get("inside", {})
    return found


def content(iso: Iso, place: list[Any]) -> bytes:
    """
    Return a file out of a FAT file system in an ISO.

    iso
        What ``iso9660_walk.opened`` yields.

    place
        Where it is, as ``inside`` has it.

    Raises CommandExecutionError when it is not there.
    """
    offset, path = place
    try:
        found = _fat(iso, offset).read(path)
    except (iso_fat.Unreadable, CommandExecutionError):
        found = None
    if not found:
        raise CommandExecutionError(f"{iso.path} changed while it was being read; apply again.")
    return found[1]


def without_inside(known: Any) -> None:
    """
    Leave what is not in the ISO's own tree out of the facts: a mount does not have it.

    known
        The facts of the image; they are changed.
    """
    found = known.get("secure_boot")
    if found and found["inside"]:
        for path in found["inside"]:
            found["files"].pop(path, None)
        found.update(shim="", grub="", grub_version="", lacks="no-shim", inside={})


class _Loader(NamedTuple):
    path: str  # in the image's tree
    signed: Signed


class _Found(NamedTuple):
    """A shim and its second stage in one place of an image."""

    shim: _Loader | None
    grub: _Loader | None
    inside: dict[str, list[Any]]


def _loaders(iso: Iso, files: dict[str, Any], kinds: dict[str, str], arch: str) -> _Found:
    """
    Return an image's shim and second stage.

    Both are of one place, as distributions change their keys: of the first that has both, or else
    of the first that has a shim.
    """
    shim, grub = (_in_tree(iso, files, name) for name in LOADERS[arch])
    found = [_fitting(shim, grub)]
    if not found[0].grub:
        folder = _free_folder(kinds, arch)
        for offset in _file_systems(iso, files) if folder else ():
            found.append(_in_fat(iso, offset, arch, folder))
    both = (one for one in found if one.grub)
    return next(both, None) or next((one for one in found if one.shim), found[0])


def _fitting(shim: _Loader | None, grub: _Loader | None) -> _Found:
    """Return a shim and its second stage, if they are signed and the first is a shim."""
    if not shim or not shim.signed.signers or not shim.signed.is_shim:
        return _Found(None, None, {})
    return _Found(shim, grub if grub and grub.signed.signers else None, {})


def _in_tree(iso: Iso, files: dict[str, Any], name: str) -> _Loader | None:
    named = [path for path in files if path.lower() == name.lower()]
    # The usual name, if there is one in another case, too.
    path = name if name in named else min(named, default="")
    signed = _of_iso(iso, files[path]) if iso_facts.PLAIN_PATH.fullmatch(path) else None
    return _Loader(path, signed) if signed else None


def _in_fat(iso: Iso, offset: int, arch: str, folder: str) -> _Found:
    """Return shim and second stage of a FAT file system, as they will lie in the tree."""
    loaders: list[_Loader | None] = []
    where = {}
    for name in LOADERS[arch]:
        try:
            file = _fat(iso, offset).read(name)
        except (iso_fat.Unreadable, CommandExecutionError):
            file = None
        signed = _of_bytes(file[1]) if file else None
        path = f"{folder}/{os.path.basename(name)}"
        loaders.append(_Loader(path, signed) if signed else None)
        where[path] = [offset, name]
    found = _fitting(*loaders)
    return found._replace(
        inside={one.path: where[one.path] for one in (found.shim, found.grub) if one}
    )


def _free_folder(kinds: dict[str, str], arch: str) -> str:
    """Return a directory in which neither name is taken in the ISO's own tree; or nothing."""
    taken = set(map(str.lower, kinds))
    for folder in (os.path.dirname(LOADERS[arch][0]), _ELSEWHERE):
        names = {f"{folder}/{os.path.basename(name)}".lower() for name in LOADERS[arch]}
        above = (os.path.dirname(folder), folder)
        if not names & taken and all(kinds.get(path, "dir") == "dir" for path in above):
            return folder
    return ""


def _file_systems(iso: Iso, files: dict[str, Any]) -> Iterator[int]:
    """Yield where FAT file systems for firmware begin in an ISO, the one it boots first."""
    seen = dict.fromkeys(_boot_images(iso))
    for path in sorted(files):
        if _IMAGES.fullmatch(path):
            seen[files[path]["extents"][0][0]] = None
    yield from list(seen)[:_MOST_IMAGES]


def _boot_images(iso: Iso) -> Iterator[int]:
    """Yield where the images for UEFI begin that the boot catalogue names."""
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MAX_DESCRIPTORS):
        data = os.pread(iso.handle, SECTOR, number * SECTOR)
        if len(data) < SECTOR or data[1:5] != b"CD00" or data[0] == 255:
            return
        if data[0] == 0 and data[7:].startswith(_SYSTEM):
            catalogue = int.from_bytes(data[71:75], "little") * SECTOR
            yield from _catalogue(os.pread(iso.handle, SECTOR, catalogue))
            return


def _catalogue(data: bytes) -> Iterator[int]:
    platform = None
    for place in range(0, len(data) - _ENTRY + 1, _ENTRY):
        entry = data[place : place + _ENTRY]
        # The validation entry is the header of the first entry.
        if entry[0] in (_HEADER, _LAST_HEADER) or (not place and entry[0] == 1):
            platform = entry[1]
        elif entry[0] == _BOOTABLE and platform == _EFI:
            yield int.from_bytes(entry[8:12], "little") * SECTOR


def _fat(iso: Iso, offset: int) -> iso_fat.Fat:
    # The catalogue's number of sectors has two bytes, so the file system itself says its size.
    return iso_fat.Fat(
        lambda start, length: iso.read(offset + start, length), max(iso.size - offset, 0)
    )


def _of_iso(iso: Iso, entry: dict[str, Any]) -> Signed | None:
    if len(entry["extents"]) > _MOST_EXTENTS:
        return None
    read = iso_squashfs.part_reader(iso, entry["extents"])
    try:
        return netboot_signatures.read(read, entry["size"])
    except (Unreadable, CommandExecutionError):
        return None


def _of_bytes(data: bytes) -> Signed | None:
    try:
        return netboot_signatures.read(
            lambda start, length: data[start : start + length], len(data)
        )
    except Unreadable:
        return None
