"""
Set a facility of ALT's control(8) to what a server needs, and restore it.
"""

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_control"

# For rpcbind and others: answer the network, not only this machine.
_SERVER = "server"


def __virtual__():
    return __virtualname__


def server(name, services):
    """
    Ensure that a facility is ``server``, and that the services that read it were restarted.

    Its old value is put on record. If an apply is killed in between, the next apply completes it.

    name
        Name of the facility (https://www.altlinux.org/Control), such as ``rpcbind``.

    services
        Names of the services to restart if they run.

    ``changes`` contains the facility with its old and new value, or the services.

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
                    f"control(8) does not know {name}; install the package that provides it, or "
                    "remove it from netboot:platform:nfs:control."
                )
            record = {"was": known.get("was", now), "unread": True}
            records.write("control", name, record)
            _set(name, _SERVER, services)
            records.write("control", name, {**record, "unread": False})
    return state.ret


def restored(name, services):
    """
    Ensure that a facility is what it was before ``server`` changed it.

    It is left alone if these states did not change it, or if it was changed after them.

    name, services
        See ``server``.

    ``changes`` contains the facility with its old and new value.

    .. code-block:: yaml

        netboot-nfs-control-rpcbind:
          netboot_control.restored:
            - name: rpcbind
            - services: [rpcbind, nfs-server]
    """
    with State(name, f"{name} has its original value.", __opts__["test"]) as state:
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
    """Return the facility's value; None if it, or control itself, does not exist."""
    if not __salt__["cmd.which"]("control"):
        return None
    said = __salt__["cmd.run_all"](["control", name], python_shell=False, ignore_retcode=True)
    return None if said["retcode"] else said["stdout"].strip()


def _set(name, value, services):
    there = [service for service in services if __salt__["service.available"](service)]
    # In a single transaction, so that units that depend on rpcbind are not restarted twice.
    for command in (["control", name, value], ["systemctl", "try-restart", *there]):
        said = __salt__["cmd.run_all"](command, python_shell=False)
        if said["retcode"]:
            raise CommandExecutionError(f"{' '.join(command)}: {said['stderr'] or said['stdout']}")
