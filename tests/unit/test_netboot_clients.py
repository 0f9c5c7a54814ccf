"""Which clients are listed; whom a trace is of, and which hosts may be mistyped."""

from types import SimpleNamespace

import pytest
from salt.exceptions import SaltInvocationError

import netboot_clients
import netboot_seen
from cli import views
from cli.words import when
from netboot_causes import STATES
from netboot_names import iso8601
from netboot_verdicts import Context

NOW = 1_795_680_000


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


PC7 = "5254004e05ff"
HOSTS = {"pc7": [("mac", PC7)], "pc8": [("mac", "525400a1a1a1")]}
BY_UUID = {"pc9": [("uuid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")]}


def boot(mac, at=NOW, address="192.0.2.7", **facts):
    made = netboot_seen.Boot(at, address)
    made.found(mac=mac, **facts)
    made.add(at, "local")
    return made


def traced(monkeypatch, tmp_path, client, boots, hosts=HOSTS):
    """What trace returns of boots as logs show them, here made by hand."""
    seen = {}
    for one in boots:
        seen.setdefault(one.mac, []).append(one)
    listed = {name: {"identities": pairs} for name, pairs in hosts.items()}
    records = SimpleNamespace(hosts=lambda: listed, directory=str(tmp_path))
    context = Context({}, {}, NOW + 600, hosts=len(hosts))
    monkeypatch.setattr(netboot_clients, "_context", lambda _records: context)
    monkeypatch.setattr(netboot_clients, "_by_mac", lambda _records: seen)
    return netboot_clients.trace(records, client)


NEAR_HOST = {"host": "pc7", "mac": "52:54:00:4e:05:ff", "address": "", "last": ""}
STRANGER = "5254004e05fe"


def test_host_whose_mac_may_be_mistyped(monkeypatch, tmp_path):
    """Traced by the machine's own MAC address, after a boot that is no failure."""
    found = traced(monkeypatch, tmp_path, STRANGER, [boot(STRANGER, uuid="x")])
    assert (found["stranger"], found["near"]) == (True, [NEAR_HOST])
    assert views.trace(found)[-3:] == [
        "",
        "No host in the pillar is this machine.",
        "pc7 has 52:54:00:4e:05:ff: a typo in its mac?",
    ]
    found["boots"][-1]["cause"] = "not-in-pillar"
    assert views.trace(found)[-2:] == ["", "pc7 has 52:54:00:4e:05:ff: a typo in its mac?"]


def test_host_that_was_seen_has_no_typo(monkeypatch, tmp_path):
    """Machines that were bought together have MAC addresses in a row."""
    found = traced(monkeypatch, tmp_path, STRANGER, [boot(STRANGER), boot(PC7)])
    assert (found["stranger"], found["near"]) == (True, [])


@pytest.mark.parametrize("client", ["pc7", "52-54-00-4E-05-FF"])
def test_nothing_seen_of_a_host_and_a_machine_that_may_be_it(monkeypatch, tmp_path, client):
    found = traced(monkeypatch, tmp_path, client, [boot(STRANGER), boot("525400a1a1a1")])
    assert (found["boots"], found["stranger"]) == ([], False)
    mac = "52:54:00:4e:05:fe"
    last = "2026-11-26T08:00:00Z"
    assert found["near"] == [{"host": "pc7", "mac": mac, "address": "192.0.2.7", "last": last}]
    nothing, near = views.trace(found)
    assert nothing.startswith(f"Nothing was seen of {client}.")
    assert near == (
        f"But {mac} was seen, which is no host in the pillar, last {when(last)} at 192.0.2.7: a "
        "typo in the mac of pc7?"
    )


@pytest.mark.parametrize(
    ("hosts", "facts", "stranger"),
    [
        ({}, {"uuid": "x"}, False),
        (HOSTS, {}, True),
        (HOSTS, {"uuid": "x"}, True),
        # Firmware alone does not say its UUID: it may be pc9.
        ({**HOSTS, **BY_UUID}, {}, False),
        ({**HOSTS, **BY_UUID}, {"uuid": "x"}, True),
        ({**HOSTS, **BY_UUID}, {"uuid": BY_UUID["pc9"][0][1]}, False),
    ],
)
def test_who_is_a_stranger(monkeypatch, tmp_path, hosts, facts, stranger):
    found = traced(monkeypatch, tmp_path, "020000000001", [boot("020000000001", **facts)], hosts)
    assert (found["stranger"], found["near"]) == (stranger, [])


def test_address_is_of_the_newest_client_that_has_it(monkeypatch, tmp_path):
    moved = boot("020000000003", NOW + 99), boot("020000000003", NOW + 199, "192.0.2.8")
    boots = [boot("020000000001", NOW + 50), boot("020000000002", NOW), *moved]
    for address, starts in (("192.0.2.7", [NOW + 50]), ("192.0.2.8", [NOW + 99, NOW + 199])):
        found = traced(monkeypatch, tmp_path, address, boots)
        assert [one["started"] for one in found["boots"]] == [iso8601(at) for at in starts]
    assert traced(monkeypatch, tmp_path, "192.0.2.9", boots)["boots"] == []


def test_neither_name_nor_mac_nor_address(monkeypatch, tmp_path):
    with pytest.raises(SaltInvocationError, match="No host .* 'pc77'; or give its MAC or IPv4"):
        traced(monkeypatch, tmp_path, "pc77", [])
