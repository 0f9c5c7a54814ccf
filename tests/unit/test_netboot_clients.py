"""Which clients are listed."""

from types import SimpleNamespace

import pytest
from salt.exceptions import SaltInvocationError

import netboot_clients
from netboot_causes import STATES


def listed(monkeypatch, state):
    """The states of the clients that are listed, of one in each state."""
    seen = {one: [SimpleNamespace(last=1, state=one)] for one in STATES}
    monkeypatch.setattr(netboot_clients, "_context", lambda _records: None)
    monkeypatch.setattr(netboot_clients, "_by_mac", lambda _records: seen)
    monkeypatch.setattr(
        netboot_clients, "_client", lambda found, *_: {"state": found[-1].state, "last": ""}
    )
    found = netboot_clients.clients(SimpleNamespace(hosts=dict), state, None)
    return [one["state"] for one in found]


@pytest.mark.parametrize(
    ("state", "states"),
    [(None, [*STATES]), ("failed", ["failed"]), ("stopped", ["failed", "gone silent"])],
)
def test_state(monkeypatch, state, states):
    assert listed(monkeypatch, state) == states


def test_unknown_state(monkeypatch):
    with pytest.raises(SaltInvocationError, match="no state 'broken'; there are .*, stopped"):
        listed(monkeypatch, "broken")
