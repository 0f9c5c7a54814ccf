"""What people read of an apply: a line for each change, failure, warning, note, and a summary."""

import importlib.util

import pytest
import salt.modules.state

from tests.conftest import CHECKOUT

spec = importlib.util.spec_from_file_location(
    "netboot_apply", CHECKOUT / "salt/_output/netboot_apply.py"
)
netboot_apply = importlib.util.module_from_spec(spec)
spec.loader.exec_module(netboot_apply)


def states(*rows, **more):
    """Results of states: id, result, changes, comment."""
    return {
        f"x_|-{number}": {
            "__id__": id_,
            "__run_num__": number,
            "__sls__": "netboot",
            "name": f"/name/{id_}",
            "result": result,
            "changes": changes,
            "comment": comment,
            "duration": 100.0,
            **more,
        }
        for number, (id_, result, changes, comment) in enumerate(rows)
    }


SUMMARY = ("netboot-applied", True, {}, "Ready to boot: ALT.")


def test_unchanged_apply_is_two_lines():
    done = {"local": states(*[(f"s{n}", True, {}, "Is right.") for n in range(40)], SUMMARY)}
    assert netboot_apply.output(done) == "0 changed, 41 unchanged; 4.1 s.\nReady to boot: ALT."


def test_lines_of_an_apply():
    done = states(
        ("dir", True, {"/name/dir": "new"}, ""),
        ("file", True, {"diff": "New file"}, "File /name/file updated"),
        ("pkg", True, {"nginx": {"old": "", "new": "1"}}, "The following packages were installed"),
        ("menus", True, {"a": "new", "b": "new"}, "2 menus were written."),
        ("menus-again", True, {"a": "new", "b": "new"}, "2 menus were written."),
        ("iso", False, {}, "a.iso: cannot be fetched: 404.\nAnd more."),
        ("unpack", False, {}, "One or more requisite failed: netboot.images.iso"),
        SUMMARY,
    )
    assert netboot_apply.output({"netboot1": done}).split("\n") == [
        "netboot1:",
        "changed  /name/dir was made.",
        "changed  /name/file was updated.",
        "changed  /name/pkg: The following packages were installed",
        "changed  2 menus were written.",
        "FAILED   iso: a.iso: cannot be fetched: 404.",
        "         And more.",
        "4 changed, 1 unchanged, 1 FAILED, 1 not tried because of that; 0.8 s.",
        "Ready to boot: ALT.",
    ]


def test_state_without_a_function_has_no_id():
    """As Salt returns it (salt.state.State.call)."""
    why = "State 'iso_fetch.x' was not found in SLS 'netboot.iso'\n"
    state = {"result": False, "name": "/a.iso", "changes": {}, "comment": why, "__run_num__": 0}
    shown = netboot_apply.output({"local": {"iso_fetch_|-iso-a_|-/a.iso_|-x": state}})
    assert shown.startswith(f"FAILED   iso-a: {why}")


def test_notifications_are_notes():
    (done,) = states(("schedule", True, {}, "Run it from a timer.")).values()
    shown = netboot_apply.output({"local": {"test_|-a_|-a_|-show_notification": done}})
    assert shown == "note     Run it from a timer.\n0 changed, 1 unchanged; 0.1 s."


def test_foretold():
    done = states(
        (
            "dir",
            None,
            {"/name/dir": {"directory": "new"}},
            "The following files will be changed:\n/name/dir: directory - new",
        ),
        ("file", None, {"a": "new"}, "The file /name/file is set to be changed"),
        ("gone", None, {"a": "new"}, "Directory /name/gone is set for removal"),
        ("cmd", None, {"cmd": "x"}, 'Command "x" would have been executed'),
        ("menus", None, {"a": "new"}, "33 menus would be written."),
        ("menus-again", None, {"a": "new"}, "33 menus would be written."),
        ("right", True, {}, "Is right."),
    )
    assert netboot_apply.output({"local": done}).split("\n") == [
        "would    /name/dir would be made.",
        "would    /name/file would be changed.",
        "would    /name/gone would be removed.",
        "would    x would be run.",
        "would    33 menus would be written.",
        "5 changes foreseen, 1 unchanged; 0.7 s.",
    ]


def test_apply_that_runs_beside_another(monkeypatch):
    """By what Salt's own function says."""
    active = [{"fun": "state.apply", "pid": 3653, "jid": "20261126180211123456"}]
    monkeypatch.setattr(
        salt.modules.state, "__salt__", {"saltutil.is_running": lambda _: active}, raising=False
    )
    monkeypatch.setattr(salt.modules.state, "__opts__", {}, raising=False)
    assert netboot_apply.output({"local": salt.modules.state.running()}) == (
        "FAILED   another apply runs here (PID 3653, since Nov 26 18:02); wait for it"
    )


def test_warnings_are_told_and_empty_ones_are_not():
    assert "warning  beware" in netboot_apply.output(
        {"local": states(SUMMARY, warnings=["beware"])}
    )
    assert "warning" not in netboot_apply.output({"local": states(SUMMARY, warnings=[])})


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"local": ["Pillar failed to render", "more"]}, "Pillar failed to render\nmore"),
        ({"netboot1": "Minion did not return."}, "netboot1:\nMinion did not return."),
        (
            {"netboot1": {"retcode": 255, "stderr": "no ssh"}},
            "netboot1:\nretcode: 255\nstderr: no ssh",
        ),
        (
            {
                "netboot1": {
                    "retcode": 254,
                    "stdout": "Are you sure you want to continue connecting (yes/no)?",
                    "stderr": "",
                }
            },
            "netboot1:\nFAILED   its host key is not known here. Log in once with ssh, compare the "
            "key and accept it, or accept any key by -i.",
        ),
        (
            {"netboot1": {"retcode": 1, "stderr": "sudo: a password is required"}},
            "netboot1:\nFAILED   sudo asks for a password there. Allow it without one (NOPASSWD in "
            "/etc/sudoers.d), as nobody is there to type it.",
        ),
        ("text", "text"),
        ({"local": {}}, "0 changed, 0 unchanged; 0.0 s."),
    ],
)
def test_what_is_no_result_of_states_is_shown_as_it_is(found, told):
    assert netboot_apply.output(found) == told


def test_failures_are_red_on_a_terminal(monkeypatch):
    done = {"local": states(("iso", False, {}, "404"))}
    monkeypatch.setattr(netboot_apply, "__opts__", {"color": True})
    assert netboot_apply.output(done).startswith("\033[31;1mFAILED\033[0m   iso: 404")
    monkeypatch.setattr(netboot_apply, "__opts__", {"color": False})
    assert "\033" not in netboot_apply.output(done)
