"""
Files in directories that daemons read, written without a temporary file in these.

Salt's ``file.managed`` writes beside the file: what a kill leaves there may be read by the daemon.
"""

import netboot_fresh

netboot_fresh.forget_old()

import netboot_templates
import netboot_timer
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_file"


def __virtual__():
    return __virtualname__


def written(name, source):
    """
    Ensure that a file has the text of a template, mode 0644 and owner root.

    name
        Absolute path.

    source
        ``salt://`` URL of the template (Jinja). In it ``apply`` has what applies these states again
        on this machine, see ``netboot_timer.command``.

    ``changes`` contains the difference, and what killed applies left in the directory.

    .. code-block:: yaml

        netboot-once-unit:
          netboot_file.written:
            - name: /etc/systemd/system/netboot-once.service
            - source: salt://netboot/files/netboot-once.service.jinja
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        config = Records.of(__opts__, __context__).config()
        cached = __salt__["cp.cache_file"](source)
        apply = netboot_timer.command(__opts__)
        text = netboot_templates.text(source, cached, config, __opts__, apply=apply)
        netboot_templates.in_step(state, name, text, config["paths"]["etc"])
    return state.ret
