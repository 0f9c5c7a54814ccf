"""
Check that nothing conflicts with the netboot site of nginx.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_nginx
import netboot_run
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_http"


def __virtual__():
    return __virtualname__


def site_ready(name):
    """
    Fail if an existing nginx site conflicts with the netboot site, or a file that it needs is
    missing.

    name
        What is checked; only shown.

    Changes nothing.

    .. code-block:: yaml

        netboot-http-ready:
          netboot_http.site_ready:
            - name: web server
    """
    with State(name, "There are no conflicts.", __opts__["test"]) as state:
        config = Records.of(__opts__, __context__).config()
        http, nginx = config["http"], config["platform"]["nginx"]
        said = [
            f"{http[key]} (netboot:http:{key}) does not exist on this machine; copy it there."
            for key in ("certificate", "key")
            if http[key] and not os.path.isfile(http[key])
        ]
        try:
            # Under test=True nginx may not be installed yet.
            if netboot_run.has("nginx"):
                others = netboot_nginx.others(nginx["directory"], nginx["site"])
                said += netboot_nginx.clashes(others, config)
        except (CommandExecutionError, OSError) as err:
            said.append(str(err))
        if said:
            state.fail("\n".join(said))
    return state.ret
