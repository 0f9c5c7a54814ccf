"""
Hand-written firewalls: they are only read, and the rules to add are listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import netboot_files
import netboot_firewalld
import netboot_ports
import netboot_run
import netboot_ufw
from netboot_shapes import Config
from netboot_ufw import REMARK

Ports = dict[str, list[str]]  # by protocol

# Where the kernel lists tables of legacy iptables, which nft does not see.
_IPTABLES = "/proc/net/ip_tables_names"


def missing(config: Config) -> list[str]:
    """
    List the commands that let clients through a firewall that these states do not manage.

    Where neither firewalld nor ufw runs, and a chain for incoming packets ends in drop or reject: a
    rule for the head of each such chain, for nft or iptables, unless the chain has it already.

    config
        The configuration.
    """
    if netboot_firewalld.runs() or netboot_ufw.runs():
        return []
    wanted, interfaces = netboot_ports.by_protocol(config), netboot_ports.interfaces(config)
    found = []
    if netboot_run.has("nft"):
        # Where listing is not permitted, as in a container, there are no rules.
        found += nft_rules(wanted, interfaces, netboot_run.tried("nft", "list", "ruleset").stdout)
    if "filter" in (netboot_files.read(_IPTABLES) or "").split():
        # Where iptables writes nft tables, the program for legacy tables has another name.
        legacy = "iptables-legacy"
        program = legacy if netboot_run.has(legacy) else "iptables"
        if netboot_run.has(program):
            listing = netboot_run.output(program, "-S", "INPUT")
            found += iptables_rules(wanted, interfaces, listing, program)
    return found


def nft_rules(wanted: Ports, interfaces: list[str], listing: str) -> list[str]:
    """
    List the nft commands that let clients through the closed chains of a ruleset.

    wanted
        Ports by protocol, see ``netboot_ports.by_protocol``.

    interfaces
        Names of the interfaces on which clients are served.

    listing
        The output of ``nft list ruleset``.
    """
    found = []
    for chain, lines in _closed_chains(listing):
        for interface in interfaces:
            for protocol, some in wanted.items():
                listed = f"{{ {', '.join(some)} }}" if len(some) > 1 else some[0]
                rule = f'iifname "{interface}" {protocol} dport {listed} accept comment "{REMARK}"'
                if rule not in lines:
                    found.append(f"nft insert rule {chain} '{rule}'")
    return found


# A rule that refuses everything, perhaps with counter or log.
_REFUSES = re.compile(
    r"((counter packets \d+ bytes \d+|log( \w+ (\w+|\"[^\"]*\"))*) )*(drop|reject.*)"
)


def _closed_chains(listing: str) -> Iterator[tuple[str, list[str]]]:
    """Yield "family table chain" and the lines of chains that refuse what they do not accept."""
    table, chain = "", ""
    lines: list[str] = []
    for line in map(str.strip, listing.splitlines()):
        begins = re.fullmatch(r"(table|chain) (.+) \{", line)
        if begins:
            table, chain = (begins[2], "") if begins[1] == "table" else (table, begins[2])
            lines = []
        elif line == "}" and chain:
            # Tables of IPv6, bridges and others do not matter.
            hook = next((one for one in lines if " hook input " in one), None)
            if table.startswith(("ip ", "inet ")) and hook:
                if "policy drop" in hook or _REFUSES.fullmatch(lines[-1]):
                    yield f"{table} {chain}", lines
            chain = ""
        else:
            lines.append(line)


def iptables_rules(
    wanted: Ports, interfaces: list[str], listing: str, program: str = "iptables"
) -> list[str]:
    """
    List the iptables commands that let clients through the chain INPUT, if it is closed.

    wanted, interfaces
        See ``nft_rules``.

    listing
        The output of ``iptables -S INPUT``.

    program : iptables
        The command's first word.
    """
    lines = listing.splitlines()
    if "-P INPUT DROP" not in lines and not re.match(r"-A INPUT -j (DROP|REJECT)", lines[-1]):
        return []
    rules = [
        f"INPUT -i {interface} -p {protocol} -m multiport --dports "
        f"{','.join(some).replace('-', ':')} -m comment --comment {REMARK} -j ACCEPT"
        for interface in interfaces
        for protocol, some in wanted.items()
    ]
    return [f"{program} -I {rule}" for rule in rules if f"-A {rule}" not in lines]
