"""
How long clients take that boot together, and what would help most: arithmetic. Pure.

A link carries 0.94 of what it is called (117 MB/s of 1000 Mbit/s), after the headers of TCP.
"""

from __future__ import annotations

from typing import Any, TypedDict

from netboot_entries import MOUNTING
from netboot_shapes import Entry

#: Of a link whose speed is not known.
ASSUMED_MBIT = 1000
#: What a live system reads of a stage that it mounts: nobody has measured that with real images.
ASSUMED_MOUNTED = 400_000_000
# dnsmasq is one process, here with blocks of 1468 bytes: measured, 8 clients together.
TFTP_MB_S = 54.0
_EFFICIENCY = 0.936
_MOST_ADVICE = 2
# Advice that saves less of the time is none.
_WORTH = 0.1


class Load(TypedDict):
    """What a client loads of an entry, in bytes: by TFTP, by HTTP, and otherwise."""

    id: str
    image: str
    variant: str
    method: str
    loader: int
    kernel: int  # and initrd
    by_tftp: bool  # those
    stage: int
    assumed: bool  # the stage: it is mounted


class Link(TypedDict):
    """The server's link; ``assumed``: its speed is not known."""

    interface: str
    mbit: int
    assumed: bool


class Memory(TypedDict):
    """Bytes that the files of the menu have, and that the page cache can hold of them."""

    files: int
    available: int


def load(entry: Entry, loader: int, by_tftp: bool) -> Load:
    """
    Return what a client loads of an entry.

    entry
        The boot entry.

    loader
        Bytes of the boot loader.

    by_tftp
        Whether kernel and initrd come by TFTP.
    """
    size, mounted = entry["stage"]["bytes"], entry["method"] in MOUNTING
    return {
        "id": entry["id"],
        "image": entry["image"],
        "variant": entry["variant"],
        "method": entry["method"],
        "loader": loader,
        "kernel": max(entry["bytes"] - size, 0),
        "by_tftp": by_tftp and entry["kernel"].startswith("/"),
        "stage": min(size, ASSUMED_MOUNTED) if mounted else size,
        "assumed": mounted,
    }


def mb_s(mbit: float) -> float:
    """
    Return how many MB a link carries in a second.

    mbit
        Its speed in Mbit/s.
    """
    return mbit / 8 * _EFFICIENCY


def seconds(one: Load, clients: int, rate: float) -> float:
    """
    Return how long so many clients take together, from the boot loader to the whole stage.

    one
        What each loads.

    clients
        Their number.

    rate
        MB/s of the link.
    """
    tftp, rest = one["loader"], one["stage"]
    if one["by_tftp"]:
        tftp += one["kernel"]
    else:
        rest += one["kernel"]
    return clients * (tftp / min(rate, TFTP_MB_S) + rest / rate) / 1e6


def slots(one: Load, rate: float) -> int:
    """
    Return how many clients should load an entry at once.

    As many turns are given a minute: twice what the link carries in one, so that it never idles.

    one, rate
        See ``seconds``.
    """
    each = (one["kernel"] + one["stage"]) / 1e6
    return max(4, -int(-2 * 60 * rate // each)) if each else 4


def plan(
    loads: list[Load],
    clients: int,
    link: Link,
    memory: Memory,
    default: str = "",
    at_once: int = 0,
    mountable: bool = False,
) -> dict[str, Any]:
    """
    Return how long each entry takes for so many clients, and what would help most.

    loads
        What a client loads, for each entry.

    clients
        Their number.

    link, memory
        See ``Link``, ``Memory``.

    default : ''
        Id of the entry that the advice is about; else it is the slowest.

    at_once : 0
        How many load at once; 0: all.

    mountable : False
        Whether the advice may be to mount: whether this machine could serve cifs or nfs.

    Returns a map: see ``netboot.plan``.
    """
    rate = mb_s(link["mbit"])
    entries = [
        {
            **one,
            "bytes": one["loader"] + one["kernel"] + one["stage"],
            "tftp_s": round(seconds({**one, "stage": 0, "by_tftp": True}, clients, rate))
            if one["by_tftp"]
            else round(clients * one["loader"] / min(rate, TFTP_MB_S) / 1e6),
            "minutes": round(seconds(one, clients, rate) / 60, 1),
        }
        for one in loads
    ]
    of = [one for one in loads if one["id"] == default]
    about: Load | None = max(of or loads, key=lambda one: seconds(one, clients, rate), default=None)
    advice = _advice(about, loads, clients, link, memory, at_once, mountable) if about else []
    return {
        "clients": clients,
        "link": {**link, "mb_s": round(rate, 1)},
        "tftp_mb_s": min(round(rate, 1), TFTP_MB_S),
        "entries": entries,
        "memory": dict(memory),
        "clients_at_once": at_once,
        "suits": slots(about, rate) if about else 0,
        "about": about["id"] if about else "",
        "advice": advice,
    }


def _minutes(number: float) -> str:
    """Return seconds as people say them."""
    if number < 90:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 5400 else f"{number / 3600:.1f} h"


def _advice(
    about: Load,
    loads: list[Load],
    clients: int,
    link: Link,
    memory: Memory,
    at_once: int,
    mountable: bool,
) -> list[str]:
    """Return sentences, what saves most first."""
    rate = mb_s(link["mbit"])
    now = seconds(about, clients, rate)
    said: list[tuple[float, str]] = []

    def helps(then: float, how: str) -> None:
        if now - then > _WORTH * now:
            said.append((now - then, f"{how}: {about['id']} takes {_minutes(then)}."))

    mounted = min(
        (one for one in loads if _other_way(one, about) and one["assumed"]),
        key=lambda one: seconds(one, clients, rate),
        default=None,
    )
    less = min(about["stage"], ASSUMED_MOUNTED)
    if mounted:
        helps(seconds(mounted, clients, rate), f"Booted as {mounted['id']}, which mounts")
    elif mountable and not about["assumed"] and less:
        then = seconds({**about, "stage": less}, clients, rate)
        helps(then, f"Mounted (netboot:methods: [nfs]; {less // 10**6} MB read are assumed)")
    if about["by_tftp"]:
        then = seconds({**about, "by_tftp": False}, clients, rate)
        helps(then, "With its kernel over http (netboot:kernel_over)")
    if link["mbit"] < 1000:
        helps(seconds(about, clients, mb_s(1000)), "With 1000 Mbit/s")
    elif link["mbit"] < 10_000:
        helps(seconds(about, clients, mb_s(10_000)), "With 10 Gbit/s")
    if clients > 1:
        helps(seconds(about, -(-clients // 2), rate), "With a second server for half of them")
    found = [text for _saved, text in sorted(said, key=lambda one: -one[0])][:_MOST_ADVICE]
    suits = slots(about, rate)
    if clients > suits and not at_once:
        found.append(
            f"netboot:http:clients_at_once: {suits}: the first {suits} clients have loaded after "
            f"{_minutes(seconds(about, suits, rate))}, instead of all after {_minutes(now)}."
        )
    if memory["files"] > memory["available"]:
        found.append(
            f"The files of the menu have {memory['files'] / 1e9:.1f} GB, and the page cache can "
            f"hold {memory['available'] / 1e9:.1f} GB of them: the rest is read from the disk."
        )
    return found


def _other_way(one: Load, about: Load) -> bool:
    return one["id"] != about["id"] and (one["image"], one["variant"]) == (
        about["image"],
        about["variant"],
    )
