"""
The queue of events, which ``netboot-status`` fills, sent by a minion to its master.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable

from salt.exceptions import CommandExecutionError

import netboot_events
from netboot_records import Records

# At once; a flood of clients must not be one of the bus.
_MOST = 100


def send(records: Records, send_event: Callable[..., Any]) -> int:
    """
    Send the events that were not sent yet, see ``netboot.send_events``.

    records
        The records of this machine.

    send_event
        Salt's ``event.send``.

    Raises CommandExecutionError when one could not be sent; the next run begins with it.
    """
    config = records.config()
    path = os.path.join(config["paths"]["events"], "queue.json")
    if not config["events"]:
        return 0
    try:
        with open(path, encoding="utf-8") as file:
            queue = json.load(file)
    except FileNotFoundError:
        return 0
    events, dropped = netboot_events.due(queue, records.owned("events", {}))
    if dropped:
        send_event("netboot/clients/dropped", data={"number": dropped})
    for event in events[:_MOST]:
        sent = {key: value for key, value in event.items() if key != "number"}
        # On record first: a step is sent once, whatever happens to this run.
        records.write("owned", "events", {"series": queue["series"], "number": event["number"]})
        if not send_event(netboot_events.tag(event), data=sent):
            records.write(
                "owned", "events", {"series": queue["series"], "number": event["number"] - 1}
            )
            raise CommandExecutionError("The minion did not take an event; is there a master?")
    return len(events[:_MOST])
