"""vm-profile.scm as the stand-in for ALT's installer reads it, and the partitions that come out."""

import re

import pytest

from lab.iso.install2.features import features_of
from lab.iso.install2.partitions import plan, profiles, sfdisk_script
from lab.iso.install2.scheme import Refused
from tests import answers
from tests.answers import BTRFS, HOME, ROOT, SLOT, SWAP

P9, P10, P11 = (
    features_of(name, date)
    for name, date in (("p9", "2020-07-20"), ("p10.1", "2022-10-05"), ("p11", "2025-06-02"))
)
P10_EARLY = features_of("p10.0", "2021-12-23")
P11_EARLY = features_of("p11-2024", "2024-05-29")
MIB = 2048
ESP = "esp:512"
UEFI, BIOS = True, False


def planned(rows, gib, features, efi):
    """kind or mount, and MiB, of each partition."""
    wishes = profiles(answers.profile("test", *rows), features, efi)["test"]
    partitions = plan(wishes, gib * 1024 * MIB, features, efi)
    if partitions is None:
        return None
    ends = [one.start + one.size for one in partitions]
    assert partitions[0].start == MIB
    assert all(one.start == end for one, end in zip(partitions[1:], ends))
    assert ends[-1] <= gib * 1024 * MIB - MIB
    return " ".join(
        f"{one.mount if one.mount[1:] and one.kind == 'linux' else one.kind}:{one.size // MIB}"
        for one in partitions
    )


@pytest.mark.parametrize(
    ("rows", "gib", "features", "efi", "expected"),
    [
        # #t is the rest; swap has its greatest size, as there is room
        ([SWAP, ROOT], 4, P9, BIOS, "swap:128 linux:3966"),
        ([SWAP, ROOT], 4, P11, UEFI, "esp:512 swap:128 linux:3454"),
        ([SWAP, ROOT], 4, P9, UEFI, "esp:256 swap:128 linux:3710"),
        # two of them share it
        ([ROOT, HOME], 4, P9, BIOS, "linux:2239 /home:1855"),
        # what is listed, or comes by itself, for GPT and a BIOS
        ([SLOT, SWAP, ROOT], 4, P10, BIOS, "bios-boot:10 swap:128 linux:3956"),
        ([SWAP, ROOT], 4, P11, BIOS, "bios-boot:1 swap:128 linux:3965"),
        ([SLOT, ROOT], 4, P11, BIOS, "bios-boot:10 linux:4084"),
        ([SWAP, BTRFS], 4, P11, UEFI, "esp:512 swap:128 linux:3454"),
        # swap keeps its least size and what is left over, where there is little
        ([SWAP, ROOT, HOME], 1, P9, BIOS, "swap:128 linux:639 /home:255"),
        # no room, which is ((#f ""))
        ([SWAP, ROOT], 1, P11, UEFI, None),
        ([ROOT.replace("1048576", "40000000"), HOME], 16, P11, UEFI, None),
    ],
)
def test_plans(rows, gib, features, efi, expected):
    assert planned(rows, gib, features, efi) == expected


def test_subvolumes():
    (wish,) = profiles(answers.profile("a", BTRFS), P11, UEFI)["a"]
    assert (wish.mount, wish.file_system, wish.most) == ("", "BtrFS", None)
    assert wish.subvolumes == (("@", "/"), ("@home", "/home"))


def test_several_profiles():
    text = answers.profile("one", ROOT)[:-2] + answers.profile("two", SWAP, ROOT)[1:]
    assert {name: len(rows) for name, rows in profiles(text, P11, UEFI).items()} == {
        "one": 1,
        "two": 2,
    }


def test_what_sfdisk_gets():
    wishes = profiles(answers.profile("a", SLOT, ROOT), P10, BIOS)["a"]
    assert sfdisk_script(plan(wishes, 2048 * MIB, P10, BIOS), gpt=True).splitlines() == [
        "label: gpt",
        "unit: sectors",
        "",
        "1 : start=2048, size=20480, type=21686148-6449-6E6F-744E-656564454649",
        "2 : start=22528, size=4169728, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ]
    wishes = profiles(answers.profile("a", ROOT), P9, BIOS)["a"]
    assert sfdisk_script(plan(wishes, 2048 * MIB, P9, BIOS), gpt=False).splitlines() == [
        "label: dos",
        "unit: sectors",
        "",
        "1 : start=2048, size=4190208, type=83, bootable",
    ]


EFI_ROW = '("/boot/efi" (size 1024000 . 1024000) (fsim . "FAT32") (methods plain))'


@pytest.mark.parametrize(
    ("rows", "features", "efi", "said"),
    [
        ([EFI_ROW, ROOT], P11, UEFI, '"/boot/efi": the installer adds it by itself'),
        ([EFI_ROW, ROOT], P9, UEFI, '"/boot/efi": the installer adds it by itself'),
        ([ROOT.replace('"/"', '"/var"')], P11, UEFI, '"/var": no public example mounts this'),
        ([SWAP], P11, UEFI, "nothing is mounted at /"),
        ([ROOT, ROOT], P11, UEFI, "/ is there twice"),
        ([ROOT.replace("Ext4", "XFS")], P11, UEFI, "fsim is not one of SWAPFS, Ext2/3, Ext4"),
        ([ROOT.replace("Ext4", "ext4")], P11, UEFI, "fsim is not one of"),
        ([ROOT.replace('"Ext4"', "Ext4")], P11, UEFI, "the file system is not in quotes"),
        ([ROOT.replace("Ext4", "FAT32")], P11, UEFI, "no system lies on FAT32"),
        ([ROOT.replace("Ext4", "SWAPFS")], P11, UEFI, "swap is SWAPFS"),
        ([ROOT.replace(' (fsim . "Ext4")', "")], P11, UEFI, "(fsim . FILE SYSTEM) is missing"),
        ([ROOT.replace("plain", "lvm")], P11, UEFI, "not (methods plain)"),
        ([ROOT.replace(" . #t", "")], P11, UEFI, "not (size MIN . MAX)"),
        ([ROOT.replace("1048576 . #t", '"1G" . #t')], P11, UEFI, "not (size MIN . MAX)"),
        ([ROOT.replace("#t", "1000")], P11, UEFI, "the greatest size is no number from"),
        ([ROOT.replace("#t", "#f")], P11, UEFI, "the greatest size is no number from"),
        ([ROOT.replace("(methods", "(label . 1) (methods")], P11, UEFI, "label is not one of size"),
        ([BTRFS], P10_EARLY, UEFI, "this installer knows no subvolumes"),
        ([BTRFS], P9, UEFI, "this installer knows no subvolumes"),
        ([BTRFS.replace('""', '"/"')], P11, UEFI, "subvols belong to a BtrFS without a place"),
        ([BTRFS.replace("BtrFS", "Ext4")], P11, UEFI, "subvols belong to a BtrFS"),
        ([BTRFS.replace('"/home"', '"/var"')], P11, UEFI, 'no public example has ("@home"'),
        ([BTRFS.replace('"@"', '"/@"')], P11, UEFI, 'no public example has ("/@"'),
        ([ROOT.replace('"/"', '""')], P11, UEFI, "nothing says where this is mounted"),
        ([SWAP, ROOT], P10, BIOS, "a BIOS cannot start from GPT without one slot"),
        ([SWAP, ROOT], P11_EARLY, BIOS, "a BIOS cannot start from GPT without one slot"),
        ([SLOT, SLOT, ROOT], P10, BIOS, "a BIOS cannot start from GPT without one slot"),
        ([SLOT, ROOT], P10, UEFI, "a slot for a boot loader is for BIOS and GPT"),
        ([SLOT, ROOT], P9, BIOS, "a slot for a boot loader is for BIOS and GPT"),
        ([SWAP, SWAP.replace('"swap"', '"/"').replace("SWAPFS", "Ext4"), HOME,
          HOME.replace("/home", "swap").replace("Ext4", "SWAPFS"),
          SWAP], P9, BIOS, "is there twice"),
    ],
)  # fmt: skip
def test_refused(rows, features, efi, said):
    with pytest.raises(Refused, match=re.escape(said)):
        profiles(answers.profile("test", *rows), features, efi)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('(title . "Test")', '(title "Test")', 'the title is not (title . "TEXT")'),
        ("(action . trivial)", '(action . "trivial")', "the action is not (action . trivial)"),
        ("(action . trivial)", "", "the action is not"),
        ("(title", '("title"', "title is not one of title, action, actiondata"),
        ("(methods plain)", '(methods "plain")', "not (methods plain)"),
        ("actiondata", "data", "data is not one of title, action, actiondata"),
        ("((test", "(((test)", "a profile is (NAME"),
        ("((test", '(("test"', "a profile is (NAME"),
        ("((test", "() ((test", "it must be one list of profiles"),
    ],
)
def test_profiles_refused(old, new, said):
    text = answers.profile("test", ROOT)
    assert old in text
    with pytest.raises(Refused, match=re.escape(said)):
        profiles(text.replace(old, new, 1), P11, UEFI)
