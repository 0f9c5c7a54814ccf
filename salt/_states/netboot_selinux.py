"""
Label what is served where SELinux is on, through Salt's own ``selinux`` states.

These come with ``semanage``, which a package of this same apply may bring. The types are those of
Fedora's policy (github.com/fedora-selinux/selinux-policy): nginx, Samba, vsftpd, dnsmasq and the
NFS server all read ``public_content_t``.
"""

import os
import re

__virtualname__ = "netboot_selinux"


def __virtual__():
    return __virtualname__


def labeled(name, selinux_type):
    """
    Ensure that a folder and all below it has a type of SELinux's, and that new files get it.

    name
        The folder (absolute path); it need not exist yet.

    selinux_type
        Such as ``public_content_t``.

    ``changes`` is that of ``selinux.fcontext_policy_present`` and ``fcontext_policy_applied``.

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
    Ensure that a folder has no type by these states, and is labeled as the policy has it.

    name
        The folder (absolute path).

    ``changes`` is that of ``selinux.fcontext_policy_absent`` and ``fcontext_policy_applied``.

    .. code-block:: yaml

        netboot-clean-selinux-root:
          netboot_selinux.unlabeled:
            - name: /srv/export
    """
    if "selinux.fcontext_policy_absent" not in __states__:
        comment = "Without semanage nothing was labeled."
        return {"name": name, "result": True, "changes": {}, "comment": comment}
    return _in_turn(name, [("fcontext_policy_absent", {"name": _spec(name)}), *_relabel(name)])


def http_port(name):
    """
    Ensure that the web server may listen on a port.

    name
        The TCP port (number).

    ``changes`` is that of ``selinux.port_policy_present``.

    .. code-block:: yaml

        netboot-selinux-port:
          netboot_selinux.http_port:
            - name: 8888
    """
    steps = [("port_policy_present", {"name": f"tcp/{name}", "sel_type": "http_port_t"})]
    return _in_turn(str(name), steps)


def _spec(folder):
    """The regular expression that semanage takes (semanage-fcontext(8))."""
    return re.sub(r"([.+])", r"\\\1", folder) + "(/.*)?"


def _relabel(folder):
    if not os.path.exists(folder):
        return []
    return [("fcontext_policy_applied", {"name": folder, "recursive": True})]


def _in_turn(name, steps):
    """What these states of Salt's come to, up to the first that fails."""
    ret = {"name": name, "result": True, "changes": {}, "comment": "SELinux knows it."}
    for function, arguments in steps:
        if f"selinux.{function}" not in __states__:
            ret["result"] = None if __opts__["test"] else False
            ret["comment"] = "semanage is not installed" + (" yet." if __opts__["test"] else ".")
            return ret
        done = __states__[f"selinux.{function}"](**arguments)
        if done["result"] is False:
            ret.update(result=False, comment=str(done["comment"]))
            return ret
        if done["result"] is None or done["changes"]:
            ret["result"] = done["result"]
            ret["changes"][function] = done["changes"] or arguments
            ret["comment"] = f"SELinux {'would be' if __opts__['test'] else 'was'} told."
    return ret
