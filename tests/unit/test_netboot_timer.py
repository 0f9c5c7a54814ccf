"""The timer's unit: what it runs; and what is read of systemd."""

import shlex
import subprocess
import sys

import pytest

import netboot_run
import netboot_timer
from netboot_records import Records

STANDARD = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A checkout, and a salt-call that runs."""
    for name in ("netboot", "conf/minion", "salt/top.sls", "etc/minion", "bin/salt-call"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/salt-call"), "state.apply"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(config_dir, *roots):
    return netboot_timer.command({"config_dir": str(config_dir), "file_roots": {"base": roots}})


@pytest.mark.parametrize("config_dir", ["conf", "{}/conf"])
@pytest.mark.parametrize("root", ["salt", "{}/salt"])
def test_checkout_is_applied_by_its_launcher(tree, config_dir, root):
    found = command(config_dir.format(tree), root.format(tree))
    assert found["words"] == f"{tree}/netboot apply --yes queue=9"
    assert found["directory"] == str(tree)
    assert found["path"] == STANDARD  # .venv is below the checkout too


def test_other_configuration_is_applied_by_the_same_salt_call(tree):
    found = command(tree / "etc", str(tree / "salt"))
    assert shlex.split(found["words"]) == [
        *(sys.executable, f"{tree}/bin/salt-call", "--local", f"--config-dir={tree}/etc"),
        *("--state-verbose=False", "state.apply", "netboot", "sync_mods=all", "queue=9"),
    ]
    assert found["directory"] == "/"
    assert command("etc", "salt")["directory"] == str(tree), "for relative paths"


@pytest.mark.parametrize("lacks", ["netboot", "salt"])
def test_launcher_of_something_else_is_not_used(tree, lacks):
    if lacks == "netboot":
        (tree / "netboot").unlink()
    assert "salt-call" in command("conf", "/srv/salt" if lacks == "salt" else "salt")["words"]


def test_salt_that_is_not_on_the_path_of_units_is_found(tree, monkeypatch, tmp_path_factory):
    salt = tmp_path_factory.mktemp("salt")
    (salt / "salt-call").touch()
    monkeypatch.setattr(sys, "argv", [f"{salt}/salt-minion"])  # a daemon without a master
    assert command("conf", "salt")["path"] == STANDARD.replace("=", f"={salt}:")


def test_words_that_systemd_would_change_are_quoted(tmp_path, tree):
    odd = tmp_path / "a b%h$x"
    tree.joinpath("conf").mkdir(exist_ok=True)
    for name in ("netboot", "conf/minion", "salt/top.sls"):
        (odd / name).parent.mkdir(parents=True, exist_ok=True)
        (odd / name).touch(0o755)
    found = command(odd / "conf", str(odd / "salt"))
    assert found["words"] == f'"{tmp_path}/a b%%h$x/netboot" apply --yes queue=9'
    assert found["directory"] == f"{tmp_path}/a b%%h$x"


NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
SERVICE = "InactiveExitTimestamp=Fri 2027-01-15 07:00:01 UTC\nActiveState={}\n"
TIMER = "NextElapseUSecMonotonic={}\nActiveState={}\n"


@pytest.fixture
def scheduled(tmp_path, monkeypatch):
    """Its argument: what systemctl shows of service and timer; None: there is no systemctl."""
    records = Records(str(tmp_path))
    monkeypatch.setattr(netboot_timer.time, "time", lambda: NOW)
    monkeypatch.setattr(netboot_timer.time, "clock_gettime", lambda _clock: 100000)

    def _scheduled(shown=None, schedule=None, timer=True, jobs=None):
        def tried(*argv, **environment):
            assert environment == {"TZ": "UTC"}
            text = shown[argv[-1].endswith(".timer")]
            return subprocess.CompletedProcess(argv, 0, text, "")

        monkeypatch.setattr(netboot_run, "has", lambda _program: shown is not None)
        monkeypatch.setattr(netboot_run, "tried", tried)
        config = {"root": "/srv", "version": "", "schedule": schedule or {}}
        records.write("applied", "config", config)
        records.remove("services", "netboot-apply.timer")
        if timer:
            records.write("services", "netboot-apply.timer", {"files": {}, "written": {}})
        return netboot_timer.schedule(records, jobs)

    return _scheduled


DAILY = {"hours": 24, "splay_s": 600}


@pytest.mark.parametrize(
    ("span", "point"),
    [
        ("1d 3h 46min 41.5s", "2027-01-15T08:00:01Z"),
        ("1d 3h 46min 50s 20ms", "2027-01-15T08:00:10Z"),
        ("1w 1d 3h 46min 40s", "2027-01-22T08:00:00Z"),
        ("infinity", None),
        ("", None),
    ],
)
def test_times_of_the_timer(scheduled, span, point):
    shown = (SERVICE.format("inactive"), TIMER.format(span, "active"))
    found = {"by": "timer", "interval": {"hours": 24}, "failed": False}
    times = {"next": point, "last": "2027-01-15T07:00:01Z"}
    assert scheduled(shown, DAILY) == {**found, **times}


def test_failed_run_of_a_timer_that_was_stopped(scheduled):
    shown = (SERVICE.format("failed"), TIMER.format("1d 4h", "inactive"))
    found = scheduled(shown, {"minutes": 5, "splay_s": 0})
    assert (found["failed"], found["next"], found["interval"]) == (True, None, {"minutes": 5})


def test_without_systemd_and_without_a_schedule(scheduled):
    nothing = {"next": None, "last": None, "failed": False}
    assert scheduled(None, DAILY) == {"by": "timer", "interval": {"hours": 24}, **nothing}
    assert scheduled(None, {}) is None
    assert scheduled(None, DAILY, timer=False) is None
    by_minion = {"by": "minion", "interval": {"hours": 24}, **nothing}
    assert scheduled(None, DAILY, timer=False, jobs={"netboot": {}}) == by_minion
