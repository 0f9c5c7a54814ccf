"""
Keep hosts that boot an entry once in step with the pillar.
"""

import grp
import os
import stat

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_arming
import netboot_host_scripts
import netboot_images
import netboot_minion_keys
from netboot_names import some
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_once"


def __virtual__():
    return __virtualname__


def directory(name, group, mode="0750"):
    """
    Ensure that a directory for what armed hosts get exists: read by the web server alone.

    Scripts are moved there from ``tftp/once``, where earlier versions had them.

    name
        Its path.

    group
        Group of the web server.

    mode : 0750
        Its mode; ``2750`` gives the group what is made in it.

    ``changes`` contains the directory, and each file that was moved.

    .. code-block:: yaml

        netboot-once-scripts:
          netboot_once.directory:
            - name: /var/lib/netboot-once
            - group: www-data
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        try:
            gid = grp.getgrnam(group).gr_gid
        except KeyError:
            gid = None  # the web server is not installed yet
        if gid is None and not state.test:
            raise CommandExecutionError(f"This machine has no group {group}.")
        if not os.path.isdir(name):
            state.done(name, "created")
        elif _rights(name) != (int(mode, 8), 0, gid):
            state.done(name, f"mode {mode}")
        if state.changes and not state.test:
            os.makedirs(name, mode=0o700, exist_ok=True)
            os.chown(name, 0, gid)
            os.chmod(name, int(mode, 8))
        for path in netboot_arming.moved(Records.of(__opts__, __context__), state.test):
            state.done(path, "moved")
        if state.changes:
            state.comment = f"{name} {state.would_be} updated."
    return state.ret


def _rights(path):
    found = os.stat(path)
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def armed(name):
    """
    Ensure that each host with ``once: true`` is on record: new, armed for its entry, or booted.

    A new host waits for ``netboot.arm``, unless the pillar has ``arm_new`` and the server is not
    new itself. An armed host stays armed, and a host that has booted is not armed again, even if
    the pillar now has another entry for it: the result lists such hosts. The hosts are read from
    the pillar: thousands do not fit into a state.

    name
        What is armed; only shown.

    ``changes`` contains the changed hosts and scripts.

    .. code-block:: yaml

        netboot-once-armed:
          netboot_once.armed:
            - name: hosts
    """
    with State(name, "All hosts are in the desired state.", __opts__["test"]) as state:
        pillar = __pillar__.get("netboot") or {}
        records = Records.of(__opts__, __context__)
        once = netboot_host_scripts.once(
            pillar.get("hosts") or {},
            pillar.get("groups") or {},
            records.config(),
            netboot_images.built(records)["entries"],
        )
        changes = netboot_arming.reconcile(records, once["hosts"], state.test)
        if not state.test and __opts__.get("file_client") == "remote":
            netboot_minion_keys.send(records, __salt__["event.send"], __salt__["mine.send"])
        state.plan(changes)
        if changes:
            made = list(changes.values())
            told = [
                ("armed", "armed"),
                ("not armed", "put on record, not armed"),
                ("disarmed", "disarmed"),
            ]
            state.comment = " ".join(
                state.counted(made.count(word), "host", done) for word, done in told if word in made
            ) or state.counted(len(changes), "host", "updated")
            wiped = [
                key
                for key, change in changes.items()
                if (change == "armed" or (change == "back" and f"{key}.ipxe" in changes))
                and once["hosts"][key].get("install")
            ]
            if wiped:
                state.comment += (
                    f" At the next network boot {len(wiped)} "
                    f"{'is' if len(wiped) == 1 else 'are'} installed, which wipes disks: "
                    f"{some(wiped)}."
                )
        waiting = [
            host["host"]
            for host in netboot_arming.listing(records)
            if host["booted"] and host["booted_entry"] != host["entry"]
        ]
        if waiting:
            state.comment += (
                f"\nNot armed for their new entry, as they have booted: {some(waiting)}. "
                "Run netboot.arm host=NAME to arm them."
            )
        problems = once["problems"] + netboot_arming.unanswered(records)
        if problems:
            state.fail("\n".join([state.comment, *problems]))
    return state.ret
