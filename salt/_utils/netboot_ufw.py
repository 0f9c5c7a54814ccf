"""
Let clients through ufw: an application profile ``netboot``, and a rule for each interface.
"""

from __future__ import annotations

import os
import re

from salt.exceptions import CommandExecutionError

import netboot_files
import netboot_ports
import netboot_run
from netboot_shapes import Config

Rules = dict[str, dict[str, list[str]]]  # ports by interface and protocol

#: The comment that marks the rules of these states.
REMARK = "netboot-alt"

_CONF = "/etc/ufw/ufw.conf"
_RULES = "/etc/ufw/user.rules"
_PROFILE = "/etc/ufw/applications.d/netboot"
_MANAGED = "# Managed by netboot-alt: changes are lost at the next apply.\n"


def runs() -> bool:
    """Return whether ufw is enabled."""
    enabled = "ENABLED=yes" in (netboot_files.read(_CONF) or "").splitlines()
    return enabled and netboot_run.has("ufw")


def reconcile(config: Config | None, test: bool) -> dict[str, str]:
    """
    Let clients through ufw where it is enabled: a profile ``netboot``, a rule for each interface.

    config
        The configuration. None: profile and rules are removed.

    test
        Only return what would change.

    Returns a map: the profile's path and each interface that changed, with ``written``,
    ``removed``, ``opened`` or ``closed``.

    Raises CommandExecutionError when ufw refuses a rule.
    """
    if config and not runs():
        return {}  # whoever disabled it may enable it again
    there = _rules(netboot_files.read(_RULES) or "")
    before = netboot_files.read(_PROFILE)
    wanted = netboot_ports.by_protocol(config) if config else {}
    profile = _profile(wanted) if config else None
    interfaces = netboot_ports.interfaces(config) if config else []
    changes: dict[str, str] = {}
    if before and not before.startswith(_MANAGED):
        if config:
            raise CommandExecutionError(f"{_PROFILE} is a foreign file; rename it.")
        return changes
    if profile != before:
        changes[_PROFILE] = "written" if profile else "removed"
    changes.update({one: "closed" for one in there if one not in interfaces})
    changes.update({one: "opened" for one in interfaces if there.get(one) != wanted})
    if changes and not test:
        _carry_out(changes, profile, before, there)
    return changes


def _carry_out(
    changes: dict[str, str], profile: str | None, before: str | None, there: Rules
) -> None:
    if profile and profile != before:
        netboot_files.write(_PROFILE, profile)
    if profile and there:
        netboot_run.output("ufw", "app", "update", "netboot")
        # `app update` reloads only outside of ssh sessions.
        netboot_run.output("ufw", "reload")
    for interface, change in changes.items():
        # 0.0.0.0/0: IPv4 only.
        rule = ["allow", "in", "on", interface, "to", "0.0.0.0/0", "app", "netboot"]
        if change == "closed":
            netboot_run.output("ufw", "delete", *rule)
        elif change == "opened" and interface not in there:
            netboot_run.output("ufw", *rule, "comment", REMARK)
    if before and not profile:
        os.unlink(_PROFILE)


def _profile(wanted: dict[str, list[str]]) -> str:
    """Return the profile, see ufw-framework(8), "application integration"."""
    listed = "|".join(
        f"{','.join(some).replace('-', ':')}/{protocol}" for protocol, some in wanted.items()
    )
    return (
        f"{_MANAGED}"
        "[netboot]\n"
        "title=Network boot\n"
        "description=Boot loaders, menus and images for clients that boot over the network\n"
        f"ports={listed}\n"
    )


def _rules(text: str) -> Rules:
    """Return, by interface and protocol, the ports that the netboot rules let through."""
    found: Rules = {}
    for protocol, listed, interface in re.findall(
        r"^### tuple ### allow (tcp|udp) (\S+) \S+ any \S+ netboot - in_(\S+)", text, re.MULTILINE
    ):
        found.setdefault(interface, {})[protocol] = listed.replace(":", "-").split(",")
    return found
