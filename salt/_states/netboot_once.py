"""
Keep hosts that boot an entry once in step with the pillar.
"""

import netboot_fresh

netboot_fresh.forget_old()

import netboot_arming
import netboot_host_scripts
import netboot_images
from netboot_names import some
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_once"


def __virtual__():
    return __virtualname__


def armed(name):
    """
    Ensure that each host with ``once: true`` was armed for its entry, one time.

    An armed host stays armed, and a host that has booted is not armed again, even if the pillar now
    has another entry for it: the result lists such hosts. The hosts are read from the pillar:
    thousands do not fit into a state.

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
        state.plan(changes)
        if changes:
            count = list(changes.values()).count("armed")
            state.comment = state.counted(count, "host", "armed")
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
        if once["problems"]:
            state.fail("\n".join([state.comment, *once["problems"]]))
    return state.ret
