"""
What of the files that clients with Secure Boot load would be refused by them, and why.

A machine's screen shows the same words for most refusals, and its server sees only that nothing
more is asked for. So the files are read here as firmware and shim read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import netboot_signatures as signatures
from netboot_der import Unreadable
from netboot_firmware import started
from netboot_names import some
from netboot_records import Records
from netboot_shapes import Config, Finding, Firmware, ImageRecord
from netboot_signatures import MICROSOFT_2011, MICROSOFT_2023, Signed


class _File(NamedTuple):
    path: str
    signed: Signed | None
    why: str  # it could not be read
    arch: str
    mend: str  # what to do if Secure Boot refuses it


def findings(records: Records) -> list[Finding]:
    """
    Return what clients with Secure Boot refuse or may refuse; nothing without ``secure_boot``.

    records
        The records of this machine.
    """
    config = records.config()
    found: list[Finding] = []
    secure = config.get("secure_boot") or {}
    for row in config["firmware"]:
        if row["kind"] in secure and not records.out_of_service():
            found += _of_kind(records, config, row)
    return found


def warnings(records: Records) -> list[str]:
    """
    Return the texts of those findings that an apply ends with.

    records
        The records of this machine.
    """
    return [text for _key, severity, text in findings(records) if severity != "info"]


def of_file(path: str) -> Signed:
    """
    Return what an EFI program on the disk says of itself, see ``netboot_signatures.read``.

    path
        Its path.

    Raises Unreadable, and OSError.
    """
    with open(path, "rb") as stream:

        def read(offset: int, length: int) -> bytes:
            return os.pread(stream.fileno(), length, offset)

        return signatures.read(read, os.fstat(stream.fileno()).st_size)


def _of_kind(records: Records, config: Config, row: Firmware) -> Iterator[Finding]:
    key = f"netboot:secure_boot:{row['kind']}"
    way = row["secure"]
    elsewhere = [one["label"] for one in config["images"] if one["offer"].get("kernel_url")]
    images = [
        record
        for record in records.ready()
        if "tree" in record and record["facts"]["arch"] in row["boots"]
    ]
    # What is copied out of an image cannot be replaced but by another image.
    mend = f"name another image in {key}:image"
    mends = (
        [mend, mend] if way == "grub" else [f"give {key}:{it} another" for it in ("shim", "ipxe")]
    )
    names = (row["file"], started(row))
    shim, second = (
        _file(os.path.join(config["paths"]["tftp"], name), row["arch"], mend)
        for name, mend in zip(names, mends)
    )
    enrolled = set(config["secure_boot"][row["kind"]]["enrolled"])
    if way == "grub" and not second:
        return  # the image is not ready, see netboot_scripts
    if shim:
        yield from _of_shim(shim, enrolled)
    if second:
        demanding = _demanding(shim, images, row)
        yield from _damage(second) or _of_second(second, shim, demanding, enrolled, key)
    for record in images:
        if record["label"] not in elsewhere:
            yield from _of_image(record, shim, way)


def _file(path: str, arch: str, mend: str) -> _File | None:
    """Read a file; None: it is not there, which other findings say."""
    try:
        return _File(path, of_file(path), "", arch, mend)
    except Unreadable as err:
        return _File(path, None, str(err), arch, mend)
    except OSError:
        return None


def _damage(file: _File) -> list[Finding]:
    """Return why a file is refused whoever starts it; nothing: it may be started."""
    signed = file.signed
    if not signed:
        text = f"{file.path} cannot be started, as {file.why}; {file.mend}."
        return [("secure.unreadable", "error", text)]
    if signed.arch != file.arch:
        text = f"{file.path} is for {signed.arch}, not for {file.arch}; {file.mend}."
        return [("secure.arch", "error", text)]
    if not signed.signers:
        text = f"{file.path} is unsigned, so Secure Boot refuses it; {file.mend}, a signed one."
        return [("secure.unsigned", "error", text)]
    if signatures.is_changed(signed):
        text = f"{file.path} was changed since it was signed, so Secure Boot refuses it; "
        return [("secure.changed", "error", f"{text}{file.mend}.")]
    return []


def _of_shim(file: _File, enrolled: set[str]) -> Iterator[Finding]:
    """Yield what firmware may refuse of the file that it starts."""
    damage = _damage(file)
    yield from damage
    if damage or not file.signed or _signers(file.signed) & enrolled:
        return
    severity, text = _authorities(file.path, file.signed)
    if text:
        yield ("secure.authority", severity, f"{text}; {file.mend}.")


def _authorities(path: str, signed: Signed) -> tuple[str, str]:
    """Return what is to be said of who signed a shim, with how bad that is."""
    by = signatures.microsoft(signed)
    if not by:
        names = some(sorted(_signers(signed)))
        return "warning", (
            f"{path} is signed by {names}, not by Microsoft, so clients need this certificate in "
            "their firmware (db)"
        )
    if by == [MICROSOFT_2011]:
        return "warning", (
            f"{path} is signed with only the 2011 CA: machines that have 2023 alone refuse it"
        )
    if by == [MICROSOFT_2023]:
        return "warning", (
            f"{path} is signed with only the 2023 CA: machines that have 2011 alone refuse it"
        )
    return "", ""


def _signers(signed: Signed) -> set[str]:
    return {one.certificate.name for one in signatures.valid(signed)}


def _of_second(
    file: _File, shim: _File | None, demanding: list[_File], enrolled: set[str], key: str
) -> Iterator[Finding]:
    """Yield what a shim may refuse of the file that it starts."""
    signed, by = file.signed, shim.signed if shim else None
    if not signed or not shim or not by:
        return
    # Shims without a level are older than SBAT.
    if not signed.sbat and by.level:
        text = f"{file.path} has no .sbat, so {shim.path} refuses it; {file.mend}."
        yield ("secure.no_sbat", "error", text)
        return
    for other in demanding:
        level = other.signed.level if other.signed else {}
        component = signatures.revoked(signed, level)
        if component:
            who = f"{shim.path} demands"
            if other is not shim:
                who = f"machines that started {other.path} demand"
            text = (
                f"{file.path} is revoked by SBAT level: it is {component} of generation "
                f"{signed.sbat[component]}, and {who} {level[component]}; {file.mend}, a newer one."
            )
            yield ("secure.revoked", "error" if other is shim else "warning", text)
            return
    if signatures.refuses(by, signed):
        text = f"{file.path} is revoked: {shim.path} has it on its list; {file.mend}, a newer one."
        yield ("secure.revoked", "error", text)
    elif not signatures.accepts(by, signed) and not _signers(signed) & enrolled:
        names = some(sorted(_signers(signed)))
        text = (
            f"{file.path}: clients need this key enrolled (MOK): {names}; {shim.path} does not "
            f"know it, so {file.mend}, or enroll it and name it in {key}:enrolled."
        )
        yield ("secure.mok", "warning", text)


def _demanding(shim: _File | None, images: list[ImageRecord], row: Firmware) -> list[_File]:
    """Return the shims whose level clients may have: the one they load, and those of images."""
    found = [shim]
    for record in images:
        path = _secure(record).get("shim")
        if path:
            found.append(_file(os.path.join(record["tree"], path), row["arch"], ""))
    return [one for one in found if one]


def _secure(record: ImageRecord) -> dict[str, Any]:
    found: dict[str, Any] = record["facts"].get("secure_boot") or {}  # type: ignore[assignment]
    return found


# Images: of the kernel, and of the shim that a signed iPXE starts before it.

_LACKS = {
    "no-shim": "its ISO has no signed shim",
    "not-unpacked": "its ISO has no signed shim in its own tree; unpack it, without mount: true",
    "kernel-unsigned": "its kernel {kernel} is unsigned",
    "kernel-changed": "its kernel {kernel} was changed since it was signed",
    "kernel-of-others": "its kernel {kernel} is signed by {names}, whom {shim} does not know",
}


def _of_image(record: ImageRecord, shim: _File | None, way: str) -> Iterator[Finding]:
    secure, facts = _secure(record), record["facts"]
    if not secure:
        return
    lacks, knows = secure["lacks"], "its shim"
    kernel = secure["files"].get(facts["kernel"], {})
    if way == "grub":
        if not shim or not shim.signed:
            return
        lacks, knows = _lacks(os.path.join(record["tree"], facts["kernel"]), shim.signed), shim.path
    if lacks == "no-shim" and record["form"] == "mount":
        lacks = "not-unpacked"
    elif kernel.get("changed"):
        lacks = "kernel-changed"
    if lacks:
        names = some(one["name"] for one in kernel.get("signers", []))
        what = _LACKS[lacks].format(kernel=facts["kernel"], names=names, shim=knows)
        text = f"{record['name']} does not start with Secure Boot, as menus say: {what}."
        yield ("secure.image", "info", text)
    elif way == "ipxe":
        file = _file(os.path.join(record["tree"], secure["shim"]), facts["arch"], "")
        _severity, text = _authorities(file.path, file.signed) if file and file.signed else ("", "")
        if text:
            yield ("secure.authority", "info", f"{text}.")


def _lacks(path: str, shim: Signed) -> str:
    """Return why a kernel does not start with the shim of another image; empty: it starts."""
    try:
        kernel = of_file(path)
    except (Unreadable, OSError):
        return "kernel-unsigned"
    if not signatures.valid(kernel):
        return "kernel-unsigned"
    return "" if signatures.accepts(shim, kernel) else "kernel-of-others"
