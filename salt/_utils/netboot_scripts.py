"""
The iPXE scripts in the TFTP root: which scripts there should be, and how the directory is updated.

Files that these states did not write are left alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import netboot_files
import netboot_host_scripts
import netboot_images
import netboot_menus
from netboot_records import Records
from netboot_shapes import Listed


class Plan(NamedTuple):
    """
    The changes to make.

    ``menus``, ``hosts``
        Texts by file name.
    ``owned``
        Names of the scripts that these states wrote before.
    ``changes``
        ``new``, ``changed`` or ``removed``, by file name.
    ``foreign``
        Names of foreign files that are in the way and stay.
    ``listed``
        The hosts for overviews, by name.
    ``problems``
        Images and defaults that the menus cannot offer, one line each.
    ``warnings``
        Entries that may not boot, one line each.
    """

    menus: dict[str, str]
    hosts: dict[str, str]
    owned: list[str]
    changes: dict[str, str]
    foreign: list[str]
    listed: dict[str, Listed]
    problems: list[str]
    warnings: list[str]


def plan(
    records: Records,
    template: str,
    hosts: dict[str, Any],
    groups: dict[str, Any],
    foretell: bool = False,
) -> Plan:
    """
    Return the scripts that there should be, and the changes that they need.

    records
        The records of this machine.

    template
        Text of the menu's template.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups``.

    foretell : False
        Whether missing ISOs of the pillar count as fetched, as under ``test=True``.
    """
    config = records.config()
    entries, problems, doubts = netboot_images.offered(records, foretell)
    waits = netboot_images.awaited(records)
    menus = netboot_menus.render(template, config, entries, bool(hosts), waits)
    scripts = netboot_host_scripts.scripts(hosts, groups, config)
    owned = records.owned("menus", [])
    changes = netboot_files.difference(config["paths"]["tftp"], {**scripts, **menus}, owned)
    foreign = [
        name
        for name, change in changes.items()
        if change == "changed" and name not in owned and name not in menus
    ]
    return Plan(
        menus,
        {name: text for name, text in scripts.items() if name not in foreign},
        owned,
        {name: change for name, change in changes.items() if name not in foreign},
        foreign,
        netboot_host_scripts.listed(hosts, groups),
        [f"Not in the menu: {problem}" for problem in problems]
        + netboot_menus.unmet_defaults(config, entries),
        doubts,
    )


def carry_out(records: Records, done: Plan) -> None:
    """
    Make the changes that ``plan`` returned.

    records
        The records of this machine.

    done
        The plan.
    """
    paths = records.config()["paths"]
    scripts = {**done.hosts, **done.menus}
    gone = set(done.owned) - set(scripts)
    if sorted(done.owned) != sorted(scripts):
        # Before the scripts: after a kill here, the next run must know which scripts it owns.
        records.write("owned", "menus", sorted({*done.owned, *scripts}))
    # Hosts first: a killed run must not leave a host with a new default of the menu.
    for part in (done.hosts, done.menus, gone):
        some = {name: done.changes[name] for name in part if name in done.changes}
        netboot_files.carry_out(paths["tftp"], scripts, some, paths["staging"])
    if gone:
        records.write("owned", "menus", sorted(scripts))
    if done.listed != records.hosts():
        records.write("applied", "hosts", done.listed)
