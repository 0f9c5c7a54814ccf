"""
Digests of ISOs from the sum files of a directory: ``SHA512SUM``, ``SHA256SUM``, ``MD5SUM``.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from salt.exceptions import CommandExecutionError

import iso_sources
from netboot_names import DIGEST_DIGITS, shown

#: ALT's names of sum files (others append an S), the strongest first, each with its algorithm.
#: Source: https://nightly.altlinux.org/p11/release/ and the program ALT Media Writer.
FILES = {"SHA512SUM": "sha512", "SHA256SUM": "sha256", "MD5SUM": "md5"}


def expected(
    sources: list[str],
    stall_timeout_s: int,
    known: dict[str, Any] | None = None,
    file: str = "",
) -> dict[str, Any]:
    """
    Return the digest of an ISO from a sum file in its directory.

    sources
        URLs of the ISO, tried in order. One of their directories must have a sum file with the ISO.

    stall_timeout_s
        Seconds without data, or with less than 1 KiB a second, after which a source counts as
        failed.

    known
        The previous result: the server is asked only whether that sum file changed.

    file
        The ISO's name on this server, under which the sum file may list it too.

    Returns a map: ``checksum`` (digest by algorithm), ``url`` of the sum file, ``validator``
    (string or None). Raises CommandExecutionError when no source has a sum file with the ISO.
    """
    problems = []
    if not sources:
        raise CommandExecutionError(
            "none of the servers that netboot:fetch:from lets it ask has a sum file"
        )
    for url in sources:
        path, mark, query = url.partition("?")
        directory, name = path.rsplit("/", 1)
        name = urllib.parse.unquote(name)
        unreadable = ""
        for sum_file, kind in FILES.items():
            at = f"{directory}/{sum_file}{mark}{query}"
            unless = known["validator"] if known and known["url"] == at else None
            try:
                found = iso_sources.text(at, stall_timeout_s, unless)
            except FileNotFoundError:
                continue
            except CommandExecutionError as err:
                problems.append(f"{shown(at)}: {err}")
                break
            if found is None and known:
                return known
            if found is None:
                continue
            try:
                digest = find(found[0], kind, name) or find(found[0], kind, file or name)
            except ValueError as err:
                unreadable = unreadable or f"{shown(at)}: {err}"
                continue
            if digest:
                return {"checksum": {kind: digest}, "url": at, "validator": found[1]}
        else:
            problems.append(
                unreadable or f"{shown(directory)}/ has no {', '.join(FILES)} that lists {name}"
            )
    raise CommandExecutionError("; ".join(problems) + ".")


def find(content: bytes, kind: str, name: str) -> str | None:
    """
    Return the digest of a file from a sum file, or None if it does not name the file.

    content
        The sum file. Its names may have a path; of several the one without counts.

    kind
        Algorithm of its digests.

    name
        Name of the file.

    Raises ValueError with the cause if the line is in an unknown form, or if there are two digests.
    """
    named: dict[bool, set[str]] = {True: set(), False: set()}
    unknown = 0
    for number, line in enumerate(_text(content).splitlines(), 1):
        path, digest = _parsed(line.strip(), kind)
        parts = path.replace("\\", "/").split("/")
        if parts[-1] == name:
            named[all(part in ("", ".") for part in parts[:-1])].add(digest.lower())
        elif name in line and not digest and not line.startswith("#"):
            unknown = unknown or number
    digests = named[True] or named[False]
    if len(digests) > 1:
        raise ValueError(f"it has {len(digests)} different digests of {name}")
    if not digests and unknown:
        raise ValueError(
            f"line {unknown} names {name}, but is not a {DIGEST_DIGITS[kind]}-digit {kind} digest "
            f"and a file name in any known form, such as 'DIGEST  {name}'"
        )
    return next(iter(digests), None)


def _text(content: bytes) -> str:
    """Decode a sum file: Windows writes UTF-16, and byte order marks."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:2]:
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", "replace")
    # Names of ISOs are ASCII; what else the file says does not matter.
    return content.decode("utf-8-sig", "replace")


def _parsed(line: str, kind: str) -> tuple[str, str]:
    """
    Return file name and digest of a line, or empty strings.

    No regular expressions for the whole line: a line of a megabyte must not take minutes.
    """
    is_digest = re.compile(f"[0-9A-Fa-f]{{{DIGEST_DIGITS[kind]}}}").fullmatch
    # "DIGEST  NAME" or "DIGEST *NAME" (manual of coreutils, "md5sum invocation"), with one space,
    # and with a backslash before if the name has some
    first, _, rest = line.replace("\t", " ").partition(" ")
    if is_digest(first.lstrip("\\")):
        return rest.strip().lstrip("*"), first.lstrip("\\")
    # "SHA256 (NAME) = DIGEST" (BSD, md5sum --tag), "SHA2-256(NAME)= DIGEST" (openssl dgst)
    head, _, last = line.rpartition("=")
    tag, _, name = head.strip().partition("(")
    if name.endswith(")") and is_digest(last.strip()):
        plain = tag.strip().upper().replace("-", "")
        right = plain in (kind.upper(), kind.upper().replace("SHA", "SHA2"))
        return (name[:-1], last.strip()) if right else ("", "")
    # "NAME  DIGEST" (rhash, as in sfv files), "NAME: DIGEST"
    words = line.rsplit(None, 1)
    if len(words) == 2 and is_digest(words[1]):
        return words[0].rstrip(": \t"), words[1]
    return "", ""
