"""
What may stand under the pillar key ``netboot``, and what it comes to on a given machine.

Pure functions without input, output or Salt's dunders: they run on a minion, on the controller of
salt-ssh (``salt/_wrapper`` links here) and in table tests alike. ``KEYS`` is the only place where a
key is defined; validation, defaults and ``docs/pillar.md`` come from it.
"""

import difflib
import ipaddress
import re
import string
import urllib.parse

__virtualname__ = "netboot_pillar"

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
            return "must be one of {}".format(", ".join(choices)) + _nearest(value, choices)
        return None

    return check


def _some_of(*choices):
    def check(value):
        if not isinstance(value, list) or not value:
            return "must be a list of {}".format(", ".join(choices))
        for one in value:
            if one not in choices:
                return f"{one!r} is not one of {', '.join(choices)}" + _nearest(one, choices)
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


# -- validation -----------------------------------------------------------------------------------


def _nearest(word, words):
    match = difflib.get_close_matches(str(word), [str(one) for one in words], n=1)
    return f", did you mean {match[0]}?" if match else ""


def _children(prefix):
    """Names known below a path such as ``("images", "*")``; a ``*`` there allows any name."""
    depth = len(prefix)
    return {
        parts[depth]
        for parts in (tuple(row[0].split(".")) for row in KEYS)
        if len(parts) > depth and parts[:depth] == prefix
    }


_CHECKS = {tuple(row[0].split(".")): row[1] for row in KEYS}


def _key(path):
    return ":".join(("netboot", *(str(part) for part in path)))


def _walk(value, pattern, path, problems):
    """Check a value and all below it against ``KEYS``; the problems found are appended."""
    check = _CHECKS.get(pattern)
    if check:
        wrong = check(value)
        if wrong:
            problems.append(f"{_key(path)}: {wrong}")
        return
    known = _children(pattern)
    if not isinstance(value, dict):
        problems.append(
            "{}: must be a map{}".format(
                _key(path), "" if "*" in known else " of " + ", ".join(sorted(known))
            )
        )
        return
    for name, below in value.items():
        if "*" in known:
            _walk(below, (*pattern, "*"), (*path, name), problems)
        elif name in known:
            _walk(below, (*pattern, name), (*path, name), problems)
        else:
            hint = _nearest(name, known) or ", known are {}".format(", ".join(sorted(known)))
            problems.append(f"{_key((*path, name))}: unknown key{hint}")


def _images_by_name(images, problems):
    """The images as a map by name; a list in the form of netinstall-alt's ``alt_images`` too."""
    if not isinstance(images, list):
        return images
    by_name = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("name"), str):
            problems.append(f"netboot:images:{number}: must be a map that has a name (text)")
        elif image["name"] in by_name:
            problems.append(f"netboot:images:{image['name']}: the name stands twice in the list")
        else:
            by_name[image["name"]] = {k: v for k, v in image.items() if k != "name"}
    return by_name


def _check_images(images, problems):
    """What holds between the keys of an image and between images."""
    labels, files = {}, {}
    for name, image in images.items():
        key = _key(("images", name))
        wrong = _text(name)
        if not wrong and not re.fullmatch(_SAFE_NAME, label(name)):
            wrong = "has other characters than letters, digits, spaces and . _ + -"
        if wrong:
            problems.append(f"{key}: the name {wrong}")
        elif labels.setdefault(label(name), name) != name:
            problems.append(
                f"{key}: gives the same folder name {label(name)!r} as {labels[label(name)]!r}"
            )
        if not isinstance(image, dict):
            continue
        if not image.get("url"):
            problems.append(f"{key}:url: is missing")
        elif not _url(image["url"]):
            file = iso_file(image["url"])
            if files.setdefault(file, name) != name:
                problems.append(
                    f"{key}:url: gives the same file {file!r} as netboot:images:{files[file]}:url"
                )
        if image.get("mount") is True and image.get("keep_iso") is False:
            problems.append(f"{key}:keep_iso: must not be false for an ISO that is mounted")
        if image.get("mount") is True and "unpack" in image:
            problems.append(f"{key}:unpack: does not go with mount, which shows the whole ISO")
        wrong = _wrong_digests(image)
        if wrong:
            problems.append(f"{key}:{wrong}")


def _wrong_digests(image):
    """What is wrong with where the digests of an image come from, after its key; or None."""
    pinned, sums = image.get("checksum"), image.get("sums") is True
    if image.get("refresh") is True and pinned:
        return "refresh: contradicts checksum, which names one ISO for good; remove one of the two"
    if image.get("refresh") is True and not sums:
        return "refresh: needs sums: true, to learn which ISO the server has now"
    if sums and pinned:
        return "sums: contradicts checksum; remove one of the two"
    if not sums and not pinned:
        return (
            "checksum: is missing; give sha256 (or sha512) as the ISO's publisher has it, "
            "or sums: true"
        )
    return None


def _check_interface(pillar, target, problems):
    interfaces = target["interfaces"]
    names = ", ".join(sorted(interfaces))
    interface = pillar.get("interface")
    if interface is None:
        if not target["default_interface"]:
            problems.append(
                "netboot:interface: is missing, and this machine has no default route to take it "
                f"from; name one of {names}"
            )
        elif not interfaces.get(target["default_interface"]):
            problems.append(
                f"netboot:interface: is missing, and {target['default_interface']}, which has the "
                f"default route, has no IPv4 address; name one of {names}"
            )
    elif not _interface(interface):
        if interface not in interfaces:
            problems.append(
                f"netboot:interface: this machine has no interface {interface!r}, it has {names}"
            )
        elif not interfaces[interface]:
            problems.append(f"netboot:interface: {interface} has no IPv4 address")


def resolve(pillar, target, platforms):
    """
    Validate the pillar and say what it comes to on a machine.

    pillar
        What stands under the pillar key ``netboot`` (a map).

    target
        What ``netboot.target`` returned on that machine.

    platforms
        The table of platforms (``salt/netboot/platforms.yaml``), by their ``ID`` in os-release.

    Returns a map: ``problems``, a list of one-line texts, each starting with its pillar key;
    ``warnings``, the same for what is not fatal; and, when there are no problems, ``config``: all
    settings with their defaults, interface, address, images and platform resolved.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_pillar.resolve '{images: {}}' '{platform: debian, ...}' '{debian: ...}'
    """
    problems = []
    if not isinstance(pillar, dict):
        return {"problems": ["netboot: must be a map"], "warnings": []}
    pillar = dict(pillar)
    pillar["images"] = _images_by_name(pillar.get("images") or {}, problems)
    _walk(pillar, (), (), problems)
    _check_interface(pillar, target, problems)
    if isinstance(pillar["images"], dict):
        _check_images(pillar["images"], problems)
        _check_default_image(pillar, problems)
    schedule = pillar.get("schedule")
    if isinstance(schedule, dict) and schedule and ("hours" in schedule) == ("minutes" in schedule):
        problems.append("netboot:schedule: give either hours or minutes")
    if target["platform"] not in platforms:
        problems.append(
            f"netboot: this machine runs {target['platform']!r}, which netboot-alt does not know; "
            "it knows {}".format(", ".join(sorted(platforms)))
        )
    if problems:
        return {"problems": problems, "warnings": []}
    return {
        "problems": [],
        "warnings": _warnings(pillar["images"], pillar.get("mirrors") or []),
        "config": _config(pillar, target, platforms),
    }


def _check_default_image(pillar, problems):
    defaults = pillar.get("default_image")
    if not isinstance(defaults, dict):
        return
    for arch, name in defaults.items():
        key = _key(("default_image", arch))
        if arch not in ARCHES:
            problems.append(f"{key}: must be one of {', '.join(ARCHES)}{_nearest(arch, ARCHES)}")
        elif isinstance(name, str) and name not in pillar["images"]:
            problems.append(f"{key}: there is no image {name!r}{_nearest(name, pillar['images'])}")


def _warnings(images, mirrors):
    found = []
    for name, image in images.items():
        if not image.get("sums") and not {"sha256", "sha512"} & set(image["checksum"]):
            found.append(
                f"netboot:images:{name}:checksum: {' and '.join(sorted(image['checksum']))} alone "
                "can be forged; give sha256 or sha512"
            )
        forgeable = [
            url for url in _sources(image, mirrors) if url.startswith(("http://", "ftp://"))
        ]
        if image.get("sums") and forgeable:
            found.append(
                f"netboot:images:{name}:sums: whoever is on the way can forge ISO and sum file; "
                "use https, or give checksum"
            )
    return found


def _with_default(pillar, path):
    value = pillar
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return next(row[2] for row in KEYS if row[0] == ".".join(path)) if value is None else value


def _config(pillar, target, platforms):
    interface = pillar.get("interface") or target["default_interface"]
    networks = [ipaddress.IPv4Interface(one) for one in target["interfaces"][interface]]
    address = ipaddress.IPv4Address(pillar.get("address") or networks[0].ip)
    port = _with_default(pillar, ("http", "port"))
    return {
        "interface": interface,
        "address": str(address),
        "network": str(next((n for n in networks if address in n.network), networks[0]).network[0]),
        "root": _with_default(pillar, ("root",)),
        "http": {"port": port, "url": f"http://{address}" + ("" if port == 80 else f":{port}")},
        "dhcp": {"mode": _with_default(pillar, ("dhcp", "mode"))},
        "menu": {
            "title": _with_default(pillar, ("menu", "title")),
            "timeout_s": _with_default(pillar, ("menu", "timeout_s")),
        },
        "default_image": dict(pillar.get("default_image") or {}),
        "prune": _with_default(pillar, ("prune",)),
        "schedule": _schedule(pillar.get("schedule")),
        "fetch": {
            key: _with_default(pillar, ("fetch", key))
            for key in ("at_once", "attempts", "stall_timeout_s")
        },
        "images": [
            _image(name, image, pillar.get("mirrors") or [])
            for name, image in pillar["images"].items()
        ],
        "platform": platforms[target["platform"]],
    }


def _schedule(schedule):
    if not schedule:
        return {}
    return {"splay_s": _with_default({"schedule": schedule}, ("schedule", "splay_s")), **schedule}


def _sources(image, mirrors):
    """All addresses of an ISO, in the order in which they are tried."""
    file = iso_file(image["url"])
    nearer = [f"{folder.rstrip('/')}/{file}" for folder in mirrors]
    return [*nearer, image["url"], *(image.get("mirrors") or [])]


def _image(name, image, mirrors):
    return {
        "name": name,
        "label": label(name),
        "file": iso_file(image["url"]),
        "sources": _sources(image, mirrors),
        "checksum": {
            kind: digest.lower() for kind, digest in (image.get("checksum") or {}).items()
        },
        "sums": image.get("sums", False),
        "refresh": image.get("refresh", False),
        "verify": image.get("verify", "changed"),
        "overrides": {
            key: image[key]
            for key in ("alt_arch", "dialect", "kernel", "initrd", "variants")
            if key in image
        },
        "unpack": image.get("unpack", ""),
        "mount": image.get("mount", False),
        "keep_iso": image.get("keep_iso", True),
    }


def label(name):
    """
    Return the name of an image as a folder name: lower case, with ``_`` for spaces.

    name
        Name of the image in the pillar (text).

    CLI Example:

    .. code-block:: bash

        salt-call netboot_pillar.label 'ALT Server 11'
    """
    return str(name).lower().replace(" ", "_")


def iso_file(url):
    """
    Return the file name under which the ISO of a URL is kept.

    url
        Address of the ISO (text).

    CLI Example:

    .. code-block:: bash

        salt-call netboot_pillar.iso_file http://example.org/p11/alt-server-11.0-x86_64.iso
    """
    return url.rsplit("/", 1)[-1]


def reference():
    """
    Return the pillar reference as Markdown; ``docs/pillar.md`` holds it.

    CLI Example:

    .. code-block:: bash

        python3 -c 'from _modules import netboot_pillar as p; print(p.reference())' > docs/pillar.md
        salt-call netboot_pillar.reference
    """
    lines = [
        "# Pillar reference",
        "",
        "All keys stand under `netboot`. Made from the table `KEYS` in",
        "`_modules/netboot_pillar.py`, whose function `reference` says how.",
        "",
        "| key | default | meaning |",
        "| --- | --- | --- |",
    ]
    for path, _check, default, meaning in KEYS:
        key = path.replace("default_image.*", "default_image:ARCH").replace("*", "NAME")
        shown = "" if default is None else f"`{default}`"
        shown = shown.lower() if isinstance(default, bool) else shown
        lines.append(f"| `{key.replace('.', ':')}` | {shown} | {meaning} |")
    return "\n".join(lines)
