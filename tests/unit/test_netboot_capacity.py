"""How long clients take together: field-2026's arithmetic, and which advice it comes to."""

import pytest

import netboot_capacity
from cli import views

GB = 1_730_000_000
LINK = {"interface": "eth0", "mbit": 1000, "assumed": False}
ROOM = {"files": 2 * GB, "available": 8 * GB}


def load(name="live", stage=GB, kernel=0, **others):
    base = {"id": name, "image": "p11", "variant": "livecd", "method": "http", "loader": 0}
    return {**base, "kernel": kernel, "by_tftp": False, "stage": stage, "assumed": False, **others}


MOUNTED = load("nfs", 400_000_000, method="nfs", assumed=True)


@pytest.mark.parametrize(
    ("one", "clients", "mbit", "minutes"),
    [
        (load(), 25, 1000, 6.2),
        (load(), 100, 1000, 24.6),
        (load(), 1000, 1000, 246.4),
        (load(), 100, 10_000, 2.5),
        (MOUNTED, 100, 1000, 5.7),
        # TFTP is one process: a faster link doesn't help it.
        (load(stage=0, kernel=54_000_000, by_tftp=True), 60, 10_000, 1.0),
        (load(stage=0, kernel=54_000_000, by_tftp=True), 60, 100, 4.6),
    ],
)
def test_minutes(one, clients, mbit, minutes):
    made = netboot_capacity.plan([one], clients, {**LINK, "mbit": mbit}, ROOM)
    assert made["entries"][0]["minutes"] == pytest.approx(minutes, abs=0.1)


@pytest.mark.parametrize(
    ("method", "by_tftp", "kernel", "stage", "said"),
    [
        ("http", False, 60, GB, (60, GB, False, False)),
        ("nfs", False, 60, GB, (60, 400_000_000, True, False)),
        ("cifs", False, 60, 300, (60, 300, True, False)),
        ("http", True, 60, GB, (60, GB, False, True)),
    ],
)
def test_what_a_client_loads(method, by_tftp, kernel, stage, said):
    entry = {
        **{"id": "x", "image": "p11", "variant": "livecd", "method": method, "kernel": "/k"},
        **{"stage": {"path": "/s", "bytes": stage}, "bytes": stage + kernel},
    }
    made = netboot_capacity.load(entry, 5, by_tftp)
    assert (made["kernel"], made["stage"], made["assumed"], made["by_tftp"]) == said
    elsewhere = netboot_capacity.load({**entry, "kernel": "http://x/k"}, 5, True)
    assert elsewhere["by_tftp"] is False


def advice(*loads, clients=100, link=LINK, memory=ROOM, **others):
    return netboot_capacity.plan(list(loads), clients, link, memory, **others)["advice"]


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        (advice(load()), ["With 10 Gbit/s: live takes 2 min.", "With a second server"]),
        (advice(load(), link={**LINK, "mbit": 100}), ["With 1000 Mbit/s: live takes 25 min."]),
        # At 10 Gbit/s, no faster link is named.
        (advice(load(), link={**LINK, "mbit": 10_000}), ["With a second server for half"]),
        (
            advice(load(), MOUNTED, default="live"),
            ["With 10 Gbit/s", "Booted as nfs, which mounts"],
        ),
        (
            advice(load(), mountable=True),
            ["With 10 Gbit/s", "Mounted (netboot:methods: [nfs]; 400 MB read are assumed): live"],
        ),
        # The kernel is all that it loads, and TFTP the narrow place.
        (
            advice(load(stage=0, kernel=GB, by_tftp=True)),
            ["With its kernel over http", "With a second server"],
        ),
        (
            [advice(load())[-1]],
            ["netboot:http:clients_at_once: 9: the first 9 clients have loaded"],
        ),
        (advice(load(), memory={"files": 9, "available": 8})[-1:], ["The files of the menu have"]),
    ],
)
def test_what_would_help_most(said, begins):
    assert len(said) <= 4
    for sentence, beginning in zip(said, begins):
        assert sentence.startswith(beginning)


def test_slots_are_not_advised_where_there_are_some_or_few_clients():
    assert not [one for one in advice(load(), at_once=9) if "clients_at_once" in one]
    assert not [one for one in advice(load(), clients=4) if "clients_at_once" in one]


@pytest.mark.parametrize("mbit", [100, 1000, 10_000])
def test_turns_of_a_minute_fill_the_link(mbit):
    rate = netboot_capacity.mb_s(mbit)
    assert netboot_capacity.slots(load(), rate) * GB / 1e6 >= 60 * rate


def test_nothing_is_ready():
    made = netboot_capacity.plan([], 100, LINK, {"files": 0, "available": 0})
    assert (made["entries"], made["advice"], made["about"]) == ([], [], "")
    assert views.plan(made)[-1] == "No image is ready yet."


def test_table_is_of_80_columns_and_names_what_is_assumed():
    long = load("alt_workstation_p11-livecd-nfs-tree", 400_000_000, method="nfs", assumed=True)
    made = netboot_capacity.plan([load(), long], 100, {**LINK, "assumed": True}, ROOM)
    lines = views.plan(made)
    told = lines[: lines.index("* mounted: what is read of the stage is assumed, 400 MB at most")]
    assert max(map(len, told)) <= 80
    assert "1000 Mbit/s (assumed: eth0 does not say): 117 MB/s" in lines[0]
    assert any("nfs*" in line for line in told)
