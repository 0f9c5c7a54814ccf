"""
See that nobody else holds the ports that the services need.
"""

__virtualname__ = "netboot_ports"


def __virtual__():
    return __virtualname__


def free(name, config):
    """
    Fail, before anything is changed, when another program holds a port that is needed.

    name
        What is looked at; only shown.

    config
        The configuration, as ``netboot.config`` resolves it.

    Changes nothing.

    .. code-block:: yaml

        netboot-ports-free:
          netboot_ports.free:
            - name: ports
            - config: {...}
    """
    clashes = __salt__["netboot_ports.clashes"](config)
    return {
        "name": name,
        "result": not clashes,
        "changes": {},
        "comment": "\n".join(clashes) or "All ports are free or held by the services themselves.",
    }
