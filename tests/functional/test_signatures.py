"""Who signed EFI programs: Debian's real files beside what other programs say; hostile ones."""

import hashlib
import random
import re
import time
from types import SimpleNamespace

import pytest

import netboot_signatures
from lab.host import require
from lab.ipxe import HASHES, boot_loaders
from lab.iso.scratch import run
from lab.iso.signed import without_signature
from lab.secure_boot import debian
from netboot_der import Unreadable
from netboot_signatures import MICROSOFT_2011, MICROSOFT_2023

DEBIAN_CA = "Debian Secure Boot CA"
PROGRAMS = {
    "shim": ("x86_64", True),
    "grub": ("x86_64", False),
    "grub-2.06": ("x86_64", False),
    "kernel": ("x86_64", False),
    "arm-shim": ("aarch64", True),
    "arm-grub": ("aarch64", False),
}


@pytest.fixture(scope="module", autouse=True)
def _programs():
    require("sbsign", "sbverify", "objcopy", "openssl")


def path(name):
    if name.startswith("arm-"):
        return debian(name[4:], "aarch64")
    return debian(name)


def signed(content):
    return netboot_signatures.read(
        lambda offset, length: content[offset : offset + length], len(content)
    )


def accepts(shim, program):
    """Whether a shim accepts a program; the record says the same, but for lists of the revoked."""
    found = netboot_signatures.accepts(shim, program)
    shapes = (netboot_signatures.shape(one) for one in (shim, program))
    if not netboot_signatures.refuses(shim, program):
        assert netboot_signatures.accepts_on_record(*shapes) == found
    return found


def section(program, name, tmp_path):
    """The content of a section, as objcopy says."""
    out = tmp_path / "section"
    copy = tmp_path / "copy"
    run("objcopy", "--dump-section", f"{name}={out}", str(program), str(copy))
    return out.read_bytes()


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Keys, and Debian's GRUB signed with them."""
    folder = tmp_path_factory.mktemp("keys")

    def key(name, common_name, issuer=None):
        """Make a key and a certificate, its own issuer or that of another; return both paths."""
        paths = [str(folder / f"{name}.{end}") for end in ("key", "crt")]
        words = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
        words += ["-subj", f"/O=test/CN={common_name}", "-keyout", paths[0], "-out", paths[1]]
        run(*words, *(["-CA", issuer[1], "-CAkey", issuer[0]] if issuer else []))
        return paths

    def sign(key, program=None):
        plain, out = folder / "plain.efi", folder / "signed.efi"
        plain.write_bytes(program or without_signature(debian("grub").read_bytes()))
        words = ["sbsign", "--key", key[0], "--cert", key[1], "--output", str(out), str(plain)]
        run(*words)
        return out.read_bytes()

    return SimpleNamespace(key=key, sign=sign, folder=folder)


# -- Debian's files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_signers_are_those_that_sbverify_lists(name):
    listed = run("sbverify", "--list", str(path(name)))
    issuers = [
        re.search(r"CN=([^/\n]+)", block)[1] for block in listed.split("signature issuers:")[1:]
    ]
    subjects = re.findall(r"subject: .*CN=([^/\n]+)", listed)
    found = signed(path(name).read_bytes())
    assert [one.certificate.issuer for one in found.signers] == issuers
    assert {one.certificate.name for one in found.signers} <= set(subjects)
    assert all(one.fits for one in found.signers), (
        "its Authenticode digest is that of the signature"
    )
    assert (found.arch, found.is_shim) == PROGRAMS[name]


@pytest.mark.parametrize("name", ["grub", "grub-2.06", "shim"])
def test_sbat_is_that_of_its_section(name, tmp_path):
    text = section(path(name), ".sbat", tmp_path).rstrip(b"\0").decode().strip()
    found = signed(path(name).read_bytes())
    rows = [line.split(",") for line in text.splitlines()]
    assert found.sbat == {row[0]: int(row[1]) for row in rows}
    assert found.versions == {row[0]: row[4] for row in rows}


def test_grub_says_its_version():
    assert signed(debian("grub").read_bytes()).versions["grub"] == "2.12"
    assert signed(debian("grub-2.06").read_bytes()).versions["grub"] == "2.06"


def test_keys_of_a_shim_are_those_that_openssl_reads(tmp_path):
    data = section(debian("shim"), ".vendor_cert", tmp_path)
    size, start = (int.from_bytes(data[at : at + 4], "little") for at in (0, 8))
    (tmp_path / "der").write_bytes(data[start : start + size])
    said = run(
        *("openssl", "x509", "-inform", "der", "-in", str(tmp_path / "der")),
        *("-noout", "-subject", "-serial", "-ext", "subjectKeyIdentifier"),
    )
    (key,) = signed(debian("shim").read_bytes()).keys
    assert f"CN = {key.name}" in said
    assert key.name == DEBIAN_CA
    assert key.key == said.splitlines()[-1].strip().replace(":", "").lower()
    assert key.serial.hex().lstrip("0") == re.search("serial=(.*)", said)[1].lower()


def test_level_of_a_shim_is_the_first_of_its_section(tmp_path):
    text = section(debian("shim"), ".sbatlevel", tmp_path)[12:].split(b"\0")[0].decode()
    rows = [line.split(",") for line in text.split()]
    level = signed(debian("shim").read_bytes()).level
    assert level == {row[0]: int(row[1]) for row in rows}
    assert level["grub"] > 1


@pytest.mark.parametrize("name", ["shim", "arm-shim"])
def test_both_of_microsofts_certificates_signed_debians_shim(name):
    """Also shows that the keys written down are those of the certificates beside the signatures."""
    found = signed(path(name).read_bytes())
    assert netboot_signatures.microsoft(found) == [MICROSOFT_2011, MICROSOFT_2023]
    known = {one.name: one.key for signer in found.signers for one in signer.others if one.key}
    assert {name: known[name] for name in netboot_signatures._MICROSOFT} == (
        netboot_signatures._MICROSOFT
    )


@pytest.mark.parametrize("name", ["grub", "grub-2.06", "kernel"])
def test_debians_shim_accepts_what_debian_signed(name):
    shim, program = (signed(path(one).read_bytes()) for one in ("shim", name))
    assert accepts(shim, program)
    assert not netboot_signatures.revoked(program, shim.level)
    assert not netboot_signatures.microsoft(program)


def test_programs_that_a_shim_lists_as_refused():
    shim, grub = (signed(path(one).read_bytes()) for one in ("shim", "grub"))
    assert len(shim.refused) > 100
    assert not accepts(shim._replace(refused=[grub.digest]), grub)
    keys = [grub.signers[0].certificate]
    assert not accepts(shim._replace(refused_keys=keys), grub)


def test_unsigned_programs():
    for content in (
        (boot_loaders(HASHES) / "snponly.efi").read_bytes(),
        without_signature(debian("kernel").read_bytes()),
    ):
        found = signed(content)
        assert netboot_signatures.shape(found)["signers"] == []
        assert not netboot_signatures.is_changed(found)
        assert not accepts(signed(debian("shim").read_bytes()), found)


def test_what_is_put_on_record():
    shape = netboot_signatures.shape(signed(debian("shim").read_bytes()))
    ((_name, key),) = shape.pop("trusts")
    assert key == signed(debian("shim").read_bytes()).keys[0].key
    assert len(shape.pop("authorities")) >= 4
    assert shape == {
        "arch": "x86_64",
        "signers": [
            {"name": "Microsoft Windows UEFI Driver Publisher", "issuer": MICROSOFT_2011},
            {"name": "Microsoft UEFI CA 2023 signer", "issuer": MICROSOFT_2023},
        ],
        "changed": False,
        "sbat": {"sbat": 1, "shim": 4, "shim.debian": 1},
        "keys": [DEBIAN_CA],
        "microsoft": [MICROSOFT_2011, MICROSOFT_2023],
    }


# -- own keys -------------------------------------------------------------------------------------


def test_changed_since_it_was_signed(make):
    key = make.key("own", "Own key")
    content = make.sign(key)
    (make.folder / "a.efi").write_bytes(content)
    run("sbverify", "--cert", key[1], str(make.folder / "a.efi"))
    found = signed(content)
    assert not netboot_signatures.is_changed(found)
    assert netboot_signatures.shape(found)["signers"] == [{"name": "Own key", "issuer": "Own key"}]
    for place in (2, 5000, len(content) // 2):
        changed = bytearray(content)
        changed[place] ^= 1
        assert netboot_signatures.is_changed(signed(bytes(changed))), place
    # That of the signed attributes, which have the digest of what has the file's digest.
    swapped = make.sign(key, content + bytes(8))
    at = swapped.index(bytes.fromhex(signed(swapped).digest))
    other = bytearray(content)
    mine = content.index(bytes.fromhex(found.digest))
    other[mine : mine + 32] = swapped[at : at + 32]
    assert netboot_signatures.is_changed(signed(bytes(other)))


def test_a_shim_accepts_by_key_and_not_by_name(make):
    ca = make.key("ca", "Authority")
    leaf = make.key("leaf", "Signer", issuer=ca)
    same_name = make.key("same", "Authority")
    shim = signed(debian("shim").read_bytes())
    (authority,) = (one.certificate for one in signed(make.sign(ca)).signers)
    shim = shim._replace(keys=[authority])
    assert accepts(shim, signed(make.sign(leaf)))
    assert accepts(shim, signed(make.sign(ca)))
    assert not accepts(shim, signed(make.sign(same_name)))
    forged = make.key("forged", "Signer", issuer=same_name)
    assert not accepts(shim, signed(make.sign(forged)))


def test_microsofts_name_alone_is_not_microsoft(make):
    ca = make.key("fake", MICROSOFT_2023)
    found = signed(make.sign(make.key("of-fake", "Signer", issuer=ca)))
    assert found.signers[0].certificate.issuer == MICROSOFT_2023
    assert netboot_signatures.microsoft(found) == []


def test_certificates_that_merely_lie_beside_do_not_count(make):
    found = signed(make.sign(make.key("beside", "Own")))
    shim = signed(debian("shim").read_bytes())
    beside = [shim.signers[0].certificate, *shim.signers[0].others, *shim.keys]
    found = found._replace(signers=[found.signers[0]._replace(others=beside)])
    assert netboot_signatures.microsoft(found) == []
    assert not accepts(shim, found)


def test_two_signatures_of_which_one_fits(make):
    one, two = make.key("one", "One"), make.key("two", "Two")
    content = make.sign(two, make.sign(one))
    assert [signer["name"] for signer in netboot_signatures.shape(signed(content))["signers"]] == [
        "One",
        "Two",
    ]
    damaged = bytearray(content)
    # The first digest in the file is that of the first signature.
    damaged[content.index(bytes.fromhex(signed(content).digest))] ^= 1
    found = netboot_signatures.shape(signed(bytes(damaged)))
    assert found["signers"] == [{"name": "Two", "issuer": "Two"}]
    assert not found["changed"]


def _list(kind, entries):
    """A list of signatures as UEFI has them (UEFI specification, 32.4.1)."""
    size = len(entries[0]) + 16
    data = b"".join(bytes(16) + entry for entry in entries)
    numbers = (28 + len(data), 0, size)
    return kind + b"".join(number.to_bytes(4, "little") for number in numbers) + data


def test_a_shim_with_a_list_of_keys(make):
    """As distributions have that accept several, and refuse some (shim's VENDOR_DB_FILE)."""
    ders = []
    for name in ("First", "Second", "Third"):
        key = make.key(name, name)
        out = make.folder / f"{name}.der"
        run("openssl", "x509", "-in", key[1], "-outform", "der", "-out", str(out))
        ders.append(out.read_bytes())
    x509, sha256 = netboot_signatures._X509, netboot_signatures._SHA256
    accepted = _list(x509, ders[:1]) + _list(x509, ders[1:2])
    refused = _list(x509, ders[2:]) + _list(sha256, [bytes(range(32)), bytes(32)])
    sizes = (len(accepted), len(refused), 16, 16 + len(accepted))
    table = b"".join(size.to_bytes(4, "little") for size in sizes) + accepted + refused
    (make.folder / "table").write_bytes(table)
    out = make.folder / "shim.efi"
    plain = make.folder / "plain.efi"
    plain.write_bytes(without_signature(debian("shim").read_bytes()))
    run("objcopy", "--update-section", f".vendor_cert={make.folder}/table", str(plain), str(out))
    shim = signed(out.read_bytes())
    assert [key.name for key in shim.keys] == ["First", "Second"]
    assert [key.name for key in shim.refused_keys] == ["Third"]
    assert shim.refused == [bytes(range(32)).hex(), bytes(32).hex()]


# -- SBAT -----------------------------------------------------------------------------------------

TABLES = [
    (b"grub,3,X,grub,2.06,url\n", {"grub": 3}),
    (b"grub,3", {"grub": 3}),
    (b"a,1\r\nb,2\n\nc\n", {"a": 1, "b": 2}),
    (b"grub,4abc\ngrub.x,abc\ny,-1\n", {"grub": 4, "grub.x": 0, "y": 0}),
    (b"a,1\n\0b,2\n", {"a": 1}),
    (b"\x1b[31m,1\n\xff,2", {"?[31m": 1, "\ufffd": 2}),
    (b"a,99999999999999999999", {"a": 999999999}),
    (b"", {}),
]


@pytest.mark.parametrize(("table", "found"), TABLES)
def test_sbat_tables(table, found):
    rows = netboot_signatures._table(table)
    assert {row[0]: netboot_signatures._generation(row[1]) for row in rows} == found


def test_revoked_by_level():
    grub = signed(debian("grub-2.06").read_bytes())
    own = grub.sbat["grub"]
    assert netboot_signatures.revoked(grub, {"grub": own + 1}) == "grub"
    assert netboot_signatures.revoked(grub, {"grub": own, "shim": 99}) is None


# -- hostile files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shim", "grub-2.06"])
def test_damaged_programs_are_unreadable_or_read(name):
    """Whatever the bytes: one kind of error, and soon."""
    whole = path(name).read_bytes()
    header = int.from_bytes(whole[60:64], "little")
    table = int.from_bytes(whole[header + 168 : header + 172], "little")
    chance = random.Random(1)  # noqa: S311
    unreadable = changed = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            places = (chance.randrange(1500), chance.randrange(table, len(whole)))
            place = chance.choice((*places, chance.randrange(table, table + 400)))
            damaged[place] = chance.choice((0, 0x80, 0xFF, chance.randrange(256)))
        end = chance.choice([len(whole)] * 4 + [chance.randrange(len(whole))])
        begun = time.monotonic()
        try:
            found = signed(bytes(damaged[:end]))
            changed += netboot_signatures.is_changed(found)
            accepts(found, found)
        except Unreadable:
            unreadable += 1
        assert time.monotonic() - begun < 2
    assert unreadable > 100
    assert changed > 50


def _with(content, offset, number, length=4):
    """A program with another number at an offset from its PE header."""
    place = int.from_bytes(content[60:64], "little") + offset
    return content[:place] + number.to_bytes(length, "little") + content[place + length :]


HOSTILE = {
    "no program": lambda whole: b"#!/bin/sh\n" * 100,
    "nothing": lambda whole: b"",
    "the header lies beyond its end": lambda whole: whole[:60] + b"\xff" * 4 + whole[64:],
    "65535 sections": lambda whole: _with(whole, 6, 65535, 2),
    "signatures beyond its end": lambda whole: _with(whole, 168, len(whole) - 8),
    "signatures in all of it": lambda whole: _with(_with(whole, 168, 0), 172, len(whole)),
    "a signature of length 0": lambda whole: _first_signature(whole, 0),
    "a longer signature": lambda whole: _first_signature(whole, 1 << 20),
    "a header of 2 GiB": lambda whole: _with(whole, 84, 1 << 31),
    "half of it": lambda whole: whole[: len(whole) // 2],
}


def _first_signature(whole, length):
    header = int.from_bytes(whole[60:64], "little")
    table = int.from_bytes(whole[header + 168 : header + 172], "little")
    return whole[:table] + length.to_bytes(4, "little") + whole[table + 4 :]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_programs(what):
    with pytest.raises(Unreadable, match="^it"):
        signed(HOSTILE[what](debian("shim").read_bytes()))


def test_huge_file_is_not_read():
    def read(offset, length):
        raise AssertionError

    with pytest.raises(Unreadable):
        netboot_signatures.read(read, 1 << 40)


def test_the_digest_is_of_all_but_what_signing_changes():
    """As the digest of the unsigned file, whose check sum and table of signatures are others."""
    content = debian("grub").read_bytes()
    plain = without_signature(content)
    header = int.from_bytes(plain[60:64], "little")
    digest = hashlib.sha256(
        plain[: header + 88] + plain[header + 92 : header + 168] + plain[header + 176 :]
    )
    assert signed(content).digest == digest.hexdigest()
