"""Whom answers are served to, what counts as a report, when it ends: on files, without a server."""

import base64
import gzip
import json
import os
import shutil

import pytest

from netboot_installing import LATE_S, SILENT_S, Installs, log_lines, report, state, why

TOKEN = "0123456789abcdef" * 2
OTHER = "f" * 32
HOURS = 6 * 3600
AT = 1_800_000_000
MAC = "525400000001"
ARMING = {
    "arming": TOKEN,
    "host": "pc1",
    "entry": "p11-install",
    "told_by": [f"mac={MAC}"],
    "armed_at": AT,
}
BY_UUID = {**ARMING, "told_by": ["uuid=11111111-2222-3333-4444-555555555555"]}
MINE, OTHERS = ("198.18.0.20", MAC), ("198.18.0.66", "525400000066")


@pytest.fixture
def installs(tmp_path):
    """A server with the answers of one armed host."""
    answers = tmp_path / "answers"
    for platform in ("pcbios", "efi"):
        (answers / f"armed/pc1.{TOKEN}/answers/{platform}").mkdir(parents=True)
        (answers / f"armed/pc1.{TOKEN}/answers/{platform}/autoinstall.scm").write_text(platform)
    (answers / f"armed/pc1.{TOKEN}/minion.pem").write_text("private")
    (answers / "served").mkdir()
    made = Installs(str(tmp_path / "records"), str(answers), HOURS)
    made.tmp_path = tmp_path
    return made


def on_disk(installs):
    """The files of answers, by path."""
    top = installs.tmp_path / "answers"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def served(address, token=TOKEN):
    return [
        f"served/{address}/pc1.{token}/{platform}/autoinstall.scm" for platform in ("efi", "pcbios")
    ]


ARMED = [
    f"armed/pc1.{TOKEN}/answers/efi/autoinstall.scm",
    f"armed/pc1.{TOKEN}/answers/pcbios/autoinstall.scm",
    f"armed/pc1.{TOKEN}/minion.pem",
]


@pytest.mark.parametrize(
    ("arming", "readers", "counted"),
    [
        (ARMING, [MINE], [True]),
        (ARMING, [OTHERS], [False]),
        (ARMING, [OTHERS, MINE], [False, True]),
        # A relay hides the MAC address: the first to come, once, and again.
        (ARMING, [("203.0.113.5", ""), ("203.0.113.6", "")], [True, False]),
        (ARMING, [("203.0.113.5", ""), ("203.0.113.5", "")], [True, True]),
        # The pillar has no MAC address.
        (BY_UUID, [OTHERS, MINE], [True, False]),
    ],
)
def test_who_is_served(installs, arming, readers, counted):
    assert [installs.script_read("pc1", arming, *one, AT) for one in readers] == counted
    addresses = {one[0] for one, counts in zip(readers, counted) if counts}
    expected = sorted(ARMED + [path for address in addresses for path in served(address)])
    assert on_disk(installs) == expected


def test_who_came_first_is_said(installs):
    installs.script_read("pc1", ARMING, "203.0.113.5", "", AT)
    assert installs.read("pc1")["first_come"] is True
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.read("pc1")["first_come"] is True
    # Whoever it was gets nothing any more, nor counts what it reports.
    assert installs.read("pc1")["addresses"] == {MINE[0]: MAC}
    assert on_disk(installs) == sorted(ARMED + served(MINE[0]))
    assert not installs.script_read("pc1", ARMING, "203.0.113.5", "", AT)


def test_only_the_group_of_the_web_server_reads_what_is_served(installs):
    installs.script_read("pc1", ARMING, *MINE, AT)
    top = installs.tmp_path / "answers/served" / MINE[0] / f"pc1.{TOKEN}"
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in top.rglob("*")}
    assert modes == {"efi": "0o750", "pcbios": "0o750", "autoinstall.scm": "0o640"}


def test_host_without_answers_is_served_nothing(installs):
    assert not installs.script_read("pc2", {**ARMING, "host": "pc2"}, *MINE, AT)
    assert not installs.script_read("pc1", {**ARMING, "arming": OTHER}, *MINE, AT)
    assert on_disk(installs) == ARMED


def test_installer_with_another_address_than_the_firmware(installs):
    neighbours = {MINE[0]: MAC, "198.18.0.21": MAC, OTHERS[0]: OTHERS[1], "198.18.0.9": ""}
    installs.follow(neighbours, {"pc1": ARMING})
    assert on_disk(installs) == ARMED
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.follow(neighbours, {"pc1": ARMING})
    assert on_disk(installs) == sorted(ARMED + served(MINE[0]) + served("198.18.0.21"))


def test_next_boot_gets_what_an_apply_changed(installs):
    """A rule of disks that was narrowed after a boot that did not get far, on each address."""
    neighbours = {MINE[0]: MAC, "198.18.0.21": MAC}
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.follow(neighbours, {"pc1": ARMING})
    top = installs.tmp_path / "answers"
    (top / ARMED[0]).write_text("changed")
    installs.script_read("pc1", ARMING, *MINE, AT + 60)
    # What changes after that is for the next boot: no installer gets half of each.
    (top / ARMED[0]).write_text("changed again")
    installs.follow(neighbours, {"pc1": ARMING})
    for address in neighbours:
        assert (top / served(address)[0]).read_text() == "changed"


def test_answers_that_are_replaced_while_they_are_copied(installs, monkeypatch):
    armed = installs.tmp_path / f"answers/armed/pc1.{TOKEN}"
    copyfile = shutil.copyfile

    def replaced(source, target, **how):
        copyfile(source, target, **how)
        if not (armed / "old").exists():
            (armed / "answers").rename(armed / "old")
            shutil.copytree(armed / "old", armed / "answers")

    monkeypatch.setattr(shutil, "copyfile", replaced)
    with pytest.raises(OSError, match="were replaced while they were copied"):
        installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.read("pc1") is None
    # The same line of the log, at the next look.
    assert installs.script_read("pc1", ARMING, *MINE, AT)
    assert sorted(set(on_disk(installs)) & set(served(MINE[0]))) == served(MINE[0])


def test_answers_that_are_not_written_yet(installs):
    """Their directory has a key alone: nothing is served, and nobody else's boot waits."""
    shutil.rmtree(installs.tmp_path / f"answers/armed/pc1.{TOKEN}/answers")
    assert not installs.script_read("pc1", ARMING, *MINE, AT)


def test_installed_system_with_an_address_of_its_own(installs):
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.reported("pc1", TOKEN, "installed", MINE[0], AT + 10)
    theirs, own = OTHERS, ("198.18.0.99", MAC)
    assert not installs.reported("pc1", TOKEN, "first-boot", theirs[0], AT + 20, mac=theirs[1])
    assert installs.reported("pc1", TOKEN, "first-boot", own[0], AT + 20, mac=own[1])


def test_removing_costs_what_is_there(installs, monkeypatch):
    """Thousands are disarmed at once, few of them have answers."""
    installs.script_read("pc1", ARMING, *MINE, AT)
    renamed, rename = [], os.rename
    monkeypatch.setattr(os, "rename", lambda *paths: renamed.append(paths) or rename(*paths))
    installs.remove({TOKEN, *map(str, range(1000))})
    assert len(renamed) == 2
    assert on_disk(installs) == []


def test_line_that_is_read_again(installs):
    """As after a full disk: an installer that fetches at this moment is not interrupted."""
    installs.script_read("pc1", ARMING, *MINE, AT)
    top = installs.tmp_path / "answers/served" / MINE[0] / f"pc1.{TOKEN}"
    before = top.stat().st_ino
    (top / "mark").touch()
    assert installs.script_read("pc1", ARMING, *MINE, AT)
    assert (top.stat().st_ino, (top / "mark").exists()) == (before, True)


def test_no_look_reads_what_ended_long_ago(installs, monkeypatch):
    """Thousands that are installed: as many files at each look."""
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.end("pc1", TOKEN, AT)
    folder = installs.tmp_path / "records/installs"
    read = []
    monkeypatch.setattr(
        installs, "read", lambda key: read.append(key) or Installs.read(installs, key)
    )
    for _ in range(3):
        list(installs.running())
    # Written this second: a second change in the same tick of the clock would not be seen.
    assert read == ["pc1"] * 3
    os.utime(folder, (AT - 10**9, AT - 10**9))
    list(installs.running())
    del read[:]
    assert list(installs.running()) == []
    assert read == []
    os.utime(folder)
    list(installs.running())
    assert read == ["pc1"]


def test_records_that_another_process_wrote(installs):
    again = Installs(str(installs.tmp_path / "records"), str(installs.tmp_path / "answers"), HOURS)
    assert list(again.running()) == []
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert [key for key, _ in again.running()] == ["pc1"]
    installs.end("pc1", TOKEN, AT)
    assert list(again.running()) == []


def test_machine_of_many_addresses_fills_no_disk(installs):
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.follow({f"198.18.1.{number}": MAC for number in range(200)}, {"pc1": ARMING})
    assert len(os.listdir(installs.tmp_path / "answers/served")) == 8


def test_reports(installs):
    assert not installs.reported("pc1", TOKEN, "started", MINE[0], AT)
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.reported("pc1", TOKEN, "started", MINE[0], AT + 10)
    assert not installs.reported("pc1", TOKEN, "started", MINE[0], AT + 11)
    assert not installs.reported("pc1", OTHER, "disk", MINE[0], AT + 12)
    assert not installs.reported("pc1", TOKEN, "disk", OTHERS[0], AT + 13)
    assert installs.read("pc1")["steps"] == [["started", AT + 10, MINE[0]]]
    assert installs.reported("pc1", TOKEN, "installed", MINE[0], AT + 20)
    assert on_disk(installs) == []
    # What comes after it still counts, and nothing is served again.
    assert installs.reported("pc1", TOKEN, "first-boot", MINE[0], AT + 30)
    assert not installs.script_read("pc1", ARMING, *MINE, AT + 40)
    assert on_disk(installs) == []


@pytest.mark.parametrize(
    ("arming", "mac", "from_mac", "step", "counts"),
    [
        (ARMING, MAC, MAC, "first-boot", True),
        (ARMING, MAC, MAC, "disk", True),
        (ARMING, MAC, MAC, "failed-minion", True),
        (ARMING, MAC, OTHERS[1], "minion", False),
        (ARMING, MAC, "", "minion", False),
        (BY_UUID, "", "", "minion", True),
        (BY_UUID, "", "", "disk", False),
        (BY_UUID, "", OTHERS[1], "minion", False),
    ],
)
def test_report_from_another_address(installs, arming, mac, from_mac, step, counts):
    """An installed system has the address of its settings, or another lease than its installer."""
    installs.script_read("pc1", arming, MINE[0], mac, AT)
    new = "198.18.0.77"
    assert installs.reported("pc1", TOKEN, step, new, AT + 10, mac=from_mac) is counts
    assert not installs.reported("pc1", OTHER, step, new, AT + 11, mac=from_mac)


@pytest.mark.parametrize("step", ["first-boot", "failed-first-boot", "minion", "failed-minion"])
def test_installed_system_needs_no_answers(installs, step):
    """Though the installer could not report that it is done."""
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.reported("pc1", TOKEN, "bootloader", MINE[0], AT + 10)
    assert on_disk(installs) != []
    assert installs.reported("pc1", TOKEN, step, MINE[0], AT + 20)
    assert on_disk(installs) == []


@pytest.mark.parametrize(
    ("after", "counts"), [(HOURS + LATE_S - 1, True), (HOURS + LATE_S, False), (-1, False)]
)
def test_late_report(installs, after, counts):
    installs.script_read("pc1", ARMING, *MINE, AT)
    installs.end("pc1", TOKEN, AT + HOURS)
    assert on_disk(installs) == []
    assert installs.reported("pc1", TOKEN, "installed", MINE[0], AT + after) is counts


@pytest.mark.parametrize("step", ["installed", "first-boot", "failed-minion"])
def test_killed_after_the_last_report(installs, step):
    """It is on record, and the answers are still there."""
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.over({"pc1": ARMING}, AT + 10) == []
    path = installs.tmp_path / "records/installs/pc1.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "steps": [[step, AT + 10, MINE[0]]]})
    )
    again = Installs(str(installs.tmp_path / "records"), str(installs.tmp_path / "answers"), HOURS)
    assert again.over({"pc1": ARMING}, AT + 10) == [("pc1", TOKEN)]


def test_it_ends_in_time(installs):
    assert installs.over({"pc1": ARMING}, AT) == []
    installs.script_read("pc1", ARMING, *MINE, AT)
    assert installs.over({"pc1": ARMING}, AT + HOURS - 1) == []
    assert installs.over({"pc1": ARMING}, AT + HOURS) == [("pc1", TOKEN)]
    # Armed again, or dropped from the records.
    assert installs.over({"pc1": {**ARMING, "arming": OTHER}}, AT) == [("pc1", TOKEN)]
    assert installs.over({}, AT) == [("pc1", TOKEN)]
    # Its machine has read the script again.
    installs.script_read("pc1", ARMING, *MINE, AT + HOURS)
    assert installs.over({"pc1": ARMING}, AT + HOURS) == []


def test_what_a_kill_left_goes(installs):
    installs.script_read("pc1", ARMING, *MINE, AT)
    top = installs.tmp_path / "answers"
    for left in (f"armed/.gone.pc2.{OTHER}", f"served/{MINE[0]}/.new.pc1", f"armed/pc2.{OTHER}"):
        (top / left).mkdir()
        (top / left / "autoinstall.scm").write_text("")
    installs.sweep(set())
    assert on_disk(installs) == sorted(ARMED + served(MINE[0]))
    installs.end("pc1", TOKEN, AT)
    installs.tmp_path.joinpath("answers", f"armed/pc1.{OTHER}").mkdir()
    installs.sweep({f"pc1.{OTHER}"})
    assert os.listdir(top / "armed") == [f"pc1.{OTHER}"]
    installs.sweep(set())
    assert os.listdir(top / "armed") == []


@pytest.mark.parametrize(
    "damaged", ["", "[]", "{", '{"steps": 1}', '{"steps": [], "addresses": 1}']
)
def test_damaged_record_is_none(installs, damaged):
    installs.script_read("pc1", ARMING, *MINE, AT)
    (installs.tmp_path / "records/installs/pc1.json").write_text(damaged)
    assert installs.read("pc1") is None
    assert installs.script_read("pc1", ARMING, *MINE, AT)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/host/pc1.{TOKEN}/did/started", ("pc1", TOKEN, "started")),
        (f"/host/pc1.example.org.{TOKEN}/did/first-boot", ("pc1.example.org", TOKEN, "first-boot")),
        (f"/host/pc1.{TOKEN}/did/failed-disk", ("pc1", TOKEN, "failed-disk")),
        (f"/host/pc1.{TOKEN}/did/failed-", None),
        (f"/host/pc1.{TOKEN}/did/nonsense", None),
        (f"/host/pc1.{TOKEN}/did/started/more", None),
        ("/host/pc1.short/did/started", None),
        (f"/host/pc1.{TOKEN}/dist/started", None),
    ],
)
def test_paths_of_reports(path, expected):
    assert report(path) == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("", ""),
        ("y=this+machine+has+no+disk", "this machine has no disk"),
        ("x=1&y=%1b%5b31m%0a%d0%ba", "[31m\u043a"),
        ("y=" + "a" * 900, "a" * 240),
        ("y=%ff&y=b", "\ufffd"),
    ],
)
def test_why_it_failed(args, expected):
    assert why(args) == expected


def install(*steps, token=TOKEN, done_at=0):
    told = [[*one, "a"] for one in steps]
    return {"arming": token, "served_at": AT, "steps": told, "done_at": done_at}


@pytest.mark.parametrize(
    ("arming", "found", "now", "expected"),
    [
        (None, None, AT, ("", "", 0)),
        (ARMING, None, AT + 5, ("armed", "", AT)),
        (ARMING, install(("installed", AT), token=OTHER), AT, ("armed", "", AT)),
        (ARMING, install(), AT + 60, ("booting", "", AT)),
        (None, install(("started", AT + 9)), AT + 60, ("installing", "started", AT + 9)),
        (None, install(("started", AT)), AT + SILENT_S + 1, ("silent", "started", AT)),
        (None, install(), AT + SILENT_S + 1, ("silent", "", AT)),
        # Disarmed before it reported anything: as any host that is not armed.
        (None, install(done_at=AT), AT, ("", "", 0)),
        (None, install(done_at=AT + 60), AT + 2 * SILENT_S, ("", "", 0)),
        (None, install(done_at=AT + HOURS), AT + HOURS, ("silent", "", AT)),
        # After that it goes on: it has its answers.
        (None, install(("disk", AT), done_at=AT + 9), AT + 60, ("installing", "disk", AT)),
        (None, install(("failed-disk", AT)), AT + 2 * SILENT_S, ("failed", "disk", AT)),
        (None, install(("installed", AT)), AT + 2 * SILENT_S, ("installed", "installed", AT)),
        (None, install(("installed", AT), ("minion", AT + 9)), AT, ("installed", "minion", AT + 9)),
    ],
)
def test_states(arming, found, now, expected):
    assert state(arming, json.loads(json.dumps(found)), now) == expected


def pieces(text, size=700):
    """As the scripts of an install send a log."""
    packed = base64.b64encode(gzip.compress(text.encode()), altchars=b"-_").decode()
    packed = packed.replace("=", ".")
    return [packed[at : at + size] for at in range(0, len(packed), size)]


def test_log_of_a_failed_install_comes_in_pieces(installs):
    installs.script_read("pc1", ARMING, *MINE, AT)
    lines = [os.urandom(20).hex() for _ in range(200)]
    told = [(f"log-{number}", one) for number, one in enumerate(pieces("\n".join(lines)), 10)]
    assert len(told) > 5
    for step, piece in told:
        assert report(f"/host/pc1.{TOKEN}/did/{step}") == ("pc1", TOKEN, step)
        assert why(f"y={piece}", step) == piece
        assert not installs.reported("pc1", TOKEN, step, OTHERS[0], AT + 1, "forged")
        assert not installs.reported("pc1", OTHER, step, MINE[0], AT + 1, "forged")
        assert not installs.reported("pc1", TOKEN, step, MINE[0], AT + 1, piece)
    assert log_lines(installs.read("pc1")) == lines
    assert installs.read("pc1")["steps"] == []


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        (None, []),
        ({}, []),
        ({"log-10": "!!"}, []),
        ({"log-10": pieces("one\ntwo")[0][:-9]}, ["one", "two"]),  # cut off
        ({"log-10": pieces("\x1b[2Jred\tx\x00")[0]}, ["[2Jred x"]),
        ({"log-10": pieces("x" * 300_000)[0]}, ["x" * (1 << 17)]),
    ],
)
def test_log_of_a_stranger(log, lines):
    assert log_lines({"log": log}) == lines


@pytest.mark.parametrize("step", ["log-1", "log-09", "log-80", "log-100", "failed-log-10"])
def test_no_piece_of_a_log(step):
    assert report(f"/host/pc1.{TOKEN}/did/{step}") is None
