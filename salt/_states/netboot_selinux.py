"""
Label served files where SELinux is enabled, through Salt's own ``selinux`` states.

These need ``semanage``, which a package of the same apply may install. The types are those of
Fedora's policy (github.com/fedora-selinux/selinux-policy): nginx, Samba, vsftpd, dnsmasq and the
NFS server all read ``public_content_t``.
"""

import os
import re

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

from netboot_state import State

__virtualname__ = "netboot_selinux"


def __virtual__():
    return __virtualname__


def labeled(name, selinux_type):
    """
    Ensure that a directory and everything below it has an SELinux type, and that new files get it.

    name
        The directory (absolute path); it need not exist yet.

    selinux_type
        The type, such as ``public_content_t``.

    ``changes``: see ``selinux.fcontext_policy_present`` and ``fcontext_policy_applied``.

    .. code-block:: yaml

        netboot-selinux-root:
          netboot_selinux.labeled:
            - name: /srv/export
            - selinux_type: public_content_t
    """
    steps = [("fcontext_policy_present", {"name": _spec(name), "sel_type": selinux_type})]
    return _in_turn(name, steps + _relabel(name))


def unlabeled(name):
    """
    Ensure that a directory has no type from these states, and has the labels of the policy.

    name
        The directory (absolute path).

    ``changes``: see ``selinux.fcontext_policy_absent`` and ``fcontext_policy_applied``.

    .. code-block:: yaml

        netboot-clean-selinux-root:
          netboot_selinux.unlabeled:
            - name: /srv/export
    """
    if "selinux.fcontext_policy_absent" not in __states__:
        return State(name, "semanage is missing: nothing to remove.", __opts__["test"]).ret
    return _in_turn(name, [("fcontext_policy_absent", {"name": _spec(name)}), *_relabel(name)])


def http_port(name):
    """
    Ensure that the web server may listen on a port.

    name
        The TCP port (number).

    ``changes``: see ``selinux.port_policy_present``.

    .. code-block:: yaml

        netboot-selinux-port:
          netboot_selinux.http_port:
            - name: 8888
    """
    steps = [("port_policy_present", {"name": f"tcp/{name}", "sel_type": "http_port_t"})]
    return _in_turn(str(name), steps)


def _spec(directory):
    """Return the regular expression for semanage (semanage-fcontext(8))."""
    return re.sub(r"([.+])", r"\\\1", directory) + "(/.*)?"


def _relabel(directory):
    if not os.path.exists(directory):
        return []
    return [("fcontext_policy_applied", {"name": directory, "recursive": True})]


def _in_turn(name, steps):
    """Run some of Salt's states, up to the first that fails; return the combined result."""
    with State(name, "SELinux labels are up to date.", __opts__["test"]) as state:
        for function, arguments in steps:
            if f"selinux.{function}" not in __states__:
                if not state.test:
                    raise CommandExecutionError("semanage is not installed.")
                state.done(function, arguments)
                state.comment = "SELinux labels would be updated, once semanage is installed."
                break
            done = __states__[f"selinux.{function}"](**arguments)
            if done["result"] is False:
                raise CommandExecutionError(str(done["comment"]))
            if done["result"] is None or done["changes"]:
                state.done(function, done["changes"] or arguments)
                state.comment = f"SELinux labels {'would be' if state.test else 'were'} updated."
    return state.ret
