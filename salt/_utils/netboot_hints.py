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
    ``ipxe`` (features that it has, by their numbers in option 175; none: it is the firmware, or an
    iPXE without them), ``next_server``, ``file`` and ``option_60`` (what the server must answer, or
    empty).
    """
    rows: list[Row] = []
    for one in config["firmware"]:
        common = {"kind": one["kind"], "next_server": config["address"], "option_60": ""}
        for ipxe, file in ((one["features"], f"config-{one['arch']}.ipxe"), ([], one["file"])):
            rows.append({**common, "option_93": one["pxe"], "ipxe": ipxe, "file": file})
        if one["http"]:
            rows.append(
                {
                    **common,
                    "option_93": one["http"],
                    "ipxe": [],
                    "file": f"{config['http']['url']}/tftp/{one['http_file']}",
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
        "option space netboot-ipxe;",
        "option netboot-ipxe-options code 175 = encapsulate netboot-ipxe;",
        *(
            f"option netboot-ipxe.feature-{number} code {number} = unsigned integer 8;"
            for number in _features(rows)
        ),
    ]
    word = "if"
    for row in rows:
        is_arch = " or ".join(
            f"option netboot-arch = {number >> 8:02x}:{number & 255:02x}"
            for number in row["option_93"]
        )
        conditions = [f"({is_arch})"]
        conditions += [f"exists netboot-ipxe.feature-{number}" for number in row["ipxe"]]
        # dhcpd takes a leading parenthesis as enclosing the whole condition
        lines += [
            f"# {_title(row)}",
            f"{word} ({' and '.join(conditions)}) {{",
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
        menu = [f"option[175].option[{number}].exists" for number in _features(rows, row["kind"])]
        is_ipxe = f"({' and '.join(menu)})"
        conditions = [f"({is_arch})"]
        if not row["option_60"]:
            conditions.append(is_ipxe if row["ipxe"] else f"not {is_ipxe}")
        one = {
            "name": f"netboot: {_title(row)}",
            "test": " and ".join(conditions),
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
    space = "netboot-ipxe"
    options: list[dict[str, Any]] = [
        {"name": space, "code": 175, "type": "empty", "encapsulate": space}
    ]
    for number in _features(rows):
        name = f"feature-{number}"
        options.append({"name": name, "code": number, "space": space, "type": "uint8"})
    told = {"option-def": options, "client-classes": classes}
    return json.dumps({"Dhcp4": told}, indent=2) + "\n"


def _features(rows: list[Row], kind: str = "") -> list[int]:
    """Return the features that iPXE needs, of one kind of firmware or of all."""
    return sorted({number for row in rows if kind in ("", row["kind"]) for number in row["ipxe"]})


def _dnsmasq(rows: list[Row]) -> str:
    lines = [
        "# For dnsmasq.conf of a dnsmasq that assigns the addresses.",
        *(f"dhcp-match=set:ipxe-{number},175,{number}" for number in _features(rows)),
    ]
    for row in rows:
        tag = f"{row['kind']}{'-http' if row['option_60'] else ''}"
        if row["ipxe"] or row["option_60"]:
            lines.append(f"# {row['kind']}{', HTTP boot' if row['option_60'] else ''}")
            lines += [f"dhcp-match=set:{tag},option:client-arch,{n}" for n in row["option_93"]]
        if row["ipxe"]:
            features = "".join(f",tag:ipxe-{number}" for number in row["ipxe"])
            lines.append(f"tag-if=set:ipxe,tag:{tag}{features}")
        if row["option_60"]:
            lines.append(f"dhcp-boot=tag:{tag},{row['file']}")
            lines.append(f"dhcp-option-force=tag:{tag},60,{row['option_60']}")
        else:
            ipxe = "ipxe" if row["ipxe"] else "!ipxe"
            lines.append(f"dhcp-boot=tag:{tag},tag:{ipxe},{row['file']},,{row['next_server']}")
    return "\n".join(lines) + "\n"
