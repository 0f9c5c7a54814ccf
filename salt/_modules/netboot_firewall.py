"""
Let clients through this machine's firewall: firewalld's or ufw's rules, and those written by hand.

What is opened is what ``netboot_ports.needed`` lists, over IPv4 and on the interfaces that clients
are served on. Rules that are not ours are never touched; rules written by hand (nftables, iptables)
are only read, and what to add to them is told.
"""

import os
import re
import xml.etree.ElementTree

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_firewall"

#: What ours are known by, where a rule can have a remark.
REMARK = "netboot-alt"

_OFFLINE = "firewall-offline-cmd"
# Where firewalld has the zones that it came with, and those that were changed.
_ZONES, _CHANGED_ZONES = "/usr/lib/firewalld/zones", "/etc/firewalld/zones"
_UFW_CONF = "/etc/ufw/ufw.conf"
_UFW_RULES = "/etc/ufw/user.rules"
_UFW_PROFILE = "/etc/ufw/applications.d/netboot"
_MANAGED = "# Managed by netboot-alt: changes are lost at the next apply.\n"
# Where the kernel lists the tables of iptables' own kind, which nft does not see.
_IPTABLES = "/proc/net/ip_tables_names"


def __virtual__():
    return __virtualname__


def ports(config):
    """
    List the ports that clients must reach.

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns a map of lists by protocol (``tcp``, ``udp``), sorted: ``80``, ``50000-50999`` (texts).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_firewall.ports '{...}'
    """
    ranges = {"tcp": set(), "udp": set()}
    for row in __salt__["netboot_ports.needed"](config):
        ranges[row["protocol"]].add((row["port"], row.get("last", row["port"])))
    return {
        protocol: [str(a) if a == b else f"{a}-{b}" for a, b in sorted(found)]
        for protocol, found in ranges.items()
    }


def _interfaces(config):
    # Rules know no names of second addresses (eth0:1).
    return sorted({one["name"].partition(":")[0] for one in config["interfaces"]})


def _run(*argv):
    """What a program says. Raises CommandExecutionError, with that, when it fails."""
    done = __salt__["cmd.run_all"](list(argv), python_shell=False, env={"LC_ALL": "C"})
    if done["retcode"]:
        said = done["stderr"] or done["stdout"]
        raise CommandExecutionError(f"`{' '.join(argv)}` failed: {said}")
    return done["stdout"]


def _firewalld_runs():
    return __salt__["service.available"]("firewalld") and __salt__["service.status"]("firewalld")


def _ufw_runs():
    enabled = "ENABLED=yes" in (__salt__["netboot_files.read"](_UFW_CONF) or "").splitlines()
    return enabled and __salt__["cmd.has_exec"]("ufw")


def firewalld(config=None):
    """
    Let clients through firewalld where it runs, now and after its next start.

    Each port is a rich rule of its own, which no port or service of the zone is mixed up with.
    Nothing is reloaded, as that would end what others have changed until the next start. What
    these states added is on record.

    config
        The configuration, as ``netboot.config`` resolves it. Default: none, all is taken back.

    Returns a map: each rule, after its zone, with ``added`` or ``removed``; under ``test=True``,
    what would be.

    Raises CommandExecutionError when firewalld refuses a rule.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_firewall.firewalld
    """
    runs = _firewalld_runs()
    record = __salt__["netboot_records.read"]("owned", "firewalld") or {}
    ours, copies = record.get("rules", {}), record.get("copies", [])
    if config and not runs or not config and not ours:
        return {}  # who has stopped it may start it again
    wanted = _rich_rules(config) if config else {}
    if runs:
        tools = [("firewall-cmd",), ("firewall-cmd", "--permanent")]
    else:
        tools = [(_OFFLINE,)] if __salt__["cmd.has_exec"](_OFFLINE) else []
    steps, changes, after = [], {}, {}
    for zone in sorted({*wanted, *ours}):
        asked = wanted.get(zone, [])
        after[zone] = [rule for rule in ours.get(zone, []) if rule in asked]
        for tool in tools:
            if not asked and zone not in _run(*tool, "--get-zones").split():
                continue
            tool = (*tool, f"--zone={zone}")
            there = _run(*tool, "--list-rich-rules").splitlines()
            add = [rule for rule in asked if rule not in there]
            remove = [rule for rule in ours.get(zone, []) if rule in there and rule not in asked]
            steps += [(*tool, *(f"--add-rich-rule={rule}" for rule in add))] * bool(add)
            steps += [(*tool, *(f"--remove-rich-rule={rule}" for rule in remove))] * bool(remove)
            changes.update({f"{zone}: {rule}": "added" for rule in add})
            changes.update({f"{zone}: {rule}": "removed" for rule in remove})
            after[zone] += [rule for rule in add if rule not in after[zone]]
    if __opts__["test"]:
        return changes
    # firewalld copies a zone to change it.
    copies = sorted({*copies, *(zone for zone in wanted if not os.path.exists(_changed(zone)))})
    # Before it is done: a run that is killed meanwhile leaves nothing that nobody knows.
    meanwhile = {zone: sorted({*after[zone], *ours.get(zone, [])}) for zone in after}
    if steps:
        _put_on_record(meanwhile, copies)
    for step in steps:
        _run(*step)
    after = {zone: rules for zone, rules in after.items() if rules}
    for zone in [zone for zone in copies if zone not in after]:
        _drop_copy(zone)
        copies.remove(zone)
    if after != ours or steps:
        _put_on_record(after, copies)
    return changes


def _put_on_record(rules, copies):
    if rules:
        record = {"rules": rules, "copies": copies}
        __salt__["netboot_records.write"]("owned", "firewalld", record)
    else:
        __salt__["netboot_records.remove"]("owned", "firewalld")


def _changed(zone):
    return f"{_CHANGED_ZONES}/{zone}.xml"


def _drop_copy(zone):
    """Remove firewalld's copy of a zone that came with it, if it says the same again."""
    files = (_changed(zone), f"{_ZONES}/{zone}.xml")
    if all(map(os.path.exists, files)) and len({_canonical(file) for file in files}) == 1:
        os.unlink(files[0])
        if os.path.exists(f"{files[0]}.old"):
            os.unlink(f"{files[0]}.old")


def _canonical(file):
    return xml.etree.ElementTree.canonicalize(from_file=file, strip_text=True)


def _rich_rules(config):
    """By zone, as firewalld spells them (firewalld.richlanguage(5))."""
    rules = [
        f'rule family="ipv4" port port="{port}" protocol="{protocol}" accept'
        for protocol, some in ports(config).items()
        for port in some
    ]
    return {_zone(interface): rules for interface in _interfaces(config)}


def _zone(interface):
    argv = ["firewall-cmd", f"--get-zone-of-interface={interface}"]
    zone = __salt__["cmd.run_stdout"](argv, python_shell=False, ignore_retcode=True)
    return zone or _run("firewall-cmd", "--get-default-zone")


def ufw(config=None):
    """
    Let clients through ufw where it is enabled: a profile ``netboot``, a rule for each interface.

    config
        The configuration, as ``netboot.config`` resolves it. Default: none, all is taken back.

    Returns a map: the profile's path and each interface that changed, with ``written``,
    ``removed``, ``opened`` or ``closed``; under ``test=True``, what would be.

    Raises CommandExecutionError when ufw refuses a rule.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_firewall.ufw
    """
    if config and not _ufw_runs():
        return {}  # who has disabled it may enable it again
    there = _ufw_rules(__salt__["netboot_files.read"](_UFW_RULES) or "")
    before = __salt__["netboot_files.read"](_UFW_PROFILE)
    wanted = ports(config) if config else {}
    profile = _profile(wanted) if config else None
    interfaces = _interfaces(config) if config else []
    changes = {}
    if before and not before.startswith(_MANAGED):
        if config:
            raise CommandExecutionError(f"{_UFW_PROFILE} is somebody else's; rename it.")
        return changes
    if profile != before:
        changes[_UFW_PROFILE] = "written" if profile else "removed"
    changes.update({one: "closed" for one in there if one not in interfaces})
    changes.update({one: "opened" for one in interfaces if there.get(one) != wanted})
    if __opts__["test"] or not changes:
        return changes
    if profile and profile != before:
        __salt__["netboot_files.write"](_UFW_PROFILE, profile)
    if profile and there:
        _run("ufw", "app", "update", "netboot")
        # It does that by itself only where nobody came over ssh.
        _run("ufw", "reload")
    for interface, change in changes.items():
        # 0.0.0.0/0: not over IPv6.
        rule = ["allow", "in", "on", interface, "to", "0.0.0.0/0", "app", "netboot"]
        if change == "closed":
            _run("ufw", "delete", *rule)
        elif change == "opened" and interface not in there:
            _run("ufw", *rule, "comment", REMARK)
    if before and not profile:
        os.unlink(_UFW_PROFILE)
    return changes


def _profile(wanted):
    """As ufw-framework(8), "application integration", has it."""
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


def _ufw_rules(text):
    """By interface, the ports by protocol that our rules let through."""
    found = {}
    for protocol, listed, interface in re.findall(
        r"^### tuple ### allow (tcp|udp) (\S+) \S+ any \S+ netboot - in_(\S+)", text, re.MULTILINE
    ):
        found.setdefault(interface, {})[protocol] = listed.replace(":", "-").split(",")
    return found


def by_hand(config):
    """
    List the commands that let clients through a firewall that these states do not manage.

    Where neither firewalld nor ufw runs, and a chain for incoming packets ends in drop or reject:
    a rule for the head of each such chain, as nft or iptables takes it, unless it is there already.

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns a list of texts, ready to paste.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_firewall.by_hand '{...}'
    """
    if _firewalld_runs() or _ufw_runs():
        return []
    wanted, interfaces = ports(config), _interfaces(config)
    found = []
    if __salt__["cmd.has_exec"]("nft"):
        # Where nobody may look at rules, as in a container, nobody wrote any.
        listing = __salt__["cmd.run_stdout"](
            ["nft", "list", "ruleset"], python_shell=False, ignore_retcode=True
        )
        found += nft_rules(wanted, interfaces, listing)
    if "filter" in (__salt__["netboot_files.read"](_IPTABLES) or "").split():
        # Where iptables writes nft's tables, its own kind has a program of another name.
        legacy = "iptables-legacy"
        program = legacy if __salt__["cmd.has_exec"](legacy) else "iptables"
        if not __salt__["cmd.has_exec"](program):
            return found
        found += iptables_rules(wanted, interfaces, _run(program, "-S", "INPUT"), program)
    return found


def nft_rules(wanted, interfaces, listing):
    """
    List the nft commands that let clients through the closed chains of a ruleset.

    wanted
        Ports by protocol, as ``ports`` lists them.

    interfaces
        Names of the interfaces that clients are served on.

    listing
        What ``nft list ruleset`` says.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_firewall.nft_rules '{tcp: ["80"]}' '[eth0]' 'table inet filter { ... }'
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


# A rule that nothing comes past, perhaps counted or logged.
_REFUSES = re.compile(
    r"((counter packets \d+ bytes \d+|log( \w+ (\w+|\"[^\"]*\"))*) )*(drop|reject.*)"
)


def _closed_chains(listing):
    """Family, table and chain (one text), and the lines, of chains that let in what they name."""
    table, chain, lines = "", "", []
    for line in map(str.strip, listing.splitlines()):
        begins = re.fullmatch(r"(table|chain) (.+) \{", line)
        if begins:
            table, chain = (begins[2], "") if begins[1] == "table" else (table, begins[2])
            lines = []
        elif line == "}" and chain:
            # IPv6's, bridges' and others' tables have nothing of ours.
            hook = next((one for one in lines if " hook input " in one), None)
            if table.startswith(("ip ", "inet ")) and hook:
                if "policy drop" in hook or _REFUSES.fullmatch(lines[-1]):
                    yield f"{table} {chain}", lines
            chain = ""
        else:
            lines.append(line)


def iptables_rules(wanted, interfaces, listing, program="iptables"):
    """
    List the iptables commands that let clients through the chain INPUT, if that is closed.

    wanted, interfaces
        As of ``nft_rules``.

    listing
        What ``iptables -S INPUT`` says.

    program : iptables
        The command's first word.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_firewall.iptables_rules '{tcp: ["80"]}' '[eth0]' '-P INPUT DROP'
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
