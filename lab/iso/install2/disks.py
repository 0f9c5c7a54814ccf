"""The machine's disks: which there are, emptied, with partitions and file systems, mounted."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from .console import output, run, say
from .partitions import BIOS_BOOT, ESP, SWAP, plan, sfdisk_script

DESTINATION = Path("/mnt/destination")
MKFS = {
    "Ext2/3": ("mkfs.ext3", "-q", "-F"),
    "Ext4": ("mkfs.ext4", "-q", "-F"),
    "BtrFS": ("mkfs.btrfs", "-q", "-f"),
    "FAT32": ("mkfs.vfat", "-F", "32"),
    "SWAPFS": ("mkswap",),
}
KERNEL_NAMES = {"Ext2/3": "ext3", "Ext4": "ext4", "BtrFS": "btrfs", "FAT32": "vfat"}
NO_DISKS = ("loop", "ram", "zram", "sr", "fd", "md", "dm-")


@dataclass(frozen=True)
class Mounted:
    """A line of the installed fstab."""

    device: str
    place: str
    file_system: str
    options: str


def disks():
    """Names of all disks that can be written to, in the order in which they are tried."""
    return sorted(
        disk.name
        for disk in Path("/sys/block").iterdir()
        if not disk.name.startswith(NO_DISKS)
        and int((disk / "size").read_text())
        and (disk / "ro").read_text().strip() == "0"
    )


def sectors_of(disk):
    """Its size in sectors of 512 bytes, whatever it has itself."""
    return int(Path("/sys/block", disk, "size").read_text())


def first_that_fits(names, wishes, features, efi):
    """(disk, partitions) of the first disk on which a profile has room, None when there is none."""
    for disk in names:
        partitions = plan(wishes, sectors_of(disk), features, efi)
        if partitions:
            return disk, partitions
    return None


def empty(disk):
    """Overwrites what says that there are partitions, at both ends of a disk."""
    say(f"NETBOOT-ALT-WIPED disk={disk}")
    mib = 1 << 20
    with open(f"/dev/{disk}", "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        for start in (0, max(0, size - mib)):
            file.seek(start)
            file.write(bytes(mib))
        os.fsync(file)


def make(disk, partitions, features, efi):
    """Writes the partition table and makes all file systems."""
    script = sfdisk_script(partitions, gpt=efi or features.gpt_on_bios)
    run("sfdisk", "--quiet", "--wipe", "always", f"/dev/{disk}", stdin=script)
    devices = [device_of(disk, one.number) for one in partitions]
    for _ in range(50):
        if all(map(os.path.exists, devices)):
            break
        time.sleep(0.1)
    for one, device in zip(partitions, devices):
        if one.kind != BIOS_BOOT:
            run(*MKFS[one.file_system], device)


def device_of(disk, number):
    """Path of a partition."""
    return f"/dev/{disk}{'p' if disk[-1].isdigit() else ''}{number}"


def mount_all(disk, partitions):
    """Mounts the new file systems below DESTINATION.

    Returns a list of Mounted, the root first.
    """
    table = []
    for one in partitions:
        device = device_of(disk, one.number)
        if one.kind == BIOS_BOOT:
            continue
        if one.kind == SWAP:
            table.append(Mounted(device, "none", "swap", "defaults"))
        elif one.subvolumes:
            DESTINATION.mkdir(parents=True, exist_ok=True)
            run("mount", "-t", "btrfs", device, DESTINATION)
            for name, place in one.subvolumes:
                run("btrfs", "subvolume", "create", DESTINATION / name)
                table.append(Mounted(device, place, "btrfs", f"subvol={name}"))
            run("umount", DESTINATION)
        else:
            options = "umask=0077" if one.kind == ESP else "defaults"
            table.append(Mounted(device, one.mount, KERNEL_NAMES[one.file_system], options))
    table.sort(key=lambda line: (line.file_system == "swap", line.place))
    for line in table:
        if line.file_system != "swap":
            place = DESTINATION / line.place.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            run("mount", "-t", line.file_system, "-o", line.options, line.device, place)
    return table


def fstab(table):
    """Text of /etc/fstab for Mounted lines."""
    lines = []
    for line in table:
        options = line.options if line.place != "/" else f"{line.options},rw"
        lines.append(f"UUID={uuid_of(line.device)} {line.place} {line.file_system} {options} 0 0\n")
    return "".join(lines)


def uuid_of(device):
    """UUID of the file system on a device."""
    return output("blkid", "-p", "-s", "UUID", "-o", "value", device).strip()
