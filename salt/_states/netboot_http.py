"""
See that nothing is in the way of our site of nginx.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

import netboot_nginx
import netboot_run
from netboot_records import Records
from netboot_state import State
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_http"


def __virtual__():
    return __virtualname__


def site_ready(name):
    """
    Fail when a site that nginx serves already is in the way of ours, or a file that ours needs is
    not there.

    name
        What is checked; only shown.

    Changes nothing.

    .. code-block:: yaml

        netboot-http-ready:
          netboot_http.site_ready:
            - name: web server
    """
    with State(name, "Nothing is in the way.", __opts__["test"]) as state:
        config = Records.of(__opts__, __context__).config()
        http, nginx = config["http"], config["platform"]["nginx"]
        said = [
            f"There is no {http[key]} on this machine, which netboot:http:{key} names; put it there."
            for key in ("certificate", "key")
            if http[key] and not os.path.isfile(http[key])
        ]
        try:
            # Under test=True nginx may not be there yet.
            if netboot_run.has("nginx"):
                others = netboot_nginx.others(nginx["folder"], nginx["site"])
                said += netboot_nginx.clashes(others, config)
        except (CommandExecutionError, OSError) as err:
            said.append(str(err))
        if said:
            state.fail("\n".join(said))
    return state.ret
