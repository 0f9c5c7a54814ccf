"""
What clients get from a netboot server, tried from another machine of its network.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import socket
import zlib
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_machine
import netboot_probe

_MOST_BYTES = 64 << 20
_ANY_PORT = 9


def tried(plan: Any) -> dict[str, Any]:
    """
    Return what was found, see ``netboot_probe.probe``.

    plan
        See ``netboot.probe``.

    Raises SaltInvocationError when the plan cannot be read, CommandExecutionError when no interface
    leads to the server.
    """
    plan = _unpacked(plan) if isinstance(plan, str) else plan
    if not isinstance(plan, dict) or not {"server", "interfaces", "firmware"} <= set(plan):
        raise SaltInvocationError("plan must be what netboot.expected returned on the server.")
    name = _interface(plan["server"])
    near = [one for one in plan["interfaces"] if one["address"] == plan["server"]]
    here = {**(near or plan["interfaces"])[0], "name": name}
    return netboot_probe.probe(
        {**plan, "interfaces": [here], "at": {}}, True, all_numbers=False, own=False
    )


def _unpacked(text: str) -> Any:
    try:
        if text.startswith("/"):
            with open(text, encoding="utf-8") as file:
                return json.load(file)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        return json.loads(data)
    except (OSError, binascii.Error, zlib.error, ValueError) as err:
        raise SaltInvocationError(f"plan cannot be read: {err}.") from None


def _interface(server: str) -> str:
    """Return the interface on which packets to the server leave."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((server, _ANY_PORT))  # sends nothing
            own = sock.getsockname()[0]
    except OSError as err:
        raise CommandExecutionError(f"No way leads to {server}: {err}.") from None
    for name, addresses in netboot_machine.target("")["interfaces"].items():
        if any(str(ipaddress.ip_interface(one).ip) == own for one in addresses):
            return name
    raise CommandExecutionError(f"No interface of this machine has {own}.")
