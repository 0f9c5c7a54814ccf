"""
Install the packages that a netboot server needs.
"""

import netboot_fresh

netboot_fresh.forget_old()

from netboot_records import Records

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
    if missing and __opts__["test"]:
        return {
            "name": name,
            "result": None,
            "changes": dict.fromkeys(missing, "would be installed"),
            "comment": f"{', '.join(missing)} would be installed.",
        }
    records = Records.of(__opts__, __context__)
    known = records.owned("silenced", [])
    ret = {"name": name, "result": True, "changes": {}, "comment": "All packages are installed."}
    if missing:
        if set(silence) - set(known):
            # Before they are installed: after a kill, the next run must know that it may stop
            # these services.
            known = sorted({*known, *silence})
            records.write("owned", "silenced", known)
        # Samba recommends the packages of a domain controller, as large as all the others.
        ret = __states__["pkg.installed"](name, pkgs=pkgs, refresh=True, install_recommends=False)
    for service in (service for service in silence if service in known):
        if __salt__["service.status"](service) or __salt__["service.enabled"](service):
            ret["changes"][service] = "stopped and disabled"
            if __opts__["test"]:
                ret["result"] = None
            else:
                __salt__["service.stop"](service)
                __salt__["service.disable"](service)
    return ret
