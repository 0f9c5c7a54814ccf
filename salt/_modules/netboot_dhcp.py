"""
Which firmware asks for what: the table of kinds, their part of the pillar, hints for DHCP servers.

Pure functions: they run on a minion, on the controller of salt-ssh (``salt/_wrapper`` calls them)
and in table tests alike. dnsmasq's own file is a template, ``salt/netboot/files``.
"""

import ipaddress
import json
import re

__virtualname__ = "netboot_dhcp"

#: What asks first. ``arch``: whose menu it gets; ``boots``: whose images can be started by it;
#: ``pxe`` and ``http``: what it says in DHCP option 93 (RFC 4578 and IANA's "Processor Architecture
#: Types"; 9 is EBC, which some x86_64 firmware says, and so is 17 over HTTP); ``file``: its boot
#: loader in the TFTP root.
FIRMWARE = (
    {
        "kind": "bios",
        "arch": "x86_64",
        "boots": ["x86_64", "i586"],
        "pxe": [0],
        "http": [],
        "file": "undionly.kpxe",
    },
    *(
        {
            "kind": kind,
            "arch": arch,
            "boots": [arch],
            "pxe": pxe,
            "http": http,
            "file": f"snponly-{arch}.efi",
        }
        for kind, arch, pxe, http in (
            ("efi-i386", "i586", [6], [15]),
            ("efi-x86_64", "x86_64", [7, 9], [16, 17]),
            ("efi-aarch64", "aarch64", [11], [19]),
            ("efi-riscv64", "riscv64", [27], [28]),
            ("efi-loongarch64", "loongarch64", [39], [40]),
        )
    ),
)

#: The shim takes its own name without "-shim<arch>" for that of the iPXE which it starts, beside it
#: or in the TFTP root (ipxe/ipxe, issue 1684), so the two kinds need different names there.
SECURE_BOOT = {
    "efi-x86_64": {"shim": "ipxe-shimx64.efi", "ipxe": "ipxe.efi"},
    "efi-aarch64": {"shim": "snponly-shimaa64.efi", "ipxe": "snponly.efi"},
}


def __virtual__():
    return __virtualname__


def problems(pillar, target):
    """
    Say what is wrong between the keys of DHCP and firmware, when each value alone is right.

    pillar
        What stands under the pillar key ``netboot`` (a map) without problems of single keys.

    target
        What ``netboot.target`` returned.

    Returns a list of one-line texts, each starting with its pillar key.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_dhcp.problems '{dhcp: {mode: server}}' '{addresses: []}'
    """
    found = []
    address = pillar.get("address")
    if address and not pillar.get("virtual_address") and address not in target["addresses"]:
        found.append(
            f"netboot:address: {address} is no address of this machine, which has "
            f"{', '.join(target['addresses'])}; or is it one in front of it? Then add "
            "virtual_address: true"
        )
    if pillar.get("virtual_address") and not address:
        found.append("netboot:address: is missing, as virtual_address is true")
    dhcp = pillar.get("dhcp") or {}
    subnets = dhcp.get("subnets") or {}
    if dhcp.get("mode") == "server" and not subnets:
        found.append("netboot:dhcp:subnets: is missing, as mode is server")
    for name, subnet in subnets.items():
        key = f"netboot:dhcp:subnets:{name}"
        found += [f"{key}{wrong}" for wrong in _wrong_subnet(name, subnet, subnets, target)]
    found += _wrong_leases(dhcp.get("leases") or {}, subnets, target)
    first_port, last_port = _setting(pillar, "tftp.ports")
    ports, clients = last_port - first_port + 1, _setting(pillar, "dhcp.clients_at_once")
    if ports < clients:
        found.append(
            f"netboot:tftp:ports: has {ports}, fewer than netboot:dhcp:clients_at_once: {clients}"
        )
    for kind, firmware in (pillar.get("firmware") or {}).items():
        found += _incomplete(f"netboot:firmware:{kind}", firmware)
    for kind, binaries in (pillar.get("secure_boot") or {}).items():
        for name in ("shim", "ipxe"):
            found += _incomplete(f"netboot:secure_boot:{kind}:{name}", binaries.get(name) or {})
    return found


def _networks_here(target):
    addresses = [one for some in target["interfaces"].values() for one in some]
    return [ipaddress.IPv4Interface(one).network for one in addresses]


def _wrong_subnet(name, subnet, subnets, target):
    here = _networks_here(target)
    network = ipaddress.IPv4Network(name)
    if "range" not in subnet:
        yield ":range: is missing"
        return
    first, last = (ipaddress.IPv4Address(one) for one in subnet["range"])
    if first > last:
        yield f":range: {first} comes after {last}"
    own = [one for one in target["addresses"] if first <= ipaddress.IPv4Address(one) <= last]
    if own:
        yield f":range: has {', '.join(own)}, which this machine has itself"
    given = {"range": subnet["range"]}
    if "router" in subnet:
        given["router"] = [subnet["router"]]
    for key, addresses in given.items():
        for address in addresses:
            if ipaddress.IPv4Address(address) not in network:
                yield f":{key}: {address} is not in {name}"
            elif not _is_of_machine(address, network):
                yield f":{key}: {address} is {name}'s own first or last, which no machine can have"
    if network not in here and "router" not in subnet:
        yield ":router: is missing, as this machine has no address in that subnet"
    for other in subnets:
        if other < name and network.overlaps(ipaddress.IPv4Network(other)):
            yield f": overlaps with {other}"


def _is_of_machine(address, network):
    return ipaddress.IPv4Address(address) not in (network[0], network[-1])


def _wrong_leases(leases, subnets, target):
    taken = {}
    for name, lease in leases.items():
        key = f"netboot:dhcp:leases:{name}"
        address = lease.get("address")
        of = [
            one
            for one in map(ipaddress.IPv4Network, subnets)
            if address and ipaddress.IPv4Address(address) in one
        ]
        if not address:
            yield f"{key}:address: is missing"
        elif not of:
            yield f"{key}:address: {address} is in none of netboot:dhcp:subnets"
        elif address in target["addresses"]:
            yield f"{key}:address: {address} is this machine's own"
        elif not _is_of_machine(address, of[0]):
            yield f"{key}:address: {address} is {of[0]}'s own first or last"
        mac = re.sub(r"[:.-]", "", name).lower()
        for value in filter(None, (mac, address, lease.get("hostname"))):
            if taken.setdefault(value, name) != name:
                yield f"{key}: has {value} like {taken[value]}"


def _incomplete(key, binary):
    for name in ("url", "checksum"):
        if not binary.get(name):
            yield f"{key}:{name}: is missing"


def warnings(pillar, target):
    """
    Say what about DHCP looks like a mistake, and need not be one.

    pillar, target
        As of ``problems``.

    Returns a list of one-line texts, each starting with its pillar key.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_dhcp.warnings '{dhcp: {subnets: {...}}}' '{addresses: []}'
    """
    dhcp = pillar.get("dhcp") or {}
    mode = dhcp.get("mode", "proxy")
    found = []
    for key, of_mode in (("subnets", "server"), ("leases", "server"), ("relayed", "proxy")):
        if dhcp.get(key) and mode != of_mode:
            found.append(f"netboot:dhcp:{key}: means nothing while mode is {mode}")
    if mode == "server":
        for name in interfaces(pillar, target):
            network = ipaddress.IPv4Interface(target["interfaces"][name][0]).network
            if str(network) not in dhcp["subnets"]:
                found.append(
                    f"netboot:dhcp:subnets: has no {network}, so clients on {name} get no address"
                )
    return found


def interfaces(pillar, target):
    """
    List the names of the interfaces on which clients are served.

    pillar, target
        As of ``problems``.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_dhcp.interfaces '{interface: eth0}' '{default_interface: eth0}'
    """
    named = pillar.get("interface") or target["default_interface"]
    return named if isinstance(named, list) else [named]


def config(pillar, target, packaged):
    """
    Return the part of the configuration that is about DHCP and firmware.

    pillar, target
        As of ``problems``; there were none.

    packaged
        Boot loaders that the platform's packages may bring: lists of paths by kind of firmware.

    Returns a map: ``interfaces``, ``dhcp``, ``firmware`` (rows of ``FIRMWARE``) and ``boot_files``:
    what lies in the TFTP root for them, each with ``file``, ``kind``, and ``packaged`` or ``url``
    and ``checksum``.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_dhcp.config '{}' '{default_interface: eth0, ...}' '{bios: [...]}'
    """
    dhcp = pillar.get("dhcp") or {}
    given, secure = pillar.get("firmware") or {}, pillar.get("secure_boot") or {}
    firmware, files = [], []
    for row in FIRMWARE:
        kind = row["kind"]
        if kind in given:
            files.append({"kind": kind, "file": row["file"], **_binary(given[kind])})
        else:
            files.append(
                {"kind": kind, "file": row["file"], "packaged": list(packaged.get(kind, []))}
            )
        if kind in secure:
            for name, file in SECURE_BOOT[kind].items():
                files.append({"kind": kind, "file": file, **_binary(secure[kind][name])})
            row = {**row, "file": SECURE_BOOT[kind]["shim"]}
        firmware.append(dict(row))
    return {
        "interfaces": [_interface(name, pillar, target) for name in interfaces(pillar, target)],
        "dhcp": {
            "mode": _setting(pillar, "dhcp.mode"),
            "clients_at_once": _setting(pillar, "dhcp.clients_at_once"),
            "relayed": [_network(one) for one in dhcp.get("relayed") or []],
            "subnets": [
                {
                    **_network(name),
                    "first": subnet["range"][0],
                    "last": subnet["range"][1],
                    "lease_s": subnet.get("lease_s", 3600),
                    "router": subnet.get("router", ""),
                    "dns": list(subnet.get("dns") or []),
                    "domain": subnet.get("domain", ""),
                }
                for name, subnet in (dhcp.get("subnets") or {}).items()
            ],
        },
        "firmware": firmware,
        "boot_files": files,
    }


def _setting(pillar, path):
    return __salt__["netboot_keys.setting"](pillar, path)


def _binary(given):
    checksum = {kind: digest.lower() for kind, digest in given["checksum"].items()}
    return {"url": given["url"], "checksum": checksum}


def _interface(name, pillar, target):
    first = ipaddress.IPv4Interface(target["interfaces"][name][0])
    address = str(pillar.get("address") or first.ip)
    return {"name": name, "address": address, **_network(first.network)}


def _network(network):
    network = ipaddress.IPv4Network(network)
    return {"network": str(network.network_address), "netmask": str(network.netmask)}


def table(config):
    """
    List what a DHCP server must tell each client so that it boots from this machine.

    config
        The applied configuration, whose ``firmware`` are the kinds to list.

    Returns a list of maps: ``kind``, ``option_93`` (list of numbers that such a client sends),
    ``ipxe`` (True: the client is iPXE already, which it says by user class ``iPXE`` and by option
    175), ``next_server``, ``file`` and ``option_60`` (what the server must answer, or empty).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_dhcp.table '{...}'
    """
    rows = []
    for one in config["firmware"]:
        common = {"kind": one["kind"], "next_server": config["address"], "option_60": ""}
        for ipxe, file in ((False, one["file"]), (True, f"config-{one['arch']}.ipxe")):
            rows.append({**common, "option_93": one["pxe"], "ipxe": ipxe, "file": file})
        if one["http"]:
            rows.append(
                {
                    **common,
                    "option_93": one["http"],
                    "ipxe": False,
                    "file": f"{config['http']['url']}/tftp/{one['file']}",
                    "option_60": "HTTPClient",
                }
            )
    return rows


def hints(config):
    """
    Write what a DHCP server of somebody else's needs so that its clients boot from this machine.

    config
        As of ``table``.

    Returns a map: ``table`` as of ``table``, and texts for ``isc`` (ISC dhcpd), ``kea`` (JSON) and
    ``dnsmasq``, each by itself a configuration that its daemon accepts.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_dhcp.hints '{...}'
    """
    rows = table(config)
    return {"table": rows, "isc": _isc(rows), "kea": _kea(rows), "dnsmasq": _dnsmasq(rows)}


def _isc(rows):
    lines = [
        "# For dhcpd.conf, outside of all subnets.",
        "option netboot-arch code 93 = unsigned integer 16;",
        "option netboot-ipxe code 175 = string;",
    ]
    word = "if"
    for row in rows:
        is_arch = " or ".join(
            f"option netboot-arch = {number >> 8:02x}:{number & 255:02x}"
            for number in row["option_93"]
        )
        is_ipxe = '(exists netboot-ipxe or option user-class = "iPXE")'
        # dhcpd takes a parenthesis that comes first for one around the whole condition
        lines += [
            f"# {_title(row)}",
            f"{word} (({is_arch}) and {'' if row['ipxe'] else 'not '}{is_ipxe}) {{",
            f"  next-server {row['next_server']};",
            f'  filename "{row["file"]}";',
        ]
        if row["option_60"]:
            lines.append(f'  option vendor-class-identifier "{row["option_60"]}";')
        lines.append("}")
        word = "elsif"
    return "\n".join(lines) + "\n"


def _title(row):
    if row["option_60"]:
        return f"{row['kind']}, HTTP boot"
    return f"{row['kind']}, iPXE" if row["ipxe"] else row["kind"]


def _kea(rows):
    classes = []
    for row in rows:
        # option 93 may have several numbers, the first of which is the firmware's own
        is_arch = " or ".join(
            f"substring(option[93].hex,0,2) == 0x{number:04x}" for number in row["option_93"]
        )
        is_ipxe = "(option[175].exists or option[77].hex == 'iPXE')"
        one = {
            "name": f"netboot: {_title(row)}",
            "test": f"({is_arch}) and {'' if row['ipxe'] else 'not '}{is_ipxe}",
            "next-server": row["next_server"],
            "boot-file-name": row["file"],
        }
        if row["option_60"]:
            one["option-data"] = [
                {
                    "name": "vendor-class-identifier",
                    "data": row["option_60"],
                    "always-send": True,
                }
            ]
        classes.append(one)
    return json.dumps({"Dhcp4": {"client-classes": classes}}, indent=2) + "\n"


def _dnsmasq(rows):
    lines = [
        "# For dnsmasq.conf of a dnsmasq that gives the addresses.",
        "dhcp-userclass=set:ipxe,iPXE",
        "dhcp-match=set:ipxe,175",
    ]
    for row in rows:
        tag = f"{row['kind']}{'-http' if row['option_60'] else ''}"
        if not row["ipxe"]:
            lines.append(f"# {_title(row)}")
            lines += [f"dhcp-match=set:{tag},option:client-arch,{n}" for n in row["option_93"]]
        if row["option_60"]:
            lines.append(f"dhcp-boot=tag:{tag},{row['file']}")
            lines.append(f"dhcp-option-force=tag:{tag},60,{row['option_60']}")
        else:
            ipxe = "ipxe" if row["ipxe"] else "!ipxe"
            lines.append(f"dhcp-boot=tag:{tag},tag:{ipxe},{row['file']},,{row['next_server']}")
    return "\n".join(lines) + "\n"
