"""
The keys that may stand below the pillar key ``netboot``: what each may hold, and its default.

``KEYS`` is the only place where a key is defined; validation, defaults and ``docs/pillar.md`` come
from it. Pure functions: they run on a minion, on the controller of salt-ssh (``salt/_wrapper``
calls them) and in table tests alike. What holds between keys is ``netboot_pillar``'s.
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
FIRMWARE = ("bios", "efi-x86_64", "efi-i386", "efi-aarch64", "efi-riscv64", "efi-loongarch64")
METHODS = ("http", "cifs", "nfs", "ftp")
FORMS = ("tree", "iso")

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
# A kernel's command line has 2048 characters (COMMAND_LINE_SIZE of x86 and arm64). A host, its
# board and the groups of both add to an entry's line, which netboot_entries limits.
_LONGEST_ARGUMENTS = 1024
_LONGEST_HOST_ARGUMENTS = 192


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
    return _goes_on(value)


def _goes_on(text):
    # iPXE's script.c, process_script
    if text.endswith("\\"):
        return "ends in a backslash, by which iPXE takes the next line of the script for its rest"
    return None


def _arguments(most):
    def check(value):
        if not isinstance(value, list) and (not isinstance(value, str) or not value.strip()):
            return "must be a list of kernel arguments, or a text of them"
        words = value if isinstance(value, list) else value.split(" ")
        for word in words:
            if wrong := _argument(word):
                return f"{word!r} {wrong}"
        if len(" ".join(words)) > most:
            return f"must have {most} characters at most together, as kernels cut the rest off"
        return None

    return check


def _argument(word):
    if not isinstance(word, str) or not re.fullmatch(r"[!-~]+", word):
        return "must be a kernel argument: letters, digits and signs without spaces"
    # Settings of iPXE are fine, such as ${mac:hexhyp}.
    bare = re.sub(r"\$\{[a-z0-9/:._-]+\}", "", word)
    for sign in ("${", "||", "&&", ";"):
        if sign in bare:
            return f"has {sign!r}, which iPXE acts on and cannot quote"
    if word.startswith("#"):
        return "begins with #, which iPXE takes for a comment"
    return _goes_on(word)


def _script(value):
    if not isinstance(value, str) or not value.strip():
        return "must be lines of an iPXE script"
    for line in value.split("\n"):
        if line.lstrip().startswith(":"):
            return f"has the label {line.strip()!r}, which could be one of the menu's own"
        if any(char not in string.printable or char in "\r\v\f" for char in line):
            return "has characters that iPXE cannot show"
    return _goes_on(value.strip())


def _snippets(value):
    if not isinstance(value, list):
        return "must be a list of maps with comment and snippet"
    for one in value:
        if not isinstance(one, dict) or not set(one) <= {"comment", "snippet"}:
            return "must be a list of maps with comment and snippet"
        wrong = _script(one.get("snippet"))
        if wrong:
            return f"snippet {wrong}"
    return None


_BOOT_URL = r"(https?|tftp|nfs|ftp)://[^\s/?#]+/\S*"


def _boot_url(value):
    if not isinstance(value, str) or not re.fullmatch(_BOOT_URL, value):
        return "must be an http://, https://, tftp://, nfs:// or ftp:// address"
    return _argument(value)


def _stage_url(value):
    if not isinstance(value, str) or not re.fullmatch(r"http://[^\s/?#,]+/[^\s?#,]+", value):
        return "must be an http:// address without commas"
    return _argument(value)


def _languages(value):
    if not isinstance(value, list) or not value:
        return "must be a list such as [en_US, ru_RU]"
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(
            r"[a-z]{2,3}_[A-Z]{2}(\.[A-Za-z0-9-]+)?", one
        ):
            return f"{one!r} must be a locale such as ru_RU"
    return "names one twice" if len(set(value)) < len(value) else None


# What nginx compares passwords with: crypt(3) and its own (ngx_crypt.c).
def _password_hash(value):
    if not isinstance(value, str) or not re.fullmatch(
        r"(\$(apr1|1|5|6|y|2[aby])\$|\{SSHA\})[./A-Za-z0-9$=,+]+", value
    ):
        return "must be a password's hash, as `openssl passwd -6` prints it"
    return None


def _path_in_iso(value):
    if not isinstance(value, str) or not re.fullmatch(r"/?[A-Za-z0-9._+/-]+", value):
        return "must be a path inside the ISO, such as boot/vmlinuz"
    if ".." in value.split("/"):
        return "must not leave the ISO"
    return None


# The states give the root to root with mode 0755, and serve what lies in it.
_NO_ROOTS = (
    "/media",
    "/mnt",
    "/opt",
    "/srv",
    "/tmp",
    "/var",
    "/var/lib",
)
_NO_ROOTS_NOR_BELOW = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"),
    *("/home", "/root", "/var/cache", "/var/log", "/var/spool", "/var/tmp"),
    *("/var/lib/netboot", "/var/lib/netboot-dnsmasq", "/var/lib/samba"),
)


def _directory(value):
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+", value):
        return "must be an absolute path of letters, digits and . _ + -"
    if value in _NO_ROOTS or any(
        value == one or value.startswith(one + "/") for one in _NO_ROOTS_NOR_BELOW
    ):
        return f"must be a folder of its own, which {value} is not"
    return None


def _file(value):
    if not isinstance(value, str) or not re.fullmatch(
        r"(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+", value
    ):
        return "must be an absolute path of letters, digits and . _ @ + -"
    return None


def _file_below(value):
    if not isinstance(value, str) or _file(f"/{value}"):
        return "must be a path without a leading slash, of letters, digits and . _ @ + -"
    return None


def _files(value):
    if not isinstance(value, list) or any(_file(one) for one in value):
        return "must be a list of absolute paths of letters, digits and . _ @ + -"
    return None


def _unit(value):
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@:+-]*", value):
        return "must be the name of a unit of systemd"
    return None


def _names_of(what):
    def check(value):
        # A package's name may hold what a unit's may.
        if not isinstance(value, list) or any(_unit(one) for one in value):
            return f"must be a list of names of {what}"
        return None

    return check


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
        address = ipaddress.IPv4Address(value if isinstance(value, str) else None)
    except ValueError:
        return "must be an IPv4 address, such as 192.0.2.10"
    for kind in ("unspecified", "loopback", "multicast", "reserved"):
        if getattr(address, f"is_{kind}"):
            return f"must be the address of a machine, and {value} is {kind}"
    return None


def _addresses(least, most):
    def check(value):
        if not isinstance(value, list) or not least <= len(value) <= most:
            return f"must be a list of addresses, from {least} to {most}"
        return next((f"{one!r} {wrong}" for one in value if (wrong := _address(one))), None)

    return check


def _network(value):
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) else None)
    except ValueError:
        network = None
    if network is None or "/" not in value or not 8 <= network.prefixlen <= 30:
        return "must be a subnet by its first address, such as 192.0.2.0/24"
    return None


def _networks(value):
    if not isinstance(value, list):
        return "must be a list of subnets"
    return next((f"{one!r} {wrong}" for one in value if (wrong := _network(one))), None)


def _subnet(value):
    wrong = _network(value)
    return wrong and f"the name {wrong}"


def _domain(value):
    if not isinstance(value, str) or not re.fullmatch(
        r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.|$))+(?<!\.)", value
    ):
        return "must be a domain, such as example.org"
    return None


def _interface(value):
    names = value if isinstance(value, list) and value else [value]
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.@:-]{1,15}", name):
            return "must be the name of a network interface, such as eth0, or a list of such"
    return "names one twice" if len(set(names)) < len(names) else None


def _binary_url(value):
    if not isinstance(value, str) or not re.fullmatch(_ADDRESS + r"[^\s?#/]", value):
        return "must be an http://, https://, ftp:// or file:/// address of a file"
    return None


def _whole(least, most):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be a whole number from {least} to {most}"
        return None

    return check


def _port_range(value):
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(_whole(1024, 65535)(port) for port in value)
        or value[0] > value[1]
    ):
        return "must be two port numbers from 1024 on, such as [50000, 50999]"
    return None


def _clients(value):
    if not isinstance(value, list) or not value:
        return "must be a list of networks, such as [192.0.2.0/24]"
    for one in value:
        try:
            # A number would be taken for an address.
            ipaddress.IPv4Network(one if isinstance(one, str) else None)
        except ValueError as err:
            return f"{one!r} must be a network, such as 192.0.2.0/24: {err}"
    return None


def _one_of(*choices):
    def check(value):
        if value not in choices:
            return "must be one of {}".format(", ".join(choices)) + nearest(value, choices)
        return None

    return check


def _one_of_or_off(*choices):
    def check(value):
        # YAML takes a bare off for false.
        return _one_of(*choices, "off")("off" if value is False else value)

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


def _in_quotes(value):
    if isinstance(value, str):
        return None
    return "must be a text: put it in quotes, or YAML takes it for something else"


def _mac(value):
    if wrong := _in_quotes(value):
        return wrong
    bare = re.sub(r"[:.-]", "", value)
    if not re.fullmatch(r"[0-9A-Fa-f]{12}", bare):
        return "must be a MAC address, such as '52:54:00:12:34:56'"
    if int(bare[:2], 16) & 1:
        return "is an address for groups of machines, not of one network card"
    return None


def _uuid(value):
    if wrong := _in_quotes(value):
        return wrong
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", value.replace("-", "")):
        return "must be a UUID, such as 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'"
    return None


def _host_name(value):
    wrong = _in_quotes(value)
    if not wrong and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        wrong = "must be letters, digits and . _ -"
    return wrong


def _lease_name(value):
    # dnsmasq(8), --dhcp-host: these words are no names there.
    if isinstance(value, str) and re.fullmatch(r"ignore|infinite|[0-9]+[smhdw]?", value):
        return "is a word that dnsmasq acts on"
    return _host_name(value)


# iPXE asks for a file with this in its name, and expands settings in it.
def _smbios(value):
    wrong = _in_quotes(value)
    if not wrong and not re.fullmatch(r"[!-~]([ -~]{0,198}[!-~])?", value):
        wrong = "must be a text of ASCII characters without spaces around it"
    for sign in ("/", "${"):
        if not wrong and sign in value:
            wrong = f"has {sign!r}, which cannot be part of a file name that iPXE asks for"
    return wrong


def _key_of_host(value):
    wrong = _in_quotes(value)
    if not wrong and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", value):
        wrong = "must be up to 64 letters, digits and . _ : -"
    return wrong and f"the name {wrong}"


def _yes_or_no(value):
    return None if isinstance(value, bool) else "must be true or false"


def _taken_from_iso(_value):
    return None


def _user_name(value):
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", value):
        return "must be a name of letters, digits and . _ -"
    return None


# useradd(8), with what Debian and ALT let through by default.
def _account(value):
    if not isinstance(value, str) or not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", value):
        return "the name must be small letters, digits and _ -"
    return None


# sshd(8), "AUTHORIZED_KEYS FILE FORMAT", without options
def _public_keys(value):
    if not isinstance(value, list) or not value:
        return "must be a list of public keys"
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(
            r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+=*( [ -~]*)?", one
        ):
            return f"{str(one)[:40]!r} must be a line of a file id_*.pub, as ssh-keygen writes it"
    return None


def _image_name(value):
    wrong = _text(value)
    if not wrong and not re.fullmatch(_SAFE_NAME, value.replace(" ", "_")):
        wrong = "has other characters than letters, digits, spaces and . _ + -"
    return wrong and f"the name {wrong}"


# What a host boots, and how; groups have the same.
_HOST_SETTINGS = (
    (
        "image",
        _text,
        None,
        "Name of the image that it boots, with `variant`.",
    ),
    (
        "variant",
        _one_of(*VARIANTS),
        None,
        "Which of livecd, install, rescue.",
    ),
    (
        "entry",
        _one_of("local"),
        None,
        "`local`, instead of `image`: it boots from its own disk.",
    ),
    (
        "once",
        _yes_or_no,
        False,
        "`true`: it boots that one time, then from its own disk, until `netboot.arm host=NAME`.",
    ),
    (
        "menu",
        _yes_or_no,
        None,
        "`true`: show the menu, with that as its default. Default: boot it without asking.",
    ),
    (
        "timeout_s",
        _whole(1, 3600),
        None,
        "Seconds until the menu starts its default entry. Default: as for all.",
    ),
    (
        "arguments",
        _arguments(_LONGEST_HOST_ARGUMENTS),
        (),
        "More kernel arguments, whatever it boots. A host's come after its group's.",
    ),
    (
        "kernel_over",
        _one_of("http", "tftp"),
        None,
        "How kernel and initrd are fetched. Default: as for all.",
    ),
)


def _digests(binary):
    return tuple(
        (
            f"{binary}.checksum.{kind}",
            _digest(DIGEST_DIGITS[kind]),
            None,
            f"Its {kind.upper().replace('SHA', 'SHA-')}; one of the two is required.",
        )
        for kind in ("sha512", "sha256")
    )


#: path below ``netboot`` (``*``: any name), check, default, what it means.
#: A map is known by the paths below it. A default of None: see the meaning.
KEYS = (
    (
        "interface",
        _interface,
        None,
        "Network interface on which clients are served, or a list of them. Default: the one with "
        "the default route.",
    ),
    (
        "address",
        _address,
        None,
        "IPv4 address that clients fetch from. Default: the first one of the interface.",
    ),
    (
        "virtual_address",
        _yes_or_no,
        False,
        "`true`: `address` is not this machine's own; something in front leads it here (NAT).",
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
        "images.*.methods",
        _some_of(*METHODS),
        None,
        "How this image's stage travels, best first. Default: `methods`.",
    ),
    (
        "images.*.forms",
        _some_of(*FORMS),
        None,
        "`tree`: clients fetch the stage out of the unpacked image; `iso`: the whole ISO. Default: "
        "what suits the variant best; with several the menu offers each.",
    ),
    (
        "images.*.arguments",
        _arguments(_LONGEST_ARGUMENTS),
        (),
        "More kernel arguments for this image, such as `[ai, 'curl=http://192.0.2.1/meta/']`.",
    ),
    (
        "images.*.password",
        _yes_or_no,
        False,
        "`true`: all its lines of the menu ask for a password, not only `menu:password:variants`.",
    ),
    (
        "images.*.extra_ipxe_conf",
        _snippets,
        (),
        "List of maps with `comment` and `snippet`: lines of iPXE script that run before this "
        "image is loaded.",
    ),
    (
        "images.*.kernel_url",
        _boot_url,
        None,
        "Clients fetch the kernel from there instead of from this server.",
    ),
    (
        "images.*.initrd_url",
        _boot_url,
        None,
        "Clients fetch the initial RAM disk from there.",
    ),
    (
        "images.*.stage2_http_url",
        _stage_url,
        None,
        "Clients fetch stages from this folder, or, if it ends in .iso, this ISO.",
    ),
    (
        "images.*.skip_iso_deploy",
        _yes_or_no,
        False,
        "`true`: the image is on another server and is not fetched. `kernel_url`, `initrd_url` and "
        "`stage2_http_url` say where, and this list what its ISO would have told: `alt_arch`, "
        "`dialect`, `live_size` and `altinst_size` in bytes.",
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
        _whole(0, 1 << 50),
        None,
        "Bytes of the stage, for `skip_iso_deploy`; else the ISO tells it.",
    ),
    (
        "images.*.altinst_size",
        _whole(0, 1 << 50),
        None,
        "Bytes of the stage, for `skip_iso_deploy`; else the ISO tells it.",
    ),
    (
        "images.*.need_ramdisk_size",
        _taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    (
        "images.*.http_iso_boot",
        _yes_or_no,
        False,
        "Whether it can boot as a whole ISO, for `skip_iso_deploy`; else the ISO tells it.",
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
        "Seconds without a byte, or with fewer than 1 KiB/s, after which a source counts as broken "
        "off.",
    ),
    (
        "prune",
        _yes_or_no,
        False,
        "Remove images that are no longer named here: trees, mounts, ISOs that were fetched. "
        "`false`: only tell which.",
    ),
    (
        "clean_images",
        _yes_or_no,
        False,
        "`state.apply netboot.clean` removes images too.",
    ),
    (
        "default_image.*",
        _text,
        None,
        "Name of the image that the menu of this architecture starts when its time is up. "
        "Default: the client's own disk.",
    ),
    (
        "default_variant.*",
        _one_of(*VARIANTS),
        "livecd",
        "Which variant of `default_image` that is. With `install`, clients install themselves when "
        "nobody is at the menu.",
    ),
    (
        "methods",
        _some_of(*METHODS),
        ("http",),
        "How stages travel, best first: http, cifs, nfs, ftp. The menu offers each.",
    ),
    (
        "arguments.*",
        _arguments(_LONGEST_ARGUMENTS),
        (),
        "More kernel arguments for all images of an architecture.",
    ),
    (
        "kernel_over.*",
        _one_of("http", "tftp"),
        "http",
        "How clients of an architecture fetch kernel and initrd. Baikal-M boards need `tftp`.",
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
        "menu.arch_timeout_s.*",
        _whole(1, 3600),
        None,
        "The same for one architecture.",
    ),
    (
        "menu.languages",
        _languages,
        ("en_US", "ru_RU"),
        "Languages that the menu switches between; systems start in the first.",
    ),
    (
        "menu.shell",
        _yes_or_no,
        True,
        "Offer iPXE's command line.",
    ),
    (
        "menu.password.users.*",
        _password_hash,
        None,
        "Hash of a user's password, as `openssl passwd -6` prints it.",
    ),
    (
        "menu.password.variants",
        _some_of(*VARIANTS),
        ("install",),
        "What asks for a password, when there are users, besides iPXE's command line.",
    ),
    (
        "menu.extra.*.kernel",
        _boot_url,
        None,
        "One more line of the menu, NAME is its title: boot this kernel (memtest, for example).",
    ),
    (
        "menu.extra.*.initrd",
        _boot_url,
        None,
        "With this initial RAM disk.",
    ),
    (
        "menu.extra.*.arguments",
        _arguments(_LONGEST_ARGUMENTS),
        (),
        "With these kernel arguments.",
    ),
    (
        "menu.extra.*.chain",
        _boot_url,
        None,
        "Or go on with this iPXE script or boot loader, on another server say.",
    ),
    (
        "menu.extra.*.script",
        _script,
        None,
        "Or run these lines of iPXE script.",
    ),
    (
        "menu.extra.*.password",
        _yes_or_no,
        False,
        "`true`: the line asks for a password.",
    ),
    (
        "menu.extra.*.arches",
        _some_of(*ARCHES),
        ARCHES,
        "In the menus of these architectures.",
    ),
    (
        "hosts.*.mac",
        _mac,
        None,
        "MAC address of the host, in quotes: `'52:54:00:12:34:56'` in any notation. Where none of "
        "`mac`, `uuid`, `serial`, `hostname`, `product` and `manufacturer` is given, NAME is the "
        "MAC address, the UUID or the host name.",
    ),
    (
        "hosts.*.uuid",
        _uuid,
        None,
        "UUID of the host, as its firmware has it.",
    ),
    (
        "hosts.*.serial",
        _smbios,
        None,
        "Serial number of the host, as its firmware has it.",
    ),
    (
        "hosts.*.hostname",
        _host_name,
        None,
        "Host name, as the DHCP server gives it.",
    ),
    (
        "hosts.*.product",
        _smbios,
        None,
        "Not one host, but all of this model, as their firmware has it (SMBIOS product). What a "
        "host of its own says wins. TF307-MB, TF307-MB-S-D and ET101-1.2 are there from the start.",
    ),
    (
        "hosts.*.manufacturer",
        _smbios,
        None,
        "The same for all of a manufacturer.",
    ),
    (
        "hosts.*.group",
        _text,
        None,
        "Name of a group below `groups`, whose settings the host takes over.",
    ),
    *((f"hosts.*.{name}", *rest) for name, *rest in _HOST_SETTINGS),
    *((f"groups.*.{name}", *rest) for name, *rest in _HOST_SETTINGS),
    (
        "dhcp.mode",
        _one_of_or_off("proxy", "server"),
        "proxy",
        "`proxy`: boot information only, beside the DHCP server that the network has. "
        "`server`: addresses too, out of `subnets`. `off`: TFTP only; `netboot.dhcp_hints` prints "
        "what another DHCP server needs.",
    ),
    (
        "dhcp.clients_at_once",
        _whole(1, 10000),
        200,
        "How many clients may be switched on at the same time (TFTP transfers).",
    ),
    (
        "dhcp.relayed",
        _networks,
        None,
        "With `proxy`: list of subnets from which a relay forwards DHCP requests to this machine.",
    ),
    (
        "dhcp.subnets.*.range",
        _addresses(2, 2),
        None,
        "With `server`: first and last address that clients get, `[192.0.2.100, 192.0.2.199]`; "
        "NAME is the subnet, `192.0.2.0/24`. Of this machine's own or of relayed ones.",
    ),
    (
        "dhcp.subnets.*.lease_s",
        _whole(120, 2592000),
        3600,
        "Seconds for which a client may keep its address.",
    ),
    (
        "dhcp.subnets.*.router",
        _address,
        None,
        "Default gateway. Default: none; relayed subnets need it.",
    ),
    (
        "dhcp.subnets.*.dns",
        _addresses(1, 8),
        None,
        "List of DNS servers.",
    ),
    (
        "dhcp.subnets.*.domain",
        _domain,
        None,
        "Domain of the clients.",
    ),
    (
        "dhcp.leases.*.address",
        _address,
        None,
        "With `server`: the address of one client; NAME is its MAC address in quotes.",
    ),
    (
        "dhcp.leases.*.hostname",
        _lease_name,
        None,
        "And its host name.",
    ),
    (
        "firmware.*.url",
        _binary_url,
        None,
        "iPXE for a kind of firmware, in place of the platform's package: http, https, ftp or "
        "`file:///...`. NAME: bios, efi-x86_64, efi-i386, efi-aarch64, efi-riscv64 or "
        "efi-loongarch64.",
    ),
    *_digests("firmware.*"),
    (
        "secure_boot.*.shim.url",
        _binary_url,
        None,
        "For machines with Secure Boot: a shim signed for their firmware; NAME is efi-x86_64 or "
        "efi-aarch64. Written by the facts of iPXE's own shim, and not booted in tests.",
    ),
    *_digests("secure_boot.*.shim"),
    (
        "secure_boot.*.ipxe.url",
        _binary_url,
        None,
        "The iPXE that this shim starts.",
    ),
    *_digests("secure_boot.*.ipxe"),
    (
        "http.port",
        _whole(1, 65535),
        80,
        "TCP port of the web server.",
    ),
    (
        "http.listen",
        _addresses(1, 16),
        None,
        "List of this machine's addresses on which alone the web server listens. Default: all.",
    ),
    (
        "http.listing",
        _one_of_or_off("json", "html"),
        "json",
        "`json`: folders below `/dist/` are listed for scripts. `html`: those and `/tftp/` for "
        "people. `off`: none.",
    ),
    (
        "http.certificate",
        _file,
        None,
        "Serve the same files over HTTPS too: path of a file of yours on the server with the "
        "certificate, those of its issuers behind it (PEM). Menus stay on http, as iPXE does not "
        "know the certificate. After a renewal reload nginx.",
    ),
    (
        "http.key",
        _file,
        None,
        "Path of its private key.",
    ),
    (
        "http.https_port",
        _whole(1, 65535),
        443,
        "TCP port of HTTPS.",
    ),
    (
        "smb.smb1",
        _yes_or_no,
        False,
        "Let Samba speak SMB1, which images of p9 and early p10 need for method cifs. Unsafe, and "
        "for all shares of the machine.",
    ),
    (
        "ftp.passive_ports",
        _port_range,
        (50000, 50999),
        "First and last TCP port of FTP's data connections.",
    ),
    (
        "tftp.ports",
        _port_range,
        (61000, 65535),
        "First and last UDP port of TFTP's transfers, at least as many as `dhcp:clients_at_once`.",
    ),
    (
        "nfs.clients",
        _clients,
        None,
        "List of networks that may mount. Default: the networks of the interface.",
    ),
    (
        "admins.*.keys",
        _public_keys,
        None,
        "List of public keys with which this account may log in by ssh; NAME is the account. It is "
        "made if there is none. Required.",
    ),
    (
        "admins.*.sudo",
        _yes_or_no,
        True,
        "Whether it may do everything by sudo, without a password. Only if it is made here.",
    ),
    (
        "firewall",
        _one_of_or_off("auto"),
        "auto",
        "`auto`: firewalld or ufw, where it runs, lets through what is enabled here; for rules "
        "written by hand, those to add are told. `off`: nothing of ours is in a firewall.",
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
    *(
        (f"platform.packages.{one}", _names_of("packages"), None, f"Packages for {what}.")
        for one, what in (
            ("firmware", "iPXE. This and all below is known of ALT, Debian, Fedora and their kin"),
            ("dhcp", "DHCP and TFTP (dnsmasq)"),
            ("http", "the web server (nginx)"),
            ("smb", "the SMB server (Samba)"),
            ("ftp", "the FTP server (vsftpd)"),
            ("nfs", "the NFS server"),
            ("once", "Python"),
            ("selinux", "semanage, where SELinux is on"),
            ("admins", "sudo"),
        )
    ),
    (
        "platform.firmware.*",
        _files,
        None,
        "Paths of iPXE for a kind of firmware, of which the first that is there is taken; NAME as "
        "of `firmware`.",
    ),
    *(
        (f"platform.{path}", check, None, meaning)
        for path, check, meaning in (
            ("dnsmasq.user", _user_name, "User that dnsmasq runs as."),
            ("dnsmasq.group", _user_name, "And group."),
            ("dnsmasq.silence", _names_of("units"), "Units that its package starts by itself."),
            ("nginx.service", _unit, "Unit of nginx."),
            ("nginx.group", _user_name, "Group that nginx runs as."),
            ("nginx.folder", _file, "Folder of `nginx.conf`."),
            ("nginx.site", _file_below, "File for our site, below that folder."),
            ("nginx.once_log", _file, "Log that nginx writes for hosts that boot once."),
            ("smb.service", _unit, "Unit of Samba's smbd."),
            ("smb.config", _file, "Samba's configuration."),
            ("smb.include", _file, "File for our shares, which that includes."),
            ("ftp.user", _user_name, "User of anonymous FTP."),
            ("ftp.silence", _names_of("units"), "Units that vsftpd's package starts by itself."),
            ("nfs.service", _unit, "Unit of the NFS server."),
            ("nfs.exports", _file, "File for our exports."),
            ("nfs.control", _names_of("facilities"), "ALT's control(8): what NFS needs as server."),
            ("admins.groups", _names_of("groups"), "Groups of accounts that are made."),
        )
    ),
)

_arch = _one_of(*ARCHES)

#: What the names in a map may be: path of the map with ``*``, check.
NAMES = {
    "images.*": _image_name,
    "default_image.*": _arch,
    "default_variant.*": _arch,
    "arguments.*": _arch,
    "kernel_over.*": _arch,
    "menu.arch_timeout_s.*": _arch,
    "menu.password.users.*": _user_name,
    "menu.extra.*": _text,
    "admins.*": _account,
    "hosts.*": _key_of_host,
    "groups.*": _text,
    "dhcp.subnets.*": _subnet,
    "dhcp.leases.*": _mac,
    "firmware.*": _one_of(*FIRMWARE),
    "platform.firmware.*": _one_of(*FIRMWARE),
    "secure_boot.*": _one_of("efi-x86_64", "efi-aarch64"),
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
        if name in known and name != "*":
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
    parts = (str(part) for part in path)
    return ":".join(("netboot", *(part if part.isprintable() else repr(part) for part in parts)))


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
        shown_key = path.replace("*", "ARCH" if NAMES.get(path) is _arch else "NAME")
        if isinstance(default, tuple):
            default = f"[{', '.join(map(str, default))}]" if default else None
        shown = "" if default is None else f"`{default}`"
        shown = shown.lower() if isinstance(default, bool) else shown
        lines.append(f"| `{shown_key.replace('.', ':')}` | {shown} | {meaning} |")
    return "\n".join(lines)
