"""vm-profile.scm against a disk: which partitions come out, or that the profile does not fit.

Sizes are in sectors of 512 bytes. Assumed: each partition gets its least size first, then in the
order of the profile as much as it may; several ``#t`` share what is left. Partitions begin at whole
MiB, and a MiB at either end of the disk is kept for the tables.
"""

from dataclasses import dataclass

from .scheme import Dotted, Refused, Symbol, read, same

ALIGN = 2048  # sectors, one MiB
LABELS = ("title", "action", "actiondata")
# File systems of public examples, and the programs that make them.
FILE_SYSTEMS = ("SWAPFS", "Ext2/3", "Ext4", "FAT32", "BtrFS")
MOUNTS = ("swap", "/", "/home", "")
ESP, BIOS_BOOT, SWAP, LINUX = "esp", "bios-boot", "swap", "linux"


@dataclass(frozen=True)
class Wish:
    """One partition of a profile.

    least, most: sectors; most is None for all that is left. subvolumes: (name, mount) each.
    """

    mount: str
    file_system: str
    least: int
    most: int
    subvolumes: tuple = ()


@dataclass(frozen=True)
class Partition:
    """One partition of a disk: number from 1, start and size in sectors, subvolumes of Wish."""

    number: int
    kind: str
    start: int
    size: int
    mount: str
    file_system: str
    subvolumes: tuple = ()


def profiles(source, features, efi):
    """Reads vm-profile.scm: lists of Wish by the profiles' names.

    source: its text. features: Features of the installer. efi: whether this machine starts by UEFI.
    Raises Refused, with what is wrong, for all that public examples do not have.
    """
    expressions = read(source)
    if len(expressions) != 1 or type(expressions[0][1]) is not list:
        raise Refused("vm-profile.scm: it must be one list of profiles")
    found = {}
    for profile in expressions[0][1]:
        if type(profile) is not list or not profile or type(profile[0]) is not Symbol:
            raise Refused("vm-profile.scm: a profile is (NAME (title . TEXT) ...)")
        name = str(profile[0])
        if name in found:
            raise Refused(f"vm-profile.scm: {name} is there twice")
        found[name] = _wishes(name, profile[1:], features, efi)
    return found


def plan(wishes, sectors, features, efi):
    """A list of Partition for a disk of this many sectors, None if the wishes do not fit."""
    wishes = [*_added(wishes, features, efi), *wishes]
    room = (sectors // ALIGN - 2) * ALIGN
    sizes = [_aligned(wish.least) for wish in wishes]
    left = room - sum(sizes)
    if left < 0:
        return None
    for index, wish in enumerate(wishes):
        if wish.most is not None:
            more = min(_aligned(wish.most) - sizes[index], left // ALIGN * ALIGN)
            sizes[index] += more
            left -= more
    greedy = [index for index, wish in enumerate(wishes) if wish.most is None]
    for position, index in enumerate(greedy):
        share = left // (len(greedy) - position) // ALIGN * ALIGN
        sizes[index] += share
        left -= share
    partitions, start = [], ALIGN
    for number, (wish, size) in enumerate(zip(wishes, sizes), start=1):
        kind = _kind(wish)
        partitions.append(
            Partition(number, kind, start, size, wish.mount, wish.file_system, wish.subvolumes)
        )
        start += size
    return partitions


def sfdisk_script(partitions, gpt):
    """What sfdisk reads to make these partitions."""
    types = {
        ESP: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        BIOS_BOOT: "21686148-6449-6E6F-744E-656564454649",
        SWAP: "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        LINUX: "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    }
    if not gpt:
        types = {SWAP: "82", LINUX: "83"}
    lines = [f"label: {'gpt' if gpt else 'dos'}", "unit: sectors", ""]
    for one in partitions:
        bootable = ", bootable" if not gpt and one.mount == "/" else ""
        lines.append(
            f"{one.number} : start={one.start}, size={one.size}, type={types[one.kind]}{bootable}"
        )
    return "\n".join(lines) + "\n"


def _aligned(sectors):
    return -(-sectors // ALIGN) * ALIGN


def _kind(wish):
    if wish.mount == "/boot/efi":
        return ESP
    if not wish.file_system:
        return BIOS_BOOT
    return SWAP if wish.file_system == "SWAPFS" else LINUX


def _added(wishes, features, efi):
    """What the installer adds to a profile by itself."""
    if efi:
        size = features.esp_mib * ALIGN
        return [Wish("/boot/efi", "FAT32", size, size)]
    if features.gpt_on_bios and features.bios_boot and all(wish.file_system for wish in wishes):
        return [Wish("", "", ALIGN, ALIGN)]
    return []


def _wishes(name, fields, features, efi):
    where = f"vm-profile.scm: {name}"
    values = _fields(where, fields, LABELS)
    title, action, data = (values.get(label) for label in LABELS)
    if type(title) is not Dotted or len(title) != 1 or type(title.tail) is not str:
        raise Refused(f'{where}: the title is not (title . "TEXT")')
    if not same(action, Dotted([Symbol("action")], Symbol("trivial"))):
        raise Refused(f"{where}: the action is not (action . trivial)")
    if type(data) is not list or len(data) < 2:
        raise Refused(f"{where}: actiondata has no partitions")
    wishes = [_wish(where, partition, features, efi) for partition in data[1:]]
    mounts = [mount for wish in wishes for mount in _mounts(wish)]
    for mount in mounts:
        if mounts.count(mount) > 1:
            raise Refused(f"{where}: {mount} is there twice")
    if "/" not in mounts:
        raise Refused(f"{where}: nothing is mounted at /")
    slots = sum(not wish.file_system for wish in wishes)
    needs_slot = not efi and features.gpt_on_bios and not features.bios_boot
    if needs_slot and slots != 1:
        raise Refused(f"{where}: a BIOS cannot start from GPT without one slot for the boot loader")
    if slots > 1 or (slots and (efi or not features.gpt_on_bios)):
        raise Refused(f"{where}: a slot for a boot loader is for BIOS and GPT, one of them")
    if not efi and not features.gpt_on_bios and len(wishes) > 4:
        raise Refused(f"{where}: more than four partitions in a table of a PC")
    return wishes


def _fields(where, fields, labels):
    """(LABEL ...) and (LABEL . VALUE) by their labels."""
    values = {}
    for field in fields:
        label = field[0] if type(field) in (list, Dotted) and field else field
        if type(label) is not Symbol or label not in labels or label in values:
            raise Refused(f"{where}: {label} is not one of {', '.join(labels)}, each once")
        values[str(label)] = field
    return values


def _mounts(wish):
    if wish.subvolumes:
        return [mount for _, mount in wish.subvolumes]
    return [wish.mount] if wish.mount else []


def _wish(where, partition, features, efi):
    if type(partition) is not list or not partition or type(partition[0]) is not str:
        raise Refused(f"{where}: a partition is (MOUNT (size MIN . MAX) ...)")
    mount, *fields = partition
    where = f'{where}: "{mount}"'
    if mount == "/boot/efi":
        raise Refused(f"{where}: the installer adds it by itself")
    if mount not in MOUNTS:
        raise Refused(f"{where}: no public example mounts this")
    values = _fields(where, fields, ("size", "fsim", "methods", "subvols"))
    least, most = _size(where, values.get("size"))
    if not same(values.get("methods"), [Symbol("methods"), Symbol("plain")]):
        raise Refused(f"{where}: not (methods plain), the only one of public examples")
    file_system = _file_system(where, values.get("fsim"))
    subvolumes = _subvolumes(where, values.get("subvols"), features)
    if bool(subvolumes) != (mount == "" and file_system == "BtrFS"):
        raise Refused(
            f"{where}: subvols belong to a BtrFS without a place of its own, and it to them"
        )
    if (mount == "swap") != (file_system == "SWAPFS"):
        raise Refused(f"{where}: swap is SWAPFS and SWAPFS is swap")
    if mount == "" and file_system not in ("", "BtrFS"):
        raise Refused(f"{where}: nothing says where this is mounted")
    if mount and not file_system:
        raise Refused(f"{where}: (fsim . FILE SYSTEM) is missing")
    if mount == "/" and file_system == "FAT32":
        raise Refused(f"{where}: no system lies on FAT32")
    return Wish(mount, file_system, least, most, subvolumes)


def _size(where, field):
    if type(field) is not Dotted or len(field) != 2 or type(field[1]) is not int or field[1] <= 0:
        raise Refused(f"{where}: not (size MIN . MAX) or (size MIN . #t), in sectors")
    least, most = field[1], field.tail
    if most is True:
        return least, None
    if type(most) is not int or most < least:
        raise Refused(f"{where}: the greatest size is no number from the least one on, nor #t")
    return least, most


def _file_system(where, field):
    if field is None:
        return ""
    if type(field) is not Dotted or len(field) != 1 or field.tail not in FILE_SYSTEMS:
        raise Refused(f"{where}: fsim is not one of {', '.join(FILE_SYSTEMS)}, after a dot")
    if type(field.tail) is not str:
        raise Refused(f"{where}: the file system is not in quotes")
    return field.tail


def _subvolumes(where, field, features):
    if field is None:
        return ()
    if not features.subvolumes:
        raise Refused(f"{where}: this installer knows no subvolumes")
    pairs = field[1:] if type(field) is list else []
    if not pairs or not all(
        type(pair) is Dotted and len(pair) == 1 and type(pair[0]) is type(pair.tail) is str
        for pair in pairs
    ):
        raise Refused(f'{where}: subvols are ("NAME" . "MOUNT") each')
    for name, mount in ((pair[0], pair.tail) for pair in pairs):
        if not name or "/" in name or mount not in ("/", "/home"):
            raise Refused(f'{where}: no public example has ("{name}" . "{mount}")')
    return tuple((pair[0], pair.tail) for pair in pairs)
