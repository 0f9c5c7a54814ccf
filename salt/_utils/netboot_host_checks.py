"""
Checks of what identifies machines: MAC addresses, UUIDs, names, texts of SMBIOS. Pure.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from netboot_patterns import Check, Wrong, duplicate, each, like, list_of, others, refused

_MAC = r"([0-9A-Fa-f]{2}[:.-]?){5}[0-9A-Fa-f]{2}"
_UUID = r"[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"
_KEY_OF_HOST = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
# RFC 1123, 2.1; some DHCP servers assign names with underscores.
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = rf"(?=[^\n]{{1,100}}$)(?![0-9]+(\.[0-9]+)+$){_LABEL}(\.{_LABEL})*"
# dnsmasq(8), --dhcp-host: these words are not names there.
_RESERVED = r"[iI][gG][nN][oO][rR][eE]|[iI][nN][fF][iI][nN][iI][tT][eE]|[0-9]+[smhdwSMHDW]?"

# What firmware has where nobody wrote anything, in letters and digits: from the lists of GLPI,
# fwupd and LinuxHW. A machine with such a text cannot be told from others of its make.
_OF_NOBODY = frozenset(
    "assettag basboardserialnumber baseboardserialnumber boardserialnumber chassisserialnumber "
    "defaultstring empty eval fill filledbyoem iatpass invalid manufacturer mb1234567890 na name "
    "none notapplicable notavailable notprovided notset notspecified null nullstring oem oemserial "
    "outofspec productname serial serialnumber sn sn12345 sn1234567890 standard string "
    "sys1234567890 sys9876543210 systemmanufacturer systemname systemproductname systemserialnumb "
    "systemserialnumber systemversion tbd tobefilled tobefilledbyoem tobefilledoem undefined "
    "unknow unknown unspecified".split()
)
_UUIDS_OF_NOBODY = frozenset(
    {
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "03000200-0400-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "12345678-1234-1234-1234-123456789abc",
        "4c4c4544-0000-2010-8020-80c04f202020",
        "deadbeef-dead-beef-dead-beefdeadbeef",
    }
)
_NAMES_OF_NOBODY = ("localhost", "localhost.localdomain")
_SEVERAL = "is not unique: many machines have it. Identify the host by something else"


def bare_mac(value: str) -> str:
    """
    Return a MAC address as iPXE's ``hexraw`` writes it, or "" if the string is not one.

    value
        The string, in any notation: with colons, dashes, dots or without, upper or lower case.
    """
    return re.sub(r"[:.-]", "", value).lower() if re.fullmatch(_MAC, value) else ""


def colons(mac: str) -> str:
    """
    Return a MAC address as people write it.

    mac
        See ``bare_mac``.
    """
    return ":".join(re.findall("..", mac))


def typed(value: object) -> str:
    """
    Return a host as it was typed on the command line, where YAML reads some MAC addresses as
    numbers: ``52:54:00:12:34:56`` is a number of base 60 (yaml.org/type/int.html).

    value
        The value that Salt parsed.
    """
    if not isinstance(value, int) or value < 60**5 or value >= 100 * 60**5:
        return str(value)
    groups = [value // 60**5, *(value // 60**power % 60 for power in range(4, -1, -1))]
    return ":".join(f"{group:02}" for group in groups)


def plain_uuid(value: str) -> str:
    """
    Return a UUID as iPXE writes it, or "" if the string is not one.

    value
        The string, with or without dashes.
    """
    return str(UUID(value)) if re.fullmatch(_UUID, value) else ""


def in_other_order(uuid: str) -> str:
    """
    Return a UUID with its first three fields in the other byte order.

    Before SMBIOS 2.6 the order was not specified: what a label, a firmware's screen or a DHCP log
    shows may differ from what iPXE and dmidecode read.

    uuid
        The UUID, see ``plain_uuid``.
    """
    return str(UUID(bytes_le=UUID(uuid).bytes))


def of_nobody(kind: str, value: str) -> bool:
    """
    Return whether many unrelated machines have this identity, as their firmware lacks its own.

    kind
        ``mac``, ``uuid``, ``serial``, ``hostname``, ``product`` or ``manufacturer``.

    value
        The identity.
    """
    if kind == "mac":
        bare = bare_mac(value)
        return bare == "888888888788" or len(set(re.findall("..", bare))) == 1
    if kind == "uuid":
        plain = plain_uuid(value)
        if not plain:
            return False
        same = len(set(UUID(plain).bytes)) == 1
        return same or bool({plain, in_other_order(plain)} & _UUIDS_OF_NOBODY)
    if kind == "hostname":
        return value.lower() in _NAMES_OF_NOBODY
    bare = re.sub(r"[^a-z0-9]", "", value.lower())
    counted = len(bare) > 4 and any(
        (digits * 3).startswith(bare) for digits in ("0123456789", "1234567890")
    )
    if kind == "serial" and (counted or len(set(bare)) < 2):
        return True
    return not bare or bare in _OF_NOBODY


def _in_quotes(value: Any) -> Wrong:
    if isinstance(value, str):
        return None
    if value is None or isinstance(value, (dict, list)):
        return refused(value, "must be a string")
    if bare_mac(typed(value)):
        return f"must be a string: put it in quotes, '{typed(value)}', as YAML reads it as a number"
    return "must be a string: put it in quotes, or YAML reads it as another type"


_ONE = {"type": "string", "pattern": f"^{_MAC}$"}


@like(**_ONE)
def mac(value: Any) -> Wrong:
    if wrong := _in_quotes(value):
        return wrong
    rule = "must be a MAC address, such as '52:54:00:12:34:56'"
    bare = re.sub(r"[:.-]", "", value)
    if not re.fullmatch(r"[0-9A-Fa-f]*", bare):
        return refused(value, rule, "0-9A-Fa-f:.-")
    if len(bare) != 12:
        return f"{rule}, of 12 hexadecimal digits, not {len(bare)}"
    if not re.fullmatch(_MAC, value):
        return refused(value, rule, "0-9A-Fa-f:.-")
    if int(bare[:2], 16) & 1:
        return "is a multicast address, not the address of a network card"
    return _SEVERAL if of_nobody("mac", value) else None


@like(anyOf=[_ONE, list_of(_ONE, minItems=1, uniqueItems=True)])
def macs(value: Any) -> Wrong:
    if not isinstance(value, list):
        return mac(value)
    if not value:
        return "must be a MAC address or a list of them, not an empty list"
    return each(value, mac) or duplicate([bare_mac(one) for one in value])


_BEGINNING = {"type": "string", "pattern": r"^[0-9A-Fa-f]{2}([:.-]?[0-9A-Fa-f]{2}){2,5}$"}


@like(**list_of(_BEGINNING, minItems=1, uniqueItems=True))
def mac_beginnings(value: Any) -> Wrong:
    rule = "must be a list of MAC addresses or of their beginnings, such as ['00:1e:4f']"
    if not isinstance(value, list) or not value:
        return refused(value, rule)

    def wrong(one: Any) -> Wrong:
        if not isinstance(one, str):
            return _in_quotes(one) or rule
        return None if re.fullmatch(_BEGINNING["pattern"], one) else refused(one, rule)

    return each(value, wrong) or duplicate(value)


@like(type="string", pattern=f"^{_UUID}$")
def uuid(value: Any) -> Wrong:
    if wrong := _in_quotes(value):
        return wrong
    rule = "must be a UUID, such as 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'"
    bare = value.replace("-", "")
    if not re.fullmatch(r"[0-9A-Fa-f]*", bare):
        return refused(value, rule, "0-9A-Fa-f-")
    if len(bare) != 32:
        return f"{rule}, of 32 hexadecimal digits, not {len(bare)}"
    if not plain_uuid(value):
        return refused(value, rule, "0-9A-Fa-f-")
    return _SEVERAL if of_nobody("uuid", value) else None


@like(type="string", pattern=f"^{_HOST_NAME}$")
def host_name(value: Any) -> Wrong:
    if wrong := _in_quotes(value):
        return wrong
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        return refused(value, "must be letters, digits and . _ -", "A-Za-z0-9._-")
    if len(value) > 100:
        return f"must be at most 100 characters long, not {len(value)}"
    for label in value.split("."):
        if len(label) > 63:
            return f"contains {label!r}, which has {len(label)} characters; a label has at most 63"
        if not re.fullmatch(_LABEL, label):
            return f"contains the label {label!r}; one begins and ends with a letter or digit"
    if not re.fullmatch(_HOST_NAME, value):
        return "is a number with dots or an address, not a host name"
    return _SEVERAL if of_nobody("hostname", value) else None


@like(type="string", pattern=f"^(?!({_RESERVED})$){_HOST_NAME}$")
def lease_name(value: Any) -> Wrong:
    if isinstance(value, str) and re.fullmatch(_RESERVED, value):
        return f"is {value!r}, which dnsmasq reads as a lease time or reserved word"
    return host_name(value)


# iPXE requests a file with this in its name, and expands settings in it.
def smbios(kind: str) -> Check:
    @like(type="string", pattern=r"^(?!.*\$\{)[ -.0-~]*[!-.0-~][ -.0-~]*$", maxLength=200)
    def check(value: Any) -> Wrong:
        if wrong := _in_quotes(value):
            return wrong
        rule = "must be a string of ASCII characters"
        if not value.strip(" ") or len(value) > 200:
            return f"{rule}, from 1 to 200 besides spaces, not {len(value)}"
        if odd := others(value, " -~"):
            return f"{rule}, not {odd}"
        for sign in ("/", "${"):
            if sign in value:
                return f"contains {sign!r}, which cannot be part of a file name that iPXE requests"
        # A board's settings may be meant for all machines without a model.
        return _SEVERAL if kind == "serial" and of_nobody(kind, value) else None

    return check


@like(type="string", pattern=f"^{_KEY_OF_HOST}$")
def key_of_host(value: Any) -> Wrong:
    wrong = _in_quotes(value)
    if not wrong and not re.fullmatch(_KEY_OF_HOST, value):
        rule = "must be up to 64 letters, digits and . _ : -"
        if len(value) > 64:
            wrong = f"{rule}, not {len(value)}"
        elif value[:1] and value[0] in "._:-":
            wrong = f"{rule}, and begin with a letter or digit, not {value[0]!r}"
        else:
            wrong = refused(value, rule, "A-Za-z0-9._:-")
    return wrong and f"the name {wrong}"


def resembles(name: str) -> str:
    """
    Return what a name that is neither a MAC address nor a UUID was surely meant to be, or "".

    name
        The name of a host in the pillar.
    """
    parts = re.split(r"[:._-]", name)
    bare = "".join(parts)
    hexadecimal = sum(char in "0123456789abcdefABCDEF" for char in bare)
    total, wrong = len(bare), len(bare) - hexadecimal
    almost = wrong < 3 and (len(parts) == 5 and total in range(28, 37) or total in (31, 32, 33))
    if almost or ([*map(len, parts)] == [8, 4, 4, 4, 12] and wrong < 16):
        return "UUID"
    pairs = len(parts) == 6 and max(map(len, parts)) < 4
    fours = len(parts) == 3 and total in (11, 12, 13) and {*map(len, parts)} <= {3, 4, 5}
    if ":" in name or pairs or (fours and wrong < 2) or (total == 12 and not wrong):
        return "MAC address"
    return ""


def may_resemble(name: str) -> bool:
    """
    Return whether a host name may be a MAC address with a mistake.

    name
        See ``resembles``, which returned "".
    """
    hexadecimal = sum(char in "0123456789abcdefABCDEF" for char in name)
    digits = sum(char in "0123456789" for char in name)
    if hexadecimal == len(name):
        return len(name) in (11, 13)
    return (len(name), hexadecimal) == (12, 11) and digits > 5
