"""
Keep services running with the configuration on the disk, and check that their ports are free.
"""

import os
import time

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_files
import netboot_sockets
import netboot_window
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_service"


def __virtual__():
    return __virtualname__


def current(name, files, reload=None, waits=False):
    """
    Ensure that a service runs, starts with the machine, and has read its configuration.

    Unlike ``service.running`` with ``watch`` it looks at the files themselves: if an apply is
    killed after writing a file, the next apply restarts the service. If a service does not run with
    its new configuration, the last working configuration is restored, and the state fails.

    name
        Name of the service.

    files
        Paths of its configuration; they need not exist.

    reload
        How it rereads its files: None, it is restarted; ``true``, systemd reloads it; a list, this
        command (words) is run.

    waits : False
        Whether a restart interrupts clients, and so waits for ``netboot:window``. What rereads its
        files drops no connection; what does not run is started at once.

    ``changes`` contains ``started``, ``restarted`` or ``reloaded``, and ``enabled``; and what
    killed applies left beside the files.

    .. code-block:: yaml

        netboot-ftp-service:
          netboot_service.current:
            - name: netboot-vsftpd
            - files: [/etc/netboot/vsftpd.conf]
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        contents = {path: netboot_files.read(path) for path in files}
        known = records.read("services", name) or {}
        runs = __salt__["service.available"](name) and __salt__["service.status"](name)
        changes = _changes(name, contents, known, runs, reload)
        window = netboot_window.awaited(records.config()) if waits and known else ""
        if window and changes.get("service") == "restarted":
            state.comment = f"{name} must be restarted. It waits for {window}."
            return state.ret
        act = state.plan(changes)
        words = " and ".join(changes.values())
        if changes:
            state.comment = f"{name} {state.would_be} {words}."
        for path in files:
            # What killed applies left there, by Salt's file.managed as well.
            for left in (netboot_files.left_behind if state.test else netboot_files.sweep)(path):
                state.done(left, "removed")
        if act:
            written = _written(contents)
            try:
                _activate(name, runs, reload)
                records.write("services", name, {"files": contents, "written": written})
                if "boot" in changes and not __salt__["service.enable"](name):
                    raise CommandExecutionError(f"{name} cannot be enabled.")
            except CommandExecutionError as err:
                back = _put_back(records, name, known, reload)
                raise CommandExecutionError(f"{err}{back}") from err
    return state.ret


def _changes(name, contents, known, runs, reload):
    changes = {}
    if not runs:
        changes["service"] = "started"
    elif (known.get("files"), known.get("written")) != (contents, _written(contents)):
        changes["service"] = "reloaded" if reload else "restarted"
    if not (__salt__["service.available"](name) and __salt__["service.enabled"](name)):
        changes["boot"] = "enabled"
    return changes


def _written(contents):
    """Return the files' times: a file that was removed and restored must be read again."""
    return {path: os.stat(path).st_mtime_ns for path in contents if contents[path] is not None}


def _activate(name, runs, reload):
    if isinstance(reload, list) and runs:
        said = __salt__["cmd.run_all"](reload, python_shell=False)
        if said["retcode"] or said["stderr"]:
            raise CommandExecutionError(f"{' '.join(reload)}: {said['stderr'] or said['stdout']}")
        return
    if not (reload and runs):
        # Otherwise systemd refuses to start a unit that failed several times (StartLimitBurst=).
        __salt__["cmd.retcode"](["systemctl", "reset-failed", name], python_shell=False)
    do = "reload" if reload and runs else "restart" if runs else "start"
    shown = __salt__["service.show"](name)
    before = shown.get("NRestarts") if do == "reload" else "0"
    done = __salt__[f"service.{do}"](name)
    # A daemon of type simple fails on its configuration only after systemd has started it, and may
    # be restarted over and over; other types report when they are ready.
    looks = 4 if shown.get("Type") == "simple" else 1
    for _ in range(looks if done else 0):
        time.sleep(0.5)
        now = __salt__["service.show"](name)
        done = now.get("ActiveState") == "active" and now.get("NRestarts", before) == before
        if not done:
            break
    if not done:
        raise CommandExecutionError(
            f"{name} does not run with its new configuration; see journalctl -u {name}."
        )


def _put_back(records, name, known, reload):
    """Restore the last working files of a service; return what to add to the message."""
    if not known:
        return ""
    for path, content in known["files"].items():
        if content is None:
            if os.path.exists(path):
                os.unlink(path)
        else:
            staging = records.config()["paths"]["etc"]
            netboot_files.write(path, content, staging=staging)
    try:
        _activate(name, __salt__["service.status"](name), reload)
    except CommandExecutionError as err:
        return f" It does not run with the old configuration either: {err}"
    records.write("services", name, {**known, "written": _written(known["files"])})
    return " The old configuration was restored, and it runs with that again."


def absent(name, files):
    """
    Ensure that a netboot service is stopped and disabled, and that its files are removed.

    name
        Name of the service.

    files
        Paths of its unit and configuration.

    ``changes`` contains the service, and each removed file.

    .. code-block:: yaml

        netboot-ftp-service:
          netboot_service.absent:
            - name: netboot-vsftpd
            - files: [/etc/netboot/vsftpd.conf, /etc/systemd/system/netboot-vsftpd.service]
    """
    with State(name, f"{name} does not exist.", __opts__["test"]) as state:
        left = [one for path in files for one in netboot_files.left_behind(path)]
        changes = {path: "removed" for path in [*files, *left] if os.path.lexists(path)}
        if __salt__["service.available"](name) and (
            __salt__["service.status"](name) or __salt__["service.enabled"](name)
        ):
            changes[name] = "stopped and disabled"
        act = state.plan(changes)
        if changes:
            state.comment = f"{name} {state.would_be} removed."
        if act:
            if name in changes and not (
                __salt__["service.stop"](name) and __salt__["service.disable"](name)
            ):
                raise CommandExecutionError(f"{name} cannot be stopped and disabled.")
            for path in {*files, *left} & set(changes):
                os.unlink(path)
            __salt__["service.systemctl_reload"]()
            for unit in map(os.path.basename, files):
                if unit.endswith(".service"):
                    # Otherwise one that failed stays in `systemctl --failed`.
                    forget = ["systemctl", "reset-failed", unit]
                    __salt__["cmd.retcode"](forget, python_shell=False, ignore_retcode=True)
            Records.of(__opts__, __context__).remove("services", name)
    return state.ret


def ports_free(name):
    """
    Fail, before anything is changed, if another program holds a needed port.

    name
        What is checked; only shown.

    Changes nothing.

    .. code-block:: yaml

        netboot-ports-free:
          netboot_service.ports_free:
            - name: ports
    """
    comment = "All ports are free or held by the services themselves."
    with State(name, comment, __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        clashes = netboot_sockets.clashes(records.config(), records.owned("silenced", []))
        if clashes:
            state.fail("\n".join(clashes))
    return state.ret
