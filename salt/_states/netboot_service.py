"""
Keep a service running on the configuration that lies on the disk.
"""

import os
import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_service"


def __virtual__():
    return __virtualname__


def current(name, files, reload=None):
    """
    Ensure that a service runs, starts with the machine, and has read its configuration.

    Unlike ``service.running`` with ``watch`` it looks at the files themselves: an apply that was
    killed after it wrote a file is made good by the next one. When a service does not take its new
    configuration, the one that it last ran on is put back, and the state fails.

    name
        Name of the service.

    files
        Paths of its configuration; those that are not there count as absent.

    reload
        How it is told: None, it is restarted; ``true``, systemd reloads it; a list, this command
        (words) is run.

    ``changes`` has ``started``, ``restarted`` or ``reloaded``, and ``enabled``.

    .. code-block:: yaml

        netboot-ftp-service:
          netboot_service.current:
            - name: netboot-vsftpd
            - files: [/etc/netboot/vsftpd.conf]
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is up to date."}
    contents = {path: __salt__["netboot_files.read"](path) for path in files}
    written = _written(contents)
    known = __salt__["netboot_records.read"]("services", name) or {}
    runs = __salt__["service.available"](name) and __salt__["service.status"](name)
    if not runs:
        ret["changes"]["service"] = "started"
    elif (known.get("files"), known.get("written")) != (contents, written):
        ret["changes"]["service"] = "reloaded" if reload else "restarted"
    if not (__salt__["service.available"](name) and __salt__["service.enabled"](name)):
        ret["changes"]["boot"] = "enabled"
    if not ret["changes"]:
        return ret
    words = " and ".join(ret["changes"].values())
    if __opts__["test"]:
        ret.update(result=None, comment=f"{name} would be {words}.")
        return ret
    try:
        _activate(name, runs, reload)
        record = {"files": contents, "written": written}
        __salt__["netboot_records.write"]("services", name, record)
        if "boot" in ret["changes"] and not __salt__["service.enable"](name):
            raise CommandExecutionError(f"{name} can't be enabled.")
        ret["comment"] = f"{name} was {words}."
    except CommandExecutionError as err:
        ret.update(result=False, changes={}, comment=f"{err}{_put_back(name, known, reload)}")
    return ret


def _written(contents):
    """When the files were written: one that went and came back the same has not been read."""
    return {path: os.stat(path).st_mtime_ns for path in contents if contents[path] is not None}


def _activate(name, runs, reload):
    if isinstance(reload, list) and runs:
        said = __salt__["cmd.run_all"](reload, python_shell=False)
        if said["retcode"] or said["stderr"]:
            raise CommandExecutionError(f"{' '.join(reload)}: {said['stderr'] or said['stdout']}")
        return
    if not (reload and runs):
        # Else systemd refuses to start what has just failed several times (StartLimitBurst=).
        __salt__["cmd.retcode"](["systemctl", "reset-failed", name], python_shell=False)
    do = "reload" if reload and runs else "restart" if runs else "start"
    shown = __salt__["service.show"](name)
    before = shown.get("NRestarts") if do == "reload" else "0"
    done = __salt__[f"service.{do}"](name)
    # A simple daemon that refuses its configuration says so after systemd has started it, and may
    # be started over and over; others say when they are ready.
    looks = 4 if shown.get("Type") == "simple" else 1
    for _ in range(looks if done else 0):
        time.sleep(0.5)
        now = __salt__["service.show"](name)
        done = now.get("ActiveState") == "active" and now.get("NRestarts", before) == before
        if not done:
            break
    if not done:
        raise CommandExecutionError(
            f"{name} does not run with its new configuration; journalctl -u {name} says why."
        )


def _put_back(name, known, reload):
    """Give a service the files that it last ran on; what to add to the message."""
    if not known:
        return ""
    for path, content in known["files"].items():
        if content is None:
            if os.path.exists(path):
                os.unlink(path)
        else:
            __salt__["netboot_files.write"](path, content)
    try:
        _activate(name, __salt__["service.status"](name), reload)
    except CommandExecutionError as err:
        return f" It does not run with the old one either: {err}"
    record = {**known, "written": _written(known["files"])}
    __salt__["netboot_records.write"]("services", name, record)
    return " It runs with the old one again, which was put back."


def absent(name, files):
    """
    Ensure that a service of ours does not run, nor at the next start, and that its files are gone.

    name
        Name of the service.

    files
        Paths of its unit and configuration.

    ``changes`` has the service, and each file that was removed.

    .. code-block:: yaml

        netboot-ftp-service:
          netboot_service.absent:
            - name: netboot-vsftpd
            - files: [/etc/netboot/vsftpd.conf, /etc/systemd/system/netboot-vsftpd.service]
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"There is no {name}."}
    if __salt__["service.available"](name) and (
        __salt__["service.status"](name) or __salt__["service.enabled"](name)
    ):
        ret["changes"][name] = "stopped and disabled"
    ret["changes"].update({path: "removed" for path in files if os.path.lexists(path)})
    if not ret["changes"]:
        return ret
    if __opts__["test"]:
        ret.update(result=None, comment=f"{name} would be removed.")
        return ret
    if name in ret["changes"] and not (
        __salt__["service.stop"](name) and __salt__["service.disable"](name)
    ):
        ret.update(result=False, changes={}, comment=f"{name} can't be stopped and disabled.")
        return ret
    for path in set(files) & set(ret["changes"]):
        os.unlink(path)
    __salt__["service.systemctl_reload"]()
    __salt__["netboot_records.remove"]("services", name)
    ret["comment"] = f"{name} was removed."
    return ret
