"""Hosts that boot once: arming by Salt's loader, and netboot-once on logs of all kinds."""

import ast
import contextlib
import datetime
import json
import os
import random
import runpy
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_arming
import netboot_host_scripts
from tests.conftest import CHECKOUT

PROGRAM = CHECKOUT / "salt/netboot/files/netboot-once"
STAGE = "/tftp/netboot/x86_64/p11/live"
ENTRY = {"image": "P11", "variant": "install"}


def host(name, entry="p11-install", path=STAGE):
    return {
        "host": name,
        "entry": entry,
        "straight": True,
        "server": "",
        "path": path,
        "told_by": [f"mac={name}"],
    }


@pytest.fixture
def server(modules, tmp_path, state_dir, records, configured):
    """Folders of a netboot server on which something was applied, and what can be done there."""
    root = tmp_path / "export"
    scripts = Path(f"{state_dir}-once")
    shutil.rmtree(scripts, ignore_errors=True)
    scripts.mkdir()
    (root / "tftp").mkdir(parents=True)
    (root / ".staging").mkdir()
    shutil.rmtree(state_dir / "once", ignore_errors=True)
    # As after the first apply of a server, whose hosts would only be put on record.
    configured(arm_new=True)
    records.write("owned", "once", {})

    def reconcile(*hosts, test=False):
        wanted = {one["host"].lower(): one for one in hosts}
        return netboot_arming.reconcile(records, wanted, test)

    def armed():
        return sorted(path.stem for path in scripts.glob("*.ipxe"))

    def booted():
        return sorted(one["host"] for one in modules.netboot_once.list() if one["booted"])

    def uri(name, **reader):
        """What the host fetches last, which a client has read in the host's script."""
        text = (scripts / f"{name.lower()}.ipxe").read_text()
        write(log, line(f"/once/{name.lower()}.ipxe", **reader))
        return text.partition("set nb-via ")[2].split()[0] + STAGE

    log = tmp_path / "log/netboot-once.log"
    log.parent.mkdir()
    yield SimpleNamespace(
        root=root,
        scripts=scripts,
        records=state_dir,
        log=log,
        neighbours=log.parent / "arp",
        grub=root / "tftp/grub/once",
        answers=log.parent / "answers",
        reconcile=reconcile,
        armed=armed,
        booted=booted,
        uri=uri,
    )
    shutil.rmtree(scripts, ignore_errors=True)


def line(uri, **other):
    """What nginx writes for a complete GET."""
    request = {
        "time": "2026-11-22T23:00:00+00:00",
        "client": "198.18.0.20",
        "method": "GET",
        "uri": uri,
        "status": 200,
        "length": "1000",
        "sent": 1000,
        "completion": "OK",
        "seconds": 0.5,
        **other,
    }
    return json.dumps(request) + "\n"


@contextlib.contextmanager
def running(server, memory=1 << 40):
    """netboot-once, as its unit runs it; afterwards `server.said` has what it printed."""
    words = [f"--{name}={getattr(server, name)}" for name in ("log", "records", "scripts")]
    words += [f"--grub={server.grub}"] if server.grub.exists() else []
    words += [f"--neighbours={server.neighbours}", f"--answers={server.answers}"]
    limited = ["prlimit", f"--as={memory}", sys.executable, PROGRAM]
    # Where it is installed, its library lies beside it.
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT / "salt/_utils")}
    env["PATH"] = f"{server.log.parent}:{env['PATH']}"
    process = subprocess.Popen([*limited, *words], stdout=subprocess.PIPE, text=True, env=env)
    try:
        yield process
        assert process.poll() is None, "netboot-once ended by itself"
    finally:
        process.kill()
        server.said = process.communicate()[0]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def wait_for_a_look(server):
    """Wait until netboot-once has acted on all that its log has by now.

    A host that only its records know boots last of all.
    """
    armings, record = server.records / "owned/once.json", server.records / "once/last.json"
    before = armings.read_bytes()
    last = {"host": "last", "entry": "none", "arming": "A", "path": STAGE}
    replace(armings, json.dumps({**json.loads(before), "last": last}).encode())
    write(server.log, line(f"/host/last.A{STAGE}"))
    wait_for(record.exists)
    replace(armings, before)
    record.unlink()


def replace(path, content):
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def write(path, text):
    with path.open("a") as file:
        file.write(text)


# -- arming ----------------------------------------------------------------------------------------


def test_armed_one_time(server):
    assert server.reconcile(host("PC1"), test=True) == {"pc1": "armed", "pc1.ipxe": "new"}
    assert server.armed() == []
    assert server.reconcile(host("PC1")) == {"pc1": "armed", "pc1.ipxe": "new"}
    assert (server.scripts / "pc1.ipxe").stat().st_mode & 0o777 == 0o644
    before = server.uri("PC1")
    for test in (False, True):
        assert server.reconcile(host("PC1"), test=test) == {}
    assert server.uri("PC1") == before
    assert server.booted() == []


@pytest.mark.parametrize(
    ("arm_new", "first", "armed"),
    [(True, False, ["pc1"]), (False, False, []), (True, True, []), (False, True, [])],
)
def test_new_host(server, modules, records, configured, arm_new, first, armed):
    """Another server may have installed the hosts of a first apply."""
    configured(arm_new=arm_new)
    if first:
        records.remove("owned", "once")
    for test in (True, False):
        changes = server.reconcile(host("pc1"), test=test)
        assert changes["pc1"] == ("armed" if armed else "not armed")
    for _ in range(2):
        assert server.armed() == armed
        (one,) = modules.netboot_once.list()
        assert bool(one["armed"]) == bool(armed)
        assert one["booted"] is None
        assert server.reconcile(host("pc1")) == {}
    with running(server):
        wait_for_a_look(server)
    assert server.booted() == []
    modules.netboot.arm("pc1")
    assert server.armed() == ["pc1"]
    assert boots_of(server, "pc1") == ["pc1"]


def boots_of(server, name):
    boot(server, name)
    return server.booted()


def test_server_without_hosts_is_not_new_any_more(server, records):
    records.remove("owned", "once")
    server.reconcile()
    server.reconcile(host("pc1"))
    assert server.armed() == ["pc1"]


def test_server_that_does_not_arm(server, modules, configured):
    server.reconcile(host("pc1"), host("pc2"), host("pc3"))
    boot(server, "pc1")
    configured(arms=False, arm_new=True, armed_by="http://192.0.2.10")
    changes = server.reconcile(host("pc1"), host("pc2"), host("pc4"))
    assert changes == {
        "pc2": "disarmed",
        "pc3": "disarmed",
        "pc4": "not armed",
        "pc2.ipxe": "removed",
        "pc3.ipxe": "removed",
    }
    assert server.armed() == []
    with pytest.raises(SaltInvocationError, match=r"arms no hosts .*; run this on http://192\."):
        modules.netboot.arm("pc1")
    # What the other server has installed meanwhile is not installed again.
    configured(arms=True)
    server.reconcile(host("pc1"), host("pc2"), host("pc3"), host("pc4"))
    assert (server.armed(), server.booted()) == ([], ["pc1"])


def test_summary_names_who_is_armed(server, states):
    server.reconcile(host("a"), host("b", entry="p11-live"))
    foretold = states.netboot.applied("summary", test=True)
    assert foretold.comment == (
        "Ready to boot now: no image yet.\nArmed: a (p11-install), b (p11-live)."
    )
    done = states.netboot.applied("summary")
    assert done.comment.startswith("Ready to boot: no image yet.\n")


def test_lost_script_comes_back_while_armed(server):
    server.reconcile(host("pc1"))
    before = server.uri("pc1")
    (server.scripts / "pc1.ipxe").unlink()
    assert server.reconcile(host("pc1")) == {"pc1.ipxe": "new"}
    assert server.uri("pc1") == before


def boot(server, *names):
    """Let netboot-once see that these hosts have booted."""
    for name in names:
        write(server.log, line(server.uri(name)))
    with running(server):
        wait_for(lambda: not set(names) & set(server.armed()))


def test_booted_host_stays_so(server):
    server.reconcile(host("pc1"), host("pc2"))
    boot(server, "pc1")
    assert (server.armed(), server.booted()) == (["pc2"], ["pc1"])
    for test in (False, True):
        assert server.reconcile(host("pc1"), host("pc2"), test=test) == {}
    assert (server.armed(), server.booted()) == (["pc2"], ["pc1"])


@pytest.mark.parametrize("path", [STAGE, ""])
def test_another_entry(server, modules, path):
    """An armed host boots the new one; one that has booted waits until somebody says so."""
    server.reconcile(host("pc1"), host("pc2"))
    boot(server, "pc1")
    others = [host(name, entry="p11-livecd", path=path) for name in ("pc1", "pc2")]
    changes = {"pc1": "changed", "pc2": "changed", "pc2.ipxe": "changed"}
    before, armed = server.uri("pc2"), modules.netboot_once.list()[1]["armed"]
    time.sleep(1)
    assert server.reconcile(*others, test=True) == changes
    assert server.reconcile(*others) == changes
    assert server.reconcile(*others) == {}
    assert "set nb-entry p11-livecd" in (server.scripts / "pc2.ipxe").read_text()
    write(server.log, line(before))
    with running(server):
        wait_for_a_look(server)
    assert (server.armed(), server.booted()) == (["pc2"], ["pc1"])
    (first, second) = modules.netboot_once.list()
    assert (first["entry"], first["booted_entry"]) == ("p11-livecd", "p11-install")
    assert (second["entry"], second["booted_entry"]) == ("p11-livecd", None)
    assert second["armed"] == armed, "nobody armed it again"
    modules.netboot.arm("pc1")
    assert "set nb-entry p11-livecd" in (server.scripts / "pc1.ipxe").read_text()


def test_arm_several(server, modules):
    server.reconcile(*map(host, ("lab1", "lab2", "pc1")))
    boot(server, "lab1", "lab2", "pc1")
    assert [one["host"] for one in modules.netboot.arm("lab*")] == ["lab1", "lab2"]
    assert server.armed() == ["lab1", "lab2"]


def test_entry_that_gets_ready_later(server):
    server.reconcile(host("pc1", path=""))
    before = server.uri("pc1")
    server.reconcile(host("pc1"))
    server.reconcile(host("pc1", path=""))  # an image that is being fetched again
    assert server.uri("pc1") == before
    boot(server, "pc1")
    assert server.booted() == ["pc1"]


def test_dropped_host(server, modules):
    server.reconcile(host("pc1"), host("pc2"))
    boot(server, "pc1")
    (server.scripts / "foreign.ipxe").write_text("#!ipxe\n")
    changes = {"pc1": "dropped", "pc2": "dropped", "pc2.ipxe": "removed"}
    assert server.reconcile(test=True) == changes
    assert server.armed() == ["foreign", "pc2"]
    assert server.reconcile() == changes
    for test in (False, True):
        assert server.reconcile(test=test) == {}
    assert server.armed() == ["foreign"]
    assert modules.netboot_once.list() == []
    with pytest.raises(SaltInvocationError, match="has no host 'pc1'"):
        modules.netboot.arm("pc1")


def test_pillar_that_lost_its_hosts_for_a_while(server):
    """No machine is installed a second time by that."""
    server.reconcile(host("pc1"), host("pc2"), host("pc3"))
    boot(server, "pc1", "pc3")
    server.reconcile()
    hosts = [host("pc1"), host("pc2"), host("pc3", entry="p11-livecd")]
    changes = {"pc1": "back", "pc2": "back", "pc2.ipxe": "new", "pc3": "back"}
    assert server.reconcile(*hosts) == changes
    assert server.reconcile(*hosts) == {}
    assert (server.armed(), server.booted()) == (["pc2"], ["pc1", "pc3"])


def test_arm_again(server, modules):
    server.reconcile(host("PC1"))
    first = server.uri("PC1")
    boot(server, "pc1")
    (again,) = modules.netboot.arm("pC*")
    assert (again["host"], again["entry"], again["booted"]) == ("PC1", "p11-install", None)
    assert server.uri("PC1") != first
    # The log still has the boot before.
    with running(server):
        wait_for_a_look(server)
    assert server.armed() == ["pc1"]
    boot(server, "pc1")
    assert server.booted() == ["PC1"]
    assert server.reconcile(host("PC1")) == {}


def test_armed_and_booted_while_it_runs(server, modules):
    with running(server):
        server.reconcile(host("pc1"))
        for _ in range(3):
            write(server.log, line(server.uri("pc1")))
            wait_for(lambda: server.armed() == [])
            modules.netboot.arm("pc1")
            assert server.booted() == []


def test_arm_while_it_boots(server, modules):
    """A download that began before it was armed again is none of the new arming."""
    server.reconcile(host("pc1"))
    before = server.uri("pc1")
    modules.netboot.arm("pc1")
    write(server.log, line(before))
    with running(server):
        wait_for_a_look(server)
    assert (server.armed(), server.booted()) == (["pc1"], [])


def test_arm_a_host_that_does_not_boot_once(server, modules):
    server.reconcile(host("pc1"))
    with pytest.raises(SaltInvocationError, match=r"no host 'pc11' .*, did you mean pc1\?"):
        modules.netboot.arm("pc11")


def test_arm_several_or_none(server, modules):
    server.reconcile(host("pc1"), host("pc2"), host("lab1"))
    boot(server, "pc1")
    boot(server, "pc2")
    with pytest.raises(SaltInvocationError, match="no host 'pc99' with install or once: true"):
        modules.netboot.arm(["pc1", "pc99"])
    assert server.armed() == ["lab1"]
    assert [one["host"] for one in modules.netboot.arm(["pc2", "pc*"])] == ["pc1", "pc2"]
    assert server.armed() == ["lab1", "pc1", "pc2"]


def test_arm_where_scripts_have_no_place(server, modules):
    server.reconcile(host("pc1"))
    boot(server, "pc1")
    shutil.rmtree(server.scripts)
    with pytest.raises(CommandExecutionError, match="does not exist; apply the states first"):
        modules.netboot.arm("pc1")
    assert server.booted() == ["pc1"]
    server.scripts.mkdir()


def test_disarm(server, modules):
    server.reconcile(host("pc1"), host("pc2"))
    assert [one["host"] for one in modules.netboot.arm("pc1", disarm=True)] == ["pc1"]
    assert modules.netboot.arm("pc1", disarm=True) == []
    assert server.armed() == ["pc2"]
    assert server.reconcile(host("pc1"), host("pc2")) == {}
    (one, _) = modules.netboot_once.list()
    assert (one["armed"], one["booted"]) == (None, None)
    modules.netboot.arm("pc1")
    assert server.armed() == ["pc1", "pc2"]


def test_arm_where_nothing_was_applied(modules):
    with pytest.raises(CommandExecutionError, match="Nothing was applied"):
        modules.netboot.arm("pc1")


def test_state_reads_hosts_from_the_pillar(server, states, minion_opts):
    groups = {"lab": {"once": True, **ENTRY}}
    pillar = Path(minion_opts["pillar_roots"]["base"][0])

    def armed(hosts, test=False):
        (pillar / "top.sls").write_text("base: {'*': [hosts]}")
        netboot = {"hosts": hosts, "groups": groups}
        (pillar / "hosts.sls").write_text(json.dumps({"netboot": netboot}))
        return states.netboot_once.armed("hosts", test=test)

    try:
        hosts = {"pc1": {"group": "lab"}, "pc2": {}}
        foretold = armed(hosts, test=True)
        assert foretold.result is None
        assert foretold.changes == {"pc1": "armed", "pc1.ipxe": "new"}
        assert server.armed() == []
        assert armed(hosts).changes == foretold.changes
        assert server.armed() == ["pc1"]
        assert armed(hosts).changes == {}
        assert armed({}).changes == {"pc1": "dropped", "pc1.ipxe": "removed"}
    finally:
        for path in pillar.iterdir():
            path.unlink()


def test_menu_of_a_host(server, modules, records):
    config = records.config()
    hosts = {"pc1": {"mac": "52:54:00:ab:cd:ef", "once": True, **ENTRY}, "pc2": {"entry": "local"}}
    scripts = netboot_host_scripts.scripts(hosts, {}, config)
    scripts["config-x86_64.ipxe"] = "#!ipxe\nshell\n"
    for name, text in scripts.items():
        (server.root / "tftp" / name).write_text(text)
    records.write("owned", "menus", sorted(scripts))
    server.reconcile(host("pc1"))

    def shown(**which):
        text = modules.netboot.menu("x86_64", **which)
        return [one[4:] for one in text.splitlines() if one.startswith("=== ")]

    assert modules.netboot.menu("x86_64") == scripts["config-x86_64.ipxe"]
    files = ["config-mac-525400abcdef.ipxe", "once/pc1.ipxe", "config-x86_64.ipxe"]
    for which in ("pc1", "5254.00AB.CDEF", "52:54:00:ab:cd:ef"):
        assert shown(host=which) == files
    boot(server, "pc1")
    assert shown(host="pc1") == [files[0], files[2]]
    for which in ("pc2", "PC2"):
        assert shown(host=which) == ["config-host-pc2.ipxe", "config-x86_64.ipxe"]
    with pytest.raises(SaltInvocationError, match="has no script for host 'pc3'"):
        modules.netboot.menu("x86_64", host="pc3")
    with pytest.raises(SaltInvocationError, match=r"it has config-x86_64\.ipxe\."):
        modules.netboot.menu("aarch64")


# -- what is a boot --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"method": "HEAD"},
        {"status": 206},
        {"status": 304, "sent": 0},
        {"status": 404},
        {"completion": ""},
        {"sent": 999},
        {"length": "-"},
        {"uri": "/host/pc1.00000000" + STAGE},
        {"uri": STAGE},
        {"uri": None},
        {"uri": "/host/pc2.X" + STAGE},
    ],
)
def test_no_boot(server, other):
    server.reconcile(host("pc1"), host("pc2"))
    write(server.log, line(**{"uri": server.uri("pc1"), **other}))
    write(server.log, line(server.uri("pc1") + "x") + line(server.uri("pc2")))
    with running(server):
        # The script goes after the record is written.
        wait_for(lambda: server.armed() == ["pc1"])
    assert server.booted() == ["pc2"]


def test_log_with_rubbish(server):
    """What a power cut, a full disk or a name without an encoding leaves."""
    server.reconcile(host("pc1"))
    rubbish = b'\0\0\0\n{"uri": "\xff"}\n[]\n3\n{"method": "GE' + b"\n"
    boot = line(server.uri("pc1")).encode()
    server.log.write_bytes(rubbish + server.log.read_bytes() + rubbish + boot)
    with running(server):
        wait_for(lambda: server.booted() == ["pc1"])


@pytest.mark.parametrize(
    "torn",
    [
        b'{"time":"2026-11-22T23:0',
        b'{"time":"2026-11-22T23:00:00+00:00","client":"198.18.0.20","meth',
        b"\0" * 300,
        b"\0" * 300 + b"\n" + b"\0" * 70_000,
        b"\xff" * 200_000,
    ],
    ids=["begin", "middle", "NULs", "NULs, line by line", "longer than any line"],
)
def test_damage_before_the_line_of_a_boot(server, torn):
    """What a power cut or a full disk cut off has no end, so the next line stands behind it."""
    server.reconcile(host("pc1"))
    boot = line(server.uri("pc1")).encode()
    server.log.write_bytes(torn + server.log.read_bytes() + torn + boot)
    with running(server):
        wait_for(lambda: server.booted() == ["pc1"])
        wait_for_a_look(server)
    assert "damaged lines skipped" in server.said


SHAPES = ["[]", "3", '"x"', "null", '{"arming": []}', "[" * 5000, '{"log": 3, "readers": [1]}']
SHAPES += ['{"log": {"INODE": [1e400, ""]}}', f'{{"log": {{"INODE": [{1 << 70}, ""]}}}}']
SHAPES += ['{"log": {"1": "x"}, "readers": {"pc1": 3}}', '{"readers": {"pc1": {"arming": 1}}}']


@pytest.mark.parametrize("text", SHAPES)
def test_records_of_another_shape_end_nothing(server, text):
    server.reconcile(host("pc1"))
    write(server.log, line(server.uri("pc1")))
    text = text.replace("INODE", str(server.log.stat().st_ino))
    for name in ("pc1.json", "position"):
        (server.records / "once" / name).write_text(text)
    with running(server):
        wait_for(lambda: server.armed() == [])
    assert server.booted() == ["pc1"]


def test_armings_of_another_shape_are_named(server):
    server.reconcile(host("pc1"))
    path = server.records / "owned/once.json"
    armings = json.loads(path.read_text())
    other = {"arming": [], "path": STAGE, "entry": 1, "host": {}}
    replace(path, json.dumps({"other": other, "none": None, **armings}).encode())
    write(server.log, line(server.uri("pc1")))
    with running(server):
        wait_for(lambda: server.armed() == [])
    assert f"{path} is damaged (skipped: none, other)" in server.said


# -- who boots -------------------------------------------------------------------------------------

ARP = "IP address       HW type     Flags       HW address            Mask     Device\n"
MACS = {"20": "52:54:00:00:00:01", "21": "52:54:00:00:00:02", "22": "00:00:00:00:00:00"}
OWN = ["mac=525400000001"]


def neighbours(server, *numbers):
    rows = (f"198.18.0.{one}  0x1  {'0x0' if one == '22' else '0x2'}  {MACS[one]}  *  eth0\n"
            for one in numbers)  # fmt: skip
    server.neighbours.write_text(ARP + "".join(rows))


# What identifies the host, who read its script, who fetched all, who the kernel knows, a boot?
CLIENTS = [
    (OWN, "20", "20", ["20"], True),
    (OWN, "21", "21", ["20", "21"], False),  # somebody else with the token
    (OWN, "20", "30", ["20"], False),  # routed, did not read the script
    (OWN, "30", "30", ["20"], True),  # routed, as is the host
    (OWN, "22", "22", ["22"], True),  # nobody answered for that address
    (["serial=X"], "20", "20", [], True),
    (["serial=X"], "20", "21", ["20", "21"], False),
    (["serial=X"], "20", "30", ["20"], False),
    (["mac=525400000002", *OWN], "20", "20", ["20"], True),  # one machine, two cards
]


@pytest.mark.parametrize(("told_by", "reader", "booter", "known", "boots"), CLIENTS)
def test_who_boots(server, told_by, reader, booter, known, boots):
    server.reconcile({**host("pc1"), "told_by": told_by}, host("pc2"))
    neighbours(server, *known)
    uri = server.uri("pc1", client=f"198.18.0.{reader}")
    write(server.log, line(uri, client=f"198.18.0.{booter}"))
    elsewhere = {"client": "198.18.0.99"}
    write(server.log, line(server.uri("pc2", **elsewhere), **elsewhere))
    with running(server):
        wait_for(lambda: "pc2" in server.booted() and "pc2" not in server.armed())
    assert ("pc1" in server.booted()) == boots
    assert (f"198.18.0.{booter} fetched what pc1 boots, but" in server.said) == (not boots)


def test_linux_with_another_address_than_ipxe(server):
    """By another client identifier: the MAC address decides."""
    server.reconcile({**host("pc1"), "told_by": OWN}, {**host("pc2"), "told_by": ["serial=X"]})
    server.neighbours.write_text(
        ARP
        + "".join(
            f"198.18.0.{one}  0x1  0x2  {mac}  *  eth0\n"
            for one, mac in (("20", MACS["20"]), ("30", MACS["20"]), ("31", MACS["21"]))
        )
    )
    first = server.uri("pc1", client="198.18.0.20"), server.uri("pc2", client="198.18.0.20")
    with running(server):
        for uri in first:
            write(server.log, line(uri, client="198.18.0.30"))
        wait_for(lambda: server.booted() == ["pc1", "pc2"])


def test_token_cannot_be_guessed(server, modules):
    server.reconcile(host("pc1"))
    modules.netboot.arm("pc1")
    token = server.uri("pc1").partition("pc1.")[2].partition("/")[0]
    assert len(bytes.fromhex(token)) == 16


def test_scripts_of_earlier_versions_are_moved(server, states, records):
    """With their tokens of 32 bits, by which their hosts may be booting at this moment."""
    server.reconcile(host("pc1"), host("pc2"))
    armings = records.armings()
    armings["pc1"]["arming"] = "1a2b3c4d"
    records.write("owned", "once", armings)
    before = server.root / "tftp/once"
    before.mkdir()
    text = (server.scripts / "pc1.ipxe").read_text()
    (before / "pc1.ipxe").write_text(text.replace(server.uri("pc1").split("/")[2], "pc1.1a2b3c4d"))
    shutil.rmtree(server.scripts)
    directory = str(server.scripts)
    foretold = states.netboot_once.directory(directory, group="root", test=True)
    assert (foretold.result, server.scripts.exists()) == (None, False)
    done = states.netboot_once.directory(directory, group="root")
    assert done.changes == foretold.changes
    assert done.changes == {directory: "created", str(before / "pc1.ipxe"): "moved"}
    assert not before.exists()
    assert server.scripts.stat().st_mode & 0o777 == 0o750
    assert states.netboot_once.directory(directory, group="root").changes == {}
    assert server.reconcile(host("pc1"), host("pc2")) == {"pc2.ipxe": "new"}
    write(server.log, line(f"/host/pc1.1a2b3c4d{STAGE}"))
    with running(server):
        wait_for(lambda: server.booted() == ["pc1"])


# -- a flood ---------------------------------------------------------------------------------------


def test_flood_on_a_small_disk(server):
    """It fills the disk; with little memory all is read, the log emptied, and hosts disarmed."""
    server.reconcile(host("pc1"))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", server.log.parent], check=True
    )
    try:
        uri = server.uri("pc1")
        block = (line(f"/host/pc1.{'0' * 32}/tftp/" + "a" * 400) * 2000).encode()
        with contextlib.suppress(OSError), server.log.open("ab", buffering=0) as file:
            while file.write(block) == len(block):
                pass
        assert os.statvfs(server.log.parent).f_bavail == 0
        with running(server, memory=64 << 20):
            wait_for(lambda: server.log.stat().st_size == 0)
            write(server.log, line(uri))
            wait_for(lambda: server.booted() == ["pc1"])
        assert f"{server.log} was emptied" in server.said
    finally:
        subprocess.run(["umount", server.log.parent], check=True)


def test_no_room_for_records(server):
    """No machine is installed again by that, and all boots are on record in the end."""
    server.reconcile(host("pc1"), host("pc2"))
    uris = server.uri("pc1"), server.uri("pc2")
    before = {path: path.read_bytes() for path in server.records.rglob("*.json")}
    small = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", server.records]
    subprocess.run(small, check=True)
    try:
        for path, content in before.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        (server.records / "once").mkdir(exist_ok=True)
        (server.records / "once/lock").touch()
        with contextlib.suppress(OSError):
            for number in range(99):
                (server.records / f"filler{number}").write_bytes(bytes(1000))
        with running(server):
            write(server.log, line(uris[0]) + line(uris[1]))
            wait_for(lambda: server.armed() == [])
            assert server.booted() == []
            for path in server.records.glob("filler*"):
                path.unlink()
            wait_for(lambda: server.booted() == ["pc1", "pc2"])
        assert server.said.count("not on record yet: [Errno 28] No space left") == 1
    finally:
        subprocess.run(["umount", server.records], check=True)


def test_line_that_is_not_complete_yet(server):
    server.reconcile(host("pc1"))
    text = line(server.uri("pc1"))
    with running(server):
        wait_for_a_look(server)
        write(server.log, text[:-30])
        time.sleep(1)
        assert server.armed() == ["pc1"]
        write(server.log, text[-30:])
        wait_for(lambda: server.armed() == [])


# -- rotation, kills, power cuts -------------------------------------------------------------------


def rename(log):
    os.replace(log, f"{log}.1")
    log.touch()


def copy_and_truncate(log):
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
@pytest.mark.parametrize("up", [True, False])
def test_rotation(server, rotate, up):
    names = [f"pc{number}" for number in range(6)]
    server.reconcile(*map(host, names))
    lines = [line(server.uri(name)) for name in names]
    with running(server) if up else contextlib.nullcontext():
        write(server.log, lines[0] + lines[1])
        rotate(server.log)
        write(server.log, lines[2])
        if up:
            wait_for(lambda: server.booted() == names[:3])
            rotate(server.log)
            # The web server writes to the renamed file until it opens its log anew.
            write(server.log.with_name(server.log.name + ".1"), lines[3])
            write(server.log, lines[4])
            wait_for(lambda: server.booted() == names[:5])
            server.log.unlink()
            time.sleep(0.7)
            write(server.log, lines[5])
            wait_for(lambda: server.booted() == names)
    if not up:
        with running(server):
            wait_for(lambda: server.booted() == names[:3])


def test_emptied_log_that_grew_to_the_same_size(server):
    server.reconcile(host("pc1"), host("pc2"))
    first, second = line(server.uri("pc1")), line(server.uri("pc2"))
    assert len(first) == len(second)
    write(server.log, first)
    with running(server):
        wait_for(lambda: server.booted() == ["pc1"])
        with server.log.open("r+") as file:  # within one look of netboot-once
            file.truncate()
            file.write(second)
        wait_for(lambda: server.booted() == ["pc1", "pc2"])


@pytest.mark.parametrize("up", [True, False])
def test_log_that_lost_its_end(server, up):
    """In a power cut, or with a restored disk: what comes then is read."""
    server.reconcile(host("pc1"))
    other = line("/host/other.A" + STAGE)
    write(server.log, other * 20)
    with running(server):
        wait_for_a_look(server)
        if up:
            os.truncate(server.log, 5 * len(other))
            write(server.log, line(server.uri("pc1")))
            wait_for(lambda: server.booted() == ["pc1"])
    if not up:
        os.truncate(server.log, 5 * len(other))
        write(server.log, line(server.uri("pc1")))
        with running(server):
            wait_for(lambda: server.booted() == ["pc1"])


def test_power_cut_between_record_and_script(server):
    server.reconcile(host("pc1"))
    script = (server.scripts / "pc1.ipxe").read_text()
    boot(server, "pc1")
    (server.scripts / "pc1.ipxe").write_text(script)
    server.log.unlink()
    with running(server):
        wait_for(lambda: server.armed() == [])
    (server.scripts / "pc1.ipxe").write_text(script)
    assert server.reconcile(host("pc1")) == {"pc1.ipxe": "removed"}


def test_killed_at_random(server, modules):
    """Hosts boot, the log is rotated, hosts are armed again, and netboot-once dies all the time."""
    seed = int(time.time())
    chance = random.Random(seed)  # noqa: S311 (no secret)
    names = [f"pc{number:02}" for number in range(60)]
    server.reconcile(*map(host, names))
    waiting, sent, again = list(names), set(), names[:10]
    stay = chance.sample(names[10:], 5)  # their boots break off
    while waiting:
        with running(server):  # killed at its end
            end = time.monotonic() + chance.uniform(0.05, 0.6)
            while time.monotonic() < end and waiting:
                name = waiting.pop(0)
                other = {"completion": "", "sent": 10} if name in stay else {}
                write(server.log, line(server.uri(name), **other))
                sent.add(name)
                if chance.random() < 0.1:
                    wait_for(lambda: server.booted() == sorted(sent - set(stay)))
                    rename(server.log)
                time.sleep(chance.uniform(0, 0.05))
    with running(server):
        wait_for(lambda: server.armed() == sorted(stay))
    assert server.booted() == sorted(set(names) - set(stay)), f"seed {seed}"
    before = modules.netboot_once.list()
    for name in again:
        modules.netboot.arm(name)
    with running(server):
        wait_for_a_look(server)
    assert server.armed() == sorted({*stay, *again})
    after = {one["host"]: one for one in modules.netboot_once.list()}
    assert [after[one["host"]] for one in before if one["host"] not in again] == [
        one for one in before if one["host"] not in again
    ], "a line did something a second time"


def test_writes_nothing_but_records_of_hosts(server):
    server.reconcile(host("pc1"), host("pc2"))
    before = set(server.records.rglob("*")) | set(server.root.rglob("*"))
    write(server.log, line(server.uri("pc1")))
    with running(server):
        wait_for(lambda: server.armed() == ["pc2"])
        wait_for((server.records / "once/position").exists)
    after = set(server.records.rglob("*")) | set(server.root.rglob("*"))
    assert after - before == {server.records / f"once/{name}" for name in ("pc1.json", "position")}
    assert sorted(os.listdir(server.scripts)) == ["pc2.ipxe"]


# -- the program -----------------------------------------------------------------------------------


def test_program_is_for_python_3_9_and_its_standard_library():
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for alias in node.names}  # fmt: skip
    assert names - {"netboot_installing"} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_no_log_and_no_records_yet(server):
    server.reconcile(host("pc1"))
    (server.records / "owned/once.json").write_text("{}")
    with running(server):
        time.sleep(0.7)
        server.reconcile(host("pc1"))
        write(server.log, line(server.uri("pc1")))
        wait_for(lambda: server.armed() == [])


@pytest.mark.parametrize("rubbish", [3, {"arming": "A"}])
def test_damaged_armings(server, rubbish):
    """What cannot be read ends nothing; other hosts are disarmed."""
    server.reconcile(host("pc1"))
    path = server.records / "owned/once.json"
    armings = json.loads(path.read_text())
    with running(server):
        replace(path, b"[]")
        time.sleep(0.7)
        replace(path, json.dumps({"other": rubbish, **armings}).encode())
        write(server.log, line(server.uri("pc1")))
        wait_for(lambda: server.armed() == [])


def test_reading_costs_what_was_added(tmp_path):
    """Not what the log holds: a lesson of 200 machines leaves thousands of lines."""
    path = tmp_path / "log"
    path.write_text(line("/x") * 20000)
    make = runpy.run_path(str(PROGRAM))["Log"]
    log = make(str(path))
    assert len(list(log.new_lines())) == 20000
    assert list(log.new_lines()) == []
    write(path, line("/y"))
    assert len(list(log.new_lines())) == 1
    # Nor what a run before has read.
    write(path, line("/z"))
    (last,) = make(str(path), json.loads(json.dumps(log.positions))).new_lines()
    assert b"/z" in last


def test_reports_cost_no_look_at_all_hosts(server, monkeypatch):
    """Thousands are armed, and a machine repeats its report a hundred times a second."""
    server.reconcile(host("pc1"))
    hosts = runpy.run_path(str(PROGRAM))["Hosts"](str(server.records), str(server.scripts))
    one = hosts.arming("pc1")
    assert hosts.has_booted("pc1", one)
    assert server.armed() == []
    monkeypatch.setattr(hosts, "armings", None)
    assert not hosts.has_booted("pc1", one)


def test_new_name_in_the_pillar_installs_nobody_again(server, modules, records):
    """The same machine, which has booted, is called otherwise now."""
    before = {**host("pc1"), "told_by": ["mac=525400000001"]}
    server.reconcile(before)
    arming = records.armings()["pc1"]["arming"]
    records.write("once", "pc1", {"arming": arming, "entry": "p11-install", "booted_at": 1})
    after = {**host("lab-pc1"), "told_by": ["mac=525400000001"]}
    assert server.reconcile(after) == {"lab-pc1": "renamed", "pc1.ipxe": "removed"}
    assert server.armed() == []
    assert modules.netboot_once.list()[0]["booted"]
    assert server.reconcile(after) == {}


# -- hosts that are installed ----------------------------------------------------------------------


@pytest.fixture
def installing(server):
    """The server with the answers of an armed host; `did` writes a line of its log."""
    mac = "52:54:00:00:00:01"
    server.reconcile({**host("pc1"), "told_by": [f"mac={mac.replace(':', '')}"]})
    armings = armings_of(server)
    armings["pc1"]["install"] = "pc"
    replace(server.records / "owned/once.json", json.dumps(armings).encode())
    token = armings["pc1"]["arming"]
    folder = server.answers / f"armed/pc1.{token}/answers/efi"
    folder.mkdir(parents=True)
    (folder / "autoinstall.scm").write_text("(answers)")
    server.neighbours.write_text(
        "IP address HW type Flags HW address Mask Device\n"
        f"198.18.0.20 0x1 0x2 {mac} * eth0\n198.18.0.66 0x1 0x2 52:54:00:00:00:66 * eth0\n"
    )
    now = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S+00:00}"
    server.token = token
    server.did = lambda what, client="198.18.0.20": write(
        server.log,
        line(f"/host/pc1.{token}/did/{what}", length="0", sent=0, client=client, time=now),
    )
    server.script_read = lambda client="198.18.0.20": write(
        server.log, line("/once/pc1.ipxe", client=client, time=now)
    )
    # Directories may go while they are looked through.
    server.served = lambda: sorted(
        os.path.relpath(os.path.join(folder, name), server.answers)
        for folder, _, names in os.walk(server.answers)
        for name in names
        if name.endswith(".scm")
    )
    return server


def armings_of(server):
    return json.loads((server.records / "owned/once.json").read_text())


def test_answers_reach_the_machine_that_read_the_script(installing):
    armed = f"armed/pc1.{installing.token}/answers/efi/autoinstall.scm"
    served = f"served/198.18.0.20/pc1.{installing.token}/efi/autoinstall.scm"
    with running(installing):
        installing.script_read("198.18.0.66")
        wait_for_a_look(installing)
        assert installing.served() == [armed]
        start = time.monotonic()
        installing.script_read()
        wait_for(lambda: installing.served() == [armed, served], 5)
        assert time.monotonic() - start < 1
        assert installing.armed() == ["pc1"]
        installing.did("disk", client="198.18.0.66")
        wait_for_a_look(installing)
        assert installing.armed() == ["pc1"]
        # Whatever it fetched before: what reports has booted.
        installing.did("disk")
        wait_for(lambda: installing.armed() == [])
        assert installing.booted() == ["pc1"]
        assert installing.served() == [armed, served]
        installing.did("installed")
        wait_for(lambda: installing.served() == [])
        # What is installed has another address than its installer had.
        table = installing.neighbours.read_text()
        installing.neighbours.write_text(table.replace("198.18.0.20 ", "198.18.0.77 "))
        installing.did("minion", client="198.18.0.66")
        installing.did("first-boot", client="198.18.0.77")
        path = installing.records / "installs/pc1.json"
        wait_for(lambda: "198.18.0.77" in path.read_text())
        assert "minion" not in path.read_text()
        wait_for_a_look(installing)
    assert "pc1: installed" in installing.said


def test_neighbour_that_hides_its_mac_address(installing):
    """Whoever floods the kernel's table of neighbours until its own row is gone comes first."""
    mask, network = socket.inet_aton("255.255.255.0"), socket.inet_aton("198.18.0.0")
    rows = [
        ["Iface", "Destination", "Gateway", "Flags", "RefCnt", "Use", "Metric", "Mask"],
        ["eth0", "00000000", "010012C6", "0003", "0", "0", "0", "00000000"],
        ["eth0", in_table(network), "00000000", "0001", "0", "0", "0", in_table(mask)],
    ]
    (installing.neighbours.parent / "route").write_text("\n".join(map("\t".join, rows)) + "\n")
    armed = f"armed/pc1.{installing.token}/answers/efi/autoinstall.scm"
    with running(installing):
        installing.script_read("198.18.0.99")
        wait_for_a_look(installing)
        assert installing.served() == [armed]
        # Behind a router nothing tells: the first is served; besides the machine that is known.
        installing.script_read("203.0.113.5")
        wait_for(lambda: len(installing.served()) == 3)
    assert "198.18.0.99 gets no answers of pc1: the kernel does not know its MAC" in installing.said


def in_table(address):
    """As /proc/net/route has an address: a number in the order of this machine."""
    return f"{int.from_bytes(address, sys.byteorder):08X}"


def served_long_ago(installing):
    """Its machine has read its script; the answers are over at the next look."""
    with running(installing):
        installing.script_read()
        path = installing.records / "installs/pc1.json"
        wait_for(path.exists)  # after the answers
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "served_at": record["served_at"] - 6 * 3600}))


def test_answers_end_though_boots_cannot_be_put_on_record(installing):
    """As on a full disk: lines that wait for room must not keep answers for ever."""
    served_long_ago(installing)
    # In the way of what netboot-once writes.
    (installing.records / "once/new").mkdir()
    write(installing.log, line(f"/host/pc1.{installing.token}{STAGE}"))
    with running(installing):
        wait_for(lambda: installing.served() == [])
        assert installing.armed() == []
    assert "A boot is not on record yet" in installing.said


def test_answers_go_in_time_after_the_script(installing):
    """An hour is over before the next look: what is left is the host's own disk."""
    served_long_ago(installing)
    with running(installing):
        wait_for(lambda: installing.served() == [])
        assert (installing.armed(), installing.booted()) == ([], [])
    assert "pc1 is disarmed: it was not installed in time" in installing.said


def test_arming_lasts_some_days(installing):
    path = installing.records / "owned/once.json"
    armings = armings_of(installing)
    armings["pc1"]["armed_at"] -= 7 * 86400 + 1
    replace(path, json.dumps(armings).encode())
    with running(installing):
        wait_for(lambda: installing.served() == [])
        assert (installing.armed(), installing.booted()) == ([], [])
