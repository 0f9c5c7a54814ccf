"""
Let clients through firewalld, with a rich rule for each port.

A service or policy would need a reload, which discards other runtime changes; a port of the zone
is merged with adjacent ranges. Rich rules have neither problem.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree

import netboot_ports
import netboot_run
from netboot_records import Records
from netboot_shapes import Config

Rules = dict[str, list[str]]  # by zone

_OFFLINE = "firewall-offline-cmd"
# firewalld's original zones, and changed zones.
_ZONES, _CHANGED_ZONES = "/usr/lib/firewalld/zones", "/etc/firewalld/zones"


def runs() -> bool:
    """Return whether firewalld runs."""
    return (
        netboot_run.has("systemctl")
        and netboot_run.tried("systemctl", "is-active", "--quiet", "firewalld").returncode == 0
    )


def reconcile(config: Config | None, records: Records, test: bool) -> dict[str, str]:
    """
    Let clients through firewalld where it runs, now and after its next start.

    Rules that these states added are on record; only these are ever removed.

    config
        The configuration. None: all rules on record are removed.

    records
        The records of this machine.

    test
        Only return what would change.

    Returns a map: each rule, after its zone, with ``added`` or ``removed``.

    Raises CommandExecutionError when firewalld refuses a rule.
    """
    running = runs()
    record = records.owned("firewalld", {})
    ours: Rules = record.get("rules", {})
    if config and not running or not config and not ours:
        return {}  # whoever stopped it may start it again
    wanted = _rich_rules(config) if config else {}
    steps, changes, after = _plan(wanted, ours, _tools(running))
    if test:
        return changes
    # firewalld copies a zone to change it.
    changed = (zone for zone in wanted if not os.path.exists(_changed(zone)))
    copies = sorted({*record.get("copies", []), *changed})
    # On record first: a run that is killed meanwhile leaves no unknown rules.
    meanwhile = {zone: sorted({*after[zone], *ours.get(zone, [])}) for zone in after}
    if steps:
        _put_on_record(records, meanwhile, copies)
    for step in steps:
        netboot_run.output(*step)
    after = {zone: rules for zone, rules in after.items() if rules}
    for zone in [zone for zone in copies if zone not in after]:
        _drop_copy(zone)
        copies.remove(zone)
    if after != ours or steps:
        _put_on_record(records, after, copies)
    return changes


def _tools(running: bool) -> list[tuple[str, ...]]:
    """Return the commands that change the running and the permanent configuration."""
    if running:
        return [("firewall-cmd",), ("firewall-cmd", "--permanent")]
    return [(_OFFLINE,)] if netboot_run.has(_OFFLINE) else []


def _plan(
    wanted: Rules, ours: Rules, tools: list[tuple[str, ...]]
) -> tuple[list[tuple[str, ...]], dict[str, str], Rules]:
    """Return commands to run, what they change, and the rules to put on record afterwards."""
    steps: list[tuple[str, ...]] = []
    changes: dict[str, str] = {}
    after: Rules = {}
    for zone in sorted({*wanted, *ours}):
        asked = wanted.get(zone, [])
        after[zone] = [rule for rule in ours.get(zone, []) if rule in asked]
        for tool in tools:
            if not asked and zone not in netboot_run.output(*tool, "--get-zones").split():
                continue
            argv = (*tool, f"--zone={zone}")
            there = netboot_run.output(*argv, "--list-rich-rules").splitlines()
            add = [rule for rule in asked if rule not in there]
            remove = [rule for rule in ours.get(zone, []) if rule in there and rule not in asked]
            steps += [(*argv, *(f"--add-rich-rule={rule}" for rule in add))] * bool(add)
            steps += [(*argv, *(f"--remove-rich-rule={rule}" for rule in remove))] * bool(remove)
            changes.update({f"{zone}: {rule}": "added" for rule in add})
            changes.update({f"{zone}: {rule}": "removed" for rule in remove})
            after[zone] += [rule for rule in add if rule not in after[zone]]
    return steps, changes, after


def _put_on_record(records: Records, rules: Rules, copies: list[str]) -> None:
    if rules:
        records.write("owned", "firewalld", {"rules": rules, "copies": copies})
    else:
        records.remove("owned", "firewalld")


def _changed(zone: str) -> str:
    return f"{_CHANGED_ZONES}/{zone}.xml"


def _drop_copy(zone: str) -> None:
    """Remove firewalld's changed copy of an original zone if both are equal again."""
    files = (_changed(zone), f"{_ZONES}/{zone}.xml")
    if all(map(os.path.exists, files)) and len({_canonical(file) for file in files}) == 1:
        os.unlink(files[0])
        if os.path.exists(f"{files[0]}.old"):
            os.unlink(f"{files[0]}.old")


def _canonical(file: str) -> str:
    return xml.etree.ElementTree.canonicalize(from_file=file, strip_text=True)


def _rich_rules(config: Config) -> Rules:
    """Return the rules by zone, as firewalld spells them (firewalld.richlanguage(5))."""
    rules = [
        f'rule family="ipv4" port port="{port}" protocol="{protocol}" accept'
        for protocol, some in netboot_ports.by_protocol(config).items()
        for port in some
    ]
    return {_zone(interface): rules for interface in netboot_ports.interfaces(config)}


def _zone(interface: str) -> str:
    found = netboot_run.tried("firewall-cmd", f"--get-zone-of-interface={interface}")
    zone = "" if found.returncode else found.stdout.strip()
    return zone or netboot_run.output("firewall-cmd", "--get-default-zone")
