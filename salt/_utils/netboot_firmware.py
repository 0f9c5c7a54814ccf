"""
Kinds of firmware: the boot loader that each loads, and the images that it can start. Pure.
"""

from __future__ import annotations

from typing import Any

from netboot_shapes import BootFile, Config, Firmware, Pillar

# Features in iPXE's option 175 (ipxe/features.h).
_HTTP, _BZIMAGE, _EFI, _MENU = 19, 24, 36, 39


def _uefi(kind: str, arch: str, pxe: list[int], http: list[int]) -> Firmware:
    return {
        "kind": kind,
        "arch": arch,
        "boots": [arch],
        "pxe": pxe,
        "http": http,
        "features": [_HTTP, _MENU, _EFI],
        "file": f"snponly-{arch}.efi",
    }


#: ``arch``: the architecture whose menu it gets; ``boots``: architectures of images that it can
#: start; ``pxe`` and ``http``: what it sends in DHCP option 93 (RFC 4578 and IANA's "Processor
#: Architecture Types"; 9 is EBC, which some x86_64 firmware sends, and so is 17 over HTTP; 22 is
#: U-Boot's on arm64, which starts EFI programs);
#: ``features``: what an iPXE needs to run the menu's scripts and start a kernel; ``file``: its boot
#: loader in the TFTP root.
FIRMWARE: tuple[Firmware, ...] = (
    {
        "kind": "bios",
        "arch": "x86_64",
        "boots": ["x86_64", "i586"],
        "pxe": [0],
        "http": [],
        "features": [_HTTP, _MENU, _BZIMAGE],
        "file": "undionly.kpxe",
    },
    _uefi("efi-i386", "i586", [6], [15]),
    _uefi("efi-x86_64", "x86_64", [7, 9], [16, 17]),
    _uefi("efi-aarch64", "aarch64", [11, 22], [19]),
    _uefi("efi-riscv64", "riscv64", [27], [28]),
    _uefi("efi-loongarch64", "loongarch64", [39], [40]),
)

#: The shim starts an iPXE with its own name minus "-shim<arch>", beside itself or in the TFTP root
#: (ipxe/ipxe, issue 1684), so the two kinds need different names.
SECURE_BOOT = {
    "efi-x86_64": {"shim": "ipxe-shimx64.efi", "ipxe": "ipxe.efi"},
    "efi-aarch64": {"shim": "snponly-shimaa64.efi", "ipxe": "snponly.efi"},
}


def config(pillar: Pillar, packaged: dict[str, list[str]]) -> dict[str, Any]:
    """
    Return ``firmware`` and ``boot_files`` of the configuration.

    pillar
        The completed pillar (see ``netboot_values``).

    packaged
        Boot loaders in the platform's packages: lists of paths by kind of firmware.
    """
    given, secure = pillar["firmware"], pillar["secure_boot"]
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
        if kind in secure:
            for name, file in SECURE_BOOT[kind].items():
                files.append(_binary(kind, file, secure[kind][name]))
            row["file"] = SECURE_BOOT[kind]["shim"]
        firmware.append(row)
    return {"firmware": firmware, "boot_files": files}


def started(row: Firmware) -> str:
    """
    Return the file name of the boot loader that a kind's shim starts; empty: it has none.

    row
        The kind, of the configuration.
    """
    files = SECURE_BOOT.get(row["kind"], {})
    return files["ipxe"] if files and row["file"] == files["shim"] else ""


def _binary(kind: str, file: str, given: dict[str, Any]) -> BootFile:
    checksum = {algorithm: digest.lower() for algorithm, digest in given["checksum"].items()}
    return {"kind": kind, "file": file, "url": given["url"], "checksum": checksum}


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
