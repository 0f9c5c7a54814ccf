"""
Let a facility of ALT's control(8) be what a server needs, and give back what it was.
"""

import netboot_fresh

netboot_fresh.forget_old()

from netboot_records import Records
from netboot_state import State
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_control"

# Of rpcbind and others: the network is answered, and not this machine alone.
_SERVER = "server"


def __virtual__():
    return __virtualname__


def server(name, services):
    """
    Ensure that a facility is ``server``, and that the services that read it have done so.

    What it was is put on record. An apply that was killed in between is made good by the next one.

    name
        Name of the facility (https://www.altlinux.org/Control), such as ``rpcbind``.

    services
        Names of the services to restart, those that run.

    ``changes`` has the facility with its old and new value, or the services.

    .. code-block:: yaml

        netboot-nfs-control-rpcbind:
          netboot_control.server:
            - name: rpcbind
            - services: [rpcbind, nfs-server]
    """
    with State(name, f"{name} is {_SERVER}.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        known = records.read("control", name) or {}
        now = _value(name)
        changes = {}
        if now != _SERVER:
            changes = {name: {"old": now, "new": _SERVER}}
        elif known.get("unread"):
            changes = dict.fromkeys(services, "restarted")
        act = state.plan(changes)
        if changes:
            state.comment = f"{name} {state.would_be} set to {_SERVER}."
        if act:
            if now is None:
                raise CommandExecutionError(
                    f"control(8) knows no {name}: install what brings it, or take it out of "
                    "netboot:platform:nfs:control."
                )
            record = {"was": known.get("was", now), "unread": True}
            records.write("control", name, record)
            _set(name, _SERVER, services)
            records.write("control", name, {**record, "unread": False})
    return state.ret


def restored(name, services):
    """
    Ensure that a facility is what it was before ``server`` changed it.

    It is left alone when these states did not change it, or when somebody did after them.

    name, services
        As for ``server``.

    ``changes`` has the facility with its old and new value.

    .. code-block:: yaml

        netboot-nfs-control-rpcbind:
          netboot_control.restored:
            - name: rpcbind
            - services: [rpcbind, nfs-server]
    """
    with State(name, f"{name} is as it was.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        known = records.read("control", name)
        if not known:
            return state.ret
        now = _value(name)
        changes = {}
        if now == _SERVER or (now and known["unread"]):
            changes = {name: {"old": now, "new": known["was"]}}
        if state.plan(changes):
            records.write("control", name, {**known, "unread": True})
            _set(name, known["was"], services)
        if not state.test:
            records.remove("control", name)
    return state.ret


def _value(name):
    """What the facility is; None where it, or control itself, is not there."""
    if not __salt__["cmd.which"]("control"):
        return None
    said = __salt__["cmd.run_all"](["control", name], python_shell=False, ignore_retcode=True)
    return None if said["retcode"] else said["stdout"].strip()


def _set(name, value, services):
    there = [service for service in services if __salt__["service.available"](service)]
    # All in one transaction, so that what belongs to rpcbind is not restarted twice.
    for command in (["control", name, value], ["systemctl", "try-restart", *there]):
        said = __salt__["cmd.run_all"](command, python_shell=False)
        if said["retcode"]:
            raise CommandExecutionError(f"{' '.join(command)}: {said['stderr'] or said['stdout']}")
