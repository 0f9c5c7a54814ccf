"""What ISOs have for Secure Boot: in their tree, in their El Torito image, in both, in neither."""

import hashlib
import os
import random
import subprocess
import time

import pytest
from salt.exceptions import CommandExecutionError

import iso_secure_boot
import iso_tree
from lab.host import require
from lab.iso.scratch import run
from lab.iso.signed import without_signature
from lab.secure_boot import debian
from tests.isos import BOOT, FILES, content, make_iso

SHIM, GRUB = "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"
KERNEL = "boot/vmlinuz"
FAT = "EFI/.efiboot.img"
NOTHING = {"shim": "", "grub": "", "grub_version": "", "inside": {}}


@pytest.fixture(scope="module")
def debians():
    """What Debian signed, by path."""
    files = {SHIM: debian("shim"), GRUB: debian("grub"), KERNEL: debian("kernel")}
    return {name: path.read_bytes() for name, path in files.items()}


@pytest.fixture(scope="module")
def image(tmp_path_factory, debians):
    """A FAT file system with Debian's shim and the older GRUB, as bytes."""
    require("mkfs.fat", "mmd")
    folder = tmp_path_factory.mktemp("fat")
    path = folder / "fat"
    run("mkfs.fat", "-C", str(path), "8192")
    run("mmd", "-i", str(path), "::EFI", "::EFI/BOOT")
    for name, source in ((SHIM, debian("shim")), (GRUB, debian("grub-2.06"))):
        run("mcopy", "-i", str(path), str(source), f"::{name}")
    return path.read_bytes()


def inspect(tmp_path, files, **overrides):
    """The fact of an ISO with more files than the usual ones; a file that is None is left out."""
    files = {**FILES, **files}
    files = {name: data for name, data in files.items() if data is not None}
    iso = make_iso(tmp_path / "a.iso", files)
    return iso_tree.inspect(iso, overrides=overrides)["secure_boot"]


def test_in_the_tree(tmp_path, debians):
    found = inspect(tmp_path, debians)
    files = found.pop("files")
    assert found == {
        "shim": SHIM,
        "grub": GRUB,
        "grub_version": "2.12",
        "lacks": "",
        "inside": {},
    }
    assert {name: [one["issuer"] for one in file["signers"]] for name, file in files.items()} == {
        SHIM: ["Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"],
        GRUB: ["Debian Secure Boot CA"],
        KERNEL: ["Debian Secure Boot CA"],
    }


def test_names_in_another_case(tmp_path, debians):
    files = {
        **{SHIM: None, "EFI/boot/bootx64.efi": debians[SHIM]},
        **{"EFI/boot/GRUBX64.EFI": debians[GRUB], KERNEL: debians[KERNEL]},
    }
    found = inspect(tmp_path, files)
    assert (found["shim"], found["grub"]) == ("EFI/boot/bootx64.efi", "EFI/boot/GRUBX64.EFI")
    assert found["lacks"] == ""


def test_older_files_in_the_image_do_not_matter(tmp_path, debians, image):
    """As ALT p10 has them there."""
    found = inspect(tmp_path, {**debians, FAT: image})
    assert (found["grub"], found["grub_version"], found["inside"]) == (GRUB, "2.12", {})


def test_shim_and_grub_are_of_one_place(tmp_path, debians, image):
    found = inspect(tmp_path, {**debians, GRUB: None, FAT: image})
    assert found["grub_version"] == "2.06"
    assert found["shim"] == "EFI.efiboot/BOOTX64.EFI"
    (tmp_path / "other").mkdir()
    found = inspect(tmp_path / "other", {**debians, GRUB: None})
    assert (found["shim"], found["grub"]) == (SHIM, "")


LACKS = {
    "kernel-unsigned": lambda files: {KERNEL: without_signature(files[KERNEL])},
    "no-shim": lambda files: {SHIM: without_signature(files[SHIM])},
    # GRUB is signed, and no shim.
    "no-shim:a": lambda files: {SHIM: files[GRUB]},
    "no-shim:b": lambda files: {SHIM: debian("shim", "aarch64").read_bytes()},
    "no-shim:changed": lambda files: {SHIM: files[SHIM][:9000] + b"x" + files[SHIM][9001:]},
    "kernel-unsigned:changed": lambda files: {
        KERNEL: files[KERNEL][:-999999] + b"x" + files[KERNEL][-999998:]
    },
}


@pytest.mark.parametrize("why", LACKS)
def test_why_it_does_not_start(tmp_path, debians, why):
    found = inspect(tmp_path, {**debians, **LACKS[why](debians)})
    assert found["lacks"] == why.partition(":")[0]
    changed = [name for name, file in found["files"].items() if file["changed"]]
    assert bool(changed) == why.endswith(":changed")


def test_kernel_of_others(tmp_path, debians):
    key, crt, out = (tmp_path / name for name in ("key", "crt", "kernel"))
    words = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    run(*words, "-subj", "/CN=Others", "-keyout", str(key), "-out", str(crt))
    out.write_bytes(without_signature(debians[KERNEL]))
    run("sbsign", "--key", str(key), "--cert", str(crt), "--output", str(out), str(out))
    found = inspect(tmp_path, {**debians, KERNEL: out.read_bytes()})
    assert found["lacks"] == "kernel-of-others"
    assert found["files"][KERNEL]["signers"] == [{"name": "Others", "issuer": "Others"}]


def test_kernel_and_arch_of_the_pillar(tmp_path, debians):
    files = {**debians, "boot/other": debians[KERNEL], KERNEL: b"kernel"}
    assert inspect(tmp_path, files)["lacks"] == "kernel-unsigned"
    assert inspect(tmp_path, files, kernel="boot/other")["lacks"] == ""
    assert inspect(tmp_path, files, arch="aarch64")["lacks"] == "no-shim"


def test_architectures_without_a_boot_file(tmp_path, debians):
    iso = make_iso(tmp_path / "a.iso", {**FILES, **debians})
    assert "secure_boot" not in iso_tree.inspect(iso, overrides={"arch": "ppc64le"})


# -- the El Torito image --------------------------------------------------------------------------


def unpacked(iso, tmp_path, names=BOOT):
    return iso_tree.unpack(str(iso), str(tmp_path / "tree"), str(tmp_path / "staging"), names=names)


@pytest.mark.parametrize("names", [BOOT, None])
@pytest.mark.parametrize("where", ["in the tree", "appended"])
def test_files_of_the_image_are_unpacked(tmp_path, debians, image, names, where):
    files = {**FILES, KERNEL: debians[KERNEL]}
    del files[SHIM]
    iso = make_iso(tmp_path / "a.iso", files if where == "appended" else {**files, FAT: image})
    if where == "appended":
        (tmp_path / "fat").write_bytes(image)
        words = ["-append_partition", "2", "0xef", str(tmp_path / "fat"), "-appended_part_as_gpt"]
        words += ["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
        command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "ALT p11 test/x86_64"]
        command += [*words, "-o", iso, str(tmp_path / "a.tree")]
        subprocess.run(command, check=True, capture_output=True)
    facts = unpacked(iso, tmp_path, names)
    found = facts["secure_boot"]
    assert (found["shim"], found["grub"], found["lacks"]) == (SHIM, GRUB, "")
    there = content(tmp_path / "tree")
    assert there[SHIM] == debians[SHIM]
    assert there[GRUB] == debian("grub-2.06").read_bytes()
    for name in (SHIM, GRUB, KERNEL):
        assert facts["sha256"][name] == hashlib.sha256(there[name]).hexdigest()
        path = tmp_path / "tree" / name
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    if names:
        assert set(there) == {*BOOT, SHIM, GRUB}
    assert facts["tree"]["files"] >= len(there)


def test_files_of_the_tree_stay_beside_those_of_the_image(tmp_path, debians, image):
    """The placeholder of an ISO whose signed files are in the image only."""
    iso = make_iso(tmp_path / "a.iso", {**FILES, KERNEL: debians[KERNEL], FAT: image})
    facts = unpacked(iso, tmp_path, None)
    there = content(tmp_path / "tree")
    assert there[SHIM] == FILES[SHIM]
    assert there[facts["secure_boot"]["shim"]] == debians[SHIM]
    assert facts["secure_boot"]["shim"] == "EFI.efiboot/BOOTX64.EFI"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_written_through_links(tmp_path, debians, image, kind):
    tree = tmp_path / "a.tree"
    (tree / "EFI").mkdir(parents=True)
    (tree / "elsewhere").mkdir()
    if kind == "link":
        (tree / "EFI/BOOT").symlink_to("../elsewhere")
    else:
        (tree / "EFI/BOOT").write_bytes(b"file")
    files = {**FILES, KERNEL: debians[KERNEL], FAT: image}
    del files[SHIM]
    facts = unpacked(make_iso(tmp_path / "a.iso", files), tmp_path, None)
    assert facts["secure_boot"]["shim"] == "EFI.efiboot/BOOTX64.EFI"
    assert os.listdir(tmp_path / "tree/elsewhere") == []


HOSTILE = {
    "nothing": b"",
    "zeros": bytes(100_000),
    "no file system": b"\xff" * 100_000,
    "a beginning": None,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_images(tmp_path, debians, image, what):
    data = image[:70_000] if HOSTILE[what] is None else HOSTILE[what]
    found = inspect(tmp_path, {KERNEL: debians[KERNEL], FAT: data})
    assert {key: found[key] for key in NOTHING} == NOTHING
    assert found["lacks"] == "no-shim"


def test_damaged_isos(tmp_path, debians, image):
    """Whatever the bytes of the boot catalogue, the file system and the programs: one error."""
    files = {**FILES, KERNEL: debians[KERNEL], FAT: image}
    del files[SHIM]
    tree = make_iso(tmp_path / "a.iso", files)
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-e", FAT, "-no-emul-boot", "-o", tree]
    subprocess.run([*words, str(tmp_path / "a.tree")], check=True, capture_output=True)
    path = tmp_path / "a.iso"
    whole = path.read_bytes()
    assert iso_tree.inspect(str(path))["secure_boot"]["shim"] == SHIM
    start = whole.index(image[:4096])
    catalogue = int.from_bytes(whole[17 * 2048 + 71 : 17 * 2048 + 75], "little") * 2048
    areas = [(17 * 2048, 100), (catalogue, 128), (start, 64), (start, len(image))]
    chance = random.Random(1)  # noqa: S311
    lost = 0
    for _ in range(150):
        with open(path, "r+b") as file:
            for _ in range(chance.randint(1, 6)):
                area, size = chance.choice(areas)
                file.seek(area + chance.randrange(size))
                file.write(bytes([chance.choice((0, 0xFF, chance.randrange(256)))]))
        begun = time.monotonic()
        try:
            lost += iso_tree.inspect(str(path))["secure_boot"]["shim"] != SHIM
        except CommandExecutionError:
            lost += 1
        assert time.monotonic() - begun < 3
        path.write_bytes(whole)
    assert lost > 5


def test_a_mount_has_only_what_is_in_the_tree(tmp_path, debians, image):
    iso = make_iso(tmp_path / "a.iso", {**FILES, KERNEL: debians[KERNEL], FAT: image})
    facts = iso_tree.inspect(iso)
    assert set(iso_tree.digests(iso, facts)) >= {KERNEL}
    iso_secure_boot.without_inside(facts)
    found = facts["secure_boot"]
    assert {key: found[key] for key in NOTHING} == NOTHING
    assert (found["lacks"], list(found["files"])) == ("no-shim", [KERNEL])
    facts = iso_tree.inspect(make_iso(tmp_path / "b.iso", {**FILES, **debians}))
    iso_secure_boot.without_inside(facts)
    assert facts["secure_boot"]["shim"] == SHIM
    assert {SHIM, GRUB, KERNEL} <= set(iso_tree.digests(str(tmp_path / "b.iso"), facts))
