"""
Keep hosts that boot something once in step with the pillar.
"""

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot_once"


def __virtual__():
    return __virtualname__


def armed(name, config, staging):
    """
    Ensure that each host with ``once: true`` was armed for its entry, one time.

    A host that is armed stays so, and one that has booted is not armed again, even when the pillar
    now has another entry for it: the result tells which these are. The hosts are read from the
    pillar: thousands don't fit into a state.

    name
        Folder of the scripts of armed hosts (absolute path).

    config
        The configuration, as ``netboot.config`` resolves it.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    ``changes`` has the hosts and scripts that became different.

    .. code-block:: yaml

        netboot-once-armed:
          netboot_once.armed:
            - name: /srv/export/tftp/once
            - config: {...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All hosts are as they should."}
    pillar = __pillar__.get("netboot", {})
    try:
        labels = {image["label"] for image in config["images"]}
        ready = [image for image in __salt__["netboot.images"]() if image["label"] in labels]
        entries = __salt__["netboot_entries.build"](config, [*ready, *config["elsewhere"]])[
            "entries"
        ]
        once = __salt__["netboot_hosts.once"](
            pillar.get("hosts") or {}, pillar.get("groups") or {}, config, entries
        )
        ret["changes"] = __salt__["netboot_once.reconcile"](
            name, once["hosts"], staging, __opts__["test"]
        )
        if ret["changes"] and __opts__["test"]:
            ret["result"] = None
            ret["comment"] = "Hosts would be armed or dropped."
        elif ret["changes"]:
            count = list(ret["changes"].values()).count("armed")
            ret["comment"] = f"{count} hosts were armed."
        waiting = [
            one["host"]
            for one in __salt__["netboot_once.list"]()
            if one["booted"] and one["booted_entry"] != one["entry"]
        ]
        if waiting:
            more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
            ret["comment"] += (
                f"\nNot armed for their new entry, as they have booted: {', '.join(waiting[:5])}"
                f"{more}. netboot.arm host=NAME arms them."
            )
        if once["problems"]:
            ret["result"] = False
            ret["comment"] += "\n" + "\n".join(once["problems"])
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret
