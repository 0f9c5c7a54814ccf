"""A virtual LAN on this machine: a netboot server that is real Debian, clients with real firmware.

    from lab import Lab

    with Lab() as lab:
        server = lab.server("netboot1", packages=["nginx", "dnsmasq-base", "ipxe"])
        with lab.client("efi-x86_64") as client:
            client.wait_for("iPXE", timeout=120)

It needs root and Debian 12, and leaves nothing behind.
"""

from .host import LabError
from .lab import Lab

__all__ = ["Lab", "LabError"]
