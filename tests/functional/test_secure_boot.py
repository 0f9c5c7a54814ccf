"""What clients with Secure Boot refuse of the files that are served, read from the files."""

import json
import os
import re
import shutil
from types import SimpleNamespace

import pytest

import iso_tree
import netboot_looks_images
import netboot_secure_boot
from lab.iso.signed import with_one_signature, without_signature
from lab.secure_boot import Keys, debian, ipxe
from netboot_looks import Case
from netboot_records import Records
from tests.isos import FILES, make_iso
from tests.unit.test_netboot_pillar import IMAGE, TARGET, resolve

SHIM, IPXE, GRUB = "EFI/BOOT/BOOTX64.EFI", "ipxe.efi", "EFI/BOOT/grubx64.efi"
FIRST, KERNEL = "ipxe-shimx64.efi", "boot/vmlinuz"
KIND = "netboot:secure_boot:efi-x86_64"
SUM = {"sha256": "0" * 64}
WAYS = {
    "ipxe": {"shim": {"url": "http://x/s.efi", "checksum": SUM}},
    "grub": {"image": "A"},
}
WAYS["ipxe"]["ipxe"] = WAYS["ipxe"]["shim"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What was read from an ISO whose files are Debian's, and its tree."""
    folder = tmp_path_factory.mktemp("image")
    files = {SHIM: debian("shim"), GRUB: debian("grub"), KERNEL: debian("kernel")}
    files = {**FILES, **{name: path.read_bytes() for name, path in files.items()}}
    iso = make_iso(folder / "a.iso", files)
    facts = iso_tree.unpack(iso, str(folder / "tree"), str(folder / "staging"))
    return SimpleNamespace(facts=facts, tree=folder / "tree")


@pytest.fixture
def make(tmp_path, keys, image):
    """Make a server with signed files, and say what is found; files: contents by path."""

    def _make(
        way="ipxe", files=None, image_files=None, facts=None, key="lab", form="boot", enrolled=()
    ):
        pillar = {"root": str(tmp_path / "export"), "images": {"A": IMAGE}}
        pillar["secure_boot"] = {"efi-x86_64": {**WAYS[way]}} if way else {}
        if enrolled:
            pillar["secure_boot"]["efi-x86_64"]["enrolled"] = list(enrolled)
        records = Records(str(tmp_path / "records"))
        config = resolve(pillar, state_dir=records.directory)["config"]
        records.write("applied", "config", config)
        tree = f"{config['paths']['trees']}/x86_64/a"
        shutil.copytree(image.tree, tree)
        for name, content in (image_files or {}).items():
            with open(os.path.join(tree, name), "wb") as file:
                file.write(content)
        known = json.loads(json.dumps(image.facts))
        known["secure_boot"].update(facts or {})
        record = {"name": "A", "label": "a", "tree": tree, "facts": known, "form": form}
        records.write("images", "a", record)
        if way == "grub":
            there = {"grub/shimx64.efi": debian("shim"), "grub/grubx64.efi": debian("grub")}
        else:
            there = {FIRST: debian("shim"), IPXE: keys.signed(ipxe(), key)}
        there = {name: path.read_bytes() for name, path in there.items()}
        for name, content in {**there, **(files or {})}.items():
            path = os.path.join(config["paths"]["tftp"], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if content is not None:
                with open(path, "wb") as file:
                    file.write(content)
        found = netboot_secure_boot.findings(records)
        case = Case(records, config, config, TARGET, pillar, 0)
        assert list(netboot_looks_images._secure_boot(case)) == found
        assert netboot_secure_boot.warnings(records) == [
            text for _key, severity, text in found if severity != "info"
        ]
        short = f"{tmp_path}/export/tftp/"
        return [(key, severity, text.replace(short, "")) for key, severity, text in found]

    return _make


# -- no false alarm -------------------------------------------------------------------------------


def test_debians_shim_and_grub_are_fine(make):
    assert make("grub") == []


def test_without_the_key_nothing_is_looked_at(make):
    assert make(None, files={FIRST: b"x"}) == []


def test_files_that_are_gone_are_said_elsewhere(make):
    assert make(files={FIRST: None, IPXE: None}) == []


@pytest.mark.parametrize(
    ("own", "enrolled", "count"),
    [(False, "lab", 0), (False, "other", 1), (True, "vendor", 0), (True, "lab", 1)],
)
def test_keys_that_all_machines_have(make, keys, own, enrolled, count):
    """As the pillar says, nothing asks for them."""
    files = {FIRST: keys.shim().read_bytes()} if own else {}
    assert len(make(files=files, enrolled=[f"netboot-alt {enrolled}"])) == count


def test_a_shim_that_knows_the_key(make, keys):
    """As iPXE's own, which trusts no distribution; but Microsoft did not sign this one."""
    found = make(files={FIRST: keys.shim().read_bytes()})
    assert [key for key, _severity, _text in found] == ["secure.authority"]
    assert found[0][2] == (
        f"{FIRST} is signed by netboot-alt vendor, not by Microsoft, so clients need this "
        f"certificate in their firmware (db); give {KIND}:shim another."
    )


# -- what is refused ------------------------------------------------------------------------------


def changed(program):
    return program[:5000] + b"changed" + program[5007:]


REFUSED = [
    (
        {},
        ("secure.mok", "warning"),
        f"{IPXE}: clients need this key enrolled (MOK): netboot-alt lab; {FIRST} does not know it, "
        f"so give {KIND}:ipxe another, or enroll it and name it in {KIND}:enrolled.",
    ),
    (
        {IPXE: lambda keys: ipxe().read_bytes()},
        ("secure.unsigned", "error"),
        f"{IPXE} is unsigned, so Secure Boot refuses it; give {KIND}:ipxe another, a signed one.",
    ),
    (
        {IPXE: lambda keys: keys.signed(ipxe(), sbat=False).read_bytes()},
        ("secure.no_sbat", "error"),
        f"{IPXE} has no .sbat, so {FIRST} refuses it; give {KIND}:ipxe another.",
    ),
    (
        {IPXE: lambda keys: changed(keys.signed(ipxe()).read_bytes())},
        ("secure.changed", "error"),
        f"{IPXE} was changed since it was signed, so Secure Boot refuses it; "
        f"give {KIND}:ipxe another.",
    ),
    (
        {IPXE: lambda keys: b"#!ipxe\n"},
        ("secure.unreadable", "error"),
        f"{IPXE} cannot be started, as it is not an EFI program; give {KIND}:ipxe another.",
    ),
    (
        {IPXE: lambda keys: debian("grub", "aarch64").read_bytes()},
        ("secure.arch", "error"),
        f"{IPXE} is for aarch64, not for x86_64; give {KIND}:ipxe another.",
    ),
    (
        {FIRST: lambda keys: without_signature(debian("shim").read_bytes())},
        ("secure.unsigned", "error"),
        f"{FIRST} is unsigned, so Secure Boot refuses it; give {KIND}:shim another, a signed one.",
    ),
    (
        {FIRST: lambda keys: changed(debian("shim").read_bytes())},
        ("secure.changed", "error"),
        f"{FIRST} was changed since it was signed, so Secure Boot refuses it; "
        f"give {KIND}:shim another.",
    ),
    (
        {FIRST: lambda keys: with_one_signature(debian("shim").read_bytes(), 0)},
        ("secure.authority", "warning"),
        f"{FIRST} is signed with only the 2011 CA: machines that have 2023 alone refuse it; "
        f"give {KIND}:shim another.",
    ),
    (
        {FIRST: lambda keys: with_one_signature(debian("shim").read_bytes(), 1)},
        ("secure.authority", "warning"),
        f"{FIRST} is signed with only the 2023 CA: machines that have 2011 alone refuse it; "
        f"give {KIND}:shim another.",
    ),
]


@pytest.mark.parametrize(("files", "kind", "text"), REFUSED)
def test_what_is_refused(make, keys, files, kind, text):
    found = make(files={name: content(keys) for name, content in files.items()})
    # The key of the tests is in no shim, which is another file's finding.
    own = [one for one in found if one[0] != "secure.mok" or kind[0] == "secure.mok"]
    assert own == [(*kind, text)]


def test_microsoft_signed_second_stages_need_no_key(make):
    assert make(files={IPXE: debian("shim").read_bytes()}) == []


def older(keys, name="grub"):
    """Debian's GRUB as one of an older generation, signed with the key of the tests."""
    path = keys.folder / "older.efi"
    content = without_signature(debian(name).read_bytes())
    at = content.index(b"\ngrub,") + 6
    path.write_bytes(content[:at] + b"1" + content[at + 1 :])
    keys._sign(path, "lab")
    return path.read_bytes()


def test_revoked_by_sbat_level(make, keys):
    ((key, severity, text),) = make(files={IPXE: older(keys)})
    level = netboot_secure_boot.of_file(debian("shim")).level["grub"]
    assert (key, severity) == ("secure.revoked", "error")
    assert text == (
        f"{IPXE} is revoked by SBAT level: it is grub of generation 1, and {FIRST} demands "
        f"{level}; give {KIND}:ipxe another, a newer one."
    )


def test_revoked_by_the_level_of_an_images_shim(make, keys):
    """Machines that started it keep its level."""
    content = debian("shim").read_bytes()
    files = {SHIM: re.sub(rb"grub,\d\n\0sbat,1", b"grub,9\n\0sbat,1", content)}
    assert files[SHIM] != content
    found = [one for one in make("grub", image_files=files) if one[0] == "secure.revoked"]
    ((_key, severity, text),) = found
    assert severity == "warning"
    assert "and machines that started netboot/x86_64/a/EFI/BOOT/BOOTX64.EFI demand 9; " in text


def test_the_apply_says_it(states, configured):
    def complete(test=False):
        (ret,) = states.netboot_tftp.firmware_complete("boot loaders", test=test).raw.values()
        assert ret["result"] is True
        return ret.get("warnings", [])

    config = configured({"secure_boot": {"efi-x86_64": WAYS["ipxe"]}, "images": {}})
    tftp = config["paths"]["tftp"]
    os.makedirs(tftp)
    for name, program in ((FIRST, debian("shim")), (IPXE, ipxe())):
        shutil.copy(program, f"{tftp}/{name}")
    (said,) = complete()
    assert f"{IPXE} is unsigned" in said
    assert complete(test=True) == []
    configured({"images": {}})
    assert complete() == []


# -- images ---------------------------------------------------------------------------------------

IMAGES = [
    ({"lacks": "no-shim"}, "its ISO has no signed shim"),
    ({"lacks": "kernel-unsigned"}, "its kernel boot/vmlinuz is unsigned"),
    (
        {"lacks": "kernel-of-others"},
        "its kernel boot/vmlinuz is signed by Debian Secure Boot Signer 2022 - linux, whom its "
        "shim does not know",
    ),
]


@pytest.mark.parametrize(("facts", "text"), IMAGES)
def test_images_that_do_not_start(make, facts, text):
    found = [one for one in make(facts=facts) if one[0] != "secure.mok"]
    assert found == [
        ("secure.image", "info", f"A does not start with Secure Boot, as menus say: {text}.")
    ]


def test_a_mounted_image_has_no_el_torito_image(make):
    (text,) = [
        text
        for key, _, text in make(facts={"lacks": "no-shim"}, form="mount")
        if key != "secure.mok"
    ]
    assert text.endswith(
        "its ISO has no signed shim in its own tree; unpack it, without mount: true."
    )


def test_the_shim_of_an_image_of_2011(make):
    files = {SHIM: with_one_signature(debian("shim").read_bytes(), 0)}
    found = [one for one in make(image_files=files) if one[0] != "secure.mok"]
    ((key, severity, text),) = found
    assert (key, severity) == ("secure.authority", "info")
    assert text.endswith(
        "is signed with only the 2011 CA: machines that have 2023 alone refuse it."
    )


def test_images_that_the_shim_of_another_does_not_know(make, keys):
    kernel = keys.folder / "kernel"
    kernel.write_bytes(without_signature(debian("kernel").read_bytes()))
    keys._sign(kernel, "lab")
    ((key, _severity, text),) = make("grub", image_files={KERNEL: kernel.read_bytes()})
    assert key == "secure.image"
    assert text.endswith("whom grub/shimx64.efi does not know.")
