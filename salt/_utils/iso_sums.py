"""
Digests of ISOs from the sum files of a directory: ``SHA512SUM``, ``SHA256SUM``, ``MD5SUM``.
"""

from __future__ import annotations

import re
from typing import Any

from salt.exceptions import CommandExecutionError

import iso_sources
from netboot_names import DIGEST_DIGITS, shown

#: ALT's names of sum files (others append an S), the strongest first, each with its algorithm.
#: Source: https://nightly.altlinux.org/p11/release/ and the program ALT Media Writer.
FILES = {"SHA512SUM": "sha512", "SHA256SUM": "sha256", "MD5SUM": "md5"}


def expected(
    sources: list[str], stall_timeout_s: int, known: dict[str, Any] | None = None
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

    Returns a map: ``checksum`` (digest by algorithm), ``url`` of the sum file, ``validator``
    (string or None). Raises CommandExecutionError when no source has a sum file with the ISO.
    """
    problems = []
    for url in sources:
        directory, name = url.rsplit("/", 1)
        for file, kind in FILES.items():
            at = f"{directory}/{file}"
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
            digest = parse(found[0].decode("utf-8", "replace"), DIGEST_DIGITS[kind]).get(name)
            if digest:
                return {"checksum": {kind: digest}, "url": at, "validator": found[1]}
        else:
            problems.append(f"{shown(directory)}/ has no {', '.join(FILES)} that lists {name}")
    raise CommandExecutionError("; ".join(problems) + ".")


def parse(text: str, digits: int) -> dict[str, str]:
    """
    Return the digests of a sum file by file name.

    text
        Its content: lines of a digest, a space, a space or ``*``, and a file name (manual of
        coreutils, "md5sum invocation").

    digits
        Length of a digest in hexadecimal digits. Other lines are skipped.
    """
    line = re.compile(rf"^([0-9A-Fa-f]{{{digits}}}) [ *](?:\./)?(.+?)\r?$", re.MULTILINE)
    return {name: digest.lower() for digest, name in line.findall(text)}
