"""
Kinds of firmware: the boot loader that each loads, and the images that it can start. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from netboot_names import label
from netboot_shapes import BootFile, Config, Firmware, Pillar, SecureBoot, Unsigned

# Features in iPXE's option 175 (ipxe/features.h).
_HTTP, _BZIMAGE, _EFI, _MENU = 19, 24, 36, 39


def platform(number: str) -> str:
    """
    Return iPXE's word for the platform of a kind of firmware: ``pcbios``, ``efi``, or an empty
    string for one that is not known.

    number
        Its number in DHCP option 93.
    """
    found = [row["kind"] for row in FIRMWARE if number in map(str, (*row["pxe"], *row["http"]))]
    return ("pcbios" if found[0] == "bios" else "efi") if found else ""


def _uefi(kind: str, arch: str, pxe: list[int], http: list[int]) -> Firmware:
    file = f"snponly-{arch}.efi"
    return {
        "kind": kind,
        "arch": arch,
        "boots": [arch],
        "pxe": pxe,
        "http": http,
        "features": [_HTTP, _MENU, _EFI],
        "file": file,
        "http_file": file,
        "plain": file,
        "secure": "",
    }


#: ``arch``: the architecture whose menu it gets; ``boots``: architectures of images that it can
#: start; ``pxe`` and ``http``: what it sends in DHCP option 93 (RFC 4578 and IANA's "Processor
#: Architecture Types"; 9 is EBC, which some x86_64 firmware sends, and so is 17 over HTTP; 22 is
#: U-Boot's on arm64, which starts EFI programs);
#: ``features``: what an iPXE needs to run the menu's scripts and start a kernel; ``file``: its boot
#: loader in the TFTP root, ``http_file`` over HTTP boot, ``plain`` the unsigned one.
FIRMWARE: tuple[Firmware, ...] = (
    {
        "kind": "bios",
        "arch": "x86_64",
        "boots": ["x86_64", "i586"],
        "pxe": [0],
        "http": [],
        "features": [_HTTP, _MENU, _BZIMAGE],
        "file": "undionly.kpxe",
        "http_file": "",
        "plain": "undionly.kpxe",
        "secure": "",
    },
    _uefi("efi-i386", "i586", [6], [15]),
    _uefi("efi-x86_64", "x86_64", [7, 9], [16, 17]),
    _uefi("efi-aarch64", "aarch64", [11, 22], [19]),
    _uefi("efi-riscv64", "riscv64", [27], [28]),
    _uefi("efi-loongarch64", "loongarch64", [39], [40]),
)

#: Names of signed boot loaders. iPXE's own shim starts an iPXE with its own name minus
#: "-shim<arch>", beside itself or in the TFTP root (ipxe/ipxe, issue 1684), so the two kinds need
#: different names. ``default``: what shims of distributions start (rhboot/shim, Make.defaults).
#: ``own``: the shim of an image, which lies in ``GRUB`` beside its GRUB, ``default``.
SECURE_BOOT = {
    "efi-x86_64": {
        "shim": "ipxe-shimx64.efi",
        "ipxe": "ipxe.efi",
        "default": "grubx64.efi",
        "own": "shimx64.efi",
    },
    "efi-aarch64": {
        "shim": "snponly-shimaa64.efi",
        "ipxe": "snponly.efi",
        "default": "grubaa64.efi",
        "own": "shimaa64.efi",
    },
}

#: Directory in the TFTP root of an image's own shim and GRUB: where Debian's signed GRUB looks for
#: its configuration wherever it came from, and ALT's if it came from there.
GRUB = "grub"


def config(pillar: Pillar, packaged: dict[str, list[str]]) -> dict[str, Any]:
    """
    Return ``firmware``, ``boot_files`` and ``secure_boot`` of the configuration.

    pillar
        The completed pillar (see ``netboot_values``).

    packaged
        Boot loaders in the platform's packages: lists of paths by kind of firmware.
    """
    given = pillar["firmware"]
    secure: dict[str, SecureBoot] = {}
    firmware: list[Firmware] = []
    files: list[BootFile] = []
    for row in FIRMWARE:
        kind = row["kind"]
        if kind in given:
            files.append(_binary(kind, row["file"], given[kind]))
        else:
            files.append(
                {"kind": kind, "file": row["file"], "packaged": list(packaged.get(kind, []))}
            )
        row = row.copy()
        own = pillar["secure_boot"].get(kind)
        enrolled = list((own or {}).get("enrolled") or [])
        if own and own.get("image"):
            # ALT's GRUB has no module for HTTP.
            row["file"], row["secure"] = own_files(kind)["shim"], "grub"
            secure[kind] = {"way": "grub", "image": label(own["image"]), "enrolled": enrolled}
        elif own:
            names = SECURE_BOOT[kind]
            # The shim last: without what it starts it would start nothing.
            files.append(_binary(kind, names["ipxe"], own["ipxe"]))
            files.append({"kind": kind, "file": names["default"], "copy_of": names["ipxe"]})
            files.append(_binary(kind, names["shim"], own["shim"]))
            row["file"] = row["http_file"] = names["shim"]
            row["secure"] = "ipxe"
            secure[kind] = {"way": "ipxe", "image": "", "enrolled": enrolled}
        firmware.append(row)
    return {"firmware": firmware, "boot_files": files, "secure_boot": secure}


def started(row: Firmware) -> str:
    """
    Return the name, in the TFTP root, of the boot loader that a kind's shim starts; empty: it has
    none.

    row
        The kind, of the configuration.
    """
    if row.get("secure") == "grub":
        return own_files(row["kind"])["grub"]
    return SECURE_BOOT[row["kind"]]["ipxe"] if row.get("secure") else ""


def own_files(kind: str) -> dict[str, str]:
    """
    Return the names in the TFTP root of an image's own ``shim`` and ``grub``.

    kind
        A kind of ``SECURE_BOOT``.
    """
    names = SECURE_BOOT[kind]
    return {"shim": f"{GRUB}/{names['own']}", "grub": f"{GRUB}/{names['default']}"}


def unsigned(pillar: Pillar, macs: list[str], uuids: list[str]) -> Unsigned:
    """
    Return the machines that get the unsigned boot loader.

    pillar
        The completed pillar.

    macs, uuids
        Those of hosts: MAC addresses without colons, UUIDs.
    """
    begin = [one for own in pillar["secure_boot"].values() for one in own.get("unsigned") or []]
    digits = [re.sub("[^0-9a-f]", "", one.lower()) for one in begin] + macs
    pairs = [[one[at : at + 2] for at in range(0, len(one), 2)] for one in digits]
    return {
        "macs": [":".join([*of, *["*"] * (6 - len(of))]) for of in pairs],
        "uuids": [":".join(["00", *re.findall("..", one.replace("-", ""))]) for one in uuids],
    }


def _binary(kind: str, file: str, given: dict[str, Any]) -> BootFile:
    checksum = {algorithm: digest.lower() for algorithm, digest in given["checksum"].items()}
    binary: BootFile = {"kind": kind, "file": file, "url": given["url"], "checksum": checksum}
    if given.get("path"):
        binary["path"] = given["path"]
    return binary


def not_bootable(config: Config, there: set[str], wanted: list[tuple[str, str]]) -> list[str]:
    """
    Return the images that no boot loader can start, one line each.

    config
        The configuration.

    there
        Names of the boot loaders in the TFTP root.

    wanted
        What has to boot, for the message, each with its architecture.
    """
    arches: set[str] = set()
    kinds: dict[str, list[str]] = {}
    for row in config["firmware"]:
        for arch in row["boots"]:
            kinds.setdefault(arch, []).append(row["kind"])
        if row["file"] in there:
            arches.update(row["boots"])
    return [
        f"{what} is for {arch}, but no boot loader here can start it; add a boot loader to "
        f"netboot:firmware:{kinds[arch][0]}"
        for what, arch in wanted
        if arch not in arches
    ]
