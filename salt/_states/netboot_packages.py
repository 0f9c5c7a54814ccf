"""
Install the packages that a netboot server needs.
"""

import netboot_fresh

netboot_fresh.forget_old()

import netboot_proxy
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_packages"


def __virtual__():
    return __virtualname__


def installed(name, pkgs, silence=()):
    """
    Ensure that packages are installed, as ``pkg.installed`` does; ``test=True`` changes nothing.

    Salt's own state contacts the package mirror under ``test=True`` and needs root for that
    (``aptpkg.latest_version`` refreshes).

    name
        What the packages are for; only shown.

    pkgs
        Names of packages.

    silence
        Services that such a package starts on its own but must not run: they are stopped and
        disabled, but only if the package was not installed before.

    ``changes``: see ``pkg.installed``; under ``test=True`` only the names.

    .. code-block:: yaml

        netboot-http-packages:
          netboot_packages.installed:
            - name: web server
            - pkgs: [nginx]
    """
    missing = [package for package in pkgs if not __salt__["pkg.version"](package)]
    with State(name, "All packages are installed.", __opts__["test"]) as state:
        if missing and state.test:
            state.plan(dict.fromkeys(missing, "would be installed"))
            state.comment = f"{', '.join(missing)} would be installed."
            return state.ret
        records = Records.of(__opts__, __context__)
        known = records.owned("silenced", [])
        if missing:
            if set(silence) - set(known):
                # Before they are installed: after a kill, the next run must know that it may stop
                # these services.
                known = sorted({*known, *silence})
                records.write("owned", "silenced", known)
            with netboot_proxy.for_programs(records.applied() or {}):
                # Samba recommends the packages of a domain controller, as large as all the others.
                how = {"refresh": True, "install_recommends": False}
                state.adopt(__states__["pkg.installed"](name, pkgs=pkgs, **how))
        for service in (service for service in silence if service in known):
            if __salt__["service.status"](service) or __salt__["service.enabled"](service):
                state.done(service, "stopped and disabled")
                if not state.test:
                    __salt__["service.stop"](service)
                    __salt__["service.disable"](service)
    return state.ret
