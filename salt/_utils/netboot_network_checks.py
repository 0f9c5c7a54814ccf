"""
Checks of addresses, networks, domains and interfaces in the pillar. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from netboot_patterns import Check, Wrong, duplicate, each, like, list_of, refused

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_QUAD = rf"({_OCTET}\.){{3}}{_OCTET}"
_INTERFACE = r"[A-Za-z0-9_.@:-]{1,15}"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?=[^\n]{{1,253}}$)(?![0-9.]+$){_LABEL}(\.{_LABEL})*"


@like(type="string", format="ipv4")
def address(value: Any) -> Wrong:
    try:
        address = ipaddress.IPv4Address(value if isinstance(value, str) else None)
    except ValueError:
        return refused(value, "must be an IPv4 address, such as 192.0.2.10", "0-9.")
    for kind in ("unspecified", "loopback", "multicast", "reserved"):
        if getattr(address, f"is_{kind}"):
            return f"must be the address of a machine; {value} is {kind}"
    return None


def addresses(least: int, most: int, unique: bool = True) -> Check:
    more = {"minItems": least, "maxItems": most, **({"uniqueItems": True} if unique else {})}

    @like(**list_of({"type": "string", "format": "ipv4"}, **more))
    def check(value: Any) -> Wrong:
        rule = f"must be a list of IPv4 addresses (at least {least}, at most {most})"
        if not isinstance(value, list):
            return refused(value, rule)
        if not least <= len(value) <= most:
            return f"{rule}, not {len(value)}"
        return each(value, address) or (duplicate(value) if unique else None)

    return check


_NETWORK = {"type": "string", "pattern": rf"^{_QUAD}/([89]|[12][0-9]|30)$"}


_CLIENTS = rf"{_QUAD}(/(3[0-2]|[12]?[0-9]|{_QUAD}))?"
_SUBNET = "must be a subnet such as 192.0.2.0/24 (prefix length 8 to 30, host bits zero)"


@like(**_NETWORK)
def network(value: Any) -> Wrong:
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) else None)
    except ValueError:
        network = None
    if network is None or not re.fullmatch(_NETWORK["pattern"], value):
        return refused(value, _SUBNET, "0-9./")
    if not 8 <= network.prefixlen <= 30:
        return f"{_SUBNET}, not with /{network.prefixlen}"
    return None


@like(**list_of(_NETWORK, uniqueItems=True))
def networks(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of subnets")
    return each(value, network) or duplicate(value)


@like(**_NETWORK)
def subnet(value: Any) -> Wrong:
    wrong = network(value)
    return wrong and f"the name {wrong}"


@like(type="string", pattern=f"^{_DOMAIN}$")
def domain(value: Any) -> Wrong:
    rule = "must be a domain name, such as example.org"
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.-]+", value):
        return refused(value, rule, "A-Za-z0-9.-")
    if len(value) > 253:
        return f"{rule}, of at most 253 characters, not {len(value)}"
    for label in value.split("."):
        if len(label) > 63:
            return f"{rule}; its part {label!r} has {len(label)} characters, not at most 63"
        if not re.fullmatch(_LABEL, label):
            return f"{rule}; its part {label!r} must begin and end with a letter or digit"
    return None if re.fullmatch(_DOMAIN, value) else f"{rule}, not a number or an address"


@like(
    anyOf=[
        {"type": "string", "pattern": f"^{_INTERFACE}$"},
        list_of({"type": "string", "pattern": f"^{_INTERFACE}$"}, minItems=1, uniqueItems=True),
    ]
)
def interface(value: Any) -> Wrong:
    names = value if isinstance(value, list) and value else [value]
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(_INTERFACE, name):
            rule = "must be the name of a network interface, such as eth0, or a list of names"
            if isinstance(name, str) and len(name) > 15:
                return f"{rule}; {name!r} has more than 15 characters"
            return refused(name, rule, "A-Za-z0-9_.@:-")
    return duplicate(names)


@like(**list_of({"type": "string", "pattern": rf"^{_CLIENTS}$"}, minItems=1, uniqueItems=True))
def clients(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return refused(value, "must be a list of networks, such as [192.0.2.0/24]")
    found = []
    for one in value:
        rule = f"{one!r} must be a network, such as 192.0.2.0/24"
        # ipaddress would read a number as an address.
        if not isinstance(one, str) or not re.fullmatch(_CLIENTS, one):
            return refused(one, rule, "0-9./") if isinstance(one, str) else rule
        try:
            network = ipaddress.IPv4Network(one)
        except ValueError as err:
            return f"{rule}: {err}"
        # It also accepts the inverse of a netmask.
        mask = one.partition("/")[2]
        if "." in mask and mask != str(network.netmask):
            return f"{rule}: {mask} is not a netmask; is {network.netmask} meant?"
        found.append(str(network))
    return duplicate(found)


@like(anyOf=[clients.schema, {"enum": ["off", False, []]}])  # type: ignore[attr-defined]
def clients_or_off(value: Any) -> Wrong:
    # YAML reads a bare off as false.
    if value is False or value in ("off", []):
        return None
    wrong = clients(value)
    return f"{wrong}, or off" if isinstance(value, (str, bool)) and wrong else wrong
