"""What a rehearsal boots: personas x lines of the menu, and hosts; which keys lead there. Pure."""

import dataclasses
import fnmatch
import re
from typing import NamedTuple

import netboot_host_scripts
import netboot_menus
from netboot_shapes import Config, Entry

from .personas import Persona

#: Processors without long mode (QEMU's names), which a BIOS sends to the menu for i586.
_BITS_32 = ("486", "pentium", "pentium2", "pentium3", "coreduo", "n270", "qemu32", "kvm32")


class Chosen(NamedTuple):
    """What of the plan was asked for: patterns; none: all. hosts: none are tried by default.

    without: names of images that cannot be booted here.
    """

    images: tuple = ()
    methods: tuple = ()
    hosts: tuple = ()
    without: tuple = ()


class Row(NamedTuple):
    """One boot.

    what: its name; arch: of the menu; keys: what is pressed in the menu, empty: nothing, until it
    times out, None: there may be no menu; entry: what must boot, None for the machine's own disk;
    password: whether the menu asks for one; host: its name in the pillar; once: whether it must be
    armed; mac, smbios: what it is known by.
    """

    persona: Persona
    what: str
    arch: str
    entry: Entry | None = None
    keys: tuple | None = None
    password: bool = False
    host: str = ""
    once: bool = False
    mac: str | None = None
    smbios: tuple = ()


class Plan(NamedTuple):
    """The boots, and a line for each thing that is not tried."""

    rows: list
    notes: list


def plan(personas, config: Config, entries: list, hosts: dict, groups: dict, chosen: Chosen):
    """Return the Plan.

    personas: those to try; config, entries: of the netboot server; hosts, groups: of the pillar.
    """
    rows = []
    notes = [
        f"{name}: not tried, made ISOs of its architecture have no kernel"
        for name in chosen.without
    ]
    names = _names(entries)
    for persona in personas:
        arch = menu_of(persona, config)
        if persona.first == "disk":
            rows += [] if chosen.hosts else [Row(persona, "its own disk", arch)]
            continue
        lines = _lines(persona, config, arch, entries)
        offered = {line["id"]: line for line in lines}
        wanted = [one for one in entries if one["id"] in offered and _is_wanted(one, chosen)]
        if not wanted and not persona.plain:
            notes.append(f"{persona.name}: no image is for its menu, that of {arch}")
        if chosen.hosts:
            continue
        for entry in wanted:
            keys = keys_to(entry["id"], lines, config, arch, entries)
            asks = offered[entry["id"]]["password"]
            rows.append(Row(persona, names[entry["id"]], arch, entry, keys, asks))
        if persona.disk == "installed":
            rows.append(Row(persona, "local", arch, None, ("l",)))
        if wanted and (persona.plain or persona.disk == "installed"):
            rows += _timed_out(persona, config, arch, lines, entries, wanted, chosen)
    if chosen.hosts:
        made = _of_hosts(personas, config, entries, hosts, groups, chosen, notes)
        rows += made
    extras = [extra["title"] for extra in config["menu"]["extra"]]
    if extras:
        notes.append(f"netboot:menu:extra: not tried: {', '.join(extras)}")
    return Plan(rows, notes)


def _timed_out(persona, config, arch, lines, entries, wanted, chosen):
    """What starts when nobody presses a key: a row, or none if that cannot be tried."""
    shown = netboot_menus.view(config, arch, entries)
    # A default that asks for a password is not started; the first line is.
    free = {line["id"] for line in lines if not line["password"]}
    default = shown["default"] if shown["default"] in free else "local"
    fit = [one for one in wanted if one["id"] == default]
    if fit:
        return [Row(persona, f"time-out: {_names(entries)[default]}", arch, fit[0], ())]
    persona = with_disk(persona)
    if default != "local" or chosen.images or chosen.methods or persona.disk != "installed":
        return []
    return [Row(persona, "time-out: its own disk", arch, None, ())]


def with_disk(persona):
    """The persona with an installed disk, where the lab has one for its firmware."""
    if persona.firmware in ("bios", "efi-x86_64"):
        return dataclasses.replace(persona, disk="installed")
    return persona


def menu_of(persona, config):
    """The architecture whose menu a persona gets."""
    if persona.kind == "bios" and persona.cpu in _BITS_32:
        return "i586"
    return next(one["arch"] for one in config["firmware"] if one["kind"] == persona.kind)


def _lines(persona, config, arch, entries):
    """The lines of a persona's menu, as netboot_menus.view has them."""
    lines = netboot_menus.view(config, arch, entries)["lines"]
    return [line for line in lines if persona.kind == "bios" or not line["bios_only"]]


def _names(entries):
    """A name for each entry by its id, with the form where two differ in nothing else."""
    short = {one["id"]: f"{one['label']}/{one['variant']}/{one['method']}" for one in entries}
    all_ = list(short.values())
    return {
        one["id"]: short[one["id"]]
        if all_.count(short[one["id"]]) == 1
        else f"{short[one['id']]}/{one['form']}"
        for one in entries
    }


def _is_wanted(entry, chosen):
    named = (entry["image"].lower(), entry["label"])
    images = [pattern.lower() for pattern in chosen.images] or ["*"]
    return (
        entry["image"] not in chosen.without
        and any(fnmatch.fnmatch(name, one) for name in named for one in images)
        and (not chosen.methods or entry["method"] in chosen.methods)
    )


def keys_to(entry_id, lines, config, arch, entries):
    """The keys that choose an entry in a menu, as QEMU names them.

    A line with a digit is chosen by that; the others by arrows from the first line. In a menu with
    pages the page comes first.
    """
    (line,) = (one for one in lines if one["id"] == entry_id)
    extras = {one["id"] for one in lines if one["id"].startswith("+")}
    boots = [one for one in lines if one["id"] != "local" and one["id"] not in extras]
    if not line["page"]:
        return _pressed(line["title"], 1 + boots.index(line))
    pages = list(dict.fromkeys(one["page"] for one in boots))
    shown = netboot_menus.view(config, arch, entries)
    default = shown["default"] != "local"
    # The pages' own digits count those that only a BIOS shows, too.
    every = list(dict.fromkeys(one["page"] for one in shown["lines"] if one["page"]))
    number = every.index(line["page"]) + 1
    title = f"{number}  " if number <= 9 else ""
    page = _pressed(title, 1 + default + pages.index(line["page"]))
    of_page = [one for one in boots if one["page"] == line["page"]]
    return (*page, "pause", *_pressed(line["title"], of_page.index(line)))


def _pressed(title, place):
    digit = re.match(r"(\d)  ", title)
    return (digit[1],) if digit else ("home", *["down"] * place, "ret")


# -- hosts ----------------------------------------------------------------------------------------


def _of_hosts(personas, config, entries, hosts, groups, chosen, notes):
    by_id, names = {one["id"]: one for one in entries}, _names(entries)
    rows = []
    for name, host in netboot_host_scripts.listed(hosts, groups).items():
        if not any(fnmatch.fnmatch(name.lower(), one.lower()) for one in chosen.hosts):
            continue
        known = identity_of(host["identities"])
        if known is None:
            notes.append(f"{name}: not tried, the lab's router assigns no host names")
            continue
        default = host["entry"]
        fit = [one for one in personas if one.first == "network"]
        made = []
        for persona in fit:
            arch = menu_of(persona, config)
            lines = {one["id"] for one in _lines(persona, config, arch, entries)}
            wanted = default or netboot_menus.view(config, arch, entries)["default"]
            if wanted == "local":
                persona = with_disk(persona)
            elif wanted not in lines:
                continue
            entry = by_id.get(wanted)
            if entry and entry["image"] in chosen.without:
                continue
            if wanted == "local" and persona.disk != "installed":
                continue
            what = f"{name}: {names[wanted] if entry else 'its own disk'}"
            keys = ("ret",) if host["menu"] else None
            row = Row(persona, what, arch, entry, keys, host=name, once=host["once"])
            made.append(row._replace(**known))
        if not made:
            why = f"no persona's menu has {default}" if default else "nothing is its default"
            notes.append(f"{name}: not tried, {why}")
        rows += made
    return rows


def identity_of(identities):
    """What a machine must have to be a host, as fields of Row; None if the lab cannot give it.

    identities: pairs of kind and value, as netboot_host_scripts.listed has them.
    """
    given = dict(reversed(identities))
    smbios = {
        kind: given[kind] for kind in ("uuid", "serial", "product", "manufacturer") if kind in given
    }
    mac = ":".join(re.findall("..", given["mac"])) if "mac" in given else None
    if not mac and not smbios:
        return None
    return {"mac": mac, "smbios": tuple(smbios.items())}
