"""
Keep the configuration of a netboot server in step with the pillar.
"""

import time

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_bootable
import netboot_cache
import netboot_held
import netboot_images
import netboot_news
import netboot_snapshot
import netboot_status
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot"

# What Salt says of a state that was not run, as another one failed.
_WAITED = "One or more requisite failed"


def __virtual__():
    return __virtualname__


def config_valid(name, problems):
    """
    Fail with all problems of the pillar, one line each; also under ``test=True``.

    name
        What is checked; only shown.

    problems
        List of one-line strings, as ``netboot.config`` returns them.

    Changes nothing.

    .. code-block:: yaml

        netboot-config-valid:
          netboot.config_valid:
            - name: pillar netboot
            - problems: ["netboot:imags: unknown key, did you mean images?"]
    """
    with State(name, "The pillar is valid.", __opts__["test"]) as state:
        if problems:
            listed = "\n".join(f"- {problem}" for problem in problems)
            state.fail(f"The pillar has mistakes; nothing was changed:\n{listed}")
    return state.ret


def config_resolved(name, config):
    """
    Make the states of this run use the configuration that the pillar resolves to now.

    They read it in place of the applied configuration on record. ``config_applied`` writes the
    record once nothing is in the way any more. Fails when the records are newer than these states.

    name
        What is resolved; only shown.

    config
        The configuration, as ``netboot.config`` resolves it.

    Changes nothing.

    .. code-block:: yaml

        netboot-config-resolved:
          netboot.config_resolved:
            - name: pillar netboot
            - config: {root: /srv/export}
    """
    with State(name, "The pillar was resolved.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        netboot_news.begin(__context__)
        records.resolve(config)
        records.resolve(netboot_held.held(records, config))
    return state.ret


def config_applied(name, warnings=()):
    """
    Ensure that the configuration of this run is on record on the machine.

    name
        What is kept; only shown.

    warnings
        List of one-line strings that are shown with the result.

    ``changes`` contains the keys that changed.

    .. code-block:: yaml

        netboot-config-applied:
          netboot.config_applied:
            - name: pillar netboot
    """
    comment = "The configuration on record is up to date."
    with State(name, comment, __opts__["test"]) as state:
        state.warn(*warnings)
        records = Records.of(__opts__, __context__)
        config = netboot_held.recorded(records.config())
        old = records.on_record() or {}
        changes = {
            key: "changed" if key in old else "new"
            for key in sorted({*old, *config})
            if old.get(key) != config.get(key)
        }
        act = state.plan(changes)
        if changes:
            state.comment = f"The configuration {state.would_be} put on record."
        if act:
            records.write("applied", "config", config)
    return state.ret


def applied(name):
    """
    Sum up what this machine offers now, and put on record how a run that changed something ended;
    and for the status page and metrics, what only an apply knows. A master gets the event
    ``netboot/applied``.

    To be run last.

    name
        What is summed up; only shown.

    Changes nothing else.

    .. code-block:: yaml

        netboot-applied:
          netboot.applied:
            - name: summary
            - order: last
    """
    with State(name, "", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        state.comment = "\n".join(netboot_status.summary(records, state.test))
        if not state.test:
            ran = __running__.values()
            failed = {
                one["__id__"]: one["comment"].strip().partition("\n")[0]
                for one in ran
                if one["result"] is False and not one["comment"].lstrip().startswith(_WAITED)
            }
            before = records.run() or {}
            # A run that changes nothing writes nothing.
            if any(one["changes"] for one in ran) or failed != before.get("failed"):
                records.write("applied", "run", {"at": int(time.time()), "failed": failed})
            try:
                netboot_snapshot.write(records)
            except (CommandExecutionError, OSError) as err:
                state.warn(f"The status page is not up to date: {err}")
            _tell(records, failed, sum(bool(one["changes"]) for one in ran))
    return state.ret


def _tell(records, failed, changed):
    """Tell a master how the apply ended."""
    images = {one["name"]: str(one["iso_sha256"] or "")[:12] for one in records.ready()}
    data = {
        "version": records.config()["version"],
        "changed": changed,
        "failed": dict(list(failed.items())[:10]),
        "images": images,
        "missing": netboot_images.missing(records),
        "waiting": records.owned("waiting", {}),
    }
    netboot_news.of_apply(__opts__, __salt__["event.fire_master"], data)


def cached(name):
    """
    Read ahead what clients load of the entries of the menu, so that the first clients do not wait
    for the disk: the newest image first, as far as half of the available memory goes.

    Not again before an image changes, or the machine boots.

    name
        What is read; only shown.

    Changes nothing; under ``test=True`` nothing is read.

    .. code-block:: yaml

        netboot-cached:
          netboot.cached:
            - name: files of the menu
    """
    with State(name, "", __opts__["test"]) as state:
        if state.test:
            state.comment = "The files of the menu would be read ahead, if they changed."
        else:
            state.comment = netboot_cache.warm(Records.of(__opts__, __context__))
    return state.ret


def bootable(name):
    """
    Ensure that clients of each kind of firmware that has a boot loader here can load all that each
    entry of the menu needs: by DHCP, boot loader, menu, kernel, initrd, and the entry's own method.

    Tried when something has changed since the last try, after a failure, and once a day; a server
    that offers boots beside this one is a warning.

    name
        What is tried; only shown.

    Changes nothing, and sends nothing under ``test=True``.

    .. code-block:: yaml

        netboot-bootable:
          netboot.bootable:
            - name: menu
    """
    with State(name, "", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        waits = [one for one in __running__.values() if "It waits for the window" in one["comment"]]
        if state.test:
            state.comment = "The menu would be tried as clients load it, where that is due."
        elif waits:
            state.comment = "The menu was not tried, as a service waits for the window."
        else:
            found = netboot_bootable.tried(records)
            state.comment = netboot_bootable.summary(found)
            listed = netboot_bootable.findings(found)
            state.warn(*(text for _key, severity, text in listed if severity == "warning"))
            wrong = [text for _key, severity, text in listed if severity == "error"]
            if wrong:
                state.fail("\n".join(wrong))
    return state.ret
