"""
Keep this machine's firewall open for clients.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

import netboot_firewalld
import netboot_rules
import netboot_ufw
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_firewall"


def __virtual__():
    return __virtualname__


def opened(name):
    """
    Ensure that firewalld or ufw, where one runs, lets clients through, and no more than needed.

    Hand-written rules are not edited: a warning lists the rules to add.

    name
        Only shown.

    ``changes`` contains each rule that was added or removed.

    .. code-block:: yaml

        netboot-firewall:
          netboot_firewall.opened:
            - name: firewall
    """
    return _in_step(name, opened=True)


def closed(name):
    """
    Ensure that firewalld and ufw have no rules of these states. Other rules stay.

    name
        Only shown.

    ``changes`` contains each removed rule.

    .. code-block:: yaml

        netboot-firewall:
          netboot_firewall.closed:
            - name: firewall
    """
    return _in_step(name, opened=False)


def _in_step(name, opened):
    with State(name, "The firewall needs no change.", __opts__["test"]) as state:
        if state.test and os.geteuid():
            state.comment = "Only root can see whether the firewall needs a change."
            return state.ret
        records = Records.of(__opts__, __context__)
        config = records.config() if opened else None
        for changes in (
            netboot_firewalld.reconcile(config, records, state.test),
            netboot_ufw.reconcile(config, state.test),
        ):
            for rule, change in changes.items():
                state.done(rule, change)
        if state.changes:
            state.comment = f"The firewall {state.would_be} changed."
        rules = netboot_rules.missing(config) if config else []
        if rules:
            state.warn(
                "This machine has a hand-written firewall that may keep clients out; add these "
                "rules now, and to the file from which it is loaded:\n" + "\n".join(rules)
            )
    return state.ret
