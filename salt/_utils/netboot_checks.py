"""
Checks of pillar values: each returns what is wrong with a value, or None. Pure.

A check also has a ``schema``: the part of its rule that JSON Schema (draft 2020-12) can express.
"""

from __future__ import annotations

import ipaddress
import re
import string
import urllib.parse
from typing import Any, Callable, Optional

from netboot_names import nearest
from netboot_paths import LEASES, STATE_DIR

Wrong = Optional[str]
Check = Callable[[Any], Wrong]

# A file name or label travels through URLs, iPXE scripts and altboot's `automatic=`, none of which
# can quote: iPXE splits words at spaces, altboot splits at commas.
_SAFE_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_IMAGE_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._+-]*"
# iPXE interprets these anywhere in a line (ipxe.org/scripting) and has no quoting.
_IPXE_ACTS_ON = ("${", "||", "&&", ";", "#")


def _like(**schema: Any) -> Callable[[Check], Check]:
    """Attach a JSON Schema to a check."""

    def give(check: Check) -> Check:
        check.schema = schema  # type: ignore[attr-defined]
        return check

    return give


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


# A menu has 80 columns; a file name has 255 bytes, some of which are needed for prefix and suffix.
_LONGEST_TEXT = 76
_LONGEST_FILE = 200
# A kernel's command line has 2048 characters (COMMAND_LINE_SIZE of x86 and arm64). A host, its
# board and the groups of both add to an entry's line, which netboot_entries limits.
LONGEST_ARGUMENTS = 1024
LONGEST_HOST_ARGUMENTS = 192

_BOOT_URL = r"(https?|tftp|nfs|ftp)://[^\s/?#]+/\S*"
_STAGE_URL = r"http://[^\s/?#,]+/[^\s?#,]+"
# Of files that are fetched: with spaces, which many copy from a browser, and with a query.
_FILE_URL = r"(https?://[^\s/?#]+/[^\x00-\x1f\x7f#]*|(ftp://[^\s/?#]+|file://)/[^\x00-\x1f\x7f?#]*)"
_LOCALE = r"[a-z]{2,3}_[A-Z]{2}(\.[A-Za-z0-9-]+)?"
# Password hashes that nginx accepts: those of crypt(3) and its own (ngx_crypt.c).
_CRYPT_HASH = r"(\$(apr1|1|5|6|y|2[aby])\$|\{SSHA\})[./A-Za-z0-9$=,+]+"
_PATH_IN_ISO = r"/?[A-Za-z0-9._+/-]+"
_DIRECTORY = r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+"
_FILE = r"(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+"
_UNIT = r"[A-Za-z0-9][A-Za-z0-9._@:+-]*"
_USER_NAME = r"[A-Za-z0-9._-]{1,32}"
_HOST_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_KEY_OF_HOST = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,30}"
_MAC = r"([0-9A-Fa-f]{2}[:.-]?){5}[0-9A-Fa-f]{2}"


@_like(type="string", minLength=1, maxLength=_LONGEST_TEXT)
def text(value: Any) -> Wrong:
    if not isinstance(value, str) or not value.strip():
        return "must be a string"
    if len(value) > _LONGEST_TEXT:
        return f"must be at most {_LONGEST_TEXT} characters long"
    if value.startswith("-"):
        return "must not begin with -: iPXE would read it as an option"
    odd = sorted({char for char in value if char not in string.printable or char in "\t\r\n\v\f"})
    if odd:
        return "contains characters that a boot menu cannot show: {}".format(
            ", ".join(repr(char) for char in odd)
        )
    for word in _IPXE_ACTS_ON:
        if word in value:
            return f"contains {word!r}, which iPXE interprets and cannot quote"
    return _goes_on(value)


def _goes_on(text: str) -> Wrong:
    # iPXE's script.c, process_script
    if text.endswith("\\"):
        return "ends in a backslash, which joins it to the next line of the iPXE script"
    return None


def arguments(most: int) -> Check:
    @_like(anyOf=[{"type": "string", "minLength": 1}, _list_of({"type": "string"})])
    def check(value: Any) -> Wrong:
        if not isinstance(value, list) and (not isinstance(value, str) or not value.strip()):
            return "must be a list of kernel arguments, or a string of them"
        words = value if isinstance(value, list) else value.split(" ")
        for word in words:
            if wrong := argument(word):
                return f"{word!r} {wrong}"
        if len(" ".join(words)) > most:
            return f"must be at most {most} characters long in total: kernels cut off the rest"
        return None

    return check


def argument(word: Any) -> Wrong:
    if not isinstance(word, str) or not re.fullmatch(r"[!-~]+", word):
        return "must be a kernel argument: printable ASCII characters without spaces"
    bare = _without_settings(word)
    for sign in ("${", "||", "&&", ";"):
        if sign in bare:
            return f"contains {sign!r}, which iPXE interprets and cannot quote"
    if word.startswith("#"):
        return "begins with #, which starts a comment in iPXE"
    return _goes_on(word)


def _without_settings(word: str) -> str:
    # Settings of iPXE, such as ${mac:hexhyp}, are allowed.
    return re.sub(r"\$\{[a-z0-9/:._-]+\}", "x", word)


@_like(type="string", minLength=1)
def script(value: Any) -> Wrong:
    if not isinstance(value, str) or not value.strip():
        return "must be lines of iPXE script"
    for line in value.split("\n"):
        if line.lstrip().startswith(":"):
            return f"contains the label {line.strip()!r}, which may clash with a label of the menu"
        if any(char not in string.printable or char in "\r\v\f" for char in line):
            return "contains characters that iPXE cannot show"
    return _goes_on(value.strip())


@_like(
    type="array",
    items={
        "type": "object",
        "required": ["snippet"],
        "properties": {"comment": {}, "snippet": {"type": "string"}},
        "additionalProperties": False,
    },
)
def snippets(value: Any) -> Wrong:
    if not isinstance(value, list):
        return "must be a list of maps with comment and snippet"
    for one in value:
        if not isinstance(one, dict) or not set(one) <= {"comment", "snippet"}:
            return "must be a list of maps with comment and snippet"
        wrong = script(one.get("snippet"))
        if wrong:
            return f"snippet {wrong}"
    return None


@_like(type="string", pattern=f"^{_BOOT_URL}$")
def boot_url(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_BOOT_URL, value):
        return "must be an http://, https://, tftp://, nfs:// or ftp:// URL"
    return argument(value) or _host(_without_settings(value))


@_like(type="string", pattern=f"^{_STAGE_URL}$")
def stage_url(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_STAGE_URL, value):
        return "must be an http:// URL without commas"
    return argument(value) or _host(_without_settings(value))


@_like(
    type="array", minItems=1, uniqueItems=True, items={"type": "string", "pattern": f"^{_LOCALE}$"}
)
def languages(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return "must be a list such as [en_US, ru_RU]"
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_LOCALE, one):
            return f"{one!r} must be a locale such as ru_RU"
    return "contains a duplicate" if len(set(value)) < len(value) else None


@_like(type="string", pattern=rf"^{_CRYPT_HASH}$")
def password_hash(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_CRYPT_HASH, value):
        return "must be a password hash, as printed by `openssl passwd -6`"
    return None


@_like(type="string", pattern=f"^{_PATH_IN_ISO}$")
def path_in_iso(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_PATH_IN_ISO, value):
        return "must be a path inside the ISO, such as boot/vmlinuz"
    if ".." in value.split("/"):
        return "must not contain .. (it would leave the ISO)"
    return None


# The states make root the owner of `netboot:root`, set mode 0755, and serve all that is in it.
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
    *(STATE_DIR, LEASES, "/var/lib/samba"),
)


@_like(type="string", pattern=f"^{_DIRECTORY}$")
def directory(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_DIRECTORY, value):
        return "must be an absolute path of letters, digits and . _ + -"
    if value in _NO_ROOTS or any(
        value == one or value.startswith(one + "/") for one in _NO_ROOTS_NOR_BELOW
    ):
        return f"must be a directory of its own; {value} belongs to the system"
    return None


def state_dir(value: Any) -> Wrong:
    """Check the minion option ``netboot.state_dir``, no pillar key: its name comes first."""
    if not isinstance(value, str) or not re.fullmatch(_DIRECTORY, value):
        return (
            "minion option netboot.state_dir: must be an absolute path of letters, digits and "
            f". _ + -, not {value!r}"
        )
    return None


@_like(type="string", pattern=f"^{_FILE}$")
def file(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_FILE, value):
        return "must be an absolute path of letters, digits and . _ @ + -"
    return None


@_like(type="string")
def file_below(value: Any) -> Wrong:
    if not isinstance(value, str) or file(f"/{value}"):
        return "must be a path without a leading slash, of letters, digits and . _ @ + -"
    return None


@_like(**_list_of({"type": "string", "pattern": f"^{_FILE}$"}))
def files(value: Any) -> Wrong:
    if not isinstance(value, list) or any(file(one) for one in value):
        return "must be a list of absolute paths of letters, digits and . _ @ + -"
    return None


@_like(type="string", pattern=f"^{_UNIT}$")
def unit(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_UNIT, value):
        return "must be the name of a systemd unit"
    return None


def names_of(what: str) -> Check:
    @_like(**_list_of({"type": "string", "pattern": f"^{_UNIT}$"}))
    def check(value: Any) -> Wrong:
        # Package names allow the same characters as unit names.
        if not isinstance(value, list) or any(unit(one) for one in value):
            return f"must be a list of {what} names"
        return None

    return check


@_like(type="string", pattern=f"^{_FILE_URL}$")
def url(value: Any) -> Wrong:
    right = isinstance(value, str) and value.isprintable() and re.fullmatch(_FILE_URL, value)
    if not right or value.endswith(("/", " ")):
        return "must be the http://, https://, ftp:// or file:/// URL of a file"
    return _host(value)


@_like(type="string", pattern=rf"^{_SAFE_NAME}\.iso$", maxLength=_LONGEST_FILE)
def iso_name(value: Any) -> Wrong:
    wrong = iso_name_wrong(value)
    return f"must be {wrong}" if wrong else None


def iso_name_wrong(value: Any) -> Wrong:
    """Return what the file name of an ISO must be, if this is not one."""
    if (
        not isinstance(value, str)
        or not re.fullmatch(_SAFE_NAME, value)
        or not value.endswith(".iso")
    ):
        return "a file name of letters, digits and . _ + - with the suffix .iso"
    if len(value) > _LONGEST_FILE:
        return f"a file name of at most {_LONGEST_FILE} characters"
    return None


def _host(url: str) -> Wrong:
    """Check host and port of a URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "file" or (parts.hostname and parts.port != 0):
            return None
        return "is not a valid URL: it has no host, or port 0"
    except ValueError as err:
        # The cause quotes what may be a part of a password.
        hint = "; in passwords write / as %2F, @ as %40" if "@" in url else f": {err}"
        return f"is not a valid URL{hint}"


def _shown(url: object) -> str:
    return re.sub("//.*@", "//", repr(url))


@_like(**_list_of({"type": "string", "pattern": f"^{_FILE_URL}$"}))
def urls(value: Any) -> Wrong:
    if not isinstance(value, list):
        return "must be a list of URLs"
    return next((f"{_shown(one)} {wrong}" for one in value if (wrong := url(one))), None)


@_like(**_list_of({"type": "string"}))
def directories(value: Any) -> Wrong:
    if not isinstance(value, list):
        return "must be a list of URLs"
    for one in value:
        right = isinstance(one, str) and one.isprintable() and "?" not in one
        if not right or not re.fullmatch(_FILE_URL, one.rstrip("/") + "/"):
            what = "the http://, https://, ftp:// or file:/// URL of a directory"
            return f"{_shown(one)} must be {what}"
        if wrong := _host(one):
            return f"{_shown(one)} {wrong}"
    return None


@_like(type="string", format="ipv4")
def address(value: Any) -> Wrong:
    try:
        address = ipaddress.IPv4Address(value if isinstance(value, str) else None)
    except ValueError:
        return "must be an IPv4 address, such as 192.0.2.10"
    for kind in ("unspecified", "loopback", "multicast", "reserved"):
        if getattr(address, f"is_{kind}"):
            return f"must be the address of a machine; {value} is {kind}"
    return None


def addresses(least: int, most: int) -> Check:
    @_like(**_list_of({"type": "string", "format": "ipv4"}), minItems=least, maxItems=most)
    def check(value: Any) -> Wrong:
        if not isinstance(value, list) or not least <= len(value) <= most:
            return f"must be a list of IPv4 addresses (at least {least}, at most {most})"
        return next((f"{one!r} {wrong}" for one in value if (wrong := address(one))), None)

    return check


_NETWORK = {"type": "string", "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$"}


@_like(**_NETWORK)
def network(value: Any) -> Wrong:
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) else None)
    except ValueError:
        network = None
    if network is None or "/" not in value or not 8 <= network.prefixlen <= 30:
        return "must be a subnet such as 192.0.2.0/24 (prefix length 8 to 30, host bits zero)"
    return None


@_like(**_list_of(_NETWORK))
def networks(value: Any) -> Wrong:
    if not isinstance(value, list):
        return "must be a list of subnets"
    return next((f"{one!r} {wrong}" for one in value if (wrong := network(one))), None)


@_like(**_NETWORK)
def subnet(value: Any) -> Wrong:
    wrong = network(value)
    return wrong and f"the name {wrong}"


@_like(type="string")
def domain(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(
        r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.|$))+(?<!\.)", value
    ):
        return "must be a domain name, such as example.org"
    return None


@_like(
    anyOf=[
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    ]
)
def interface(value: Any) -> Wrong:
    names = value if isinstance(value, list) and value else [value]
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.@:-]{1,15}", name):
            return "must be the name of a network interface, such as eth0, or a list of names"
    return "contains a duplicate" if len(set(names)) < len(names) else None


def whole(least: int, most: int) -> Check:
    @_like(type="integer", minimum=least, maximum=most)
    def check(value: Any) -> Wrong:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be an integer from {least} to {most}"
        return None

    return check


@_like(
    type="array",
    items={"type": "integer", "minimum": 1024, "maximum": 65535},
    minItems=2,
    maxItems=2,
)
def port_range(value: Any) -> Wrong:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(whole(1024, 65535)(port) for port in value)
        or value[0] > value[1]
    ):
        return "must be first and last port of a range above 1023, such as [50000, 50999]"
    return None


@_like(type="array", items={"type": "string"}, minItems=1)
def clients(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return "must be a list of networks, such as [192.0.2.0/24]"
    for one in value:
        try:
            # ipaddress would read a number as an address.
            ipaddress.IPv4Network(one if isinstance(one, str) else None)
        except ValueError as err:
            return f"{one!r} must be a network, such as 192.0.2.0/24: {err}"
    return None


def one_of(*choices: str) -> Check:
    @_like(enum=list(choices))
    def check(value: Any) -> Wrong:
        if value not in choices:
            return "must be one of {}".format(", ".join(choices)) + nearest(value, choices)
        return None

    return check


def one_of_or_off(*choices: str) -> Check:
    @_like(enum=[*choices, "off", False])
    def check(value: Any) -> Wrong:
        # YAML reads a bare off as false.
        return one_of(*choices, "off")("off" if value is False else value)

    return check


def some_of(*choices: str) -> Check:
    @_like(type="array", minItems=1, items={"enum": list(choices)})
    def check(value: Any) -> Wrong:
        if not isinstance(value, list) or not value:
            return "must be a list of {}".format(", ".join(choices))
        for one in value:
            if one not in choices:
                return f"{one!r} is not one of {', '.join(choices)}" + nearest(one, choices)
        return None

    return check


def digest(digits: int) -> Check:
    @_like(type="string", pattern=f"^[0-9A-Fa-f]{{{digits}}}$")
    def check(value: Any) -> Wrong:
        if not isinstance(value, str):
            return f"must be {digits} hexadecimal digits, in quotes"
        if len(value) != digits:
            return f"must be {digits} hexadecimal digits, but has {len(value)}"
        if not re.fullmatch(r"[0-9A-Fa-f]+", value):
            return "contains characters that are not hexadecimal digits"
        return None

    return check


def in_quotes(value: Any) -> Wrong:
    if isinstance(value, str):
        return None
    return "must be a string: put it in quotes, or YAML reads it as another type"


@_like(type="string", pattern=f"^{_MAC}$")
def mac(value: Any) -> Wrong:
    if wrong := in_quotes(value):
        return wrong
    bare = re.sub(r"[:.-]", "", value)
    if not re.fullmatch(r"[0-9A-Fa-f]{12}", bare):
        return "must be a MAC address, such as '52:54:00:12:34:56'"
    if int(bare[:2], 16) & 1:
        return "is a multicast address, not the address of a network card"
    return None


@_like(type="string", pattern="^[0-9A-Fa-f-]{32,36}$")
def uuid(value: Any) -> Wrong:
    if wrong := in_quotes(value):
        return wrong
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", value.replace("-", "")):
        return "must be a UUID, such as 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'"
    return None


@_like(type="string", pattern=f"^{_HOST_NAME}$")
def host_name(value: Any) -> Wrong:
    wrong = in_quotes(value)
    if not wrong and not re.fullmatch(_HOST_NAME, value):
        wrong = "must be letters, digits and . _ -"
    return wrong


@_like(type="string", pattern=f"^{_HOST_NAME}$")
def lease_name(value: Any) -> Wrong:
    # dnsmasq(8), --dhcp-host: these words are not names there.
    if isinstance(value, str) and re.fullmatch(r"ignore|infinite|[0-9]+[smhdw]?", value):
        return "is a reserved word of dnsmasq"
    return host_name(value)


# iPXE requests a file with this in its name, and expands settings in it.
@_like(type="string", minLength=1, maxLength=200)
def smbios(value: Any) -> Wrong:
    wrong = in_quotes(value)
    if not wrong and not re.fullmatch(r"[!-~]([ -~]{0,198}[!-~])?", value):
        wrong = "must be a string of ASCII characters without leading or trailing spaces"
    for sign in ("/", "${"):
        if not wrong and sign in value:
            wrong = f"contains {sign!r}, which cannot be part of a file name that iPXE requests"
    return wrong


@_like(type="string", pattern=f"^{_KEY_OF_HOST}$")
def key_of_host(value: Any) -> Wrong:
    wrong = in_quotes(value)
    if not wrong and not re.fullmatch(_KEY_OF_HOST, value):
        wrong = "must be up to 64 letters, digits and . _ : -"
    return wrong and f"the name {wrong}"


@_like(type="boolean")
def yes_or_no(value: Any) -> Wrong:
    return None if isinstance(value, bool) else "must be true or false"


@_like()
def taken_from_iso(_value: Any) -> Wrong:
    return None


@_like(type="string", pattern=f"^{_USER_NAME}$")
def user_name(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_USER_NAME, value):
        return "must be a name of letters, digits and . _ -"
    return None


# useradd(8), with what Debian and ALT allow by default.
@_like(type="string", pattern=f"^{_ACCOUNT}$")
def account(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_ACCOUNT, value):
        return "the name must be lower-case letters, digits and _ -"
    return None


# sshd(8), "AUTHORIZED_KEYS FILE FORMAT", without options
@_like(type="array", items={"type": "string"}, minItems=1)
def public_keys(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return "must be a list of public keys"
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(
            r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+=*( [ -~]*)?", one
        ):
            return f"{str(one)[:40]!r} must be a line of an id_*.pub file, as written by ssh-keygen"
    return None


@_like(type="string", pattern=f"^{_IMAGE_NAME}$", maxLength=_LONGEST_TEXT)
def image_name(value: Any) -> Wrong:
    wrong = text(value)
    if not wrong and not re.fullmatch(_IMAGE_NAME, value):
        wrong = "may only contain letters, digits, spaces and . _ + -"
    return wrong and f"the name {wrong}"
