"""
Inspect the hosts that boot an entry once.
"""

import netboot_fresh

netboot_fresh.forget_old()

import netboot_arming
from netboot_records import Records

__virtualname__ = "netboot_once"

__func_alias__ = {"list_": "list"}


def __virtual__():
    return __virtualname__


def list_():
    """
    List the hosts that boot an entry once.

    Returns a list of maps: ``host``, ``entry`` (id of what it boots when it is armed), ``armed``
    (when, as ISO 8601 in UTC; None for a host that is new and was never armed), ``booted`` (when)
    and ``booted_entry``; the last two are None while the host is armed. For hosts that are
    installed unattended, ``install`` (its name in the pillar), ``state`` (``armed``, ``booting``,
    ``installing``, ``installed``, ``failed``, ``silent``: no report for an hour), ``step`` (the
    last one that it reported), ``since`` (when), ``why`` (it failed) and ``first_come`` (whether
    its answers went to the first machine that asked, as nothing else told which one it is); for
    others, these are empty.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_once.list
    """
    return netboot_arming.listing(Records.of(__opts__, __context__))
