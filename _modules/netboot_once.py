"""
Hosts that boot something once: which are armed, which have booted.

Salt keeps the record ``owned/once``: what each host is armed for. The program ``netboot-once``,
which sees in the web server's log that a host has booted, keeps ``once/HOST``: the arming that this
was. So neither changes what the other wrote. The script below ``tftp/once/`` is there while a host
is armed; without it the host boots from its own disk.
"""

import contextlib
import fcntl
import os
import secrets
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot_once"


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
    return {**host, "arming": secrets.token_hex(4), "armed_at": int(time.time())}


def _script(arming):
    return __salt__["netboot_hosts.armed_script"](arming, arming["arming"])


def reconcile(folder, hosts, staging, test=False):
    """
    Arm the hosts that were not armed for this entry yet; leave armed and booted ones as they are.

    folder
        Folder of the scripts (absolute path).

    hosts
        All hosts that boot once, as ``netboot_hosts.once`` says.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    test
        Only say what would change.

    Returns a map of hosts (by key) and scripts (by file name) with what changes: ``armed``,
    ``dropped``, and ``new``, ``changed`` or ``removed``.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.reconcile /srv/export/tftp/once '{}' /srv/export/.staging true
    """
    if test or not (hosts or _armings()):
        return _reconcile(folder, hosts, staging, test)
    with _locked():
        return _reconcile(folder, hosts, staging, test)


def _reconcile(folder, hosts, staging, test):
    old, booted = _armings(), _booted()
    changes = dict.fromkeys(set(old) - set(hosts), "dropped")
    armings = {}
    for key, host in hosts.items():
        if key in old and old[key]["entry"] == host["entry"]:
            # What shows that an entry was booted is only known while the entry is there.
            path = host["path"] or old[key]["path"]
            armings[key] = {**old[key], **host, "path": path}
        else:
            armings[key] = _new_arming(host)
            changes[key] = "armed"
    scripts = {
        f"{key}.ipxe": _script(arming)
        for key, arming in armings.items()
        if not _is_booted(arming, booted.get(key))
    }
    owned = [f"{key}.ipxe" for key in {**old, **armings}]
    files = __salt__["netboot_menus.difference"](folder, scripts, owned)
    if not test:
        if armings != old:
            # Before the scripts, and with all of their owners: a run may be killed here.
            __salt__["netboot_records.write"]("owned", "once", {**old, **armings})
        if files:
            __salt__["netboot_menus.write"](folder, scripts, files, staging)
        if set(old) - set(armings):
            __salt__["netboot_records.write"]("owned", "once", armings)
        for key in set(booted) - set(armings):
            __salt__["netboot_records.remove"]("once", key)
    return {**changes, **files}


def arm(host, folder, staging):
    """
    Arm a host again: it boots its entry one more time.

    host
        Name of the host in the pillar.

    folder, staging
        As of ``reconcile``.

    Returns what ``list`` has of the host.

    Raises SaltInvocationError for a host that these states don't boot once.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.arm pc1 /srv/export/tftp/once /srv/export/.staging
    """
    key = __salt__["netboot_hosts.key"](str(host))
    with _locked():
        armings = _armings()
        if key not in armings:
            names = [one["host"] for one in armings.values()]
            hint = __salt__["netboot_keys.nearest"](host, names)
            raise SaltInvocationError(
                f"No host {str(host)!r} with once: true was applied to this machine{hint or '.'}"
            )
        armings[key] = _new_arming(armings[key])
        __salt__["netboot_records.write"]("owned", "once", armings)
        name = f"{key}.ipxe"
        scripts = {name: _script(armings[key])}
        try:
            __salt__["netboot_menus.write"](folder, scripts, {name: "changed"}, staging)
        except CommandExecutionError as err:
            raise CommandExecutionError(f"{host} is not armed: {err}") from err
    return _shown(armings[key], None)


def list_():
    """
    List the hosts that boot something once.

    Returns a list of maps: ``host``, ``entry`` (id), ``armed`` and ``booted`` (when, as ISO 8601 in
    UTC; ``booted`` is None while the host is armed).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.list
    """
    booted = _booted()
    return [_shown(arming, booted.get(key)) for key, arming in sorted(_armings().items())]


__func_alias__ = {"list_": "list"}


def _shown(arming, booted):
    done = booted["booted_at"] if _is_booted(arming, booted) else None
    return {
        "host": arming["host"],
        "entry": arming["entry"],
        "armed": _iso8601(arming["armed_at"]),
        "booted": done and _iso8601(done),
    }


def _iso8601(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
