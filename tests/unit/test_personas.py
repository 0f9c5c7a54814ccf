"""Personas: those that come with the project, what is wrong in a user's own."""

import re

import pytest
import yaml

from lab import LabError, personas

GOOD = {"title": "A PC", "firmware": "bios"}


def test_those_of_the_project():
    known = personas.load()
    assert {one.firmware for one in known.values() if one.plain} == {
        "bios",
        "efi-x86_64",
        "efi-aarch64",
        "efi-riscv64",
        "efi-loongarch64",
    }
    assert len(known) >= 12
    assert known["secure-boot"].kind == "efi-x86_64"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"firmwre": "bios"}, "firmwre: unknown key, did you mean firmware?"),
        ({"xyz": 1}, "xyz: unknown key, known keys: card, cards, cpu,"),
        ({"title": None}, "title: must be a string"),
        ({"firmware": "uefi"}, "firmware: must be one of bios, efi-x86_64,"),
        ({"memory_mib": "2G"}, "memory_mib: must be a whole number from 64"),
        ({"memory_mib": True}, "memory_mib: must be a whole number from 64"),
        ({"smbios": "QEMU"}, "smbios: must be a map of manufacturer,"),
        ({"smbios": {"seriel": "1"}}, "smbios:seriel: unknown key, did you mean serial?"),
        ({"smbios": {"serial": 42}}, "smbios:serial: must be a string: put it in quotes"),
        ({"smbios": {"uuid": "42"}}, "smbios:uuid: must be a UUID"),
        ({"first": "disk"}, "first: disk needs disk: installed"),
        ({"firmware": "efi-aarch64", "disk": "installed"}, "disk: installed is there for bios"),
        ({"cards": 0}, "cards: must be a whole number from 1 to 4"),
        ({"plain": "yes"}, "plain: must be true or false"),
    ],
)
def test_mistakes(tmp_path, changes, said):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    with pytest.raises(LabError, match=f"mine.yaml: {re.escape(said)}"):
        personas.read(path)


@pytest.mark.parametrize("text", ["[]", "a: {", "title: A PC"])
def test_files_that_are_no_persona(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(LabError, match="mine.yaml: "):
        personas.read(path)


def words(tmp_path, of_host=(), **settings):
    persona = personas.Persona(name="x", **{**GOOD, **settings})
    return persona.words(tmp_path, of_host)


def test_plain_persona_needs_no_words(tmp_path):
    assert words(tmp_path) == []


def test_texts_of_a_host_replace_its_own(tmp_path):
    found = words(tmp_path, [("serial", "A,1")], smbios={"serial": "0", "product": "P"})
    assert found == ["-smbios", "type=1,serial=A,,1,product=P"]


def test_loose_cards_and_processor(tmp_path):
    found = words(tmp_path, cards=2, cpu="pentium3")
    assert found[:2] == ["-cpu", "pentium3"]
    assert "hubport,id=loose1,hubid=1" in found


def test_disk_first_is_before_the_card(tmp_path):
    assert "virtio-blk-pci,drive=disk,bootindex=2" in words(tmp_path, disk="installed")
    found = words(tmp_path, disk="installed", first="disk")
    assert "virtio-blk-pci,drive=disk,bootindex=0" in found
