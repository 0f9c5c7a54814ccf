"""
Hosts that boot something once: which are armed, which have booted.

Salt keeps the record ``owned/once``: what each host is armed for. The program ``netboot-once``,
which sees in the web server's log that a host has booted, keeps ``once/HOST``: the arming that this
was. So neither changes what the other wrote. The script below ``tftp/once/`` is there while a host
is armed; without it the host boots from its own disk.
"""

import contextlib
import fcntl
import fnmatch
import os
import secrets
import time

from salt.exceptions import SaltInvocationError

__virtualname__ = "netboot_once"

__func_alias__ = {"list_": "list"}


def __virtual__():
    return __virtualname__


@contextlib.contextmanager
def _locked():
    """Alone with the records and scripts, without netboot-once."""
    folder = os.path.join(__salt__["netboot_records.directory"](), "once")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _armings():
    return __salt__["netboot_records.read"]("owned", "once") or {}


def _booted():
    """What netboot-once has on record, by host."""
    read = __salt__["netboot_records.read"]
    return {key: read("once", key) for key in __salt__["netboot_records.names"]("once")}


def _is_booted(arming, booted):
    return bool(booted) and booted["arming"] == arming["arming"]


def _new_arming(host):
    return {
        **host,
        "arming": secrets.token_hex(4),
        "armed_at": int(time.time()),
        "dropped": False,
    }


def _script(arming):
    return __salt__["netboot_hosts.armed_script"](arming, arming["arming"])


def reconcile(folder, hosts, staging, test=False):
    """
    Arm the hosts that never were, and leave the others as they are: armed, or booted.

    Another entry in the pillar is what an armed host boots; one that has booted is not armed again:
    a new image for a group must not install all its machines anew. Nor must a pillar that lost its
    hosts for a while: what is on record of a host stays there.

    folder
        Folder of the scripts (absolute path).

    hosts
        All hosts that boot once, as ``netboot_hosts.once`` says.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    test
        Only say what would change.

    Returns a map of hosts (by key) and scripts (by file name) with what changes: ``armed``,
    ``changed`` (another entry), ``renamed``, ``dropped`` or ``back``; and ``new``,
    ``changed`` or ``removed``.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.reconcile /srv/export/tftp/once '{}' /srv/export/.staging true
    """
    if test or not (hosts or _armings()):
        return _reconcile(folder, hosts, staging, test)
    with _locked():
        return _reconcile(folder, hosts, staging, test)


def _renamed(old, booted, hosts):
    """What is on record of a machine, under the name that the pillar has for it now."""
    names = {
        told: key
        for key, arming in old.items()
        if key not in hosts
        for told in arming.get("told_by", [])
    }
    renamed = {}
    for key, host in hosts.items():
        before = next((names[told] for told in host["told_by"] if told in names), None)
        if before in old and key not in old:
            renamed[key] = before
            old[key] = old.pop(before)
            booted[key] = booted.pop(before, None)
    return renamed


def _reconcile(folder, hosts, staging, test):
    old, booted = _armings(), _booted()
    keys = set(old)
    # A new name must not install a machine anew.
    renamed = _renamed(old, booted, hosts)
    changes = dict.fromkeys(renamed, "renamed")
    armings = {key: {**arming, "dropped": True} for key, arming in old.items()}
    for key, host in hosts.items():
        before = old.get(key)
        if not before:
            armings[key] = _new_arming(host)
            changes[key] = "armed"
            continue
        same = before["entry"] == host["entry"]
        if same or _is_booted(before, booted.get(key)):
            # What shows that an entry was booted is only known while the entry is there.
            path = host["path"] or (before["path"] if same else "")
            armings[key] = {**before, **host, "path": path, "dropped": False}
        else:
            # A boot of the old entry that is under way is none of the new one.
            armings[key] = _new_arming(host)
        if before["dropped"]:
            changes[key] = "back"
        elif not same:
            changes[key] = "changed"
    for key, arming in old.items():
        if armings[key]["dropped"] and not arming["dropped"]:
            changes[key] = "dropped"
    scripts = {
        f"{key}.ipxe": _script(arming)
        for key, arming in armings.items()
        if not arming["dropped"] and not _is_booted(arming, booted.get(key))
    }
    files = __salt__["netboot_menus.difference"](
        folder, scripts, [f"{key}.ipxe" for key in keys | set(armings)]
    )
    if not test:
        for key in renamed:
            # Before the arming: one without the other would be armed.
            if booted[key]:
                __salt__["netboot_records.write"]("once", key, booted[key])
        if armings != old or renamed:
            # Before the scripts, which a run that is killed here would not know as its own.
            __salt__["netboot_records.write"]("owned", "once", armings)
        if files:
            __salt__["netboot_menus.write"](folder, scripts, files, staging)
    return {**changes, **files}


def arm(host, folder, staging):
    """
    Arm hosts again: they boot their entry one more time.

    host
        Name of the host in the pillar, or a pattern such as ``lab*``.

    folder, staging
        As of ``reconcile``.

    Returns what ``list`` has of these hosts.

    Raises SaltInvocationError when there is no such host that boots something once.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.arm pc1 /srv/export/tftp/once /srv/export/.staging
    """
    with _locked():
        armings = _armings()
        names = {one["host"]: key for key, one in armings.items() if not one["dropped"]}
        found = fnmatch.filter(names, str(host))
        if not found:
            hint = __salt__["netboot_keys.nearest"](host, list(names))
            raise SaltInvocationError(
                f"No host {str(host)!r} with once: true was applied to this machine{hint or '.'}"
            )
        again = {names[name]: _new_arming(armings[names[name]]) for name in found}
        __salt__["netboot_records.write"]("owned", "once", {**armings, **again})
        scripts = {f"{key}.ipxe": _script(arming) for key, arming in again.items()}
        __salt__["netboot_menus.write"](folder, scripts, dict.fromkeys(scripts, "new"), staging)
    return [_shown(arming, None) for arming in again.values()]


def list_():
    """
    List the hosts that boot something once.

    Returns a list of maps: ``host``, ``entry`` (id of what it boots when it is armed), ``armed``
    and ``booted`` (when, as ISO 8601 in UTC) and ``booted_entry``; the last two are None while the
    host is armed.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.list
    """
    booted = _booted()
    return [
        _shown(arming, booted.get(key))
        for key, arming in sorted(_armings().items())
        if not arming["dropped"]
    ]


def _shown(arming, booted):
    done = booted if _is_booted(arming, booted) else None
    return {
        "host": arming["host"],
        "entry": arming["entry"],
        "armed": _iso8601(arming["armed_at"]),
        "booted": done and _iso8601(done["booted_at"]),
        "booted_entry": done and done["entry"],
    }


def _iso8601(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
