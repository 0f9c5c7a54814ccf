"""
Keep the packages installed that a netboot server needs.
"""

import netboot_fresh

netboot_fresh.forget_old()

from netboot_records import Records

__virtualname__ = "netboot_packages"


def __virtual__():
    return __virtualname__


def installed(name, pkgs, silence=()):
    """
    Ensure that packages are installed, as ``pkg.installed`` does; ``test=True`` only looks.

    Salt's own state asks the package mirror under ``test=True`` and needs root for it
    (``aptpkg.latest_version`` refreshes).

    name
        What the packages are for; only shown.

    pkgs
        Names of packages.

    silence
        Services that such a package starts by itself and that must not run: they are stopped and
        disabled, but only when the package was not there before.

    ``changes`` is that of ``pkg.installed``; foretold are the names only.

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
    ret = {"name": name, "result": True, "changes": {}, "comment": "All are installed."}
    if missing:
        if set(silence) - set(known):
            # Before they are installed: a run that is killed then still knows whose services
            # they are.
            known = sorted({*known, *silence})
            records.write("owned", "silenced", known)
        # Samba's recommended ones are a domain controller's and as large as all the rest.
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
