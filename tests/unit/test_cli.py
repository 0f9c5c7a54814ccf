"""What ./netboot prints: tables and sentences, from what the functions return."""

import base64
import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import salt.client.ssh
import salt.config
import salt.fileclient

import netboot_causes
from cli import applying, following, screen, views, words
from cli.__main__ import main, packed
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
    "out_of_service": None,
    "serves": ["192.0.2.10 on eth0"],
    "dhcp": "proxy",
    "mirror": "off",
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


def test_status_of_a_server_out_of_service():
    lines = views.status({**STATUS, "out_of_service": "2026-11-26T11:30:00Z"})
    assert lines[1] == (
        "serves    nothing: out of service since 2026-11-26 11:30: netboot.clean was applied; "
        "./netboot apply puts it back"
    )


def test_commands_in_what_servers_say_are_ours():
    text = "Of it: state.apply netboot puts it back, state.apply netboot.http too."
    assert views.check([{"key": "x", "severity": "error", "text": text}]) == [
        "ERROR  Of it: ./netboot apply puts it back, ./netboot apply netboot.http too."
    ]
    named = "Name a host or a group: host=pc1, host='lab*', group=room12."
    assert sentence(named) == "Name a host or a group: pc1, 'lab*', --group room12."
    assert sentence("Nothing was applied; run state.apply netboot first.") == (
        "Nothing was applied; run ./netboot apply first."
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
        ({}, "pc1   once, armed 2026-11-26 11:30  alt-install  mac 52:54:00:12:34:56"),
        (
            {"booted": "2026-11-26T12:00:00Z", "booted_entry": "alt-install"},
            "pc1   booted 2026-11-26 12:00  alt-install",
        ),
        (
            {"booted": "2026-11-26T12:00:00Z", "booted_entry": "old"},
            "booted 2026-11-26 12:00 (old)",
        ),
        ({"armed": None}, "not armed"),
        (
            {"state": "installing", "step": "disk", "since": "2026-11-26T12:00:00Z"},
            "installing (disk) 2026-11-26 12:00  alt-install",
        ),
        (
            {"state": "silent", "step": "", "since": "2026-11-26T12:00:00Z"},
            "silent 2026-11-26 12:00  alt-install",
        ),
        ({"once": False, "entry": "local"}, "always  its own disk"),
        ({"once": False, "entry": "", "menu": True}, "after the menu  the menu's default"),
        ({"identities": ["uuid aa", "uuid bb"]}, "alt-install  uuid aa"),
    ],
)
def test_host(more, told):
    assert told in views.hosts([host("pc1", **more)])[1]


FAILED = {"state": "failed", "step": "disk", "since": "2026-11-26T12:00:00Z", "group": "room12"}
FAILED["why"] = "the rule smallest fits several disks, sda and sdb"


def test_what_a_host_needs_stands_below_the_table():
    first_come = {"state": "booting", "step": "", "since": "2026-11-26T12:00:00Z"}
    armed = {"state": "armed", "step": "", "since": "2026-11-26T12:00:00Z", "first_come": True}
    rows = [host("pc1", **FAILED), host("pc2", **first_come, first_come=True)]
    rows += [
        host("pc5", first_come=True),
        host("pc3", **armed),
        host("pc4", **armed, identities=["uuid aa"]),
    ]
    assert views.hosts(rows)[6:] == [
        "",
        "pc1 has failed at disk: the rule smallest fits several disks, sda and sdb.",
        "  What it did: ./netboot trace pc1. Install it again: ./netboot arm pc1.",
        "pc2 has no mac in the pillar: the first machine that asked was served.",
        "pc4 has no mac in the pillar: the first machine that asks is served.",
    ]


def test_state_and_reasons_are_whole_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = host("pc1", **{**FAILED, "why": "x " * 60}, identities=[f"uuid {'a' * 36}"])
    lines = views.hosts([{**row, "entry": "alt_workstation_11.1-install"}])
    assert max(map(len, lines)) <= 80
    assert "failed (disk) 2026-11-26 12:00  alt_workstation_11.1-install  " in lines[1]
    assert " ".join(lines).split().count("x") == 60


@pytest.mark.parametrize(("terminal", "rows"), [(True, 22), (False, 34)])
def test_follow_draws_what_fits_on_the_terminal(monkeypatch, capsys, terminal, rows):
    """Thirty machines on 24 lines: what is above the screen cannot be drawn over."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    hosts = [host(f"pc{n}", **{**FAILED, "state": "installed"}) for n in range(1, 31)]
    hosts[0].update(state="failed")
    asker = SimpleNamespace(ask=lambda function: {"local": hosts})
    assert not following.follow(asker, "room12")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == rows + 1
    assert lines[0].startswith("HOST")
    assert "pc1 has failed at disk" in lines[-3]
    assert lines[-1] == "1 failed, 29 installed."
    if terminal:
        assert lines[1] == "... 13 more (1 failed, 29 installed): ./netboot hosts"
        assert lines[-5].startswith("pc1   failed (disk)"), "what was cut is installed"


def test_answers_of_both_firmwares_are_shown_once():
    text = '("/a")\n("/grub" {})\n'
    data = {f"{on}/autoinstall.scm": text.replace("{}", on) for on in ("efi", "pcbios")}
    for on in ("efi", "pcbios"):
        data |= {f"{on}/vm-profile.scm": "((x))\n", f"{on}/scripts.tar/a.sh": "#!/bin/sh\n"}
    assert views.answers(data) == [
        *("== autoinstall.scm (efi)", '("/a")', '("/grub" efi)', ""),
        *("== vm-profile.scm (efi, pcbios)", "((x))", ""),
        *("== autoinstall.scm (pcbios): as that of efi, but for", '("/grub" pcbios)', ""),
        *("Scripts that come with them (--scripts shows them):", "  scripts.tar/a.sh"),
    ]
    assert "#!/bin/sh" in views.answers_whole(data)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "ready  4.7 GB  2.0 MB    2026-11-26 11:30  2"),
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


@pytest.mark.parametrize(("terminal", "end"), [(True, "y..."), (False, "yyyy")])
def test_last_column_is_cut_to_the_terminal_and_nothing_in_a_pipe(monkeypatch, terminal, end):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    lines = words.table(("A", "B"), [("x", "y" * 100)])
    assert len(lines[1]) == (60 if terminal else 103)
    assert lines[1].endswith(end)


def test_lists_in_hints_are_words():
    row = {"kind": "efi-x86_64", "option_93": [7, 9], "file": "a.efi", "features": []}
    assert views.hints([row]) == [
        "KIND        OPTION 93  FILE   FEATURES",
        "efi-x86_64  7, 9       a.efi",
    ]


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


@pytest.mark.parametrize(
    ("severities", "status", "line"),
    [
        ([], 0, "NETBOOT OK - clients can boot | errors=0 warnings=0"),
        (["info"], 0, "NETBOOT OK - clients can boot | errors=0 warnings=0"),
        (["warning"], 1, "NETBOOT WARNING - warning / 0 | errors=0 warnings=1"),
        (["error", "error", "warning"], 2, "NETBOOT CRITICAL - error / 0 | errors=2 warnings=1"),
    ],
)
def test_line_for_monitoring(severities, status, line):
    listed = [
        {"key": "a.b", "severity": one, "text": f"{one} | {number}"}
        for number, one in enumerate(severities)
    ]
    assert views.nagios({"local": listed}) == line
    assert views.severity({"local": listed}) == status


def test_nobody_answers_is_unknown_to_monitoring(tmp_path):
    ask = program(tmp_path, "sys.exit('no answer')")
    words = [sys.executable, "-m", "cli", ask, "check", "--nagios"]
    done = subprocess.run(words, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (views.UNKNOWN, "")


def test_doctor_names_slips_of_the_pillar(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/netboot.sls").write_text("netboot: {images: {ALT p11: [}\n")
    there = [{"key": "pillar.missing", "severity": "error", "text": "it has no pillar"}]
    ask = program(tmp_path, f"print(json.dumps({ {'local': there} }))")
    with pytest.raises(SystemExit) as ended:
        main(ask, "doctor")
    assert ended.value.code == 2
    shown = capsys.readouterr().out
    assert "pillar/netboot.sls, line 1" in shown
    assert "no pillar" not in shown


@pytest.mark.parametrize("words", [(), ("--whole",)])
def test_from_another_machine(tmp_path, monkeypatch, capsys, words):
    """The plan of each server goes to the other machine, packed."""
    plan = {"server": "192.0.2.10"}
    found = [{"key": "probe.failed", "severity": "error", "text": "bios cannot boot"}]
    asked = "assert ('whole=true' in sys.argv) == ('--whole' in os.environ['WORDS'])"
    server = program(tmp_path, f"import os\n{asked}\nprint(json.dumps({ {'netboot1': plan} }))")
    (tmp_path / "other").mkdir()
    reads = (
        "import base64, zlib\nplan = zlib.decompress(base64.b64decode(json.loads(sys.argv[-1])))"
    )
    answers = f"assert json.loads(plan) == {plan}\nprint(json.dumps({ {'pc2': found} }))"
    other = program(tmp_path / "other", f"{reads}\n{answers}")
    monkeypatch.setenv("NETBOOT_OTHER_SALT", other)
    monkeypatch.setenv("WORDS", " ".join(words))
    with pytest.raises(SystemExit) as ended:
        main(server, "check", *words, "--from", "pc2", "--on", "netboot1")
    assert ended.value.code == 2
    shown = capsys.readouterr().out
    assert "netboot1 from pc2:" in shown
    assert "bios cannot boot" in shown


@pytest.mark.parametrize(("images", "samples"), [(20, 4), (150, 2), (230, 1)])
def test_plan_of_many_images_fits_into_a_word(images, samples):
    files = {
        f"/tftp/netboot/x86_64/image_{number}/{name}": {
            "bytes": 1 << 30,
            "sha256": os.urandom(32).hex(),
            "samples": [[place, 65536, os.urandom(32).hex()] for place in range(4)],
        }
        for number in range(images)
        for name in ("boot/vmlinuz", "boot/initrd.img", "altinst", "live")
    }
    word = packed({"server": "192.0.2.10", "files": {**files, "/gone": None}})
    assert len(word) < 1 << 17
    plan = json.loads(zlib.decompress(base64.b64decode(word)))
    assert plan["files"].pop("/gone") is None
    assert {len(one["samples"]) for one in plan["files"].values()} == {samples}


def test_too_many_images_for_a_word():
    files = {os.urandom(32).hex(): {"samples": []} for _ in range(9000)}
    with pytest.raises(AskError, match=r"too many images for --from: .* netboot.probe /FILE"):
        packed({"files": files})


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


def test_salt_ssh_beside_an_apply_sends_no_modules(tmp_path):
    """What it sends is unpacked over the modules that the apply is still loading."""
    text = 'print(json.dumps({"local": sys.argv[1:]}))'
    Path(program(tmp_path, text)).rename(tmp_path / "salt-ssh")
    asker = Asker(str(tmp_path / "salt-ssh"), "pc1")
    assert "--config-dir=conf/unsent" in asker.beside_an_apply().ask("iso_fetch.progress")["local"]
    assert "--config-dir=conf/unsent" not in asker.ask("netboot.status")["local"]
    opts = salt.config.client_config(str(CHECKOUT / "conf/unsent/master"))
    opts.update(root_dir=str(tmp_path), cachedir=str(tmp_path), extension_modules=str(tmp_path))
    assert opts["file_roots"] == {"base": []}
    assert salt.client.ssh.mod_data(salt.fileclient.FSClient(opts)) == {}


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
        (["answers"], "the following arguments are required: HOST"),
        (["export"], "the following arguments are required: DIRECTORY"),
        (["hosts", "--jsn"], "unrecognized arguments: --jsn"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, argv, told):
    done = run(tmp_path, {"local": []}, *argv)
    assert done.returncode == 1
    assert done.stderr == f"netboot: {told}; see ./netboot {argv[0]} --help\n"


def test_question_of_salt_ssh_is_answered(tmp_path):
    """Whether to deploy a key where one is refused: its terminal would show no question."""
    asks = """deploy = input("deploy the salt-ssh key?\\n[Y/n] ")
refused = {"retcode": 255, "stderr": "a@b: Permission denied (publickey).", "stdout": ""}
print(json.dumps({"pc": refused if deploy == "n" else "deployed"}))
"""
    with pytest.raises(AskError) as err:
        Asker(program(tmp_path, asks), "pc").ask("netboot.status")
    assert str(err.value) == "pc: a@b: Permission denied (publickey)."


# It notes how it was called; a has been applied, b and c have not.
SSH_STANDIN = """
with open("calls", "a") as file:
    print(*sys.argv[1:], file=file)
config = {"interfaces": [{"name": "eth0", "address": "192.0.2.9"}], "dhcp": {"mode": "proxy"}}
print(json.dumps({
    "netboot.version": {n: {"version": "1", "applied": n == "a" and "1" or None} for n in NAMES},
    "netboot.config": {n: {"problems": []} if n == "c" else {"config": config} for n in NAMES},
}.get(sys.argv[-1], {})))
print(LOG if sys.argv[-1] == "pillar.items" else "", file=sys.stderr)
"""


@pytest.fixture
def ssh(tmp_path):
    """Run `./netboot ssh`, or another command, by that program: (status, stderr, calls)."""

    def run(*argv, names="abc", log="", pillar="netboot: {}"):
        (tmp_path / "pillar").mkdir(exist_ok=True)
        (tmp_path / "pillar/netboot.sls").write_text(pillar)
        salt = program(tmp_path, f"NAMES, LOG = {names!r}, {log!r}{SSH_STANDIN}")
        done = subprocess.run(
            [sys.executable, "-m", "cli", salt, *argv],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        calls = tmp_path / "calls"
        made = [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []
        calls.unlink(missing_ok=True)
        return done.returncode, done.stderr.strip(), made

    return run


def test_first_apply_over_ssh_asks(ssh):
    status, said, calls = ssh("ssh", "*", "-i", "--user", "bob", "netboot.dhcp")
    assert status == 1
    assert said == (
        "netboot: b becomes a netboot server for clients on eth0 (192.0.2.9), beside the "
        "network's DHCP server. Say --yes if that is meant."
    )
    ours = ["--out=json", "--log-level=error", "-i", "--user", "bob", "--static", "*"]
    assert calls == [[*ours, "netboot.version"], [*ours, "netboot.config"]]


@pytest.mark.parametrize(
    ("words", "names", "asked"),
    [(["--yes"], "abc", 0), (["test=True"], "abc", 0), ([], "a", 1), ([], "", 1)],
)
def test_apply_over_ssh_that_asks_nothing(ssh, words, names, asked):
    _status, said, calls = ssh("ssh", "*", *words, names=names)
    assert said == ""
    assert len(calls) == asked + 1
    assert "state.apply" in calls[-1]
    assert "--yes" not in calls[-1]


@pytest.mark.parametrize("command", [["apply", "--yes"], ["ssh", "*", "--yes"]])
def test_what_salt_cannot_render_is_a_sentence(ssh, command):
    log = "[CRITICAL] Rendering SLS 'netboot' failed, render error:\nJinja error: bad; line 1\n\n--"
    said = "netboot: pillar/netboot.sls, line 1: Jinja error: bad:\nnetboot:     netboot: {{ a }}"
    status, stderr, calls = ssh(*command, log=log, pillar="netboot: {{ a }}")
    assert (status, stderr) == (1, said)
    assert [call[-1] for call in calls] == ["pillar.items"]
    assert ssh(*command, pillar="netboot: {{ a }}")[2][-1][-1] == "state.apply"


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


ONCE = "set nb-entry local\nset nb-straight 1\nchain --autofree http://192.0.2.1/once/pc1.ipxe ||\n"
ARMED = (
    "# Host: pc1, armed: this script is removed.\nset nb-via /host/pc1.ab\nset nb-entry alt-live\n"
)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("set nb-entry alt-live\nset nb-straight 1\n", "it starts alt-live at once."),
        ("set nb-entry local\nset nb-straight 1\n", "it boots from its own disk at once."),
        (ONCE, "it is not armed, so it boots from its own disk at once (./netboot arm pc1)."),
        (ONCE + ARMED + "set nb-straight 1\n", "it is armed and starts alt-live at once."),
        (
            "set nb-entry other\nset nb-straight 1\n",
            "it should start other at once, which is not ready.",
        ),
    ],
)
def test_host_without_a_menu_is_a_sentence(own, told):
    script = f"=== config-mac-525400123456.ipxe\n# Host: pc1\n{own}=== config\n{MENU}:alt-live\n"
    assert views.menu(script) == [f"pc1 shows no menu: {told}"]


def test_menu_of_a_host_that_asks():
    own = "=== config-mac-525400123456.ipxe\n# Host: pc1\nset nb-entry alt-live\n=== config\n"
    assert views.menu(own + MENU)[-1] == "After 30 s without a key: ALT A: live."


def test_many_hosts_are_armed():
    at = "2026-11-27T08:00:00Z"
    once = {"armed": at, "install": "", "disk": "", "until": None}
    thirty = [{"host": f"pc{n}", "entry": "alt-install", **once} for n in range(1, 31)]
    assert views.arm([*thirty, {"host": "old1", "entry": "alt-livecd", **once}]) == [
        "30 hosts (pc1, pc2, pc3 and 27 more) are armed: at the next network boot alt-install "
        "starts, once.",
        "old1 is armed: at the next network boot alt-livecd starts, once.",
    ]
    before = {**thirty[0], "installed": at}
    assert views.arm([before, thirty[1]])[1:] == ["Attention: pc1 is installed already."]
    wiped = {"armed": None, "install": "school-pc", "disk": [100, 600], "until": at}
    assert views.arm([{"host": "pc1", "entry": "alt-install", **wiped}]) == [
        "pc1 is not armed yet: at the next network boot before 2026-11-27 08:00, alt-install is "
        "installed (school-pc), which wipes the only disk of 100 to 600 GB."
    ]
    assert views.disarm(thirty[:2]) == ["pc1, pc2 are not armed any more: the local disk boots."]


UNKNOWN = {
    "mac": "52:54:00:12:34:56",
    "address": "192.0.2.77",
    "hostname": "",
    "uuid": "4c4c4544-0035-3010-8052-b4c04f4d3132",
    "serial": "",
    "manufacturer": "Acer",
    "product": "Veriton N2",
    "last": "2026-11-26T11:30:00Z",
}


def test_unknown_machines():
    head, line, _, next_ = views.unknown([UNKNOWN])
    assert head.split() == ["MAC", "ADDRESS", "LAST", "ASKED", "MODEL", "UUID"]
    assert line == (
        "52:54:00:12:34:56  192.0.2.77  2026-11-26 11:30  Acer Veriton N2  "
        "4c4c4544-0035-3010-8052-b4c04f4d3132"
    )
    assert "./netboot hosts adopt MAC as NAME" in next_
    assert views.unknown([]) == ["Every machine that asked is a host in the pillar, or none asked."]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["import"], "the following arguments are required: FILE"),
        (["adopt", "52:54:00:12:34:56"], "the following arguments are required: as, NAME"),
        (["adopt", "52:54:00:12:34:56", "to", "pc7"], "say it as: hosts adopt MAC as NAME"),
        (["import", "none.csv"], "there is no such file."),
    ],
)
def test_hosts_by_the_dozen_wants_words(tmp_path, argv, told):
    done = run(tmp_path, {"local": {}}, "hosts", *argv)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


CLIENT = {
    **{"mac": "52:54:00:12:34:56", "host": "pc1", "address": "192.0.2.7", "firmware": "efi"},
    **{"model": "Acer", "state": "failed", "step": "failed", "entry": "alt-livecd"},
    **{"bytes": 25_700_000, "seconds": 12, "last": "2026-11-26T11:30:00Z", "cause": "cut-off"},
}
BOOT = {
    "address": "192.0.2.7",
    "facts": {"model": "Acer", "firmware": "efi", "mac": "525400123456"},
    "started": "2026-11-26T11:30:00Z",
    "steps": [
        {"after_s": -0.5, "step": "dhcp", "what": "snponly.efi"},
        {"after_s": 10.0, "step": "menu", "what": ""},
    ],
    "unlogged": 0,
    "state": "failed",
    "cause": "cut-off",
    "text": "The stage was cut off at byte 5 of 9.",
    "advice": "Too little memory.",
}
NO_TYPO = {"stranger": False, "near": []}


def test_clients_fit_120_columns():
    many = views.clients([CLIENT, {**CLIENT, "host": "", "address": "255.255.255.255"}])
    assert [line.split()[0] for line in many] == ["CLIENT", "pc1", "52:54:00:12:34:56"]
    assert max(map(len, many)) <= 120
    assert many[0].split()[-4:] == ["BYTES", "TOOK", "LAST", "SEEN"]
    assert views.clients([]) == ["No client was seen."]


@pytest.mark.parametrize("cause", netboot_causes.CAUSES)
def test_clients_fit_120_columns_with_each_cause(cause):
    longest = {"host": "", "address": "255.255.255.255", "entry": "alt_server_p11-install-nfs"}
    state = netboot_causes.CAUSES[cause].state
    lines = views.clients([CLIENT, {**CLIENT, **longest, "cause": cause, "state": state}])
    assert max(map(len, lines)) <= 120
    assert f"  {state}: {cause}  " in lines[2]


@pytest.mark.parametrize(
    ("state", "step", "cause", "shown"),
    [
        ("failed", "tftp", "secure-boot", "failed: secure-boot"),
        ("failed", "failed", "", "failed"),
        ("running", "stage", "", "running: stage"),
        ("gone silent", "", "", "gone silent"),
        ("in menu", "menu", "", "in menu"),
        ("in menu", "menu", "not-in-pillar", "in menu: not-in-pillar"),
        ("local disk", "local", "", "local disk"),
    ],
)
def test_state_of_a_client_says_why_or_how_far(state, step, cause, shown):
    head, line = views.clients([{**CLIENT, "state": state, "step": step, "cause": cause}])
    assert line[head.index("STATE") : head.index("ENTRY")].strip() == shown


@pytest.mark.parametrize(
    ("platform", "shown"), [("efi", "UEFI"), ("pcbios", "BIOS"), ("sbi", "sbi"), ("", "")]
)
def test_firmware_of_a_client(platform, shown):
    head, line = views.clients([{**CLIENT, "firmware": platform}])
    assert line[head.index("FIRMWARE") : head.index("STATE")].strip() == shown


def test_trace():
    assert views.trace(
        {"client": "pc1", "boots": [BOOT], **NO_TYPO, "install": None, "log": []}
    ) == [
        "Boot of 2026-11-26 11:30 at 192.0.2.7: Acer, UEFI",
        "   -0.5 s  dhcp  snponly.efi",
        "   10.0 s  menu",
        "  FAILED. The stage was cut off at byte 5 of 9. Too little memory. (cause: cut-off)",
    ]
    only = {**BOOT, "address": "", "facts": {}}
    assert views.trace({"client": "x", "boots": [only], **NO_TYPO, "install": None, "log": []})[
        0
    ] == ("Boot of 2026-11-26 11:30: its menu reported nothing")
    firmware = {**only, "facts": {"firmware": "pcbios", "client_arch": "0"}}
    assert views.trace({"client": "x", "boots": [firmware], **NO_TYPO, "install": None, "log": []})[
        0
    ] == ("Boot of 2026-11-26 11:30: BIOS; its menu reported nothing")
    log = [f"line {number}" for number in range(99)]
    assert views.trace({"client": "x", "boots": [only], **NO_TYPO, "install": None, "log": log})[
        -31:
    ] == [
        "The end of the logs that its installation sent (--json: all):",
        *(f"  line {number}" for number in range(69, 99)),
    ]
    failed = {
        "state": "failed",
        "step": "disk",
        "since": "2026-11-26T08:30:00Z",
        "why": "none fits",
    }
    told = views.trace({"client": "x", "boots": [], **NO_TYPO, "install": failed, "log": log})
    assert told[0] == "Its installation: failed (disk) since 2026-11-26 08:30: none fits."
    (nothing,) = views.trace({"client": "pc9", "boots": [], **NO_TYPO, "install": None, "log": []})
    assert nothing.startswith("Nothing was seen of pc9. Is network boot on, and first?")


def test_progress_of_a_fetch_after_an_answer_that_is_none(tmp_path, capsys, monkeypatch):
    """While a first apply copies the modules, salt-ssh says that there is no such function."""
    answers = [{"netboot1": "'iso_fetch.progress' is not available."}, {"netboot1": [FETCH]}]
    for answer in answers:
        asker = Asker(program(tmp_path, f"print({json.dumps(answer)!r})"), "netboot1")
        done = threading.Event()
        waits = iter([False, True])
        monkeypatch.setattr(done, "wait", lambda _seconds, waits=waits: next(waits))
        applying._watch(asker, done)
    assert capsys.readouterr().err == "netboot1: alt.iso: 50 %, 2.5 MB/s, 3 min left\n"


@pytest.mark.parametrize("word", ["test=Ture", "test==True", "test="])
def test_mistyped_value_of_test_does_not_apply(word):
    assert applying.mistyped([word]) == f"{word}: say test=True to look, or leave it out to apply"
    assert applying.mistyped(["test=True"]) is None


@pytest.mark.parametrize(
    ("severities", "status"),
    [([], 0), (["info"], 0), (["info", "warning"], 1), (["warning", "error"], 2)],
)
@pytest.mark.parametrize("command", ["check", "doctor"])
def test_check_ends_as_plugins_of_monitoring_do(tmp_path, command, severities, status):
    found = [{"key": "x", "severity": one, "text": "It."} for one in severities]
    assert run(tmp_path, {"local": found}, command).returncode == status


def test_machine_that_is_no_server_names_the_way_to_ask_another(tmp_path):
    text = "Nothing was applied to this machine yet; run state.apply netboot first."
    salt = program(tmp_path, f"print({text!r}, file=sys.stderr)")
    done = subprocess.run(
        [sys.executable, "-m", "cli", salt, "status"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("run ./netboot apply first. Or ask another machine: --on NAME.\n")


def test_isos_carried_on_a_disk():
    data = {"directory": "/mnt/d", "copied": {"a.iso": 1_500_000_000}, "there": ["b.iso"]}
    assert views.exported({**data, "skipped": {"C": "it is not there"}}) == [
        "1 ISO copied to /mnt/d, 1.5 GB. There already: b.iso.",
        "NOT COPIED  C: it is not there.",
    ]
    data = {"imported": {}, "there": ["b.iso"], "missing": ["C"], "unknown": ["x.iso"]}
    assert views.imported({**data, "wrong": {"a.iso": "its sha256 is 0."}}) == [
        "0 ISOs put into place, 0 bytes.",
        "In place already: b.iso.",
        "WRONG    a.iso: its sha256 is 0.",
        "MISSING  C: its ISO is not on the disk.",
        "Not in the pillar: x.iso.",
    ]


@pytest.mark.parametrize(("wrong", "status"), [({}, None), ({"a.iso": "no"}, 1)])
def test_import_from_a_disk(tmp_path, monkeypatch, capsys, wrong, status):
    """By a stand-in for salt-call; the path is the user's."""
    data = {"imported": {"b.iso": 5}, "there": [], "missing": [], "unknown": [], "wrong": wrong}
    program = tmp_path / "salt-call"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\ncat {tmp_path}/answer\n')
    program.chmod(0o755)
    (tmp_path / "answer").write_text(json.dumps({"local": data}))
    monkeypatch.setenv("NETBOOT_FROM", "/mnt")
    if status:
        with pytest.raises(SystemExit) as ended:
            main(str(program), "import", "disk")
        assert ended.value.code == status
    else:
        main(str(program), "import", "disk")
    assert "1 ISO put into place, 5 bytes." in capsys.readouterr().out
    assert "netboot.import /mnt/disk" in (tmp_path / "calls").read_text()
