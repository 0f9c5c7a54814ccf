"""
What the pillar may not ask for where an image's own GRUB boots machines with Secure Boot. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netboot_hosts import settings_of
from netboot_names import some
from netboot_shapes import Pillar

Maps = dict[str, Any]


def problems(pillar: Pillar, hosts: Maps, groups: Maps) -> Iterator[str]:
    """
    Yield the problems of hosts that would be installed unattended by way of GRUB. Answers of an
    installer are secret, and what GRUB loads over TFTP can be read by anyone.

    pillar
        The completed pillar.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups``; None for an item whose own problems were reported.
    """
    secure = pillar.get("secure_boot")
    kinds = secure if isinstance(secure, dict) else {}
    grub = [kind for kind, own in kinds.items() if isinstance(own, dict) and own.get("image")]
    if not grub:
        return
    found: dict[str, list[str]] = {}
    for name, host in hosts.items():
        group = (host or {}).get("group")
        if host is None or (group is not None and groups.get(group) is None):
            continue
        settings = settings_of(host, groups)
        if settings.get("install") and settings.get("secure_boot") is not False:
            key = f"hosts:{name}" if "install" in host else f"groups:{group}"
            found.setdefault(key, []).append(name)
    for key, names in found.items():
        those = "" if key.startswith("hosts:") else f" (hosts {some(names)})"
        yield (
            f"netboot:{key}:install: nothing is installed unattended by way of "
            f"netboot:secure_boot:{grub[0]}:image{those}: GRUB loads over TFTP, where anyone could "
            f"read the answers; set netboot:{key}:secure_boot: false and switch Secure Boot off in "
            "these machines, or set shim and ipxe instead of image"
        )
