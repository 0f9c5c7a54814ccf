"""Personas: machines to rehearse with, each a file of lab/personas; see docs/rehearse.md."""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .client import CARD, FIRMWARE
from .disk import bios_disk, efi_disk
from .host import LabError

FOLDER = Path(__file__).with_name("personas")
#: SMBIOS fields of a system (QEMU: -smbios type=1), by which iPXE knows a machine.
SMBIOS = ("manufacturer", "product", "version", "serial", "uuid")
DISKS = ("none", "empty", "installed")
ORDERS = ("network", "disk")
CARDS = (CARD, "e1000", "e1000e", "rtl8139")
_UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


@dataclass(frozen=True)
class Persona:
    """A machine.

    firmware: a key of client.FIRMWARE; memory_mib: None for what the entry needs; first: what its
    firmware boots first; card: its network card; cards: how many, the others without a cable; cpu:
    QEMU's name of it; plain: whether it is one of those that are tried by default.
    """

    name: str
    title: str
    firmware: str
    memory_mib: int | None = None
    smbios: dict = field(default_factory=dict)
    disk: str = "none"
    first: str = "network"
    card: str = CARD
    cards: int = 1
    cpu: str = ""
    plain: bool = False

    @property
    def kind(self):
        """Its kind of firmware, as netboot:firmware names it."""
        return FIRMWARE[self.firmware].kind or self.firmware

    def words(self, directory, smbios=()):
        """QEMU's words for what a plain client lacks; directory: where its disk goes.

        smbios: fields that differ from its own, as those of a host in the pillar.
        """
        found = ["-cpu", self.cpu] if self.cpu else []
        fields = {**self.smbios, **dict(smbios)}
        if fields:
            # A comma is doubled (QEMU manual, "Standard options").
            said = (f"{name}={value.replace(',', ',,')}" for name, value in fields.items())
            found += ["-smbios", ",".join(["type=1", *said])]
        for number in range(1, self.cards):
            found += ["-netdev", f"hubport,id=loose{number},hubid={number}"]
            found += ["-device", f"{self.card},netdev=loose{number},romfile="]
        return found + self._disk(Path(directory))

    def _disk(self, directory):
        if self.disk == "none":
            return []
        if self.disk == "empty":
            path = directory / "empty-disk.img"
            path.write_bytes(bytes(1 << 20))
            drive = f"if=none,id=disk,format=raw,readonly=on,file={path}"
            words = ["-drive", drive, "-device", "virtio-blk-pci,drive=disk,bootindex=2"]
        else:
            words = (bios_disk if self.firmware == "bios" else efi_disk)(directory)
        if self.first == "disk":
            words = [word.replace("bootindex=2", "bootindex=0") for word in words]
        return words


def load(folder=FOLDER):
    """All personas of a folder, by name. Raises LabError with what is wrong in a file."""
    return {path.stem: read(path) for path in sorted(Path(folder).glob("*.yaml"))}


def read(path):
    """The Persona in a file. Raises LabError with the file, the key and what to do."""
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as err:
        raise LabError(f"{path}: {err}") from err
    wrong = _wrong(found)
    if wrong:
        raise LabError(f"{path}: {'; '.join(wrong)}")
    return Persona(name=Path(path).stem, **found)


def _wrong(found):
    if not isinstance(found, dict):
        return ["must be a map with title and firmware"]
    wrong = [_unknown(key, _CHECKS) for key in found if key not in _CHECKS]
    wrong += [f"{key}: is missing" for key in ("title", "firmware") if key not in found]
    wrong += [
        f"{key}: must be {rule}"
        for key, (accepts, rule) in _CHECKS.items()
        if key in found and not accepts(found[key])
    ]
    smbios = found.get("smbios")
    for key, value in smbios.items() if isinstance(smbios, dict) else ():
        if key not in SMBIOS:
            wrong.append(f"smbios:{_unknown(key, SMBIOS)}")
        elif not isinstance(value, str) or not value:
            wrong.append(f"smbios:{key}: must be a string: put it in quotes")
        elif key == "uuid" and not re.fullmatch(_UUID, value):
            wrong.append("smbios:uuid: must be a UUID with dashes")
    if not wrong:
        if found.get("first") == "disk" and found.get("disk") != "installed":
            wrong.append("first: disk needs disk: installed")
        if found.get("disk") == "installed" and found["firmware"] not in _WITH_DISK:
            wrong.append(f"disk: installed is there for {', '.join(_WITH_DISK)} only")
    return wrong


def _unknown(key, known):
    near = difflib.get_close_matches(str(key), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"{key}: unknown key, {hint}"


def _one_of(words):
    return (lambda value: value in words), f"one of {', '.join(words)}"


def _whole(first, last):
    return (
        lambda value: type(value) is int and first <= value <= last
    ), f"a whole number from {first} to {last}"


_TEXT = (lambda value: isinstance(value, str) and bool(value)), "a string"
_WITH_DISK = ("bios", "efi-x86_64")
_CHECKS = {
    "title": _TEXT,
    "firmware": _one_of(tuple(FIRMWARE)),
    "memory_mib": _whole(64, 1 << 20),
    "smbios": ((lambda value: isinstance(value, dict)), f"a map of {', '.join(SMBIOS)}"),
    "disk": _one_of(DISKS),
    "first": _one_of(ORDERS),
    "card": _one_of(CARDS),
    "cards": _whole(1, 4),
    "cpu": _TEXT,
    "plain": ((lambda value: isinstance(value, bool)), "true or false"),
}
