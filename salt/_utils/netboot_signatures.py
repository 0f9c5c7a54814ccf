"""
Who signed an EFI program, and what a shim accepts: certificates, SBAT. Pure.

What is compared is which keys certificates name, and digests of what was signed. The signatures
themselves (RSA) are not checked: firmware does that, and a file that passes here can still be
refused there if somebody forged it. Whoever wants to boot forged files has other ways.

Followed from public sources: PKCS #7 (RFC 2315), certificates (RFC 5280), signature lists (UEFI
specification, 32.4.1), and shim's cert.S, sbat_var.S, sbat.c, and SBAT.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import netboot_der as der
from netboot_der import Unreadable
from netboot_pe import Pe, Read
from netboot_shapes import Signature

#: Microsoft's certificates that sign what is not Windows, which PCs have in their firmware, and
#: their keys' identifiers: those that Debian's shim is signed by (tests compare).
MICROSOFT_2011 = "Microsoft Corporation UEFI CA 2011"
MICROSOFT_2023 = "Microsoft UEFI CA 2023"
_MICROSOFT = {
    MICROSOFT_2011: "13adbf4309bd82709c8cd54f316ed522988a1bd4",
    MICROSOFT_2023: "81aa6b3244c935bce0d6628af39827421e32497d",
}

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
_ALGORITHMS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
# Of a distinguished name, in the order of what names it best.
_NAMES = ("2.5.4.3", "2.5.4.11", "2.5.4.10")
_SUBJECT_KEY, _AUTHORITY_KEY = "2.5.29.14", "2.5.29.35"
# As they lie in a file: EFI_CERT_X509_GUID, EFI_CERT_SHA256_GUID.
_X509 = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
_SHA256 = bytes.fromhex("2616c4c14c509240aca941f936934328")

_MOST_CERTIFICATES = 32
_MOST_DEPTH = 8
_MOST_LIST = 1 << 20
_MOST_SBAT = 64 << 10
_MOST_COMPONENTS = 64


class Certificate(NamedTuple):
    name: str
    issuer: str
    subject: bytes  # DER
    issued_by: bytes  # DER
    serial: bytes
    public: bytes  # its public key, DER
    key: str  # identifier of that key, or empty
    issuer_key: str  # and of its issuer's, or empty


class Signer(NamedTuple):
    certificate: Certificate
    others: list[Certificate]  # beside it in the signature
    fits: bool  # whether it signed this very content


class Signed(NamedTuple):
    """What an EFI program says of itself."""

    arch: str
    digest: str  # SHA-256 of what is signed; empty: unsigned, or with another digest
    signers: list[Signer]
    sbat: dict[str, int]
    versions: dict[str, str]  # of the components of its SBAT
    is_shim: bool
    keys: list[Certificate]  # that a shim accepts
    refused: list[str]  # digests of programs that a shim refuses
    refused_keys: list[Certificate]
    level: dict[str, int]  # least generations that a shim demands from then on


def read(read: Read, size: int) -> Signed:
    """
    Return what an EFI program says of itself.

    read
        A function that returns the bytes of the file from an offset on, of a length.

    size
        Size of the file in bytes.

    Raises Unreadable when it is no EFI program, or is damaged.
    """
    pe = Pe(read, size)
    digests: dict[str, str] = {}
    signers = [one for data in pe.signatures() for one in _signers(pe, data, digests)]
    rows = _table(pe.section(".sbat", _MOST_SBAT))
    vendor = pe.section(".vendor_cert", _MOST_LIST)
    keys, refused_keys, refused = _vendor(vendor) if vendor else ([], [], [])
    return Signed(
        pe.arch,
        digests.get("sha256", ""),
        signers,
        {row[0]: _generation(row[1]) for row in rows},
        {row[0]: row[4] for row in rows if len(row) > 4},
        bool(vendor),
        keys,
        refused,
        refused_keys,
        _level(pe.section(".sbatlevel", _MOST_SBAT)),
    )


def shape(signed: Signed) -> Signature:
    """
    Return what is put on record of an EFI program.

    signed
        What it says of itself.
    """
    return {
        "arch": signed.arch,
        "signers": [
            {"name": one.certificate.name, "issuer": one.certificate.issuer}
            for one in valid(signed) or signed.signers
        ],
        "changed": is_changed(signed),
        "sbat": signed.sbat,
        "keys": [key.name for key in signed.keys],
        "trusts": [_authority(key.subject, key.key) for key in signed.keys],
        "authorities": _authorities(signed),
        "microsoft": microsoft(signed),
    }


def _authorities(signed: Signed) -> list[list[str]]:
    found = []
    for signer in valid(signed):
        for one in _chain(signer):
            found.append(_authority(one.subject, one.key))
            found.append(_authority(one.issued_by, one.issuer_key))
    return [one for at, one in enumerate(found) if one not in found[:at]]


def _authority(name: bytes, key: str) -> list[str]:
    return [hashlib.sha256(name).hexdigest()[:16], key]


def accepts_on_record(shim: Signature, program: Signature) -> bool:
    """
    Return what :func:`accepts` does, from what is on record; lists of what was revoked are not.

    shim, program
        What :func:`shape` returned of them.
    """
    return bool(program["microsoft"]) or any(
        name == other and ("" in (key, known) or key == known)
        for name, key in program["authorities"]
        for other, known in shim["trusts"]
    )


def valid(signed: Signed) -> list[Signer]:
    """
    Return the signers that signed the very content of a program.

    signed
        What it says of itself.
    """
    return [one for one in signed.signers if one.fits]


def is_changed(signed: Signed) -> bool:
    """
    Return whether a program is other than what was signed.

    signed
        What it says of itself.
    """
    return bool(signed.signers) and not valid(signed)


def microsoft(signed: Signed) -> list[str]:
    """
    Return Microsoft's certificates that signed a program; the first is the oldest.

    signed
        What it says of itself.
    """
    return [
        name
        for name, key in _MICROSOFT.items()
        if any(
            one.issuer == name and one.issuer_key in ("", key)
            for signer in valid(signed)
            for one in _chain(signer)
        )
    ]


def accepts(shim: Signed, signed: Signed) -> bool:
    """
    Return whether a shim accepts a program without any key that clients have enrolled.

    That is so if the program's signer, or who issued its certificate, is among the shim's keys, or
    is Microsoft's, whose keys firmware has.

    shim
        What the shim says of itself.

    signed
        What the program says of itself.
    """
    if refuses(shim, signed):
        return False
    return any(_leads_to(one, shim.keys) for one in valid(signed)) or bool(microsoft(signed))


def refuses(shim: Signed, signed: Signed) -> bool:
    """
    Return whether a shim has a program, or the key that signed it, on its list of what was revoked.

    shim
        What the shim says of itself.

    signed
        What the program says of itself.
    """
    keys = any(_leads_to(one, shim.refused_keys) for one in valid(signed))
    return keys or bool(signed.digest and signed.digest in shim.refused)


def _leads_to(signer: Signer, keys: list[Certificate]) -> bool:
    """Return whether a signer's certificate is one of these, or was issued by one of them."""
    return any(
        (key.public == one.public and key.subject == one.subject) or _is_issuer(key, one)
        for one in _chain(signer)
        for key in keys
    )


def _chain(signer: Signer) -> Iterator[Certificate]:
    """Yield a signer's certificate, and those beside it that issued it, one after another."""
    one = signer.certificate
    for _ in range(_MOST_DEPTH):
        yield one
        above = [other for other in signer.others if other != one and _is_issuer(other, one)]
        if not above:
            return
        one = above[0]


def _is_issuer(issuer: Certificate, one: Certificate) -> bool:
    """Return whether a certificate names another as its issuer, by key where it has both."""
    same_key = not (issuer.key and one.issuer_key) or issuer.key == one.issuer_key
    return issuer.subject == one.issued_by and same_key


# Signatures


def _signers(pe: Pe, data: bytes, digests: dict[str, str]) -> list[Signer]:
    """Return the signers of a PKCS #7 SignedData; digests: those of the file so far."""
    outer = der.parts(der.element(data, der.SEQUENCE).content)
    if len(outer) < 2 or der.oid(outer[0].content) != _SIGNED_DATA:
        raise Unreadable("its signature is not PKCS #7")
    fields = der.parts(der.element(outer[1].content, der.SEQUENCE).content)
    if len(fields) < 4:
        raise Unreadable("its signature is damaged")
    fitting, content = _fits(pe, fields[2], digests)
    certificates = [
        _certificate(one)
        for field in fields[3:]
        if field.tag == 0xA0
        for one in der.parts(field.content)[:_MOST_CERTIFICATES]
        if one.tag == der.SEQUENCE
    ]
    found = []
    for info in der.parts(fields[-1].content)[:_MOST_CERTIFICATES]:
        parts = der.parts(info.content)
        if len(parts) < 5 or parts[1].tag != der.SEQUENCE:
            raise Unreadable("its signature is damaged")
        whose = der.parts(parts[1].content)
        named = [
            one
            for one in certificates
            if len(whose) == 2 and (one.issued_by, one.serial) == (whose[0].whole, whose[1].content)
        ]
        if named:
            others = [one for one in certificates if one != named[0]]
            fits = fitting and _is_of(parts, content)
            found.append(Signer(named[0], others, fits))
    return found


def _fits(pe: Pe, info: der.Element, digests: dict[str, str]) -> tuple[bool, bytes]:
    """Return whether a file has the digest that was signed; and what was signed."""
    fields = der.parts(info.content)
    if len(fields) < 2 or der.oid(fields[0].content) != _INDIRECT_DATA:
        raise Unreadable("its signature is not one of an EFI program")
    content = der.element(fields[1].content, der.SEQUENCE).content
    parts = der.parts(content)
    digest = der.parts(parts[1].content) if len(parts) > 1 else []
    if len(digest) < 2:
        raise Unreadable("its signature is damaged")
    algorithm = _algorithm(digest[0])
    if not algorithm:
        raise Unreadable("its signature has an unknown kind of digest")
    if algorithm not in digests:
        digests[algorithm] = pe.digest(algorithm)
    return digests[algorithm] == digest[1].content.hex(), content


def _is_of(info: list[der.Element], content: bytes) -> bool:
    """Return whether a signer's attributes have the digest of what was signed."""
    algorithm = _algorithm(info[2])
    attributes = der.parts(info[3].content) if info[3].tag == 0xA0 else []
    for attribute in attributes:
        parts = der.parts(attribute.content)
        if len(parts) == 2 and der.oid(parts[0].content) == _MESSAGE_DIGEST and algorithm:
            said = der.element(parts[1].content, der.OCTETS).content
            return said == hashlib.new(algorithm, content).digest()
    # Without attributes the signature is of the content itself (RFC 2315, 9.3).
    return not attributes


def _algorithm(identifier: der.Element) -> str:
    return _ALGORITHMS.get(der.oid(der.element(identifier.content, der.OID).content), "")


def _certificate(one: der.Element) -> Certificate:
    """Read a certificate (RFC 5280, 4.1)."""
    fields = der.parts(der.element(one.content, der.SEQUENCE).content)
    if fields and fields[0].tag == 0xA0:  # its version
        fields = fields[1:]
    if len(fields) < 6:
        raise Unreadable("it has a damaged certificate")
    serial, _, issuer, _, subject, public = fields[:6]
    keys = {"": ""}
    for field in fields[6:]:
        if field.tag == 0xA3:
            keys.update(_key_identifiers(field.content))
    return Certificate(
        _name(subject),
        _name(issuer),
        subject.whole,
        issuer.whole,
        serial.content,
        public.whole,
        keys.get(_SUBJECT_KEY, ""),
        keys.get(_AUTHORITY_KEY, ""),
    )


def _key_identifiers(extensions: bytes) -> dict[str, str]:
    """Return the identifiers of a certificate's key and of its issuer's (RFC 5280, 4.2.1)."""
    found = {}
    for extension in der.parts(der.element(extensions, der.SEQUENCE).content):
        parts = der.parts(extension.content)
        name = der.oid(parts[0].content) if parts and parts[0].tag == der.OID else ""
        if name == _SUBJECT_KEY:
            found[name] = der.element(parts[-1].content, der.OCTETS).content.hex()
        elif name == _AUTHORITY_KEY:
            for part in der.parts(der.element(parts[-1].content, der.SEQUENCE).content):
                if part.tag == 0x80:
                    found[name] = part.content.hex()
    return found


def _name(distinguished: der.Element) -> str:
    """Return what names a certificate best: the common name, if it has one."""
    found: dict[str, str] = {}
    for group in der.parts(distinguished.content):
        for pair in der.parts(group.content):
            parts = der.parts(pair.content)
            if len(parts) == 2:
                found[der.oid(parts[0].content)] = der.text(parts[1])
    return next((found[name] for name in _NAMES if name in found), "without a name")


# What shims have


def _vendor(section: bytes) -> tuple[list[Certificate], list[Certificate], list[str]]:
    """Return what a shim accepts, and what it refuses: certificates, digests."""
    numbers = [int.from_bytes(section[at : at + 4], "little") for at in (0, 4, 8, 12)]
    accepted = section[numbers[2] :][: numbers[0]]
    refused = section[numbers[3] :][: numbers[1]]
    if len(section) < 16 or (len(accepted), len(refused)) != (numbers[0], numbers[1]):
        raise Unreadable("its section .vendor_cert is damaged")
    keys, _ = _listed(accepted)
    return (keys, *_listed(refused))


def _listed(data: bytes) -> tuple[list[Certificate], list[str]]:
    """Return the certificates and digests of one certificate, or of a list of signatures."""
    if data[:2] == b"\x30\x82":
        return [_certificate(der.element(data, der.SEQUENCE))], []
    keys: list[Certificate] = []
    digests: list[str] = []
    place = 0
    while place + 28 <= len(data):
        kind = data[place : place + 16]
        length, header, each = (
            int.from_bytes(data[place + at : place + at + 4], "little") for at in (16, 20, 24)
        )
        if not 28 + header <= length <= len(data) - place or each <= 16:
            raise Unreadable("its list of keys is damaged")
        for start in range(place + 28 + header, place + length - each + 1, each):
            one = data[start + 16 : start + each]  # behind its owner
            if kind == _X509 and len(keys) < _MOST_CERTIFICATES:
                keys.append(_certificate(der.element(one, der.SEQUENCE)))
            elif kind == _SHA256:
                digests.append(one.hex())
        place += length
    return keys, digests


# SBAT


def _table(section: bytes) -> list[list[str]]:
    """Return the rows of a table of SBAT: component, generation, and what follows."""
    rows = []
    for line in section.split(b"\0")[0].splitlines()[:_MOST_COMPONENTS]:
        text = "".join(
            char if char.isprintable() else "?" for char in line.decode("utf-8", "replace")
        )
        columns = [column[:100] for column in text.split(",")]
        if len(columns) > 1:
            rows.append(columns)
    return rows


def _generation(text: str) -> int:
    """Return the number with which a text begins, as shim reads it (atoi)."""
    digits = ""
    for char in text.strip()[:9]:
        if not "0" <= char <= "9":
            break
        digits += char
    return int(digits or 0)


def _level(section: bytes) -> dict[str, int]:
    """
    Return the least generation of each component, of the level that a shim applies by itself.

    The section has a version, and two offsets behind it; a later level is applied on demand only.
    """
    if len(section) < 12 or int.from_bytes(section[:4], "little"):
        return {}
    start = 4 + int.from_bytes(section[4:8], "little")
    rows = _table(section[start:])
    return {row[0]: _generation(row[1]) for row in rows}


def revoked(signed: Signed, levels: dict[str, int]) -> str | None:
    """
    Return the component of a program that is older than a level demands, or None.

    signed
        What it says of itself.

    levels
        The least generation of each component.
    """
    old = (name for name, generation in signed.sbat.items() if generation < levels.get(name, 0))
    return next(old, None)
