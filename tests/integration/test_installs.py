"""Hosts that are installed unattended: what a real web server gives to whom, and for how long."""

import base64
import gzip
import time

import pytest

from lab.salt import CHECKOUT, SaltCall
from tests.conftest import made_lan
from tests.machines import MAC, Machines
from tests.servers import INSTALLED

HASH = "$6$saltsalt$" + "a" * 86
INSTALLS = {"school": {"disk": "all", "root_password": HASH, "salt": {"master": "192.0.2.9"}}}
HOSTS = {
    "pc1": {"mac": MAC.format(1)},
    "pc2": {"mac": MAC.format(2)},
    "pc3": {"uuid": "4c4c4544-0042-3510-8052-b4c04f4e3132"},
}
FILES = ("autoinstall.scm", "vm-profile.scm", "install-scripts.tar")


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    with made_lan(tmp_path_factory, installed=INSTALLED, binds=[CHECKOUT]) as found:
        settings = {"image": "ALT p11", "install": "school"}
        found.pillar.update(
            installs=INSTALLS, hosts={name: {**one, **settings} for name, one in HOSTS.items()}
        )
        found.salt = SaltCall(found.server, {"netboot": found.pillar})
        done = found.salt.apply(found.server)
        assert done.failed == {}, done.failed
        for arguments in (("test=True",), ()):
            assert found.salt.apply(found.server, *arguments).changed == {}
        found.machines = Machines(found)
        yield found


class Armed:
    """A host that was armed just now."""

    def __init__(self, lan, name):
        self.lan, self.name = lan, name
        lan.salt.call(lan.server, "netboot.arm", name)
        script = lan.server.run(["cat", f"/var/lib/netboot-once/{name}.ipxe"]).stdout
        self.prefix = script.partition("set nb-via ")[2].split()[0]
        assert f"curl=http://{lan.server.address}{self.prefix}/answers/${{platform}}/" in script

    def read_script(self, by):
        assert self.lan.machines.ask(f"/once/{self.name}.ipxe", by=by)[0] == 200

    def asks(self, by, file="efi/autoinstall.scm", **how):
        return self.lan.machines.ask(f"{self.prefix}/answers/{file}", by=by, **how)[0]

    def gets(self, by, file="efi/autoinstall.scm", within=1):
        """Whether the answers come within this time, seconds."""
        end = time.monotonic() + within
        while self.asks(by, file) != 200:
            if time.monotonic() > end:
                return False
        return True

    def did(self, step, by):
        assert self.lan.machines.ask(f"{self.prefix}/did/{step}", by=by) == (200, 0)

    def sends(self, log, by):
        packed = base64.b64encode(gzip.compress(log.encode()), altchars=b"-_").decode()
        for number, at in enumerate(range(0, len(packed), 700), 10):
            piece = packed[at : at + 700].replace("=", ".")
            self.did(f"log-{number}?y={piece}", by)

    def state(self):
        listed = self.lan.salt.call(self.lan.server, "netboot.hosts")
        (one,) = (one for one in listed if one["host"] == self.name)
        return one["state"], one["step"]


@pytest.fixture
def pc1(lan):
    return Armed(lan, "pc1")


def everything(lan):
    """What of answers is on the disk."""
    return lan.server.run(["find", "/var/lib/netboot-answers", "-type", "f"]).stdout


def test_only_the_machine_that_it_is_for(lan, pc1):
    """Another machine on the segment knows the host's MAC address and name, and reads all that is
    public."""
    assert pc1.state() == ("armed", "")
    assert pc1.asks(by=1) == 404, "it has not read its script"
    pc1.read_script(by=2)
    assert not pc1.gets(by=2, within=2)
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    assert pc1.state() == ("booting", "")
    for name in FILES:
        for platform in ("pcbios", "efi"):
            for _ in range(2):
                assert pc1.asks(by=1, file=f"{platform}/{name}") == 200
            assert pc1.asks(by=1, file=f"{platform}//{name}") == 200
            assert pc1.asks(by=1, file=f"{platform}/{name}", method="HEAD") == 200
            for other in (2, None):
                assert pc1.asks(by=other, file=f"{platform}/{name}") == 404
    for wrong in ("", "efi", "efi/", "efi/no.scm", "efi/../minion.pem", "minion.pem", "efi/.new"):
        assert pc1.asks(by=1, file=wrong) == 404
    other = pc1.prefix[:-1] + ("0" if pc1.prefix[-1] != "0" else "1")
    assert lan.machines.ask(f"{other}/answers/efi/autoinstall.scm", by=1)[0] == 404


def test_crooked_paths(lan, pc1):
    """Escapes, case, listings, what a killed removal leaves: by the machine itself and another."""
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    armed = pc1.prefix.rpartition("/")[2]
    (served,) = lan.server.run(
        ["find", "/var/lib/netboot-answers/served", "-name", armed]
    ).stdout.split()
    lan.server.run(["cp", "-a", served, served.replace(armed, f".gone.{armed}")])
    file = "answers/efi/autoinstall.scm"
    for path in (
        *(f"/host/{one}/{file}" for one in (f".gone.{armed}", armed.upper(), f"x/../{armed}.")),
        *(f"{pc1.prefix}/{one}" for one in ("", "answers", "answers/", "answers/efi/")),
        *(
            f"{pc1.prefix}/answers/efi/{up}minion.pem"
            for up in ("%2e%2e/", "..%2f..%2f", "..//../")
        ),
        *(f"{pc1.prefix}/dist/{up}" for up in ("../answers/efi/../", "%2e%2e/%2e%2e/answers/")),
        *(
            f"/{top}{served}/efi/autoinstall.scm"
            for top in ("dist/..", "tftp/../..", "dist/%2e%2e")
        ),
        *("/host/", "/host", "/once/", "/once", "/once/.ipxe", "/once/PC1.ipxe"),
        f"/once/../host/{armed}/answers/PCBIOS/autoinstall.scm",
    ):
        for by in (1, 2):
            assert lan.machines.ask(path, by=by)[0] in (400, 404), path
    # Roundabout, but its own; no other's.
    for path in (f"/dist/..{pc1.prefix}/{file}", f"{pc1.prefix}/answers/%65fi/autoinstall.scm"):
        assert [lan.machines.ask(path, by=by)[0] for by in (1, 2)] == [200, 404], path
    assert [pc1.asks(by=by, part="bytes=0-3") for by in (1, 2)] == [206, 404]
    assert [pc1.asks(by=by, method="POST") for by in (1, 2)] == [405, 404]


def test_nothing_but_the_web_server_has_them(lan, pc1):
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    token = pc1.prefix.rpartition(".")[2]
    for path in ("/srv/export", "/etc/samba", "/etc/exports.d", "/etc/netboot"):
        found = lan.server.run(["grep", "-r", "-l", token, path], check=False).stdout
        assert found == ""
    others = lan.server.run(
        ["setpriv", "--reuid=nobody", "--clear-groups", "cat", "/var/lib/netboot-answers/served"],
        check=False,
    )
    assert others.returncode
    assert "Permission denied" in others.stderr
    # Neither do logs that others than root may read.
    readable = lan.server.run(["find", "/var/log/nginx", "-type", "f", "-perm", "/o+r"]).stdout
    for path in readable.split():
        assert lan.server.run(["grep", "-c", token, path], check=False).stdout == "0\n"


def test_installer_with_another_address(lan, pc1):
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    lan.machines.address(1, 231)
    assert pc1.gets(by=1), "the kernel's table of neighbours tells who it is"
    lan.machines.address(1, 211)


def test_reports_until_it_is_installed(lan, pc1):
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    pc1.did("disk", by=2)
    pc1.did("nonsense", by=1)
    assert pc1.state() == ("booting", "")
    for step in ("started", "answers", "disk"):
        pc1.did(step, by=1)
    time.sleep(1)
    assert pc1.state() == ("installing", "disk")
    # It has booted, whatever it fetched: its script is gone, its answers are not.
    assert lan.machines.ask("/once/pc1.ipxe", by=1)[0] == 404
    assert pc1.asks(by=1) == 200
    pc1.sends("no space left\n" * 500, by=1)
    pc1.sends("forged\n" * 500, by=2)
    time.sleep(1)
    trace = lan.salt.call(lan.server, "netboot.trace", "pc1")
    assert set(trace["log"]) == {"no space left"}
    assert (trace["install"]["state"], trace["install"]["step"]) == ("installing", "disk")
    pc1.did("installed", by=1)
    time.sleep(1)
    assert pc1.state() == ("installed", "installed")
    assert pc1.asks(by=1) == 404
    assert "pc1" not in everything(lan)
    pc1.did("minion", by=1)
    time.sleep(1)
    assert pc1.state() == ("installed", "minion")
    assert lan.salt.apply(lan.server).changed == {}


def test_disarmed_in_the_middle(lan, pc1):
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    pc1.did("disk", by=1)
    start = time.monotonic()
    lan.salt.call(lan.server, "netboot.arm", "pc1", "disarm=True")
    assert "pc1" not in everything(lan)
    assert pc1.asks(by=1) == 404
    print(f"disarmed in {time.monotonic() - start:.1f} s")
    # Another install of it has other tokens.
    again = Armed(lan, "pc1")
    assert again.prefix != pc1.prefix
    again.read_script(by=1)
    assert again.gets(by=1)
    assert pc1.asks(by=1) == 404


def test_without_mac_address_the_first_is_served(lan):
    pc3 = Armed(lan, "pc3")
    pc3.read_script(by=2)
    assert pc3.gets(by=2)
    pc3.read_script(by=1)
    assert not pc3.gets(by=1, within=2)


def test_server_that_loses_power(lan, pc1):
    """Killed while an install runs: its machine still gets its answers, and none is left behind."""
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    pc1.did("started", by=1)
    lan.server.run(["systemctl", "kill", "--signal=KILL", "netboot-once"])
    lan.server.run(["mkdir", "-p", "/var/lib/netboot-answers/armed/pc9.0123/answers/efi"])
    lan.server.run(["systemctl", "restart", "netboot-once", "nginx"])
    assert pc1.gets(by=1)
    end = time.monotonic() + 10
    while "pc9" in lan.server.run(["ls", "/var/lib/netboot-answers/armed"]).stdout:
        assert time.monotonic() < end
    pc1.did("installed", by=1)
    time.sleep(1)
    assert pc1.state() == ("installed", "installed")


def test_clean(lan, pc1):
    pc1.read_script(by=1)
    assert pc1.gets(by=1)
    assert lan.salt.apply(lan.server, "netboot.clean").failed == {}
    assert lan.server.run(["ls", "/var/lib/netboot-answers"], check=False).returncode
