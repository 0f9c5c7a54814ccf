"""
DHCP in the pillar: rules between keys, and what the keys resolve to on a machine. Pure.

dnsmasq's own file is a template, ``salt/netboot/files/dnsmasq.conf.jinja``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from netboot_host_checks import bare_mac
from netboot_names import nearest, server_url
from netboot_shapes import Pillar, Target


def problems(pillar: Pillar, target: Target) -> list[str]:
    """
    Return the problems between keys of DHCP and firmware whose single values are valid.

    pillar
        The completed pillar (see ``netboot_values``) without problems of single keys.

    target
        What ``netboot.target`` returned.

    Returns a list of one-line texts, each starting with its pillar key.
    """
    found = []
    address = pillar.get("address")
    if address and not pillar.get("virtual_address") and address not in target["addresses"]:
        found.append(
            f"netboot:address: this machine does not have {address} (it has "
            f"{', '.join(target['addresses'])}). If a NAT or load balancer owns it, set "
            "virtual_address: true"
        )
    if pillar.get("virtual_address") and not address:
        found.append("netboot:address: is missing; virtual_address: true requires it")
    dhcp = pillar["dhcp"]
    subnets = dhcp["subnets"]
    if dhcp["mode"] == "server" and not subnets:
        found.append("netboot:dhcp:subnets: is missing; netboot:dhcp:mode: server requires it")
    for name, subnet in subnets.items():
        key = f"netboot:dhcp:subnets:{name}"
        found += [f"{key}{wrong}" for wrong in _wrong_subnet(name, subnet, subnets, target)]
    found += _wrong_leases(dhcp["leases"], subnets, target)
    first_port, last_port = pillar["tftp"]["ports"]
    ports, clients = last_port - first_port + 1, dhcp["clients_at_once"]
    if ports < clients:
        found.append(
            f"netboot:tftp:ports: allows {ports} transfers, but netboot:dhcp:clients_at_once is "
            f"{clients}"
        )
    return found + loader_problems(pillar)


def loader_problems(pillar: Pillar) -> list[str]:
    """
    Return the problems between keys of boot loaders whose single values are valid.

    pillar
        See ``problems``.
    """
    found: list[str] = []
    for kind, firmware in pillar["firmware"].items():
        found += _incomplete(f"netboot:firmware:{kind}", firmware)
    for kind, own in pillar["secure_boot"].items():
        key = f"netboot:secure_boot:{kind}"
        given = [name for name in ("shim", "ipxe") if own[name].get("url")]
        if own.get("image") and given:
            found.append(f"{key}:image: contradicts {given[0]}; remove one of the two")
        elif own.get("image"):
            found += _wrong_image(f"{key}:image", own["image"], pillar["images"])
        elif not given:
            found.append(f"{key}: set shim and ipxe, or image")
        else:
            for name in ("shim", "ipxe"):
                found += _incomplete(f"{key}:{name}", own[name])
    return found


def _wrong_image(key: str, name: str, images: Any) -> Iterator[str]:
    if not isinstance(images, dict):
        return  # a problem of its own, and so is an image that is no map
    if name not in images:
        yield f"{key}: netboot:images has no {name!r}{nearest(name, list(images))}"
    elif isinstance(images[name], dict) and images[name].get("skip_iso_deploy"):
        yield f"{key}: {name} is on another server; its shim and GRUB are taken from an ISO here"


def _networks_here(target: Target) -> list[ipaddress.IPv4Network]:
    addresses = [one for some in target["interfaces"].values() for one in some]
    return [ipaddress.IPv4Interface(one).network for one in addresses]


def _wrong_subnet(
    name: str, subnet: dict[str, Any], subnets: dict[str, Any], target: Target
) -> Iterator[str]:
    here = _networks_here(target)
    network = ipaddress.IPv4Network(name)
    first, last = (ipaddress.IPv4Address(one) for one in subnet["range"])
    if first > last:
        yield f":range: {first} comes after {last}"
    own = [one for one in target["addresses"] if first <= ipaddress.IPv4Address(one) <= last]
    if own:
        yield f":range: contains {', '.join(own)}, which this machine has itself"
    given = {"range": subnet["range"]}
    if "router" in subnet:
        given["router"] = [subnet["router"]]
    for key, addresses in given.items():
        for address in addresses:
            if ipaddress.IPv4Address(address) not in network:
                yield f":{key}: {address} is not in {name}"
            elif not _is_of_machine(address, network):
                yield f":{key}: {address} is the network or broadcast address of {name}"
    if network not in here and "router" not in subnet:
        yield ":router: is missing; this machine has no address in that subnet"
    for other in subnets:
        if other < name and network.overlaps(ipaddress.IPv4Network(other)):
            yield f": overlaps with {other}"


def _is_of_machine(address: str, network: ipaddress.IPv4Network) -> bool:
    return ipaddress.IPv4Address(address) not in (network[0], network[-1])


def _wrong_leases(leases: dict[str, Any], subnets: dict[str, Any], target: Target) -> Iterator[str]:
    taken: dict[str, str] = {}
    for name, lease in leases.items():
        key = f"netboot:dhcp:leases:{name}"
        address = lease["address"]
        of = [
            one
            for one in map(ipaddress.IPv4Network, subnets)
            if ipaddress.IPv4Address(address) in one
        ]
        if not of:
            yield f"{key}:address: {address} is not in any subnet of netboot:dhcp:subnets"
        elif address in target["addresses"]:
            yield f"{key}:address: {address} is an address of this machine"
        elif not _is_of_machine(address, of[0]):
            yield f"{key}:address: {address} is the network or broadcast address of {of[0]}"
        # dnsmasq assigns a name in lower case and without its domain.
        hostname = (lease.get("hostname") or "").lower().partition(".")[0]
        for value in filter(None, (bare_mac(name), address, hostname)):
            other = taken.setdefault(value, name)
            if other != name:
                yield f"{key}: has {value} in common with netboot:dhcp:leases:{other}"


def _incomplete(key: str, binary: dict[str, Any]) -> Iterator[str]:
    for name in ("url", "checksum"):
        if not binary.get(name):
            yield f"{key}:{name}: is missing"


def warnings(pillar: Pillar, target: Target) -> list[str]:
    """
    Return what is allowed about DHCP, but probably a mistake.

    pillar, target
        See ``problems``.

    Returns a list of one-line texts, each starting with its pillar key.
    """
    dhcp = pillar["dhcp"]
    mode = dhcp["mode"]
    found = []
    for key, of_mode in (("subnets", "server"), ("leases", "server"), ("relayed", "proxy")):
        if dhcp.get(key) and mode != of_mode:
            found.append(f"netboot:dhcp:{key}: has no effect while netboot:dhcp:mode is {mode}")
    if mode == "server":
        for name in interfaces(pillar, target):
            network = serving(name, pillar, target).network
            if str(network) not in dhcp["subnets"]:
                found.append(
                    f"netboot:dhcp:subnets: lacks {network}, so clients on {name} get no address"
                )
    return found


def interfaces(pillar: Pillar, target: Target) -> list[str]:
    """
    Return the names of the interfaces on which clients are served.

    pillar, target
        See ``problems``.
    """
    named: Any = pillar.get("interface") or target["default_interface"]
    return named if isinstance(named, list) else [named]


def serving(name: str, pillar: Pillar, target: Target) -> ipaddress.IPv4Interface:
    """
    Return the address of an interface in whose network clients are served: ``netboot:address`` if
    the interface has it, else its first.

    name
        Name of the interface.

    pillar, target
        See ``problems``.
    """
    there = [ipaddress.IPv4Interface(one) for one in target["interfaces"][name]]
    return next((one for one in there if str(one.ip) == pillar.get("address")), there[0])


def config(pillar: Pillar, target: Target) -> dict[str, Any]:
    """
    Return ``interfaces`` and ``dhcp`` of the configuration.

    pillar, target
        See ``problems``; without any.
    """
    dhcp = pillar["dhcp"]
    return {
        "interfaces": [_interface(name, pillar, target) for name in interfaces(pillar, target)],
        "dhcp": {
            "mode": dhcp["mode"],
            "clients_at_once": dhcp["clients_at_once"],
            "relayed": [_network(name) for name in dhcp.get("relayed") or []],
            "subnets": [
                {
                    **_network(name),
                    "first": subnet["range"][0],
                    "last": subnet["range"][1],
                    "lease_s": subnet["lease_s"],
                    "router": subnet.get("router", ""),
                    "dns": list(subnet.get("dns") or []),
                    "domain": subnet.get("domain", ""),
                }
                for name, subnet in dhcp["subnets"].items()
            ],
        },
    }


def _interface(name: str, pillar: Pillar, target: Target) -> dict[str, str]:
    own = serving(name, pillar, target)
    address = str(pillar.get("address") or own.ip)
    url = server_url(address, pillar["http"]["port"])
    return {"name": name, "address": address, "url": url, **_network(str(own.network))}


def _network(name: str) -> dict[str, str]:
    network = ipaddress.IPv4Network(name)
    return {"network": str(network.network_address), "netmask": str(network.netmask)}
