"""
MAC addresses that are nearly the same: typos between a host in the pillar and its machine. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Machines that were bought together are near by themselves: of more, none is named.
_MOST = 3


def likeness(one: str, other: str) -> int:
    """
    Return how near two MAC addresses are: 2 if one digit differs or two digits are swapped, 1 if
    both digits of one byte differ, else 0; 0 for equal ones, too.

    one, other
        See ``netboot_host_checks.bare_mac``.
    """
    if len(one) != len(other):
        return 0
    differ = [at for at, digit in enumerate(one) if digit != other[at]]
    if len(differ) == 1:
        return 2
    if len(differ) != 2:
        return 0
    first, second = differ
    if (one[first], one[second]) == (other[second], other[first]):
        return 2
    return int(first // 2 == second // 2)


def nearest(macs: Iterable[str], others: Iterable[str]) -> list[str]:
    """
    Return those of other MAC addresses that are nearest to one of these; nothing if that are more
    than three, as then nearness says nothing.

    macs
        The MAC addresses of one machine.

    others
        Those of others.
    """
    own = list(macs)
    found: dict[int, list[str]] = {}
    for other in others:
        like = max((likeness(mac, other) for mac in own), default=0)
        found.setdefault(like, []).append(other)
    best = found.get(2) or found.get(1) or []
    return best if len(best) <= _MOST else []
