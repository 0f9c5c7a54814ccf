"""
News of an apply for a master: events of ISOs and of the apply itself, few enough for a fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Callable

#: Of ISOs, in one apply; with that of the apply there are at most six.
MOST = 5
#: Characters of a text in an event.
_LONGEST = 200
_SENT = "netboot_news.sent"


def begin(context: MutableMapping[str, Any]) -> None:
    """
    Begin to count the events of an apply.

    context
        The ``__context__`` of the run, which a minion's process may keep.
    """
    context[_SENT] = 0


def of_iso(
    opts: Mapping[str, Any],
    context: MutableMapping[str, Any],
    fire: Callable[..., object],
    label: str,
    what: str,
    data: dict[str, Any],
) -> None:
    """
    Send what happened to an ISO, ``netboot/iso/LABEL/WHAT``, unless there were enough events.

    opts, context
        ``__opts__`` and ``__context__`` of the run.

    fire
        Salt's ``event.fire_master``.

    label, what
        Label of the image; ``fetched``, ``refreshed`` or ``failed``.

    data
        What else the event says.
    """
    sent = context.get(_SENT, 0)
    if sent < MOST and _has_bus(opts):
        context[_SENT] = sent + 1
        fire({"image": label, **_short(data)}, f"netboot/iso/{label}/{what}")


def of_apply(opts: Mapping[str, Any], fire: Callable[..., object], data: dict[str, Any]) -> None:
    """
    Send how an apply ended, ``netboot/applied``.

    opts, fire, data
        See ``of_iso``.
    """
    if _has_bus(opts):
        fire(_short(data), "netboot/applied")


def _has_bus(opts: Mapping[str, Any]) -> bool:
    """
    Return whether events are sent: only a minion's own process has a bus at hand. salt-call would
    contact the master for each event, and wait for a master that is down.
    """
    return opts.get("file_client") != "local" and opts.get("__cli") != "salt-call"


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return value[:_LONGEST] if isinstance(value, str) else value
