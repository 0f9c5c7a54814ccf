"""
The keys that may stand below the pillar key ``netboot``: what each may hold, and its default.

``KEYS`` is the only place where a key is defined; validation, defaults and ``docs/pillar.md`` come
from it. Pure functions: they run on a minion, on the controller of salt-ssh (``salt/_wrapper``
links here) and in table tests alike. What holds between keys is ``netboot_pillar``'s.
"""

import difflib
import ipaddress
import re
import string
import urllib.parse

__virtualname__ = "netboot_keys"

#: Length of a digest in hexadecimal digits, by algorithm (FIPS 180-4; RFC 1321).
DIGEST_DIGITS = {"sha512": 128, "sha256": 64, "sha1": 40, "md5": 32}

#: ALT's names of the architectures that iPXE can boot.
ARCHES = ("x86_64", "i586", "aarch64", "riscv64", "loongarch64")

VARIANTS = ("livecd", "install", "rescue")

# A file name or label travels through URLs, iPXE scripts and altboot's `automatic=`, none of which
# can quote: iPXE splits words at spaces, altboot splits at commas.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# iPXE acts on these wherever they stand in a line (ipxe.org/scripting); there is no quoting.
_IPXE_ACTS_ON = ("${", "||", "&&", ";", "#")


def __virtual__():
    return __virtualname__


# -- kinds of values: each returns what is wrong with the value, or None -------------------------


# A menu has 80 columns, and a file name 255 bytes, of which other names take their part.
_LONGEST_TEXT = 76
_LONGEST_FILE = 200


def _text(value):
    if not isinstance(value, str) or not value.strip():
        return "must be a text"
    if len(value) > _LONGEST_TEXT:
        return f"must have {_LONGEST_TEXT} characters at most"
    if value.startswith("-"):
        return "must not begin with -, as iPXE takes that for an option"
    odd = sorted({char for char in value if char not in string.printable or char in "\t\r\n\v\f"})
    if odd:
        return "has characters that a boot menu cannot show: {}".format(
            ", ".join(repr(char) for char in odd)
        )
    for word in _IPXE_ACTS_ON:
        if word in value:
            return f"has {word!r}, which iPXE acts on and cannot quote"
    return None


def _path_in_iso(value):
    if not isinstance(value, str) or not re.fullmatch(r"/?[A-Za-z0-9._+/-]+", value):
        return "must be a path inside the ISO, such as boot/vmlinuz"
    if ".." in value.split("/"):
        return "must not leave the ISO"
    return None


# The states give the root to root with mode 0755, and serve what lies in it.
_NO_ROOTS = (
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/var",
    "/var/lib",
    "/var/tmp",
)
_NO_ROOTS_NOR_BELOW = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"),
    "/var/lib/netboot",
)


def _directory(value):
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+", value):
        return "must be an absolute path of letters, digits and . _ + -"
    if value in _NO_ROOTS or any(
        value == one or value.startswith(one + "/") for one in _NO_ROOTS_NOR_BELOW
    ):
        return f"must be a folder of its own, which {value} is not"
    return None


_ADDRESS = r"((https?|ftp)://[^\s/?#]+|file://)/[^\s?#]*"


def _url(value):
    if not isinstance(value, str) or not re.fullmatch(_ADDRESS, value):
        return "must be an http://, https://, ftp:// or file:/// address of a file"
    if not re.fullmatch(_SAFE_NAME, iso_file(value)) or not value.endswith(".iso"):
        return "must end in a file name of letters, digits and . _ + - with the suffix .iso"
    if len(iso_file(value)) > _LONGEST_FILE:
        return f"must end in a file name of {_LONGEST_FILE} characters at most"
    try:
        urllib.parse.urlsplit(value).port  # noqa: B018 (raises where it is none)
    except ValueError as err:
        return f"is no address: {err}"
    return None


def _urls(value):
    if not isinstance(value, list):
        return "must be a list of addresses"
    return next((f"{one!r} {wrong}" for one in value if (wrong := _url(one))), None)


def _folders(value):
    if not isinstance(value, list):
        return "must be a list of addresses"
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_ADDRESS, one.rstrip("/") + "/"):
            return f"{one!r} must be an http://, https://, ftp:// or file:/// address of a folder"
    return None


def _address(value):
    try:
        ipaddress.IPv4Address(str(value))
    except ValueError:
        return "must be an IPv4 address, such as 192.0.2.10"
    return None


def _interface(value):
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.@:-]{1,15}", value):
        return "must be the name of a network interface, such as eth0"
    return None


def _whole(least, most):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be a whole number from {least} to {most}"
        return None

    return check


def _one_of(*choices):
    def check(value):
        if value not in choices:
            return "must be one of {}".format(", ".join(choices)) + nearest(value, choices)
        return None

    return check


def _some_of(*choices):
    def check(value):
        if not isinstance(value, list) or not value:
            return "must be a list of {}".format(", ".join(choices))
        for one in value:
            if one not in choices:
                return f"{one!r} is not one of {', '.join(choices)}" + nearest(one, choices)
        return None

    return check


def _digest(digits):
    def check(value):
        if not isinstance(value, str):
            return f"must be {digits} hexadecimal digits, in quotes"
        if len(value) != digits:
            return f"must be {digits} hexadecimal digits, and has {len(value)}"
        if not re.fullmatch(r"[0-9A-Fa-f]+", value):
            return "has characters that are no hexadecimal digits"
        return None

    return check


def _yes_or_no(value):
    return None if isinstance(value, bool) else "must be true or false"


def _taken_from_iso(_value):
    return None


def _image_name(value):
    wrong = _text(value)
    if not wrong and not re.fullmatch(_SAFE_NAME, value.replace(" ", "_")):
        wrong = "has other characters than letters, digits, spaces and . _ + -"
    return wrong and f"the name {wrong}"


#: path below ``netboot`` (``*``: any name), check, default, what it means.
#: A map is known by the paths below it. A default of None: see the meaning.
KEYS = (
    (
        "interface",
        _interface,
        None,
        "Network interface on which clients are served. Default: the one with the default route.",
    ),
    (
        "address",
        _address,
        None,
        "IPv4 address that clients fetch from. Default: the first one of the interface.",
    ),
    (
        "root",
        _directory,
        "/srv/export",
        "Folder that holds `dist/` (ISOs) and `tftp/` (boot files, menus, unpacked images).",
    ),
    (
        "images.*.url",
        _url,
        None,
        "Where the ISO is fetched from: http, https, ftp or `file:///...`. Required.",
    ),
    (
        "images.*.mirrors",
        _urls,
        None,
        "List of other addresses of the same ISO, tried in order when `url` fails.",
    ),
    (
        "images.*.checksum.sha512",
        _digest(DIGEST_DIGITS["sha512"]),
        None,
        "SHA-512 of the ISO. At least one checksum is required; all that are given are checked.",
    ),
    (
        "images.*.checksum.sha256",
        _digest(DIGEST_DIGITS["sha256"]),
        None,
        "SHA-256 of the ISO.",
    ),
    (
        "images.*.checksum.sha1",
        _digest(DIGEST_DIGITS["sha1"]),
        None,
        "SHA-1 of the ISO. Does not protect against forgery.",
    ),
    (
        "images.*.checksum.md5",
        _digest(DIGEST_DIGITS["md5"]),
        None,
        "MD5 of the ISO. Does not protect against forgery.",
    ),
    (
        "images.*.sums",
        _yes_or_no,
        False,
        "`true`, instead of `checksum`: the digest is that of the file `SHA512SUM`, `SHA256SUM` or "
        "`MD5SUM` in the folder of the ISO. As trustworthy as that server: use https.",
    ),
    (
        "images.*.refresh",
        _yes_or_no,
        False,
        "`true`: each apply asks whether the sum file names another ISO now, and fetches that. For "
        "names such as `alt-p11-latest-x86_64.iso`; needs `sums: true`.",
    ),
    (
        "images.*.verify",
        _one_of("changed", "always"),
        "changed",
        "When an ISO that is there is hashed: `changed`, if its size, times or inode are other "
        "ones; `always`, at each apply.",
    ),
    (
        "images.*.alt_arch",
        _one_of(*ARCHES),
        None,
        "Architecture. Default: as the ISO says.",
    ),
    (
        "images.*.dialect",
        _one_of("altboot", "propagator"),
        None,
        "What the ISO's first stage understands. Default: as the ISO says.",
    ),
    (
        "images.*.kernel",
        _path_in_iso,
        None,
        "Kernel inside the ISO. Default: as the ISO's own boot menu says.",
    ),
    (
        "images.*.initrd",
        _path_in_iso,
        None,
        "Initial RAM disk inside the ISO. Default: as the ISO's own boot menu says.",
    ),
    (
        "images.*.variants",
        _some_of(*VARIANTS),
        None,
        "Which of livecd, install, rescue the menu offers. Default: all that the ISO has.",
    ),
    (
        "images.*.unpack",
        _one_of("stages", "tree"),
        None,
        "`stages`: unpack all stages; `tree`: the whole ISO, say as a package repository. Default: "
        "what the boot entries need.",
    ),
    (
        "images.*.mount",
        _yes_or_no,
        False,
        "Mount the ISO (loop, read-only, in /etc/fstab) instead of unpacking it: saves space.",
    ),
    (
        "images.*.keep_iso",
        _yes_or_no,
        True,
        "`false`: remove the ISO once it is unpacked. Not for images that boot the whole ISO.",
    ),
    (
        "images.*.grub_arch",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "images.*.live_size",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "images.*.altinst_size",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "images.*.need_ramdisk_size",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "images.*.http_iso_boot",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "mirrors",
        _folders,
        None,
        "List of addresses of folders with copies of ISOs, such as `http://192.0.2.1/dist`. The "
        "file name at the end of an image's `url` is looked for there first, in order.",
    ),
    (
        "fetch.at_once",
        _whole(1, 64),
        4,
        "How many ISOs are fetched at the same time.",
    ),
    (
        "fetch.attempts",
        _whole(1, 100),
        5,
        "How often a source is tried that breaks off without having brought anything new, with "
        "pauses of 1, 2, 4, ... seconds.",
    ),
    (
        "fetch.stall_timeout_s",
        _whole(1, 3600),
        60,
        "Seconds without a byte after which a source counts as broken off.",
    ),
    (
        "prune",
        _yes_or_no,
        False,
        "Remove images that are no longer named here: trees, mounts, ISOs that were fetched. "
        "`false`: only tell which.",
    ),
    (
        "default_image.*",
        _text,
        None,
        "Name of the image that the menu of this architecture starts when its time is up. "
        "Default: the client's own disk.",
    ),
    (
        "menu.title",
        _text,
        "ALT Linux network boot",
        "First line of the boot menu.",
    ),
    (
        "menu.timeout_s",
        _whole(1, 3600),
        30,
        "Seconds until the menu starts its default entry.",
    ),
    (
        "dhcp.mode",
        _one_of("proxy", "off"),
        "proxy",
        "`proxy`: boot information only, beside the DHCP server that the network has. "
        "`off`: TFTP only.",
    ),
    (
        "http.port",
        _whole(1, 65535),
        80,
        "TCP port of the web server.",
    ),
    (
        "schedule.hours",
        _whole(1, 8760),
        None,
        "Apply these states every so many hours. Needs a running salt-minion. Default: off.",
    ),
    (
        "schedule.minutes",
        _whole(1, 525600),
        None,
        "The same in minutes; one of the two.",
    ),
    (
        "schedule.splay_s",
        _whole(0, 86400),
        600,
        "Each run starts up to so many seconds later, so that many servers do not start at once.",
    ),
)

#: What the names in a map may be: path of the map with ``*``, check.
NAMES = {
    "images.*": _image_name,
    "default_image.*": _one_of(*ARCHES),
}

_CHECKS = {tuple(row[0].split(".")): row[1] for row in KEYS}
_NAME_CHECKS = {tuple(path.split(".")): check for path, check in NAMES.items()}
_CHILDREN = {}
for _path in _CHECKS:
    for _depth, _part in enumerate(_path):
        _CHILDREN.setdefault(_path[:_depth], set()).add(_part)


def problems(pillar):
    """
    Say what is wrong with single keys and values.

    pillar
        What stands under the pillar key ``netboot`` (a map).

    Returns a list of one-line texts, each starting with its pillar key.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.problems '{imags: {}}'
    """
    found = []
    _walk(pillar, (), (), found)
    return found


def _walk(value, pattern, path, found):
    """Check a value and all below it; the problems are appended to ``found``."""
    check = _CHECKS.get(pattern)
    if check:
        wrong = check(value)
        if wrong:
            found.append(f"{key(path)}: {wrong}")
        return
    known = _CHILDREN[pattern]
    if not isinstance(value, dict):
        words = "" if "*" in known else " of " + ", ".join(sorted(known))
        found.append(f"{key(path)}: must be a map{words}")
        return
    for name, below in value.items():
        if name in known:
            _walk(below, (*pattern, name), (*path, name), found)
        elif "*" in known:
            name_check = _NAME_CHECKS.get((*pattern, "*"))
            wrong = name_check and name_check(name)
            if wrong:
                found.append(f"{key((*path, name))}: {wrong}")
            _walk(below, (*pattern, "*"), (*path, name), found)
        else:
            hint = nearest(name, known) or ", known are {}".format(", ".join(sorted(known)))
            found.append(f"{key((*path, name))}: unknown key{hint}")


def wrong(path, value):
    """
    Say what is wrong with the value of one key, or return None.

    path
        Path of the key below ``netboot``, as in ``KEYS``.

    value
        The value.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.wrong menu.timeout_s 0
    """
    return _CHECKS[tuple(path.split("."))](value)


def setting(pillar, path):
    """
    Return the value of a key, or its default.

    pillar
        What stands under the pillar key ``netboot`` (a map).

    path
        Path of the key below ``netboot``, as in ``KEYS``, without ``*``.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.setting '{}' menu.timeout_s
    """
    value = pillar
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return next(row[2] for row in KEYS if row[0] == path) if value is None else value


def key(path):
    """
    Return a key as users write it.

    path
        List of its parts below ``netboot``.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.key '[menu, title]'
    """
    return ":".join(("netboot", *(str(part) for part in path)))


def nearest(word, words):
    """
    Return a hint at the known word that a mistyped one is nearest to, or an empty text.

    word
        What was written.

    words
        List of the known ones.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.nearest imags '[images, menu]'
    """
    match = difflib.get_close_matches(str(word), [str(one) for one in words], n=1)
    return f", did you mean {match[0]}?" if match else ""


def iso_file(url):
    """
    Return the file name under which the ISO of a URL is kept.

    url
        Address of the ISO (text).

    CLI Example:

    .. code-block:: bash

        salt-call netboot_keys.iso_file http://example.org/p11/alt-server-11.0-x86_64.iso
    """
    return url.rsplit("/", 1)[-1]


def reference():
    """
    Return the pillar reference as Markdown; ``docs/pillar.md`` holds it.

    CLI Example:

    .. code-block:: bash

        python3 -c 'from _modules import netboot_keys as p; print(p.reference())' > docs/pillar.md
        salt-call netboot_keys.reference
    """
    lines = [
        "# Pillar reference",
        "",
        "All keys stand under `netboot`. Made from the table `KEYS` in",
        "`_modules/netboot_keys.py`, whose function `reference` says how.",
        "",
        "| key | default | meaning |",
        "| --- | --- | --- |",
    ]
    for path, _check, default, meaning in KEYS:
        shown_key = path.replace("default_image.*", "default_image:ARCH").replace("*", "NAME")
        shown = "" if default is None else f"`{default}`"
        shown = shown.lower() if isinstance(default, bool) else shown
        lines.append(f"| `{shown_key.replace('.', ':')}` | {shown} | {meaning} |")
    return "\n".join(lines)
