"""The tree applied by a real master to its minion, then by that minion's own schedule, then booted.

The tests build on each other.
"""

import copy
import re
import subprocess
import time
from types import SimpleNamespace

import pytest
import yaml

from lab import Lab
from lab.iso import make_iso
from lab.master import VENV, Master
from lab.salt import applied, write_pillar
from netboot_names import VERSION
from tests.checkout import copy_tracked
from tests.conftest import CHECKOUT
from tests.servers import INSTALLED

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
            "events": True,
        }
        salt = Master(lab, {"netboot": pillar})
        server = lab.server("netboot1", installed=INSTALLED, binds=[VENV])
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
    assert list(jobs(lan)) == ["netboot-events"]


def test_schedule_is_added(lan):
    added = apply_with(lan, schedule={"minutes": 1, "splay_s": 1})
    assert added.status == 0
    assert list(added.changed) == ["netboot-config-applied", "netboot-schedule"]
    job = jobs(lan)["netboot"]
    assert (job["minutes"], job["splay"], job["maxrunning"]) == (1, 1, 1)
    assert job["run_on_start"] is False  # or a hundred minions would start at once
    assert apply(lan).changed == {}
    schedule = lan.salt.call(lan.server, "netboot.status")["schedule"]
    assert (schedule["by"], schedule["interval"]) == ("minion", {"minutes": 1})


SEEN = "seen?m=5254000000aa&u=&f=efi&a=x86_64&v=1.21&b=&r=&p=Acer&s="


def test_steps_of_clients_are_events(lan):
    """Each once; the minion's schedule sends them, here it is done by hand."""
    server = lan.server
    job = jobs(lan)["netboot-events"]
    assert (job["function"], job["minutes"]) == ("netboot.send_events", 1)
    assert (job["maxrunning"], job["return_job"]) == (1, False)
    look = ["systemctl", "start", "netboot-clients.service"]
    server.run(look)
    server.run(["systemctl", "start", "netboot-status.service"])
    for step in ("script", "menu&e=local&w=1", "local"):
        lan.lab.run(["curl", "-sf", f"http://{server.address}/{SEEN}{step}"])
    heard = lan.salt.listen("netboot/client/*")
    time.sleep(2)  # until lines of the log are settled
    server.run(look)
    wait_until(lambda: "local disk" in server.run(["cat", QUEUE]).stdout, 30)
    lan.salt.call(server, "netboot.send_events")
    wait_until(lambda: len(heard()) == 3, 30)
    tags = [f"netboot/client/52:54:00:00:00:aa/{step}" for step in ("script", "menu", "local-disk")]
    assert [tag for tag, _data in heard()] == tags
    assert heard()[0][1]["data"]["model"] == "Acer"
    server.run(look)
    assert lan.salt.call(server, "netboot.send_events") == 0
    assert len(heard()) == 3


QUEUE = "/var/lib/netboot-status/events/queue.json"


@pytest.mark.long
def test_schedule_repairs_without_being_asked(lan):
    assert apply_with(lan, schedule={"minutes": 1, "splay_s": 1}).status == 0
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
    assert sorted(jobs(lan)) == ["netboot", "netboot-events"]


def test_schedule_ends_with_its_key(lan):
    removed = apply_with(lan)
    assert removed.status == 0
    assert list(removed.changed) == ["netboot-config-applied", "netboot-schedule"]
    assert list(jobs(lan)) == ["netboot-events"]


@pytest.mark.long
def test_client_boots(lan):
    assert apply(lan).failed == {}  # long tests run without those above
    with lan.lab.client("efi-x86_64") as client:
        marker = client.booted(timeout=180)
    assert marker["digest"] == lan.iso.stages[marker["stage"]][1]


# -- served from git -------------------------------------------------------------------------------

# What another version has: in a library, in a state, in a template.
NEXT = {
    "salt/_utils/netboot_names.py": (f'VERSION = "{VERSION}"', 'VERSION = "9.9.9"'),
    "salt/_states/netboot.py": ("The pillar was resolved.", "The pillar was resolved by 9.9.9."),
    "salt/netboot/files/dnsmasq.conf.jinja": ("# No DNS:", "# Of version 9.9.9.\n# No DNS:"),
}


def git(folder, *words):
    argv = ["git", "-C", folder, "-c", "user.name=lab", "-c", "user.email=lab@localhost", *words]
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, lan):
    """Bare repositories: of the states, with two tags, and of the user's pillar."""
    base = tmp_path_factory.mktemp("git")
    states, pillar = base / "states", base / "pillar"
    copy_tracked(states)
    git(states, "init", "-q", "-b", "main")
    git(states, "add", "--all")
    git(states, "commit", "-q", "-m", "one")
    git(states, "tag", "v1")
    for name, (old, new) in NEXT.items():
        text = (states / name).read_text()
        assert old in text
        (states / name).write_text(text.replace(old, new, 1))
    git(states, "commit", "-q", "-a", "-m", "two")
    git(states, "tag", "v2")
    pillar.mkdir()
    write_pillar(pillar, {"netboot": {**lan.pillar, "menu": {"timeout_s": 3}}})
    git(pillar, "init", "-q", "-b", "main")
    git(pillar, "add", "--all")
    git(pillar, "commit", "-q", "-m", "one")
    for folder in (states, pillar):
        git(base, "clone", "-q", "--bare", folder.name, f"{folder.name}.git")
    return base


def documented(repositories, tag):
    """The master's configuration as docs/gitfs.md has it, for these repositories."""
    text = re.search(r"```yaml\n(.*?)```", (CHECKOUT / "docs/gitfs.md").read_text(), re.DOTALL)[1]
    text = text.replace("PILLAR_REPOSITORY", f"file://{repositories}/pillar.git")
    text = text.replace("REPOSITORY", f"file://{repositories}/states.git").replace("TAG", tag)
    return yaml.safe_load(text)


@pytest.fixture(scope="module", params=[True, False])
def multiprocessing(lan, request):
    """Whether the minion has a process for each job, as by default, or a thread."""
    if not request.param:
        lan.salt.restart_minion(lan.server, multiprocessing=False)


@pytest.mark.long
@pytest.mark.parametrize(("step", "tag"), [("first", "v1"), ("next", "v2"), ("back", "v1")])
@pytest.mark.usefixtures("multiprocessing")
def test_master_with_gitfs_at_a_tag(lan, repositories, step, tag):
    """From one version to the next and back, without a restart of the minion."""
    nothing = {"base": []}
    settings = {"file_roots": nothing, "pillar_roots": nothing, "module_dirs": []}
    lan.salt.restart(lan.server, **settings, **documented(repositories, tag))
    done = apply(lan)
    assert (done.status, done.failed) == (0, {})
    version = {"v1": VERSION, "v2": "9.9.9"}[tag]
    assert lan.salt.call(lan.server, "netboot.version") == {"version": version, "applied": version}
    resolved = done.states["netboot-config-resolved"]["comment"]
    assert resolved == f"The pillar was resolved{' by 9.9.9' if tag == 'v2' else ''}."
    conf = lan.server.run(["cat", "/etc/netboot/dnsmasq.conf"]).stdout
    assert ("# Of version 9.9.9." in conf) == (tag == "v2")
    assert "set nb-timeout 3000" in lan.server.run(["cat", MENU]).stdout
    functions = lan.salt.call(lan.server, "sys.list_functions")
    for module in ("netboot", "netboot_once", "iso_fetch", "alt_iso"):
        assert any(name.startswith(f"{module}.") for name in functions)
    assert apply(lan).changed == {}
