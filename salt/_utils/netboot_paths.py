"""
Paths on a netboot server. Every path that does not depend on the platform is defined here and
nowhere else: modules, states, SLS and templates take it from ``config["paths"]``. Pure.
"""

from __future__ import annotations

from netboot_shapes import Config

#: Default of the minion option ``netboot.state_dir``.
STATE_DIR = "/var/lib/netboot"
#: What dnsmasq writes; its unit names it below ``/var/lib``.
LEASES = "/var/lib/netboot-dnsmasq"
#: What sudo reads of the admins.
SUDOERS = "/etc/sudoers.d/netboot"


def paths(root: str, state_dir: str) -> dict[str, str]:
    """
    Return the absolute paths by name.

    root
        The directory that is served, ``netboot:root``.

    state_dir
        The directory of the records.
    """
    return {
        "dist": f"{root}/dist",
        "tftp": f"{root}/tftp",
        "trees": f"{root}/tftp/netboot",
        # What is being fetched, as a part of the menus; see iso_coming.
        "coming": f"{root}/tftp/coming.ipxe",
        # An image's own GRUB and its menu, and what hosts load while they are armed.
        "grub": f"{root}/tftp/grub",
        "grub_once": f"{root}/tftp/grub/once",
        # Outside all exports: only nginx serves it.
        "once_scripts": f"{state_dir}-once",
        # Of hosts that are installed: armed/ for root, served/ for nginx; see netboot_installing.
        "answers": f"{state_dir}-answers",
        # Where earlier versions had them.
        "once_before": f"{root}/tftp/once",
        # Unverified and half-built files: on the root's file system, closed to every service.
        "staging": f"{root}/.staging",
        # What images were before their last wave: closed likewise; see netboot_previous.
        "previous": f"{root}/.previous",
        "records": state_dir,
        # What netboot-once writes, separate from what Salt writes.
        "once_records": f"{state_dir}/once",
        "install_records": f"{state_dir}/installs",
        "etc": "/etc/netboot",
        "dnsmasq": "/etc/netboot/dnsmasq.conf",
        "passwords": "/etc/netboot/htpasswd",
        "vsftpd": "/etc/netboot/vsftpd.conf",
        "programs": "/usr/local/lib/netboot",
        "once_program": "/usr/local/lib/netboot/netboot-once",
        # What netboot-clients keeps of nginx's log.
        "clients": f"{state_dir}-clients",
        "clients_program": "/usr/local/lib/netboot/netboot-clients",
        # What netboot-status writes; nginx serves the page.
        "status": f"{state_dir}-status",
        "page": f"{state_dir}-status/www",
        "events": f"{state_dir}-status/events",
        # Its time is that of the last apply.
        "applied": f"{state_dir}-status/applied",
        "status_program": "/usr/local/lib/netboot/netboot-status",
        "leases": LEASES,
        "units": "/etc/systemd/system",
    }


def in_url(config: Config, path: str) -> str:
    """
    Return a served file's path in URLs and shares.

    config
        The configuration.

    path
        Absolute path below its root.
    """
    return path[len(config["root"]) :]
