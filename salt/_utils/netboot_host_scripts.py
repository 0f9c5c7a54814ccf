"""
iPXE scripts of hosts and boards, and of hosts that boot an entry once. Pure.

The scripts only set variables for the menu, so that a single place boots. iPXE has no quoting, so
``netboot_checks`` has checked everything in them.
"""

from __future__ import annotations

from typing import Any

import netboot_answers
from netboot_hosts import (
    BOARDS,
    BUILT_IN,
    IDENTITIES,
    identities,
    identity,
    same_names,
    settings_of,
    told_by,
)
from netboot_names import NICS, host_key, label
from netboot_paths import in_url
from netboot_shapes import Arming, Config, Entry, Host, Listed

Maps = dict[str, Any]

_HEAD = "#!ipxe\n# Managed by netboot-alt: changes are lost at the next apply.\n"


def scripts(hosts: Maps, groups: Maps, config: Config) -> dict[str, str]:
    """
    Return the scripts of hosts and boards.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups`` (maps, without problems).

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns texts by file name: ``config-{host,uuid,serial,mac,product,manufacturer}-*.ipxe``, the
    names that clients request, after decoding the URL.
    """
    built_in: dict[tuple[str, str], Any] = {
        ("product", product): board for product, board in BUILT_IN.items()
    }
    made: dict[str, str] = {}
    named: dict[str, list[str]] = {}
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if any(kind in host for kind in BOARDS):
            made.update(_of_board(name, host, settings, built_in, config))
            continue
        text = _host_script(name, settings, config)
        for kind, value in identities(name, host):
            made[_file(IDENTITIES[kind], value)] = text
            given = host.get(kind)
            if kind == "serial":
                made[_file(IDENTITIES[kind], str(given))] = text
            elif kind == "hostname":
                for form in same_names(value, _domains(config)):
                    named.setdefault(_file(IDENTITIES[kind], form), []).append(text)
    # A bare name that several hosts have, in different domains, is that of none.
    made = {**{file: texts[0] for file, texts in named.items() if len(texts) == 1}, **made}
    for (kind, value), board in built_in.items():
        made[_file(kind, value)] = _board_script(value, board, config)
    return made


def listed(hosts: Maps, groups: Maps) -> dict[str, Listed]:
    """
    Return the hosts and boards for overviews, by name.

    hosts, groups
        See ``scripts``.
    """
    found: dict[str, Listed] = {}
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        boots = "entry" in settings or "image" in settings
        found[name] = {
            "identities": [list(one) for one in identities(name, host)],
            "entry": _entry(settings) if boots else "",
            "once": bool(settings.get("once")),
            "menu": not boots or bool(settings.get("menu")),
            "group": str(host.get("group") or ""),
        }
    return found


def _file(kind: str, value: str) -> str:
    return f"config-{kind}-{value}.ipxe"


def _domains(config: Config) -> list[str]:
    return [subnet["domain"] for subnet in config["dhcp"]["subnets"] if subnet["domain"]]


def _of_board(
    name: str, host: Maps, settings: Host, built_in: dict[tuple[str, str], Any], config: Config
) -> dict[str, str]:
    """Return a board's scripts by file name, and take it from the built-in boards."""
    given = {one: words for one, words in settings.items() if words != []}
    made = {}
    for kind, value in identities(name, host):
        board: Any = {**built_in.pop((kind, value), {}), **given}
        # Firmware may pad a text with spaces.
        for form in (value, host[kind]):
            made[_file(kind, form)] = _board_script(name, board, config)
    return made


def variables(settings: Host, config: Config, arguments: str) -> dict[str, str]:
    """
    Return the menu's variables, by name.

    settings
        Settings of a host or board, with those of its group.

    config
        The configuration.

    arguments
        Name of the variable with the kernel arguments.
    """
    values = {}
    if "entry" in settings or "image" in settings:
        values["nb-entry"] = _entry(settings)
        if not settings.get("menu"):
            values["nb-straight"] = "1"
    if "timeout_s" in settings:
        values["nb-timeout"] = str(settings["timeout_s"] * 1000)
    if settings.get("arguments"):
        values[arguments] = " ".join(settings["arguments"])
    if "nic" in settings:
        values["nb-nic"] = NICS[settings["nic"]]
    if "kernel_over" in settings:
        tftp = settings["kernel_over"] == "tftp"
        values["nb-files"] = (
            f"tftp://{config['address']}" if tftp else f"{config['http']['url']}/tftp"
        )
    return values


def _entry(settings: Host) -> str:
    """Return the id of the boot entry, see ``netboot_entries``."""
    if "entry" in settings:
        return settings["entry"]
    return f"{label(settings['image'])}-{settings['variant']}"


def _host_script(name: str, settings: Host, config: Config) -> str:
    values = variables(settings, config, "nb-arguments")
    lines = [f"# Host: {name}"]
    if settings.get("once"):
        values["nb-entry"] = "local"
        # If anything fails with that script, the local disk boots.
        url = f"{config['armed_by'] or config['http']['url']}/once/{host_key(name)}.ipxe"
        if config["arms"]:
            last = [f"chain --autofree {url} ||"]
        elif config["armed_by"]:
            there = f"set nb-armed-by {config['armed_by']}"
            last = [f"imgfetch --name armed {url} && imgfree armed && {there} ||"]
        else:
            last = []
    else:
        last = []
    lines += [f"set {variable} {value}" for variable, value in values.items()]
    return _HEAD + "\n".join(lines + last) + "\n"


def _board_script(name: str, settings: Host, config: Config) -> str:
    values = variables(settings, config, "nb-board-arguments")
    lines = [f"# Board: {name}"]
    if "nb-entry" in values:
        # The entry and whether to ask must come from the same script.
        lines.append("isset ${nb-entry} && goto settings ||")
        for variable in ("nb-entry", "nb-straight"):
            if variable in values:
                lines.append(f"set {variable} {values.pop(variable)}")
        lines.append(":settings")
    for variable, value in values.items():
        lines.append(f"isset ${{{variable}}} || set {variable} {value}")
    return _HEAD + "\n".join(lines) + "\n"


# -- once ------------------------------------------------------------------------------------------


def once(hosts: Maps, groups: Maps, config: Config, entries: list[Entry]) -> dict[str, Any]:
    """
    Return the hosts that boot an entry once, and what shows that they did.

    hosts, groups, config
        See ``scripts``.

    entries
        The boot entries, as ``netboot_entries.build`` returns them.

    Returns a map: ``problems``, a list of one-line strings for hosts whose boot this server could
    not detect; and ``hosts``, a map of the others (``OnceHost``) by their keys.
    """
    by_id = {entry["id"]: entry for entry in entries}
    found: dict[str, Any] = {}
    wrong = []
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if not settings.get("once"):
            continue
        entry = _entry(settings)
        path = _shown_by(by_id[entry], settings, config) if entry in by_id else ""
        if path is None:
            wrong.append(
                f"netboot:hosts:{name}:once: {entry} is not fetched from this web server, which "
                "therefore cannot detect the boot; the host boots from its own disk"
            )
            continue
        shown_by_initrd = path and by_id[entry]["method"] != "http"
        found[host_key(name)] = {
            "host": name,
            "entry": entry,
            "straight": not settings.get("menu"),
            "told_by": told_by(name, host),
            "path": path,
            # A board may need its kernel over TFTP, where the fetch would not be logged.
            "server": config["http"]["url"] if shown_by_initrd else "",
            **_installed(name, settings, config),
        }
    return {"hosts": found, "problems": wrong}


def _installed(name: str, settings: Host, config: Config) -> dict[str, Any]:
    """Return what the answers need to know of a host that is installed unattended."""
    if "install" not in settings:
        return {"install": "", "words": []}
    named = name if identity(name)[0] == "hostname" else f"pc-{host_key(name)}"
    return {
        "install": settings["install"],
        "hostname": settings.get("hostname", named),
        "network": settings.get("network"),
        "words": netboot_answers.kernel_words(config["installs"][settings["install"]]),
    }


def _shown_by(entry: Entry, settings: Host, config: Config) -> str | None:
    """Return the path on this web server that a boot of the entry fetches last, or None."""
    images = {image["label"]: image.get("offer", {}) for image in config["images"]}
    offer = images.get(entry["label"], {})
    if entry["method"] == "http" and not offer.get("stage2_http_url"):
        path: str = entry["stage"]["path"]
        return path
    over = settings.get("kernel_over") or config["kernel_over"][entry["arch"]]
    if over == "http" and entry["initrd"].startswith("/"):
        return in_url(config, config["paths"]["tftp"]) + entry["initrd"]
    return None


def armed_script(arming: Arming, url: str) -> str:
    """
    Return the script of an armed host, which exists until it has booted.

    Each arming has its own paths, so that no line of the web server's log can be mistaken for
    another arming's, whatever the clock says.

    arming
        The host's arming.

    url
        URL of the web server.
    """
    prefix = f"/host/{host_key(arming['host'])}.{arming['arming']}"
    words = " ".join(arming.get("words", []))
    answers = f"{url}{prefix}/answers/${{platform}}/"
    lines = [
        f"# Host: {arming['host']}, armed: this script is removed after a complete boot.",
        f"set nb-via {prefix}",
        f"set nb-entry {arming['entry']}",
        *([f"set nb-files {arming['server']}{prefix}/tftp"] if arming["server"] else []),
        *(["set nb-straight 1"] if arming["straight"] else []),
        *([f"set nb-answers {words} curl={answers}"] if words else []),
        *([f"set nb-check {answers}autoinstall.scm"] if words else []),
    ]
    return _HEAD + "\n".join(lines) + "\n"
