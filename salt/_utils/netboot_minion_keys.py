"""
The public keys of hosts that become minions, sent to the master of this netboot server.

They lie in the server's mine, which the master keeps by the id that it has verified, and each is an
event ``netboot/minion/key`` that makes the master look there: any minion can send an event in the
name of another (``salt.daemons.masterapi._minion_event``). The runner ``netboot_minions`` decides,
and answers by ``netboot.send_events``.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any, Callable

from netboot_answering import installs_of
from netboot_installing import STEPS
from netboot_records import Records
from netboot_shapes import Arming

#: What the keys are called in the mine: by id ``pub``, and whether the host is ``installed``.
MINE = "netboot_minion_keys"
TAG = "netboot/minion/key"

_RECORD = "minion-keys"
# An answer may take as long as an install, and its reports are taken a day longer.
_LATE_S = 86400
_MOST = 100
# Between two events for a key. A host may be armed for days before it is switched on.
_SELDOM_S = 3600
_SELDOM_ARMED_S = 6 * 3600


def finger(public: str) -> str:
    """
    Return the fingerprint of a public key as ``salt-key -f`` prints it, or an empty string.

    public
        The key, as a PEM text.
    """
    # salt.utils.crypt.pem_finger: of the lines between the first and the last.
    body = "".join(f"{line}\n" for line in public.split("\n")[1:] if line)
    body = body[: body.rfind("-----END")] if "-----END" in body else ""
    digest = hashlib.sha256(body.encode()).hexdigest() if body else ""
    return ":".join(re.findall("..", digest))


def current(armings: Mapping[str, Arming], now: float, lasts_s: int) -> dict[str, Arming]:
    """
    Return the armings whose hosts may still become minions with the key of this arming.

    armings
        The armings by host.

    now
        Seconds since 1970.

    lasts_s
        For how long hosts are armed, in seconds.
    """
    return {
        key: arming
        for key, arming in armings.items()
        if (arming.get("minion") or {}).get("pub")
        and not arming["dropped"]
        and arming["armed_at"]
        and now < max(arming.get("until", 0), arming["armed_at"] + lasts_s) + _LATE_S
    }


def installed_at(arming: Mapping[str, Any], install: Mapping[str, Any] | None) -> float:
    """
    Return when a host was first known to be installed by its arming, in seconds since 1970, or 0.

    arming
        The arming.

    install
        What is on record of the host's last install, or None.
    """
    if not install or install["arming"] != arming["arming"]:
        return 0
    steps = STEPS[STEPS.index("installed") :]
    return next((step[1] for step in install["steps"] if step[0] in steps), 0)


def due(
    armings: Mapping[str, Arming],
    installed: Mapping[str, float],
    sent: Mapping[str, Any],
    now: float,
) -> list[str]:
    """
    Return the hosts whose keys are to be sent now: at once, then more and more seldom until the
    master has answered. Once the host is installed it begins again, as only then a key in use is
    replaced.

    armings
        What ``current`` returned.

    installed
        When each host was installed, see ``installed_at``.

    sent
        By host ``finger`` of the key that was sent last, ``at`` and ``answered``.

    now
        Seconds since 1970.
    """
    found = []
    for key, arming in armings.items():
        before = sent.get(key) or {}
        done = installed.get(key, 0)
        if before.get("finger") != finger(arming["minion"]["pub"]):
            found.append(key)
        elif not before["answered"]:
            age = before["at"] - max(arming["armed_at"], done)
            if now - before["at"] >= min(max(age, 60), _SELDOM_S if done else _SELDOM_ARMED_S):
                found.append(key)
    return found


def send(
    records: Records, send_event: Callable[..., Any], send_mine: Callable[..., Any]
) -> list[str]:
    """
    Send the keys that are due, and take those from the mine that no longer are.

    records
        The records of this machine.

    send_event, send_mine
        Salt's ``event.send`` and ``mine.send``.

    Returns the hosts whose keys were sent. What the master did not get is sent by the next run.
    """
    config, now = records.config(), time.time()
    armings = current(records.armings(), now, config.get("arm_days", 7) * 86400)
    record = records.owned(_RECORD, {})
    sent = {key: one for key, one in record.get("sent", {}).items() if key in armings}
    installs = installs_of(records)
    installed = {key: installed_at(one, installs.read(key)) for key, one in armings.items()}
    wanted = due(armings, installed, sent, now)[:_MOST]
    told: dict[str, dict[str, Any]] = {
        one["minion"]["id"]: {"pub": one["minion"]["pub"], "installed": bool(installed[key])}
        for key, one in armings.items()
    }
    # Also when one went: a key that lies there can be asked for again.
    mine = {id_: {**one, "pub": finger(one["pub"])} for id_, one in told.items()}
    if not wanted and mine == record.get("mine", {}):
        return []
    if not send_mine(MINE, mine_function="test.echo", text=told):
        return []
    done = []
    for key in wanted:
        arming = armings[key]
        id_ = arming["minion"]["id"]
        data = {
            "id": id_,
            **told[id_],
            "host": arming["host"],
            "armed_at": arming["armed_at"],
        }
        if not send_event(TAG, data=data):
            break
        sent[key] = {"finger": mine[id_]["pub"], "at": int(now), "answered": False}
        done.append(key)
    records.write("owned", _RECORD, {"sent": sent, "mine": mine})
    return done


def answered(records: Records, answers: object) -> None:
    """
    Keep that the master has accepted keys, which are not sent again.

    records
        The records of this machine.

    answers
        Fingerprints by id, as the runner ``netboot_minions`` sends them.
    """
    record, armings = records.owned(_RECORD, {}), records.armings()
    if not isinstance(answers, dict):
        return
    for key, one in record.get("sent", {}).items():
        id_ = ((armings.get(key) or {}).get("minion") or {}).get("id")  # type: ignore[call-overload]
        if id_ and answers.get(id_) == one["finger"]:
            one["answered"] = True
    if record:
        records.write("owned", _RECORD, record)
