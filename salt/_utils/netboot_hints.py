"""
Configuration for foreign DHCP servers, so that their clients boot from this machine. Pure.
"""

from __future__ import annotations

import json
from typing import Any

from netboot_shapes import Config

Row = dict[str, Any]


def table(config: Config) -> list[Row]:
    """
    List what a DHCP server must send to each client so that it boots from this machine.

    config
        The applied configuration; its ``firmware`` are the kinds to list.

    Returns a list of maps: ``kind``, ``option_93`` (list of numbers that such a client sends),
    ``ipxe`` (True: the client is already iPXE, which sends user class ``iPXE`` and option 175),
    ``next_server``, ``file`` and ``option_60`` (what the server must answer, or empty).
    """
    rows: list[Row] = []
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


def hints(config: Config) -> dict[str, Any]:
    """
    Return what a foreign DHCP server needs so that its clients boot from this machine.

    config
        See ``table``.

    Returns a map: ``table`` itself, and strings for ``isc`` (ISC dhcpd), ``kea`` (JSON) and
    ``dnsmasq``, each of them a configuration that its daemon accepts.
    """
    rows = table(config)
    return {"table": rows, "isc": _isc(rows), "kea": _kea(rows), "dnsmasq": _dnsmasq(rows)}


def _isc(rows: list[Row]) -> str:
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
        # dhcpd takes a leading parenthesis as enclosing the whole condition
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


def _title(row: Row) -> str:
    if row["option_60"]:
        return f"{row['kind']}, HTTP boot"
    return f"{row['kind']}{', iPXE' if row['ipxe'] else ''}"


def _kea(rows: list[Row]) -> str:
    classes = []
    for row in rows:
        # option 93 may have several numbers; the first is the firmware's own
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


def _dnsmasq(rows: list[Row]) -> str:
    lines = [
        "# For dnsmasq.conf of a dnsmasq that assigns the addresses.",
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
