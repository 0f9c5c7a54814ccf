"""Hosts on a machine with a real web server, log rotation and power cuts."""

import copy
import re
import sys
import time
from types import SimpleNamespace

import pytest

from lab.salt import CHECKOUT, SaltCall
from tests.conftest import made_lan
from tests.ipxe import Client
from tests.machines import MAC, Machines
from tests.servers import INSTALLED

TEXT = """
import sys, urllib.request, urllib.error
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as answer:
        print("200\\n" + answer.read().decode(), end="")
except urllib.error.HTTPError as err:
    print(err.code)
"""
# Requests a URL for two seconds, 32 times at once.
FLOOD = """
import http.client, sys, threading, time, urllib.parse
host, path = urllib.parse.urlsplit(sys.argv[1])[1:3]
def flood():
    connection = http.client.HTTPConnection(host, timeout=1)
    while time.monotonic() < end:
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()
end = time.monotonic() + 2
threads = [threading.Thread(target=flood) for _ in range(32)]
[one.start() for one in threads]
[one.join() for one in threads]
"""
LIVECD = {"image": "ALT p11", "variant": "livecd"}
INSTALL = {"image": "ALT p11", "variant": "install"}


# Of the minion option netboot.state_dir: the helper and its unit must find it there.
STATE_DIR = "/srv/records"


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    with made_lan(tmp_path_factory, installed=INSTALLED, binds=[CHECKOUT]) as found:
        option = {"netboot.state_dir": STATE_DIR}
        found.salt = SaltCall(found.server, {"netboot": found.pillar}, **option)
        yield found
        assert found.server.run(["ls", STATE_DIR]).stdout
        assert found.server.run(["test", "-e", "/var/lib/netboot"], check=False).returncode


class Served(dict):
    """The web server's scripts by URL."""

    def __init__(self, lan):
        super().__init__()
        self.lan = lan

    def __contains__(self, url):
        done = self.lan.lab.run([sys.executable, "-c", TEXT, url], capture_output=True)
        status, _, self[url] = done.stdout.partition("\n")
        return status == "200"


@pytest.fixture(scope="module")
def hosts(lan):
    """What the pillar says of hosts, and what can be done with them."""
    assert lan.salt.apply(lan.server).failed == {}
    assert lan.server.run(["systemctl", "cat", "netboot-once"], check=False).returncode != 0
    lan.server.run(["apt-get", "-qq", "install", "-y", "logrotate"])
    found = {
        "pc1": {"mac": MAC.format(1), **LIVECD, "once": True},
        "pc2": {"mac": MAC.format(2), **INSTALL, "once": True},
        "pc3": {"mac": MAC.format(3), **LIVECD},
        "board": {"product": "Q35 + ICH9, 100%", "arguments": "of=board"},
        **{f"lab{number}": {"group": "lab"} for number in range(5000)},
    }

    def apply(*arguments):
        groups = {"lab": {**LIVECD, "once": True}}
        # The server is not new, as it was applied without hosts.
        pillar = {**copy.deepcopy(lan.pillar), "hosts": found, "groups": groups, "arm_new": True}
        lan.salt.write_pillar({"netboot": pillar})
        return lan.salt.apply(lan.server, *arguments)

    def boots(number, **settings):
        """What the machine with this MAC address boots, as the server's scripts say."""
        settings = {"platform": "efi", "mac": MAC.format(number), **settings}
        client = Client(Served(lan), {**settings, "netX/mac": settings["mac"]})
        client.run(f"http://{lan.server.address}/tftp/config-x86_64.ipxe")
        return client.end

    def stage(number):
        """Where the stage of an armed machine comes from, or None."""
        directory = boots(number).partition(",directory:")[2].partition(" ")[0]
        if not directory.startswith("/host/"):
            return None
        return directory if directory.endswith(".iso") else f"{directory}/live"

    def wait_until_booted(number):
        end = time.monotonic() + 60
        while boots(number) != "exit 1":
            assert time.monotonic() < end, lan.server.run(
                ["sh", "-c", "journalctl -u netboot-once; tail /var/log/nginx/netboot-once.log*"]
            ).stdout
            time.sleep(0.3)

    return SimpleNamespace(
        found=found,
        apply=apply,
        boots=boots,
        stage=stage,
        ask=Machines(lan).ask,
        wait_until_booted=wait_until_booted,
    )


def test_apply(lan, hosts):
    lan.server.run(["sh", "-c", "echo '#!ipxe' > /srv/export/tftp/config-mac-ffffffffffff.ipxe"])
    foretold = hosts.apply("test=True")
    assert foretold.failed == {}
    assert {"netboot-menus", "netboot-once-armed"} <= set(foretold.changed)
    applied = hosts.apply()
    assert applied.failed == {}
    assert applied.states["netboot-once-armed"]["comment"] == "5002 hosts were armed."
    for word in ("is-active", "is-enabled"):
        lan.server.run(["systemctl", word, "netboot-once"])
    lan.server.run(["systemd-analyze", "verify", "netboot-once.service"])
    for arguments in ((), ("test=True",)):
        assert hosts.apply(*arguments).changed == {}


def test_what_hosts_are_served(lan, hosts):
    assert "/netboot/x86_64/alt_p11/boot/vmlinuz" in hosts.boots(3)
    assert hosts.stage(3) is None, "pc3 boots its entry every time"
    assert hosts.boots(9).count(" of=board") == 0
    settings = {"hostname": "lab4999", "smbios/product": "Q35 + ICH9, 100%"}
    assert " of=board" in hosts.boots(9, **settings)
    menu = lan.salt.call(lan.server, "netboot.menu", "arch=x86_64", "host=pc1")
    assert [one for one in menu.splitlines() if one.startswith("===")] == [
        "=== config-mac-525400000001.ipxe",
        "=== once/pc1.ipxe",
        "=== config-x86_64.ipxe",
    ]


def test_what_is_no_boot(lan, hosts):
    size = lan.iso.size
    path = hosts.stage(2)
    assert path.endswith(lan.iso.path.name)
    assert hosts.ask(path, "HEAD") == (200, 0)
    assert hosts.ask(path, part="bytes=0-99") == (206, 100)
    assert hosts.ask(path, part=f"bytes=0-{size - 1}") == (206, size)
    status, read = hosts.ask(path, limit=100000)
    assert (status, read < size) == (200, True)
    assert hosts.ask(path.partition("/dist/")[1] + path.partition("/dist/")[2]) == (200, size)
    assert hosts.ask("/host/pc2.0/dist/" + lan.iso.path.name) == (200, size)
    # By a second machine, which read the script of pc2 as anybody on the segment can.
    assert hosts.ask("/once/pc2.ipxe")[0] == 200
    assert hosts.ask(path) == (200, size)
    assert hosts.ask(path, by=9) == (200, size)
    for wrong in ("/host/" + "a" * 7000, f"/host/pc2.0/dist/{'a' * 7000}", path + "x"):
        assert hosts.ask(wrong)[0] in (404, 414)
    time.sleep(2)
    assert hosts.stage(2) == path
    said = lan.server.run(["journalctl", "-u", "netboot-once"]).stdout
    for mac in (MAC.format(9).replace(":", ""), "[0-9a-f]{12}"):
        assert re.search(f"fetched what pc2 boots, but its MAC address is {mac}, not", said)
    lines = lan.server.run(["cat", "/var/log/nginx/netboot-once.log"]).stdout.splitlines()
    answered = [line for line in lines if '"uri":"/host/' in line]
    # Only whole answers: two of anybody, of which one names no arming, and two of other machines.
    assert len(answered) == 3, lines
    assert max(map(len, lines)) < 1000


def test_flood_of_requests_is_bounded(lan, hosts):
    """What anybody can request in two seconds fills no disk."""
    log = "/var/log/nginx/netboot-once.log"
    before = len(lan.server.run(["cat", log]).stdout)
    errors = len(lan.server.run(["cat", "/var/log/nginx/error.log"]).stdout)
    url = f"http://{lan.server.address}/host/pc2.0/tftp/config-x86_64.ipxe"
    lan.lab.run([sys.executable, "-c", FLOOD, url], capture_output=True)
    grown = len(lan.server.run(["cat", log]).stdout) - before
    assert 0 < grown < 4 * 100 * 400
    assert len(lan.server.run(["cat", "/var/log/nginx/error.log"]).stdout) - errors < 4096


def test_scripts_of_armed_hosts_are_in_no_export(lan, hosts):
    for path in ("/tftp/once/pc2.ipxe", "/once/", "/once", "/once/.netboot.pc2.ipxe.new"):
        assert hosts.ask(path)[0] == 404, path
    lan.server.run(["test", "!", "-e", "/srv/export/tftp/once"])
    said = lan.server.run(["stat", "-c", "%a %U %G", f"{STATE_DIR}-once"]).stdout
    assert said == "750 root www-data\n"


def test_no_way_out_of_the_served_folders(lan, hosts):
    for path in (
        "/host/pc1/etc/passwd",
        "/host/pc1/../.staging/",
        "/host/pc1/dist/../.staging/",
        "/host/pc1/dist/%2e%2e/.staging/",
        "/host/pc1/dist/..%2f..%2f..%2f..%2fetc/passwd",
        "/host/pc1/tftp/",
        "/host/pc1",
        "/host/",
    ):
        assert hosts.ask(path)[0] in (400, 403, 404), path


def test_boot_then_local_disk(lan, hosts):
    path = hosts.stage(1)
    size = lan.server.files.joinpath("srv/export/tftp/netboot/x86_64/alt_p11/live").stat().st_size
    assert hosts.ask(path, by=1) == (200, size)
    hosts.wait_until_booted(1)
    assert hosts.stage(2), "another host"
    for arguments in ((), ("test=True",)):
        assert hosts.apply(*arguments).changed == {}
    assert hosts.boots(1) == "exit 1"


def booted(lan):
    return {one["host"] for one in lan.salt.call(lan.server, "netboot_once.list") if one["booted"]}


def test_rotation(lan, hosts):
    lan.server.run(["logrotate", "-f", "/etc/logrotate.d/nginx"])
    lan.server.run(["test", "-e", "/var/log/nginx/netboot-once.log.1"])
    hosts.ask(hosts.stage(2), by=2)
    hosts.wait_until_booted(2)
    assert booted(lan) == {"pc1", "pc2"}


def test_arm_again_over_salt_ssh(lan, hosts):
    (again,) = lan.salt.call(lan.server, "netboot.arm", "host=pc1")
    assert (again["entry"], again["booted"]) == ("alt_p11-livecd", None)
    assert hosts.stage(1)
    assert hosts.apply().changed == {}
    assert booted(lan) == {"pc2"}


def test_booted_while_nobody_looked(lan, hosts):
    lan.server.run(["systemctl", "kill", "--signal=KILL", "netboot-once"])
    lan.server.run(["systemctl", "stop", "netboot-once"])
    hosts.ask(hosts.stage(1), by=1)
    lan.server.run(["logrotate", "-f", "/etc/logrotate.d/nginx"])
    assert hosts.stage(1)
    applied = hosts.apply()
    assert applied.failed == {}
    assert "netboot-once-service" in applied.changed
    hosts.wait_until_booted(1)


def test_power_cut(lan, hosts):
    """An armed host stays armed, a booted one booted."""
    lan.salt.call(lan.server, "netboot.arm", "host=pc1")
    path = hosts.stage(1)
    lan.server.run(["sync"])
    lan.server.kill()
    lan.server.start()
    lan.server.run(["systemctl", "is-active", "--wait", "netboot-once"])
    assert hosts.apply().changed == {}
    assert (hosts.stage(1), hosts.boots(2)) == (path, "exit 1")
    hosts.ask(path, by=1)
    hosts.wait_until_booted(1)
    lan.server.kill()
    lan.server.start()
    assert hosts.apply().changed == {}
    assert (hosts.boots(1), hosts.boots(2)) == ("exit 1", "exit 1")


def test_another_variant_waits_until_somebody_arms(lan, hosts):
    hosts.found["pc1"].update(INSTALL)
    applied = hosts.apply()
    assert applied.changed["netboot-once-armed"] == {"pc1": "changed"}
    comment = applied.states["netboot-once-armed"]["comment"]
    assert "Not armed for their new entry, as they have booted: pc1. Run netboot.arm" in comment
    assert hosts.boots(1) == "exit 1"
    lan.salt.call(lan.server, "netboot.arm", "host=pc1")
    assert hosts.stage(1).endswith(lan.iso.path.name)


def test_hosts_go_and_foreign_files_stay(lan, hosts):
    hosts.found.clear()
    hosts.found["pc3"] = {"mac": MAC.format(3), **LIVECD}
    applied = hosts.apply()
    assert applied.failed == {}
    left = lan.server.run(["find", "/srv/export/tftp", "-name", "*.ipxe", "-printf", "%P\n"]).stdout
    assert {one for one in left.split() if "-mac-" in one or "-host-" in one or "/" in one} == {
        "config-mac-ffffffffffff.ipxe",
        "config-mac-525400000003.ipxe",
    }
    for path in ("/etc/systemd/system/netboot-once.service", "/usr/local/lib/netboot/netboot-once"):
        lan.server.run(["test", "!", "-e", path])
    assert lan.server.run(["systemctl", "is-active", "netboot-once"], check=False).returncode
    assert hosts.ask("/host/pc1/dist/" + lan.iso.path.name)[0] == 404
    assert hosts.apply().changed == {}
