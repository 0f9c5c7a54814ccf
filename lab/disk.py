"""Disks that a client can start from: each says so on the serial line and does nothing else."""

import shutil
import subprocess

from .host import require
from .ipxe import boot_loaders

MARKER = "NETBOOT-ALT-LOCAL-DISK"

# x86 code of a boot sector, which a BIOS loads at 0000:7C00h: write what follows it to the first
# serial port, then halt.
_SECTOR = bytes.fromhex(
    "31c0 8ed8"  # xor ax, ax; mov ds, ax
    "be 157c"  # mov si, 7C15h (the text)
    "ba f803"  # mov dx, 3F8h (COM1)
    "ac"  # next: lodsb
    "84c0 7403"  # test al, al; jz end
    "ee"  # out dx, al
    "ebf8"  # jmp next
    "f4"  # end: hlt
    "ebfd"  # jmp end
)

_GRUB_CFG = f"serial --unit=0\nterminal_output serial\necho {MARKER}\nsleep 60\n"


def bios_disk(directory, place=2):
    """Make a disk for a BIOS; returns QEMU's words. place: in its order; the network has 1."""
    path = directory / "bios-disk.img"
    sector = (_SECTOR + f"{MARKER}\r\n".encode() + b"\0").ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))
    return _drive(path, place)


def aarch64_disk(directory, place=2):
    """The same for aarch64 UEFI, with an iPXE whose script lies beside it."""
    folder = directory / "esp" / "EFI" / "BOOT"
    folder.mkdir(parents=True)
    shutil.copy(boot_loaders() / "ipxe-arm64.efi", folder / "BOOTAA64.EFI")
    (folder / "autoexec.ipxe").write_text(f"#!ipxe\necho {MARKER}\nsleep 60\n")
    return _drive(f"fat:{directory / 'esp'}", place)


def efi_disk(directory, place=2):
    """Make a disk for x86_64 UEFI, with GRUB where firmware looks first; returns QEMU's words."""
    require("grub-mkstandalone", "/usr/lib/grub/x86_64-efi/serial.mod")
    loader = directory / "esp" / "EFI" / "BOOT" / "BOOTX64.EFI"
    loader.parent.mkdir(parents=True)
    config = directory / "grub.cfg"
    config.write_text(_GRUB_CFG)
    command = ["grub-mkstandalone", "-O", "x86_64-efi", "-o", loader]
    command += ["--install-modules=serial echo sleep terminal", f"boot/grub/grub.cfg={config}"]
    subprocess.run(command, check=True, capture_output=True)
    # QEMU makes a FAT file system of the folder.
    return _drive(f"fat:{directory / 'esp'}", place)


def _drive(file, place):
    return [
        *("-drive", f"if=none,id=disk,format=raw,readonly=on,file={file}"),
        *("-device", f"virtio-blk-pci,drive=disk,bootindex={place}"),
    ]
