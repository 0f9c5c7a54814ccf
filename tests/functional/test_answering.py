"""Hosts that are installed unattended: answers on the disk while they are armed, and no longer."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import salt.utils.crypt
from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_arming
import netboot_files
import netboot_host_scripts
import netboot_images
import netboot_installing
import netboot_left_over
from netboot_answering import installs_of
from tests.isos import make_iso

HASH = "$6$saltsalt$" + "a" * 86
INSTALLS = {
    "school": {"disk": "all", "root_password": HASH, "users": {"pupil": {"password": HASH}}},
    "minion": {"disk": "smallest", "root_password": HASH, "salt": {"master": "192.0.2.9"}},
}
HOSTS = {
    "pc1": {"mac": "52:54:00:00:00:01", "group": "room12"},
    "pc2": {"mac": "52:54:00:00:00:02", "group": "room12"},
    "pc3": {"mac": "52:54:00:00:00:03", "image": "ALT p11", "install": "minion"},
    "other": {"mac": "52:54:00:00:00:04", "image": "ALT p11", "variant": "livecd", "once": True},
}
GROUPS = {"room12": {"image": "ALT p11", "install": "school"}}
FILES = ["autoinstall.scm", "install-scripts.tar", "vm-profile.scm"]


@pytest.fixture(scope="module")
def iso(tmp_path_factory):
    return make_iso(tmp_path_factory.mktemp("iso") / "a.iso")


@pytest.fixture
def server(modules, records, tmp_path, web, iso):
    """A server with an image, and hosts that wait for netboot.arm."""
    os.link(iso, web.folder / "a.iso")
    digest = hashlib.sha256(Path(iso).read_bytes()).hexdigest()
    image = {"url": f"{web.url}/a.iso", "checksum": {"sha256": digest}}
    made = SimpleNamespace(
        pillar={
            **{"interface": "lo", "root": str(tmp_path / "export"), "images": {"ALT p11": image}},
            **{"hosts": HOSTS, "groups": GROUPS, "installs": INSTALLS},
        }
    )

    def apply():
        done = modules.state.apply("netboot.images", pillar={"netboot": made.pillar})
        assert all(one["result"] for one in done.raw.values()), done
        return reconcile()

    def reconcile(test=False):
        entries = netboot_images.built(records)["entries"]
        pillar = made.pillar
        once = netboot_host_scripts.once(
            pillar["hosts"], pillar["groups"], records.config(), entries
        )
        return netboot_arming.reconcile(records, once["hosts"], test)

    made.apply, made.reconcile = apply, reconcile
    records.write("owned", "once", {})
    paths = {name: f"{records.directory}-{name}" for name in ("once", "answers")}
    for path in paths.values():
        shutil.rmtree(path, ignore_errors=True)
    os.mkdir(paths["once"])
    made.scripts, made.answers = Path(paths["once"]), Path(paths["answers"])
    apply()
    yield made
    for path in paths.values():
        shutil.rmtree(path, ignore_errors=True)


def there(server):
    """The files of answers, by path without tokens."""
    found = server.answers.rglob("*")
    paths = [path.relative_to(server.answers).parts for path in found if path.is_file()]
    return sorted("/".join([parts[0], parts[1].split(".")[0], *parts[2:]]) for parts in paths)


def expected(*hosts):
    return sorted(
        f"armed/{host}/answers/{platform}/{name}"
        for host in hosts
        for platform in ("efi", "pcbios")
        for name in FILES
    )


def armed(server):
    return sorted(path.stem for path in server.scripts.iterdir())


def token_of(records, host):
    return records.armings()[host]["arming"]


def test_from_armed_to_disarmed(server, records, modules):
    assert (there(server), armed(server)) == ([], [])
    done = modules.netboot.arm(group="room12")
    assert [(one["host"], one["disk"], one["install"]) for one in done] == [
        ("pc1", "all", "school"),
        ("pc2", "all", "school"),
    ]
    assert (there(server), armed(server)) == (expected("pc1", "pc2"), ["pc1", "pc2"])
    token = token_of(records, "pc1")
    script = (server.scripts / "pc1.ipxe").read_text()
    url = f"http://127.0.0.1/host/pc1.{token}/answers/${{platform}}/"
    assert f"\nset nb-answers ai curl={url}\n" in script
    for path in server.answers.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    before = {path: path.stat().st_mtime_ns for path in server.answers.rglob("*")}
    assert server.reconcile() == {}
    assert before == {path: path.stat().st_mtime_ns for path in server.answers.rglob("*")}
    # Armed again: a new token, nothing of the old one.
    modules.netboot.arm("pc1")
    assert there(server) == expected("pc1", "pc2")
    assert [path.name for path in (server.answers / "armed").glob("pc1.*")] == [
        f"pc1.{token_of(records, 'pc1')}"
    ]
    modules.netboot.arm("*", disarm=True)
    assert (there(server), armed(server)) == ([], [])


def test_who_boots_something_else_has_no_answers(server, modules):
    modules.netboot.arm("other")
    assert (there(server), armed(server)) == ([], ["other"])
    assert "nb-answers" not in (server.scripts / "other.ipxe").read_text()
    with pytest.raises(SaltInvocationError, match="netboot:hosts:other has no install"):
        modules.netboot.answers("other")


def test_test_arms_nobody(server, records, modules):
    (one,) = modules.netboot.arm("pc3", test=True)
    assert (one["armed"], one["disk"], one["entry"]) == (None, "smallest", "alt_p11-install")
    assert (there(server), armed(server)) == ([], [])


def test_hours(server, records, modules):
    modules.netboot.arm("pc1", hours=2)
    arming = records.armings()["pc1"]
    assert arming["until"] - arming["armed_at"] == 2 * 3600
    modules.netboot.arm("pc1")
    arming = records.armings()["pc1"]
    assert arming["until"] - arming["armed_at"] == 7 * 86400
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(SaltInvocationError, match="hours must be from 1 to 8760"):
            modules.netboot.arm("pc1", hours=wrong)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({}, "Name a host or a group"),
        ({"group": "room21"}, "in a group 'room21', did you mean room12"),
        ({"host": "pc3", "group": "room12"}, "no host 'pc3'"),
        (
            {"host": "room12"},
            "no host 'room12' with install or once: true; the group is group=room12",
        ),
    ],
)
def test_who_is_meant(server, modules, named, told):
    with pytest.raises(SaltInvocationError, match=told):
        modules.netboot.arm(**named)


def test_image_that_is_not_ready(server, records, modules):
    modules.netboot.arm("pc1")
    records.remove("images", "alt_p11")
    with pytest.raises(CommandExecutionError, match="Nobody is armed: netboot:hosts:pc2:image: is"):
        modules.netboot.arm("pc2")
    with pytest.raises(CommandExecutionError, match=r"pc1:image: is not .* and so for pc2\.$"):
        modules.netboot.arm(group="room12")
    # Without answers an installer would take those of its medium: the disk boots.
    server.reconcile()
    assert armed(server) == []
    (why,) = netboot_arming.unanswered(records)
    assert why.startswith("netboot:hosts:pc1:image: is not ready")
    assert server.apply() == {"pc1.ipxe": "new"}
    assert armed(server) == ["pc1"]


def test_apply_says_who_cannot_be_installed(server, records, states):
    """Before somebody arms them; each reason once."""
    assert "Cannot" not in states.netboot.applied("summary").comment
    image = records.read("images", "alt_p11")
    facts = {**image["facts"], "product": "ALT Education OEM"}
    records.write("images", "alt_p11", {**image, "facts": facts})
    (told,) = (
        line
        for line in states.netboot.applied("summary").comment.splitlines()
        if line.startswith("Cannot")
    )
    assert told == (
        "Cannot be installed: pc1, pc2, pc3 (install: its OEM setup asks at the first boot)."
    )


def test_changed_install(server, records, modules):
    modules.netboot.arm("pc1")
    path = server.answers / f"armed/pc1.{token_of(records, 'pc1')}/answers/efi/vm-profile.scm"
    assert "SWAPFS" in path.read_text()
    server.pillar["installs"] = {**INSTALLS, "school": {**INSTALLS["school"], "swap_mib": 0}}
    modules.state.apply("netboot.images", pillar={"netboot": server.pillar})
    assert server.reconcile(test=True) == {"pc1": "answers changed"}
    assert "SWAPFS" in path.read_text()
    assert server.reconcile() == {"pc1": "answers changed"}
    assert "SWAPFS" not in path.read_text()
    assert server.reconcile() == {}


def test_hosts_that_are_being_installed_are_not_armed_by_their_group(server, records, modules):
    """They would be installed a second time."""
    modules.netboot.arm(["pc1", "pc2"])
    arming = records.armings()["pc1"]
    installs = installs_of(records)
    installs.script_read("pc1", arming, "198.18.0.20", "525400000001", time.time())
    modules.netboot.arm("pc*", test=True)  # in mid-boot: it may have hung
    installs.reported("pc1", arming["arming"], "disk", "198.18.0.20", time.time())
    for who in ({"host": "pc*"}, {"group": "room12"}, {"host": "*", "test": True}):
        with pytest.raises(SaltInvocationError, match=r"Nobody is armed: pc1 \(disk\) would be"):
            modules.netboot.arm(**who)
    assert records.armings()["pc1"] == arming
    (armed,) = modules.netboot.arm(["pc1"])
    assert records.armings()["pc1"]["arming"] != arming["arming"]
    assert armed["installed"] is None
    arming = records.armings()["pc1"]
    installs.script_read("pc1", arming, "198.18.0.20", "525400000001", time.time())
    installs.reported("pc1", arming["arming"], "installed", "198.18.0.20", time.time())
    told = modules.netboot.arm(group="room12", test=True)
    assert [bool(one["installed"]) for one in told] == [True, False]


@pytest.mark.parametrize("writes", range(6))
def test_killed_while_answers_change(server, records, modules, monkeypatch, writes):
    """All are the old ones, or all the new; a script of disks is never missing beside a profile."""
    modules.netboot.arm("pc1")
    server.pillar["installs"] = {**INSTALLS, "school": {**INSTALLS["school"], "disk": "smallest"}}
    modules.state.apply("netboot.images", pillar={"netboot": server.pillar})
    top = server.answers / f"armed/pc1.{token_of(records, 'pc1')}/answers"
    before = {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}
    write, done = netboot_files.write, []

    def killed(*args, **how):
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(args)
        write(*args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(netboot_files, "write", killed)
        with contextlib.suppress(KeyboardInterrupt):
            server.reconcile()
    assert {path: path.read_bytes() for path in top.rglob("*") if path.is_file()} == before
    server.reconcile()
    after = {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}
    assert (set(after), after == before) == (set(before), False)
    assert [path.name for path in top.parent.iterdir()] == ["answers"]


@pytest.mark.parametrize("room", [0, 3])
def test_no_room_for_answers(server, records, modules, monkeypatch, room):
    """Who was told that nobody is armed is not surprised by an apply later."""
    write, left = netboot_files.write, [room]

    def full(path, *args, **how):
        if path.startswith(str(server.answers)):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device", path)
        write(path, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(netboot_files, "write", full)
        with pytest.raises(CommandExecutionError, match="armed cannot be written: No space") as err:
            modules.netboot.arm(group="room12")
    assert not re.search("[0-9a-f]{32}", str(err.value))
    assert [one["armed"] for one in modules.netboot_once.list()] == [None] * 4
    assert server.reconcile() == {}
    assert (there(server), armed(server)) == ([], [])


def test_no_secret_in_the_arguments_of_programs(server, records, modules, monkeypatch):
    """Everybody on the machine sees them."""
    run, seen = subprocess.run, []
    monkeypatch.setattr(
        subprocess, "run", lambda argv, **how: seen.append(argv) or run(argv, **how)
    )
    modules.netboot.arm("pc3")
    assert [argv[:2] for argv in seen] == [("openssl", "genrsa"), ("openssl", "rsa")]
    assert token_of(records, "pc3") not in str(seen)
    # The pair is there: thousands of hosts start no program at each apply.
    del seen[:]
    server.reconcile()
    assert seen == []


def test_armed_host_that_only_now_is_installed_unattended(server, records, modules):
    """Somebody armed it for a session: a group or key added later wipes nothing."""
    modules.netboot.arm(["other", "pc1"])
    server.pillar["hosts"] = {**HOSTS, "other": {"mac": HOSTS["other"]["mac"], "group": "room12"}}
    assert server.reconcile() == {"other": "disarmed", "other.ipxe": "removed"}
    assert (there(server), armed(server)) == (expected("pc1"), ["pc1"])
    assert server.reconcile() == {}
    modules.netboot.arm("other")
    assert (there(server), armed(server)) == (expected("other", "pc1"), ["other", "pc1"])


def test_host_that_is_no_longer_installed(server, records, modules):
    modules.netboot.arm("pc3")
    server.pillar["hosts"] = {name: one for name, one in HOSTS.items() if name != "pc3"}
    server.apply()
    assert (there(server), armed(server)) == ([], [])


def test_keys_of_a_minion(server, records, modules):
    modules.netboot.arm("pc3")
    top = server.answers / f"armed/pc3.{token_of(records, 'pc3')}"
    pem, public = (top / "minion.pem").read_text(), records.armings()["pc3"]["minion"]["pub"]
    assert stat.S_IMODE((top / "minion.pem").stat().st_mode) == 0o600
    assert public.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert records.armings()["pc3"]["minion"]["id"] == "pc3"
    (again,) = modules.netboot.arm("pc3")
    (top,) = (server.answers / "armed").iterdir()
    (top / "public").write_text(records.armings()["pc3"]["minion"]["pub"])
    assert again["finger"] == salt.utils.crypt.pem_finger(str(top / "public"))
    (top / "public").unlink()
    pem, public = (top / "minion.pem").read_text(), records.armings()["pc3"]["minion"]["pub"]
    for platform in ("efi", "pcbios"):
        for name in FILES:
            found = (top / "answers" / platform / name).read_bytes()
            assert (pem.encode() in found) == (name == "install-scripts.tar")
    with tarfile.open(top / "answers/efi/install-scripts.tar") as tar:
        text = tar.extractfile("postinstall.d/98-netboot.sh").read().decode()
    assert f"put /etc/salt/pki/minion/minion.pem 0400 <<'END_'\n{pem}END_\n" in text
    # The same pair as long as the arming lasts.
    server.reconcile()
    assert (top / "minion.pem").read_text() == pem
    modules.netboot.arm("pc3")
    assert records.armings()["pc3"]["minion"]["pub"] != public
    # A host whose install has no master has no pair.
    modules.netboot.arm("pc1")
    assert records.armings()["pc1"]["minion"] == {}


@pytest.mark.parametrize("arms", [False, True])
def test_answers_are_shown_without_secrets(server, records, modules, arms):
    if arms:
        modules.netboot.arm("pc3")
    shown = modules.netboot.answers("pc3")
    scripts = [f"install-scripts.tar/{name}.sh" for name in (
        "initinstall.d/28-netboot", "postinstall.d/98-netboot", "preinstall.d/98-netboot",
    )]  # fmt: skip
    names = ["autoinstall.scm", *scripts, "vm-profile.scm"]
    assert sorted(shown) == sorted(f"{on}/{name}" for on in ("efi", "pcbios") for name in names)
    everything = json.dumps(shown)
    for secret in (token_of(records, "pc3"), HASH, "PRIVATE KEY"):
        assert secret not in everything
    assert '(hash)\\"' in everything
    assert "(token)" in everything


def test_server_that_was_moved_or_doubled(server, records, modules):
    modules.netboot.arm("pc1")
    here = records.read("owned", "machine")
    assert server.reconcile() == {}
    records.write("owned", "machine", {**here, "identity": "of another machine"})
    assert server.reconcile() == {"pc1": "disarmed", "pc1.ipxe": "removed"}
    assert (there(server), armed(server)) == ([], [])
    assert records.read("owned", "machine") == here
    modules.netboot.arm("pc1")
    records.write("owned", "machine", {**here, "network": "192.0.2.0/24"})
    assert server.reconcile(test=True) == {"pc1": "disarmed", "pc1.ipxe": "removed"}
    assert armed(server) == ["pc1"]


def test_image_that_is_being_installed_from(server, records, modules):
    modules.netboot.arm("pc1")
    config = records.config()
    installs = netboot_installing.Installs(records.directory, config["paths"]["answers"], 3600)
    os.makedirs(f"{config['paths']['answers']}/served")
    arming = records.armings()["pc1"]
    assert installs.script_read("pc1", arming, "192.0.2.7", "525400000001", arming["armed_at"])
    found = netboot_left_over.removable(records, [])
    assert {one["kind"]: one["why_not"] for one in found} == {
        "tree": "pc1 is being installed",
        "iso": "pc1 is being installed",
    }
    server.pillar["images"]["ALT p11"]["checksum"] = {"sha256": "0" * 64}
    done = modules.state.apply("netboot.images", pillar={"netboot": server.pillar})
    (fetched,) = (one for one in done.raw.values() if one["__id__"].endswith("-fetched"))
    assert fetched["result"], fetched
    assert "It stays, as pc1 is being installed from it." in str(fetched)
    assert installs.reported("pc1", arming["arming"], "installed", "192.0.2.7", arming["armed_at"])
    found = netboot_left_over.removable(records, [])
    assert {one["why_not"] for one in found} == {""}


def test_wake(server, modules):
    """Magic packets on loopback, as the interface of this server."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as sock:
        sock.bind(("lo", 0))
        sock.settimeout(5)
        woken = modules.netboot.wake(group="room12")
        wanted = {b"\xff" * 6 + bytes.fromhex(mac) * 16 for mac in ("525400000001", "525400000002")}
        while wanted:  # else it times out
            packet = sock.recv(2048)
            wanted = {one for one in wanted if not packet.endswith(one)}
    assert [(one["host"], one["armed"], one["install"]) for one in woken] == [
        ("pc1", False, False),
        ("pc2", False, False),
    ]
    assert armed(server) == []
    modules.netboot.arm("pc1")
    modules.netboot.arm("other")
    assert [(one["host"], one["armed"], one["install"]) for one in modules.netboot.wake("*")] == [
        ("other", True, False),
        ("pc1", True, True),
        ("pc2", False, False),
        ("pc3", False, False),
    ]


def test_nobody_is_woken_by_half(server, records, modules):
    hosts = records.hosts()
    records.write("applied", "hosts", {**hosts, "x": {**hosts["pc1"], "identities": []}})
    with pytest.raises(SaltInvocationError, match=r"no MAC address of x is in .*netboot:hosts:x:"):
        modules.netboot.wake("*")
    with pytest.raises(SaltInvocationError, match="has no host 'pc9'"):
        modules.netboot.wake("pc9")


def test_tar_is_the_same_each_time(server, records, modules):
    modules.netboot.arm("pc3")
    path = server.answers / f"armed/pc3.{token_of(records, 'pc3')}/answers/efi/install-scripts.tar"
    before = path.read_bytes()
    path.unlink()
    server.reconcile()
    assert path.read_bytes() == before
    assert tarfile.open(fileobj=io.BytesIO(before)).getnames()
