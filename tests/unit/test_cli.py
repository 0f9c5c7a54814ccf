"""What ./netboot prints: tables and sentences, from what the functions return."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import screen, views, words
from cli.asking import Asker, AskError, sentence

CHECKOUT = Path(__file__).parents[2]
IMAGE = {
    "in_pillar": True,
    "entries": ["alt-live", "alt-install"],
    "iso": {
        "path": "/srv/export/dist/alt.iso",
        "bytes": 4_700_000_000,
        "state": "kept",
        "ours": True,
        "verified": "2026-11-26T11:30:00Z",
        "progress": None,
    },
    "tree": {"path": "/srv/export/tftp/netboot/x86_64/alt", "bytes": 2_000_000, "form": "stages"},
}
FETCH = {
    "file": "alt.iso",
    "url": "http://192.0.2.1/alt.iso",
    "size": 500_000_000,
    "total": 1_000_000_000,
    "percent": 50,
    "rate": 2_500_000,
    "seconds_left": 200,
    "running": True,
}
STATUS = {
    "version": "0.1.0",
    "applied": {"version": "0.1.0", "at": "2026-11-26T11:30:00Z", "failed": []},
    "serves": ["192.0.2.10 on eth0"],
    "dhcp": "proxy",
    "services": {"nginx": True, "netboot-dnsmasq": False},
    "images": {"ready": ["ALT A"], "missing": ["ALT B"]},
    "fetching": [FETCH],
    "entries": {"x86_64": 6, "aarch64": 2},
    "hosts": {"named": 30, "new": 0, "armed": 12, "booted": 18},
    "schedule": None,
    "findings": {"error": 1, "warning": 2, "info": 1},
    "disk": {"path": "/srv/export", "free": 45_100_000_000, "total": 99_000_000_000},
}


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "120")


def host(name, **more):
    return {
        "host": name,
        "identities": ["mac 52:54:00:12:34:56"],
        "entry": "alt-install",
        "once": True,
        "menu": False,
        "armed": "2026-11-26T11:30:00Z",
        "booted": None,
        "booted_entry": None,
        **more,
    }


def test_status():
    assert "\n".join(views.status(STATUS)) == (
        "version   0.1.0, last changed 2026-11-26 11:30\n"
        "serves    192.0.2.10 on eth0, beside another DHCP server\n"
        "services  NOT RUNNING: netboot-dnsmasq; nginx run\n"
        "images    1 ready\n"
        "          not ready: ALT B\n"
        "          alt.iso is being fetched: 50 %, 2.5 MB/s, 3 min left\n"
        "entries   6 for x86_64, 2 for aarch64\n"
        "hosts     30 hosts in the pillar, 12 armed, 18 booted\n"
        "disk      45.1 GB of 99.0 GB free at /srv/export\n"
        "findings  1 error, 2 warnings: ./netboot check"
    )


@pytest.mark.parametrize(
    ("schedule", "line"),
    [
        ({"next": None, "last": None}, "every 24 hours"),
        ({"by": "minion", "last": None}, "every 24 hours, by the minion, next 2026-11-27 03:10"),
        ({}, "every 24 hours, next 2026-11-27 03:10, last run 2026-11-26 03:04"),
        (
            {"failed": True, "interval": {"minutes": 1}},
            "every 1 minute, next 2026-11-27 03:10, last run FAILED 2026-11-26 03:04 "
            "(journalctl -u netboot-apply)",
        ),
    ],
)
def test_status_of_the_schedule(schedule, line):
    default = {"by": "timer", "interval": {"hours": 24}, "failed": False}
    times = {"next": "2026-11-27T03:10:05Z", "last": "2026-11-26T03:04:05Z"}
    lines = views.status({**STATUS, "schedule": {**default, **times, **schedule}})
    assert f"schedule  {line}" in lines


def test_a_line_for_each_host():
    rows = [host(f"pc{n}") for n in range(1, 31)]
    assert len(views.hosts(rows)) == 31
    assert views.hosts([]) == ["The pillar names no host: every machine gets the menu."]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "mac 52:54:00:12:34:56  alt-install  once, armed 2026-11-26 11:30"),
        (
            {"booted": "2026-11-26T12:00:00Z", "booted_entry": "alt-install"},
            "alt-install  booted 2026-11-26 12:00",
        ),
        (
            {"booted": "2026-11-26T12:00:00Z", "booted_entry": "old"},
            "booted 2026-11-26 12:00 (old)",
        ),
        ({"armed": None}, "not armed"),
        ({"once": False, "entry": "local"}, "its own disk  always"),
        ({"once": False, "entry": "", "menu": True}, "the menu's default  after the menu"),
        ({"identities": ["uuid aa", "uuid bb"]}, "pc1   uuid aa  "),
    ],
)
def test_host(more, told):
    assert told in views.hosts([host("pc1", **more)])[1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "ready  4.7 GB  2.0 MB    2026-11-26 11:30  alt-live, alt-install"),
        ({"in_pillar": False}, "left over"),
        ({"tree": None}, "not unpacked"),
        ({"iso": {**IMAGE["iso"], "progress": FETCH}}, "fetching, 50 %, 2.5 MB/s, 3 min left"),
        ({"tree": None, "iso": {**IMAGE["iso"], "bytes": 0, "state": "absent"}}, "absent"),
    ],
)
def test_image(more, told):
    assert told in views.images({"ALT": {**IMAGE, **more}})[1]


def test_nothing_is_a_sentence():
    assert views.progress([]) == ["Nothing is being fetched."]
    assert views.firewall([]) == ["No rule needs to be added."]
    assert views.check([]) == ["Nothing was found that is wrong."]
    assert views.entries([]) == ["Nothing can be booted yet: no image is ready."]


@pytest.mark.parametrize(
    ("number", "told"),
    [(999, "999 bytes"), (4_700_000_000, "4.7 GB"), (350_000_000, "350 MB"), (1500, "1.5 kB")],
)
def test_size(number, told):
    assert words.size(number) == told


@pytest.mark.parametrize(("seconds", "told"), [(40, "40 s"), (300, "5 min"), (7800, "2 h 10 min")])
def test_lasting(seconds, told):
    assert words.lasting(seconds) == told


def test_last_column_is_cut_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = words.table(("A", "B"), [("x", "y" * 100)])
    assert len(lines[1]) == 60
    assert lines[1].endswith("...")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Error running 'netboot.status': Nothing was applied to this machine yet; run it.\n",
            "Nothing was applied to this machine yet; run it.",
        ),
        (
            "[ERROR   ] Passed invalid arguments: This machine has no host 'x'..\n\n    Arm a host",
            "This machine has no host 'x'.",
        ),
        ("", ""),
    ],
)
def test_sentence(said, told):
    assert sentence(said) == told


def program(tmp_path, text):
    """A stand-in for one of Salt's programs, that prints and ends."""
    path = tmp_path / "salt-call"
    path.write_text(f"#!{sys.executable}\nimport sys, json\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_words_reach_salt_unchanged(tmp_path):
    echo = program(tmp_path, 'print(json.dumps({"local": sys.argv[1:]}))')
    asker = Asker(echo)
    told = asker.ask("netboot.arm", "/a b", "x", host="52:54:00:12:34:56", other="yes", n=5)
    assert told["local"][2:] == [
        "netboot.arm",
        '"/a b"',
        "x",
        'host="52:54:00:12:34:56"',
        'other="yes"',
        "n=5",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print(\"Error running 'x': It is so.\", file=sys.stderr); sys.exit(1)", "It is so."),
        (
            'print(json.dumps({"pc": {"retcode": 1, "stderr": "Host down", "stdout": ""}}))',
            "pc: Host down",
        ),
        ("print({})", "No machine answers to pc."),
    ],
)
def test_failure_is_a_sentence(tmp_path, text, told):
    with pytest.raises(AskError) as err:
        Asker(program(tmp_path, text), "pc").ask("netboot.status")
    assert str(err.value) == told


def run(tmp_path, data, *argv):
    salt = program(tmp_path, f"print(json.dumps({data!r}))")
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "cli", salt, *argv],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_machines_are_named_with_on(tmp_path):
    done = run(tmp_path, {"b": [], "a": []}, "progress", "--on", "*")
    assert done.stdout == "a:\nNothing is being fetched.\n\nb:\nNothing is being fetched.\n"


def test_json_gives_the_data(tmp_path):
    done = run(tmp_path, {"local": [host("pc1")]}, "hosts", "--json")
    assert json.loads(done.stdout) == [host("pc1")]


def test_machine_that_fails_hides_no_other(tmp_path):
    down = {"retcode": 255, "stderr": "No route to host", "stdout": ""}
    done = run(tmp_path, {"a": [], "b": down}, "progress", "--on", "*")
    assert (done.returncode, done.stdout) == (1, "a:\nNothing is being fetched.\n")
    assert done.stderr == "netboot: b: No route to host\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["arm"], "the following arguments are required: HOST"),
        (["hosts", "--jsn"], "unrecognized arguments: --jsn"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, argv, told):
    done = run(tmp_path, {"local": []}, *argv)
    assert done.returncode == 1
    assert done.stderr == f"netboot: {told}; see ./netboot {argv[0]} --help\n"


MENU = """#!ipxe
isset ${nb-timeout} || set nb-timeout 30000
isset ${nb-entry} || set nb-entry local
isset ${nb-straight} || goto menu
:menu
menu ALT Linux network boot
item --key l local l  Boot from the local disk
item --key 1 alt-live 1  ALT A: live
iseq ${platform} pcbios && item --key 2 !old-install 2  ALT B: install ||
item --gap
choose --default ${nb-entry} --timeout ${nb-timeout} nb-selected || goto local
:chosen
set nb-timeout 0
"""


def test_menu_is_drawn():
    lines, starts = screen.draw(MENU)
    assert lines == [
        "ALT Linux network boot",
        "----------------------",
        "l  Boot from the local disk",
        "1  ALT A: live",
        "2  ALT B: install   (BIOS only)",
        "",
    ]
    assert starts == "After 30 s without a key: Boot from the local disk."


def test_menu_of_a_host():
    own = "=== config-mac-525400123456.ipxe\nset nb-entry alt-live\nset nb-straight 1\n=== config\n"
    assert screen.draw(own + MENU)[1] == "This machine does not ask: ALT A: live."
