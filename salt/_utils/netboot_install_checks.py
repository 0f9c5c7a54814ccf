"""
Checks of what unattended installs are given: disks, passwords, time zones, files. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from netboot_checks import account, file
from netboot_network_checks import address, domain
from netboot_patterns import Wrong, duplicate, each, like, list_of, others, refused

#: Rules by which one disk is chosen; ``all``: every disk is wiped.
DISKS = ("all", "smallest", "empty")

_DISK = r"/dev/disk/by-(path|id)/[A-Za-z0-9][A-Za-z0-9._:+-]*"
_GRUB = r"/dev/[a-z][a-z0-9]*|efi(removable|nonvram)"
# crypt(5); without DES and MD5, which are broken.
_SIGN = "[./A-Za-z0-9]"
_HASH = (
    rf"(\$5\$(rounds=[0-9]+\$)?[^$:\s\"\\]{{1,16}}\${_SIGN}{{43}}"
    rf"|\$6\$(rounds=[0-9]+\$)?[^$:\s\"\\]{{1,16}}\${_SIGN}{{86}}"
    rf"|\$2[aby]\$[0-3][0-9]\${_SIGN}{{53}}"
    rf"|\$g?y\$[./A-Za-z0-9]+\${_SIGN}{{1,86}}\${_SIGN}{{43}})"
)
_ZONE = r"(UTC|GMT|[A-Z][A-Za-z_]*(/[A-Z][A-Za-z0-9_+-]*){1,2})"
_LANGUAGE = r"[a-z]{2,3}_[A-Z]{2}"
_GROUP = r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*"
_SOURCE = r"rpm(-src|-dir)? (\[[A-Za-z0-9._-]+\] )?(https?|ftp|rsync|file|copy):[!-~]+( [!-~]+){2,}"
_PROXY = r"http://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?"
_SCRIPT = r"(https?|ftp)://[A-Za-z0-9._:\[\]-]+/[!#-\[\]-~]+"
_FINGER = r"([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}"
_MODE = r"0?[0-7]{3}"
# In a field of /etc/passwd.
_REAL_NAME = r"[ !#-+\--9;-\[\]-~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd]{0,80}"
_TEXT = r"[\t\n -~\u00a0-\ud7ff\ue000-\ufffd]*"
_SOME_TEXT = rf"(?=\s*\S){_TEXT}"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_CARD = r"[A-Za-z][A-Za-z0-9_.-]{0,14}"


@like(type="string", pattern=f"^{_HASH}$")
def crypt_hash(value: Any) -> Wrong:
    # The value may be the password itself: no message repeats it.
    if isinstance(value, str) and re.fullmatch(_HASH, value):
        return None
    rule = "must be a password's hash, as openssl passwd -6 prints it, not the password"
    if isinstance(value, str) and value.startswith(("$1$", "$apr1$")):
        return f"{rule}; MD5 is broken"
    if isinstance(value, str) and re.match(r"\$([56]|2[aby]|g?y)\$", value):
        return "must be a whole hash, as openssl passwd -6 prints it; this one is cut or has more"
    return rule if isinstance(value, str) else f"{rule}, in quotes"


@like(type="string", pattern=f"^{_LANGUAGE}$")
def language(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_LANGUAGE, value):
        return refused(value, "must be a language and country, such as ru_RU")
    return None


@like(type="string", pattern=f"^{_ZONE}$")
def timezone(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_ZONE, value):
        rule = "must be the name of a time zone, such as Europe/Moscow"
        return refused(value, rule)
    return None


@like(
    anyOf=[
        {"enum": list(DISKS)},
        {"type": "string", "pattern": f"^{_DISK}$"},
        list_of({"type": "integer", "minimum": 1, "maximum": 1000000}, minItems=2, maxItems=2),
    ]
)
def disk(value: Any) -> Wrong:
    rule = (
        f"must be {', '.join(DISKS)}, a path such as /dev/disk/by-path/pci-0000:00:17.0-ata-1, "
        "or a range of sizes in GB such as [100, 600]"
    )
    if isinstance(value, list):
        fit = len(value) == 2 and all(
            isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= 1000000
            for one in value
        )
        return None if fit and value[0] <= value[1] else f"{rule}, not {str(value)[:60]}"
    if value in DISKS or (isinstance(value, str) and re.fullmatch(_DISK, value)):
        return None
    if isinstance(value, str) and re.fullmatch("/dev/[a-z0-9]+", value):
        return f"{rule}; {value} is another disk when cables or drivers change"
    return refused(value, rule)


@like(type="string", pattern=f"^({_GRUB})$")
def grub_device(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_GRUB, value):
        rule = "must be a disk such as /dev/sda; or, for UEFI, efiremovable or efinonvram"
        return refused(value, rule)
    return None


@like(type="string", pattern=f"^{_REAL_NAME}$")
def real_name(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_REAL_NAME, value):
        if isinstance(value, str) and len(value) > 80:
            return f"must be at most 80 characters long, not {len(value)}"
        rule = 'must be a name in one line, without : , " and \\'
        return refused(value, rule)
    return None


@like(**account.schema, **{"not": {"const": "root"}})  # type: ignore[attr-defined]
def user(value: Any) -> Wrong:
    if value == "root":
        return "the name must not be root; its password is root_password"
    return account(value)


@like(**list_of({"type": "string", "pattern": f"^{_GROUP}$"}, uniqueItems=True))
def package_groups(value: Any) -> Wrong:
    rule = "must be a list of package groups, such as [kworkstation/kde]"
    if not isinstance(value, list):
        return refused(value, rule)
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_GROUP, one):
            return refused(one, rule, "A-Za-z0-9._+/-")
    return duplicate(value)


def _server(value: Any) -> Wrong:
    rule = "must be the name or IPv4 address of a server"
    if not isinstance(value, str):
        return refused(value, rule)
    if re.fullmatch(r"[0-9.]+", value):
        return address(value) and f"{rule}; {address(value)}"
    return domain(value) and f"{rule}; {domain(value)}"


_SERVER: dict[str, Any] = {
    "anyOf": [address.schema, domain.schema]  # type: ignore[attr-defined]
}


@like(**_SERVER)
def server(value: Any) -> Wrong:
    return _server(value)


@like(**list_of(_SERVER, uniqueItems=True))
def servers(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of servers, such as [ntp.example.org]")
    return each(value, _server) or duplicate(value)


@like(**list_of({"type": "string", "pattern": f"^{_SOURCE}$"}, uniqueItems=True))
def repositories(value: Any) -> Wrong:
    rule = (
        "must be a list of lines of sources.list, such as "
        "'rpm [p11] http://192.0.2.1/p11/branch x86_64 classic'"
    )
    if not isinstance(value, list):
        return refused(value, rule)
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_SOURCE, one):
            return f"{rule}, not {one!r}"
    return duplicate(value)


@like(type="string", pattern=f"^{_PROXY}$")
def proxy(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_PROXY, value):
        rule = "must be the http:// URL of a proxy, such as http://192.0.2.1:3142"
        return f"{rule}, without user and password" if "@" in str(value) else refused(value, rule)
    return None


@like(type="string", pattern=f"^{_SCRIPT}$")
def script_url(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_SCRIPT, value):
        return refused(value, "must be the http://, https:// or ftp:// URL of a shell script")
    return None


def _text(value: Any, rule: str, pattern: str = _SOME_TEXT) -> Wrong:
    if isinstance(value, str) and re.fullmatch(pattern, value):
        return None
    return refused(value, rule, r"\t\n -~\u00a0-\ud7ff\ue000-\ufffd")


@like(**list_of({"type": "string", "pattern": f"^{_SOME_TEXT}$"}))
def commands(value: Any) -> Wrong:
    rule = "must be a list of shell commands"
    if not isinstance(value, list):
        return refused(value, rule)
    return next(filter(None, (_text(one, f"{rule}, each a string") for one in value)), None)


@like(type="string", pattern=f"^{_FINGER}$")
def finger(value: Any) -> Wrong:
    rule = "must be the master's fingerprint (SHA-256), as salt-key -F master prints it"
    if not isinstance(value, str):
        return f"{rule}, in quotes"
    if not re.fullmatch(_FINGER, value):
        if odd := others(value, "0-9A-Fa-f:"):
            return f"{rule}, not {odd}"
        return f"{rule}: 32 pairs of hexadecimal digits with colons, not {value.count(':') + 1}"
    return None


@like(type="string", pattern=f"^{_TEXT}$")
def content(value: Any) -> Wrong:
    return _text(value, "must be a string, the file's text", _TEXT)


@like(type="string", pattern=f"^{_MODE}$")
def mode(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_MODE, value):
        return refused(value, "must be the mode of a file in quotes, such as '0644'")
    return None


@like(**file.schema)  # type: ignore[attr-defined]
def file_name(value: Any) -> Wrong:
    wrong = file(value)
    return wrong and f"the name {wrong}"


@like(type="string", pattern=f"^{_SOME_TEXT}$")
def profile(value: Any) -> Wrong:
    return _text(value, "must be the text of a vm-profile.scm with one profile")


@like(type="string", pattern=f"^{_CARD}$")
def card(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_CARD, value):
        return refused(value, "must be the name of a network card, such as eth0")
    return None


@like(**list_of({"type": "string", "pattern": f"^{_CARD}$"}, minItems=1, uniqueItems=True))
def cards(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return refused(value, "must be a list of network cards, such as [eth0, enp1s0]")
    return each(value, card) or duplicate(value)


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_WITH_PREFIX = rf"({_OCTET}\.){{3}}{_OCTET}/([89]|[12][0-9]|30)"


@like(type="string", pattern=f"^{_WITH_PREFIX}$")
def with_prefix(value: Any) -> Wrong:
    rule = "must be an IPv4 address with the length of its prefix, such as 192.0.2.31/24"
    if not isinstance(value, str) or not re.fullmatch(_WITH_PREFIX, value):
        return refused(value, rule, "0-9./")
    return address(value.partition("/")[0])


@like(type="string", pattern=f"^{_NAME}$")
def install_name(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        rule = "the name must be up to 64 letters, digits and . _ + -, a letter or digit first"
        return refused(value, rule, "A-Za-z0-9._+-")
    return None
