"""
Names that the whole project shares: architectures, variants and digests; and the rules by which a
name in the pillar becomes a name in a path, a URL or a record. Pure.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from netboot_labels import latin

#: The version of these states; ``pyproject.toml`` has the same.
VERSION = "0.1.0"
#: In the pillar of a single apply: the URL under which the host of salt-ssh serves ISOs.
CONTROLLER = "netboot_controller"
#: By this word logs recognize requests of ``netboot_probe``, which are no client's.
PROBE = "netboot-alt-probe"

#: Length of a digest in hexadecimal digits, by algorithm (FIPS 180-4; RFC 1321), strongest first.
DIGEST_DIGITS = {"sha512": 128, "sha256": 64, "sha1": 40, "md5": 32}
#: Of the ISOs of a mirror.
SUMS = "SHA256SUM"
#: Where ISOs come from, nearest first; see ``netboot:fetch:from``.
SOURCES = ("peers", "mirrors", "master", "upstream")
#: Algorithms that protect against forgery.
SAFE_DIGESTS = ("sha512", "sha256")

#: ALT's names of the architectures that iPXE can boot.
ARCHES = ("x86_64", "i586", "aarch64", "riscv64", "loongarch64")

#: What the pillar may set instead of the ISO: fact -> key below ``netboot:images:NAME``.
OVERRIDES = {"arch": "alt_arch", "dialect": "dialect", "kernel": "kernel", "initrd": "initrd"}

#: Variants that users boot, each with the fact of an image that describes it.
VARIANTS = {"livecd": "livecd", "install": "installer", "rescue": "rescue"}

#: Kinds of firmware, which request a boot loader.
FIRMWARE = ("bios", "efi-x86_64", "efi-i386", "efi-aarch64", "efi-riscv64", "efi-loongarch64")

#: Methods by which clients get stages.
METHODS = ("http", "cifs", "nfs", "ftp")

#: Which network cards altboot sets up, with the words for it. ``booted``: the card that booted,
#: whichever others exist; ``netX`` is the card that iPXE opened last. ``any``: all of them.
NICS = {"booted": "ifname=bootif0:${netX/mac} ip=bootif0:dhcp4", "any": "ip=dhcp4"}

#: Forms in which clients get them: a stage of the unpacked tree, or the whole ISO.
FORMS = ("tree", "iso")

#: A directory beside a tree or ISO with this name: altboot lays what it contains over each system
#: that it starts from there over NFS (make-initrd-bootchain, livecd-slice.d/700-nfs).
OVERLAYS = "overlays-live"


def label(name: object) -> str:
    """
    Return the name of an image as a directory name: Latin letters in lower case, ``_`` for spaces.

    name
        Name of the image in the pillar.
    """
    return latin(str(name)).lower().replace(" ", "_")


def host_key(name: str) -> str:
    """
    Return the name of a host for URLs and records: lower case, with ``-`` for colons.

    name
        Name of the host in the pillar.
    """
    return name.lower().replace(":", "-")


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """
    Return the names of hosts that a pattern means, whatever case or mark between digits it has.

    names
        Names in the pillar.

    pattern
        A name, or one with ``*`` and ``?``.
    """
    return [name for name in names if fnmatch.fnmatchcase(host_key(name), host_key(pattern))]


def iso_file(url: str) -> str:
    """
    Return the file name in the URL of an ISO.

    url
        URL of the ISO.
    """
    return urllib.parse.unquote(url.partition("?")[0].rsplit("/", 1)[-1])


def boot_file(url: str) -> str:
    """
    Return the name that iPXE gives to what it loads: the last part of the path in the URL.

    url
        URL of a kernel or initial RAM disk.
    """
    return re.split("[?#]", url)[0].rpartition("/")[2]


def image_file(image: Mapping[str, Any]) -> str:
    """
    Return the file name under which the ISO of an image is kept.

    image
        The image in the pillar.
    """
    return image.get("file") or iso_file(image["url"])


def shown(text: str) -> str:
    """
    Return a text without the users and passwords in its URLs, for messages.

    text
        A URL, or a sentence that contains URLs. All up to the last ``@`` goes, as passwords with
        a slash are a common mistake; so does a query, which may be a token.
    """
    return re.sub(r"(//[^\s?]*\?)[^\s'\";,]+", r"\1...", re.sub(r"//\S*@", "//", text))


def key(path: Iterable[object]) -> str:
    """
    Return a pillar key as users write it.

    path
        Its parts below ``netboot``.
    """
    return ":".join(("netboot", *(printable(str(part)) for part in path)))


# Cyrillic letters, and the Latin ones that look like them.
_LATIN = str.maketrans("асеорхуіАВСЕНІКМОРТХ", "aceopxyiABCEHIKMOPTX")


def nearest(word: object, words: Iterable[object]) -> str:
    """
    Return a hint with the known word that is most similar to a mistyped word, or an empty string.

    word
        The mistyped word.

    words
        The known words.
    """
    known = {str(one).casefold(): str(one) for one in words}
    for one in known.values():
        if one != str(word) and one.translate(_LATIN) == str(word).translate(_LATIN):
            return f", did you mean {printable(one)}? One has Cyrillic letters that look alike"
    match = difflib.get_close_matches(str(word).casefold(), list(known), n=1)
    return f", did you mean {printable(known[match[0]])}?" if match else ""


def printable(text: str) -> str:
    """
    Return a text for a message, which has one line: quoted if it has other than printable signs.

    text
        The text.
    """
    return text if text.isprintable() else repr(text)


def words(arguments: Any) -> list[str]:
    """
    Return kernel arguments as a list.

    arguments
        A list, a string with spaces, or None.
    """
    return arguments.split() if isinstance(arguments, str) else list(arguments or [])


def has_digests(known: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """
    Return whether all wanted digests match the known digests.

    known, wanted
        Digests in lower-case hexadecimal, by algorithm.
    """
    return all(known.get(kind) == digest for kind, digest in wanted.items())


def server_url(address: object, port: int) -> str:
    """
    Return the URL of the web server as clients write it: without the port if it is 80.

    address
        IPv4 address.

    port
        TCP port.
    """
    return f"http://{address}" + ("" if port == 80 else f":{port}")


def iso8601(seconds: float) -> str:
    """
    Return a point in time as ISO 8601 in UTC.

    seconds
        Seconds since 1970.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def some(names: Iterable[str], most: int = 5) -> str:
    """
    Return a list of names for a sentence; a long list is cut.

    names
        The names.

    most : 5
        How many are listed.
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def in_order(name: str) -> list[Any]:
    """
    Return what sorts names as people do: pc2 before pc10.

    name
        The name.
    """
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", name.lower())
    ]
