"""
See that nothing is in the way of our site of nginx.
"""

import os

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_sites"


def __virtual__():
    return __virtualname__


def ready(name, config):
    """
    Fail when a site that nginx serves already is in the way of ours, or a file that ours needs is
    not there.

    name
        What is looked at; only shown.

    config
        The configuration, as ``netboot.config`` resolves it.

    Changes nothing.

    .. code-block:: yaml

        netboot-http-ready:
          netboot_sites.ready:
            - name: web server
            - config: {...}
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "Nothing is in the way."}
    http, nginx = config["http"], config["platform"]["nginx"]
    said = [
        f"There is no {http[key]} on this machine, which netboot:http:{key} names; put it there."
        for key in ("certificate", "key")
        if http[key] and not os.path.isfile(http[key])
    ]
    try:
        # Under test=True nginx may not be there yet.
        if __salt__["cmd.which"]("nginx"):
            others = __salt__["netboot_sites.others"](nginx["folder"], nginx["site"])
            said += __salt__["netboot_sites.clashes"](others, config)
    except (CommandExecutionError, OSError) as err:
        said.append(str(err))
    if said:
        ret.update(result=False, comment="\n".join(said))
    return ret
