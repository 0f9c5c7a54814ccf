"""
What the sum files of a folder say about an ISO: ``SHA512SUM``, ``SHA256SUM``, ``MD5SUM``.
"""

from __future__ import annotations

import re
from typing import Any

from salt.exceptions import CommandExecutionError

import iso_sources
from netboot_names import DIGEST_DIGITS


#: Names that ALT gives them (without the S that others end them with), the strongest first, with
#: their algorithms.
#: Source: https://nightly.altlinux.org/p11/release/ and the program ALT Media Writer.
FILES = {"SHA512SUM": "sha512", "SHA256SUM": "sha256", "MD5SUM": "md5"}


def expected(sources: list[str], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return the digest that the folder of an ISO gives for it.

    sources
        Addresses of the ISO, tried in order. Beside one of them lies a sum file that names it.

    known
        What this function returned before: the server is asked only whether that file changed.

    Returns a map: ``checksum`` (digest by algorithm), ``url`` of the sum file, ``validator`` (text
    or None). Raises CommandExecutionError when no source has a sum file that names the ISO.
    """
    problems = []
    for url in sources:
        folder, name = url.rsplit("/", 1)
        for file, kind in FILES.items():
            at = f"{folder}/{file}"
            unless = known["validator"] if known and known["url"] == at else None
            try:
                found = iso_sources.text(at, unless)
            except FileNotFoundError:
                continue
            except CommandExecutionError as err:
                problems.append(f"{iso_sources.shown(at)}: {err}")
                break
            if found is None and known:
                return known
            if found is None:
                continue
            digest = parse(found[0], DIGEST_DIGITS[kind]).get(name)
            if digest:
                return {"checksum": {kind: digest}, "url": at, "validator": found[1]}
        else:
            problems.append(
                f"{iso_sources.shown(folder)}/ has no "
                f"{', '.join(FILES)} that names {name}"
            )
    raise CommandExecutionError("; ".join(problems) + ".")


def parse(text: str, digits: int) -> dict[str, str]:
    """
    Return the digests of a sum file by file name.

    text
        Its content: lines of a digest, a space, a space or ``*``, and a file name (manual of
        coreutils, "md5sum invocation").

    digits
        Length of a digest in hexadecimal digits. Other lines are passed over.
    """
    line = re.compile(rf"^([0-9A-Fa-f]{{{digits}}}) [ *](?:\./)?(.+?)\r?$", re.MULTILINE)
    return {name: digest.lower() for digest, name in line.findall(text)}
