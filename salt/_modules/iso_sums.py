"""
What the sum files of a folder say about an ISO: ``SHA512SUM``, ``SHA256SUM``, ``MD5SUM``.
"""

import re

from salt.exceptions import CommandExecutionError

__virtualname__ = "iso_sums"

#: Names that ALT gives them (without the S that others end them with), the strongest first, with
#: algorithm and length of the digest in hexadecimal digits.
#: Source: https://nightly.altlinux.org/p11/release/ and the program ALT Media Writer.
FILES = (("SHA512SUM", "sha512", 128), ("SHA256SUM", "sha256", 64), ("MD5SUM", "md5", 32))


def __virtual__():
    return __virtualname__


def expected(sources, known=None):
    """
    Return the digest that the folder of an ISO gives for it.

    sources
        Addresses of the ISO, tried in order. Beside one of them lies a sum file that names it.

    known
        What this function returned before: the server is asked only whether that file changed.

    Returns a map: ``checksum`` (digest by algorithm), ``url`` of the sum file, ``validator`` (text
    or None). Raises CommandExecutionError when no source has a sum file that names the ISO.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_sums.expected '[https://example.org/p11/alt-p11-latest-x86_64.iso]'
    """
    problems = []
    for url in sources:
        folder, name = url.rsplit("/", 1)
        for file, kind, digits in FILES:
            at = f"{folder}/{file}"
            unless = known["validator"] if known and known["url"] == at else None
            try:
                found = __salt__["iso_sources.text"](at, unless)
            except FileNotFoundError:
                continue
            except CommandExecutionError as err:
                problems.append(f"{__salt__['iso_sources.shown'](at)}: {err}")
                break
            if found is None:
                return known
            digest = parse(found[0], digits).get(name)
            if digest:
                return {"checksum": {kind: digest}, "url": at, "validator": found[1]}
        else:
            problems.append(
                f"{__salt__['iso_sources.shown'](folder)}/ has no "
                f"{', '.join(file for file, _, _ in FILES)} that names {name}"
            )
    raise CommandExecutionError("; ".join(problems) + ".")


def parse(text, digits):
    """
    Return the digests of a sum file by file name.

    text
        Its content: lines of a digest, a space, a space or ``*``, and a file name (manual of
        coreutils, "md5sum invocation").

    digits
        Length of a digest in hexadecimal digits. Other lines are passed over.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_sums.parse 'd41d8cd98f00b204e9800998ecf8427e  a.iso' 32
    """
    line = re.compile(rf"^([0-9A-Fa-f]{{{digits}}}) [ *](?:\./)?(.+?)\r?$", re.MULTILINE)
    return {name: digest.lower() for digest, name in line.findall(text)}
