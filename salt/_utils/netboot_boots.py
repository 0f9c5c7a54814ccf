"""
Boots by client: with what its firmware asked before, and the name of its host. Without Salt, as
``netboot-status`` needs them too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from netboot_firmware import platform
from netboot_host_checks import colons
from netboot_journal import Asked, Journal
from netboot_names import iso8601
from netboot_seen import Boot
from netboot_verdicts import Context, Verdict

#: UEFI that is sent to its disk asks again for so long.
_NEXT_S = 300
#: From firmware's question to its boot loader, and longest attempts to load that.
_LOADER_S = 120
#: From the last file that a GRUB loads to the request for the stage.
_STAGE_S = 300
#: How systemd is asked of a service, see ``outage``.
PROPERTIES = "--property=ActiveState,ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic"


def names(hosts: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the names of hosts by what identifies them.

    hosts
        The hosts, see ``netboot_shapes.Listed``.
    """
    return {value: name for name, host in hosts.items() for _kind, value in host["identities"]}


def name(boot: Boot, names: Mapping[str, str]) -> str:
    """
    Return the name of a boot's host in the pillar, or an empty string.

    boot, names
        The boot; see ``names``.
    """
    own = [boot.facts.get(kind, "") for kind in ("mac", "uuid", "serial", "hostname")]
    own.append(own[-1].partition(".")[0])
    return next((names[value] for value in own if value in names), "")


def by_mac(
    boots: Iterable[Boot], asked: Journal, addresses: Mapping[str, str]
) -> dict[str, list[Boot]]:
    """
    Return the boots of all clients, with what their firmware asked before, the oldest first.

    boots
        The boots that the web server saw, the oldest first.

    asked
        What firmware asked for.

    addresses
        See ``addresses``.
    """
    found: dict[str, list[Boot]] = {}
    nameless: list[Boot] = []
    for boot in boots:
        of_client = found.setdefault(boot.mac, []) if boot.mac else nameless
        of_client.append(boot)
    near = {mac: at for mac, at in addresses.items() if at in asked.tftp}
    for mac in {**asked.dhcp, **found, **near}:
        dhcp = asked.dhcp.get(mac, [])
        known = {one.address for one in dhcp} | {addresses.get(mac, "")}
        known |= {boot.address for boot in found.get(mac, ())}
        asks = sorted([*dhcp, *(one for at in known for one in asked.tftp.get(at, ()))])
        for boot in found.get(mac, ()):
            boot.before(asks)
        made = _without_menu(mac, asks, found.get(mac, []))
        if made:
            _join(made, [boot for boot in nameless if boot.address in known])
            found.setdefault(mac, []).append(made)
    return found


def addresses() -> dict[str, str]:
    """
    Return the addresses of the machines that this one has talked to of late, by MAC address.
    """
    try:
        with open("/proc/net/arp", encoding="ascii") as file:
            lines = [line.split() for line in file][1:]
    except OSError:
        return {}
    return {line[3].replace(":", ""): line[0] for line in lines if len(line) > 3}


def _without_menu(mac: str, asked: list[Asked], found: list[Boot]) -> Boot | None:
    """Return the last boot if its firmware asked, and no menu of it was seen."""
    dhcp = [one for one in asked if not one.kind.startswith("tftp")]
    after = found[-1].last if found else 0
    # UEFI that is sent to its disk first tries all else that its network card can do.
    if not asked or (dhcp or asked)[-1].at < after + (_NEXT_S if _is_local(found) else 0):
        return None
    # Of TFTP only what belongs to that question: others may have had the address since.
    last = (dhcp or asked)[-1].at
    asked = [
        one for one in asked if after < one.at and last - _LOADER_S < one.at < last + _LOADER_S
    ]
    boot = Boot(asked[-1].at, next((one.address for one in asked[::-1] if one.address), ""))
    arch = dhcp[-1].arch if dhcp else ""
    boot.found(mac=mac, client_arch=arch, firmware=platform(arch))
    boot.before(asked)
    boot.started = min((step.at for step in boot.steps), default=boot.started)
    return boot if boot.steps else None


def _join(made: Boot, nameless: list[Boot]) -> None:
    """Add what the same client loaded from the web server after its firmware and GRUB."""
    for boot in nameless:
        if made.started <= boot.started <= made.last + _STAGE_S and boot.fetches:
            made.fetches += boot.fetches
            made.last = max(made.last, boot.last)


def _is_local(found: list[Boot]) -> bool:
    return bool(found and found[-1].steps and found[-1].steps[-1].kind == "local")


def outage(said: str, now: float) -> tuple[float, float] | None:
    """
    Return from when to when a service did not run of late (seconds since 1970), or None.

    said
        What ``systemctl show`` says of it with ``PROPERTIES``.

    now
        Seconds since 1970.
    """
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    begin = now - time.monotonic()
    up, down = (
        begin + int(told.get(f"{which}EnterTimestampMonotonic") or 0) / 1e6
        for which in ("Active", "Inactive")
    )
    if told.get("ActiveState") not in ("active", "reloading"):
        return (down, now) if told else None
    return (down, up) if down < up else None


def shown(boot: Boot, context: Context, host: str, how: Verdict) -> dict[str, Any]:
    """
    Return a client by its last boot, as ``netboot.clients`` lists it.

    boot, context
        The boot; what its verdict was made with.

    host, how
        See ``name``; the verdict.
    """
    return {
        "mac": colons(boot.mac),
        "host": host,
        "address": boot.address,
        "firmware": boot.facts.get("firmware", ""),
        "model": boot.facts.get("model", ""),
        "state": how.state,
        "step": _reached(boot, context),
        "entry": boot.entry,
        "bytes": boot.bytes,
        "seconds": round(boot.last - boot.started),
        "last": iso8601(boot.last),
        "cause": how.cause,
    }


def _reached(boot: Boot, context: Context) -> str:
    """Return how far a boot came: its last step, or what it fetched after that."""
    begun = max((step.at for step in boot.steps), default=0)
    entry = context.entries.get(boot.entry)
    after = [fetch for fetch in boot.fetches if fetch.at >= begun and fetch.sent]
    if any(fetch.path.endswith(".rpm") for fetch in after):
        return "packages"
    if entry and any(fetch.path == entry["stage"]["path"] for fetch in after):
        return "stage"
    return boot.steps[-1].kind if boot.steps else ""
