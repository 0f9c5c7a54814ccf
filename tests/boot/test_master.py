"""The tree applied by a real master to its minion, then by that minion's own schedule, then booted.

The tests build on each other.
"""

import copy
import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.demo import PACKAGES
from lab.iso import make_iso
from lab.master import VENV, Master
from lab.salt import applied

MENU = "/srv/export/tftp/config-x86_64.ipxe"

# A module that only a master's newer state tree has.
NEW_MODULE = """
def age():
    return "new"
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A lab, a master in it, a machine that is its minion, an ISO on a web server."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        web = lab.web(iso.path.parent)
        pillar = {
            "images": {
                "ALT p11": {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
            },
            "default_image": {"x86_64": "ALT p11"},
            "menu": {"timeout_s": 2},
        }
        salt = Master(lab, {"netboot": pillar})
        server = lab.server("netboot1", packages=PACKAGES, binds=[VENV])
        salt.add_minion(server)
        yield SimpleNamespace(lab=lab, server=server, iso=iso, pillar=pillar, salt=salt)


def apply(lan, *arguments):
    return applied(lan.salt.run("netboot*", "state.apply", *arguments), lan.server.name)


def apply_with(lan, **keys):
    """Apply with these keys in the pillar besides those that it always has."""
    lan.salt.write_pillar({"netboot": {**copy.deepcopy(lan.pillar), **keys}})
    return apply(lan)


def snapshot(lan):
    """What these states may write, each file with the time of its last change of any kind."""
    folders = ["/etc", "/srv", "/var/lib/netboot"]
    return set(lan.server.run(["find", *folders, "-printf", "%p %s %C@\n"]).stdout.splitlines())


def jobs(lan):
    return lan.salt.call(lan.server, "schedule.list", "return_yaml=False")


def wait_until(condition, timeout):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not so after {timeout} s"
        time.sleep(0.5)


def test_one_command_applies_everything(lan):
    first = apply(lan)
    assert first.failed == {}
    assert first.status == 0
    assert "netboot-image-alt_p11-ready" in first.changed
    for service in ("nginx", "netboot-dnsmasq"):
        assert lan.server.run(["systemctl", "is-active", service]).stdout == "active\n"


@pytest.mark.parametrize("arguments", [(), ("test=True",)])
def test_again_changes_nothing(lan, arguments):
    before = snapshot(lan)
    again = apply(lan, *arguments)
    assert again.status == 0
    assert again.changed == {}
    assert all(state["result"] for state in again.states.values())
    assert snapshot(lan) == before


def test_no_schedule_by_default(lan):
    assert jobs(lan) == {}


def test_schedule_repairs_without_being_asked(lan):
    added = apply_with(lan, schedule={"minutes": 1, "splay_s": 1})
    assert added.status == 0
    assert list(added.changed) == ["netboot-config-applied", "netboot-schedule"]
    job = jobs(lan)["netboot"]
    assert (job["minutes"], job["splay"], job["maxrunning"]) == (1, 1, 1)
    assert job["run_on_start"] is False  # or a hundred minions would start at once
    assert apply(lan).changed == {}

    menu = lan.server.run(["cat", MENU]).stdout
    lan.server.run(["rm", MENU])
    with lan.salt.overridden("_modules/netboot_lab.py", NEW_MODULE):
        wait_until(lambda: not lan.server.run(["test", "-e", MENU], check=False).returncode, 75)
        wait_until(lambda: not lan.salt.call(lan.server, "saltutil.is_running", "state.*"), 10)
        assert lan.salt.call(lan.server, "netboot_lab.age") == "new"
    assert lan.server.run(["cat", MENU]).stdout == menu


def test_wrong_pillar_changes_nothing_and_keeps_the_schedule(lan):
    before = snapshot(lan)
    wrong = apply_with(
        lan, imags={}, interface="eth77", schedule={"minutes": 1, "hours": 1}, dhcp={"mode": "on"}
    )
    assert wrong.status != 0
    assert list(wrong.failed) == list(wrong.states) == ["netboot-config-valid"]
    comment = wrong.failed["netboot-config-valid"]["comment"]
    for key in ("netboot:imags", "netboot:interface", "netboot:schedule", "netboot:dhcp:mode"):
        assert f"- {key}: " in comment
    assert snapshot(lan) == before
    assert list(jobs(lan)) == ["netboot"]


def test_schedule_ends_with_its_key(lan):
    removed = apply_with(lan)
    assert removed.status == 0
    assert list(removed.changed) == ["netboot-config-applied", "netboot-schedule"]
    assert jobs(lan) == {}


@pytest.mark.long
def test_client_boots(lan):
    with lan.lab.client("efi-x86_64") as client:
        marker = client.booted(timeout=180)
    assert marker["digest"] == lan.iso.stages[marker["stage"]][1]
