"""
Keep this machine's firewall open for clients, as far as somebody manages it.
"""

import os

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_firewall"


def __virtual__():
    return __virtualname__


def opened(name, config):
    """
    Ensure that clients come through firewalld and ufw, where these run, and no further than needed.

    Rules written by hand are not edited: a warning has those to add.

    name
        Only shown.

    config
        The configuration, as ``netboot.config`` resolves it.

    ``changes`` has each rule that was added or removed.

    .. code-block:: yaml

        netboot-firewall:
          netboot_firewall.opened:
            - name: firewall
            - config: {...}
    """
    return _in_step(name, config)


def closed(name):
    """
    Ensure that nothing of ours is in firewalld and ufw. Other rules stay.

    name
        Only shown.

    ``changes`` has each rule that was removed.

    .. code-block:: yaml

        netboot-firewall:
          netboot_firewall.closed:
            - name: firewall
    """
    return _in_step(name, None)


def _in_step(name, config):
    ret = {"name": name, "result": True, "changes": {}, "comment": "No firewall is to be changed."}
    if __opts__["test"] and os.geteuid():
        ret["comment"] = "Whether a firewall is to be changed shows to root only."
        return ret
    try:
        ret["changes"].update(__salt__["netboot_firewall.firewalld"](config))
        ret["changes"].update(__salt__["netboot_firewall.ufw"](config))
        rules = __salt__["netboot_firewall.by_hand"](config) if config else []
    except (CommandExecutionError, OSError) as err:
        ret.update(result=False, comment=f"The firewall is not as it should be: {err}")
        return ret
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        ret["comment"] = f"The firewall {'would be' if __opts__['test'] else 'was'} changed."
    if rules:
        ret["warnings"] = [
            "This machine's firewall was written by hand and may keep clients out; add these rules "
            "to it, now and where it is loaded from:\n" + "\n".join(rules)
        ]
    return ret
