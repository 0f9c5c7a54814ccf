"""
Let a facility of ALT's control(8) be what a server needs, and give back what it was.
"""

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
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is {_SERVER}."}
    known = __salt__["netboot_records.read"]("control", name) or {}
    now = _value(name)
    if now != _SERVER:
        ret["changes"][name] = {"old": now, "new": _SERVER}
    elif known.get("unread"):
        ret["changes"] = dict.fromkeys(services, "restarted")
    if not ret["changes"]:
        return ret
    if __opts__["test"]:
        ret.update(result=None, comment=f"{name} would be {_SERVER}.")
        return ret
    try:
        if now is None:
            raise CommandExecutionError(
                f"control(8) knows no {name}: install what brings it, or take it out of "
                "netboot:platform:nfs:control."
            )
        record = {"was": known.get("was", now), "unread": True}
        __salt__["netboot_records.write"]("control", name, record)
        _set(name, _SERVER, services)
        __salt__["netboot_records.write"]("control", name, {**record, "unread": False})
    except CommandExecutionError as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


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
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is as it was."}
    known = __salt__["netboot_records.read"]("control", name)
    if not known:
        return ret
    now = _value(name)
    if now == _SERVER or (now and known["unread"]):
        ret["changes"][name] = {"old": now, "new": known["was"]}
    if __opts__["test"]:
        ret["result"] = None if ret["changes"] else True
        return ret
    try:
        if ret["changes"]:
            __salt__["netboot_records.write"]("control", name, {**known, "unread": True})
            _set(name, known["was"], services)
        __salt__["netboot_records.remove"]("control", name)
    except CommandExecutionError as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


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
