"""Two servers on one segment, by the recipes of docs/operations.md: exactly one installs."""

import json
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.pxe import ask
from lab.salt import CHECKOUT, PROGRAMS, SaltCall
from tests.integration.test_hosts import Served
from tests.ipxe import Client
from tests.machines import MAC
from tests.servers import INSTALLED

ENTRY = {"image": "ALT p11", "variant": "install", "once": True}
MACS = {1: MAC.format(1), 2: MAC.format(2), 10: MAC.format(3)}
HOSTS = {f"pc{number}": {"mac": mac, **ENTRY} for number, mac in MACS.items()}
MACS[20] = MAC.format(4)  # nobody's
LOCAL = "exit 1"


class Site:
    """A server with the same pillar as the other one, besides `more`."""

    def __init__(self, lab, name, pillar):
        self.lab, self.pillar = lab, pillar
        self.server = lab.server(name, installed=INSTALLED, binds=[CHECKOUT])
        self.salt = SaltCall(self.server, {"netboot": pillar})
        self.program = f"{self.salt.home}/salt-call"
        call = f'exec {" ".join(self.salt.program)} --config-dir={self.salt.home} "$@"'
        self.server.run(["tee", self.program], input=f"#!/bin/sh\n{call}\n")
        self.server.run(["chmod", "755", self.program])

    def apply(self, **more):
        self.salt.write_pillar({"netboot": {**self.pillar, **more}})
        done = self.salt.apply(self.server)
        assert done.failed == {}
        return done

    def ask(self, *words, status=0):
        """What `./netboot` prints there."""
        # The pillar of the machine is what `hosts adopt` writes.
        environment = ["env", f"--chdir={self.salt.home}", "COLUMNS=120"]
        environment += [f"PYTHONPATH={CHECKOUT}", "NETBOOT_FROM=/root"]
        command = [str(PROGRAMS / "python"), "-m", "cli", self.program, *words]
        done = self.server.run([*environment, *command], check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def boots(self, number, **settings):
        """What the machine with this MAC address boots if this server answers it."""
        mac = MACS[number]
        settings |= {"platform": "efi", "mac": mac, "netX/mac": mac}
        client = Client(Served(self), settings)
        client.run(f"http://{self.server.address}/tftp/config-x86_64.ipxe")
        return client.end


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    iso = make_iso(tmp_path_factory.mktemp("iso"), stage_mib=1)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"images": {"ALT p11": image}, "hosts": HOSTS, "arm_new": True}
        yield SimpleNamespace(
            lab=lab, first=Site(lab, "netboot1", pillar), second=Site(lab, "netboot2", pillar)
        )


def test_new_server_arms_nobody(room):
    done = room.first.apply()
    assert done.states["netboot-once-armed"]["comment"] == "3 hosts were put on record, not armed."
    summary = done.states["netboot-applied"]["comment"]
    assert "New and not armed: pc1, pc2, pc10. To arm them: netboot.arm host=NAME." in summary
    assert [room.first.boots(number) for number in (1, 2, 10)] == [LOCAL] * 3


def test_armed_hosts_are_installed(room):
    assert room.first.ask("arm", "pc1", "pc10") == (
        "pc1, pc10 are armed: at the next network boot alt_p11-install starts, once.\n"
    )
    assert "/host/pc1." in room.first.boots(1)
    lines = room.first.ask("hosts").splitlines()
    assert [line.split()[0] for line in lines] == ["HOST", "pc1", "pc2", "pc10"]
    assert [("armed" in line, "not armed" in line) for line in lines[1:]] == [
        (True, False),
        (True, True),
        (True, False),
    ]
    assert "3 hosts in the pillar, 1 new and not armed, 2 armed" in room.first.ask("status")
    told = room.first.ask("menu", "pc1")
    assert told == "pc1 shows no menu: it is armed and starts alt_p11-install at once.\n"


def test_machine_that_asked_becomes_a_host(room):
    """Its menu found no script of it; of another one only the firmware has asked so far."""
    model = {"smbios/manufacturer": "Acer", "smbios/product": "Veriton N2 "}
    uuid = "4c4c4544-0035-3010-8052-b4c04f4d3132"
    assert room.first.boots(20, uuid=uuid, serial="1/2", **model) == LOCAL
    ask(room.lab, 7, mac="52:54:00:00:00:21")
    ask(room.lab, 7, mac=MACS[1])
    ask(room.lab, None, mac="52:54:00:00:00:22")
    found = {one["mac"]: one for one in json.loads(room.first.ask("hosts", "unknown", "--json"))}
    assert set(found) == {MACS[20], "52:54:00:00:00:21"}
    one = found[MACS[20]]
    assert (one["uuid"], one["serial"], one["product"]) == (uuid, "1/2", "Veriton N2")
    assert found["52:54:00:00:00:21"]["product"] == ""
    lines = room.first.ask("hosts", "unknown").splitlines()
    assert [line.split()[0] for line in lines[1:3]] == list(found)
    adopt = ["hosts", "adopt", MACS[20], "as", "pc20"]
    assert room.first.ask(*adopt, status=1) == "netboot: nothing was written; --yes writes it.\n"
    top = room.first.salt.directory / "pillar/top.sls"
    top.write_text("base:\n  '*':\n    - netboot\n")
    (top.parent / "all.sls").rename(top.parent / "netboot.sls")
    told = room.first.ask(*adopt, "--yes").splitlines()
    assert told[1].split() == ["pc20", MACS[20], "new"]
    assert told[3:] == [
        "1 new: pillar/netboot_hosts.sls",
        "1 host written. Next: ./netboot apply (or ./netboot ssh TARGET)",
    ]
    again = ["hosts", "adopt", MACS[1], "as", "pc21"]
    assert "netboot:hosts:pc21: has the same mac" in room.first.ask(*again, status=1)
    assert room.first.salt.apply(room.first.server).failed == {}
    assert "pc20" in room.first.ask("hosts")
    found = json.loads(room.first.ask("hosts", "unknown", "--json"))
    assert [one["mac"] for one in found] == ["52:54:00:00:00:21"]
    (top.parent / "netboot_hosts.sls").unlink()
    room.first.apply()


def test_second_server_sends_armed_hosts_to_the_first(room):
    address = room.first.server.address
    room.second.apply(arms=f"http://{address}")
    assert room.second.boots(2) == LOCAL
    assert f"http://{address}/host/pc1." in room.second.boots(1)
    told = room.second.ask("arm", "pc2", status=1)
    assert told == (
        f"netboot: This server arms no hosts (netboot:arms); run this on http://{address}.\n"
    )


@pytest.mark.long
def test_backup_restored_elsewhere_arms_nobody(room):
    room.first.apply()
    room.first.ask("arm", "pc1", "pc10")
    room.second.apply(arms=f"http://{room.first.server.address}")
    assert " in /root/a.tar.gz. It contains password hashes" in room.first.ask("backup", "a.tar.gz")
    assert room.first.server.run(["stat", "-c", "%a", "/root/a.tar.gz"]).stdout == "600\n"
    saved = room.first.server.files / "root/a.tar.gz"
    told = room.second.ask("restore", "/root/a.tar.gz", status=1)
    assert told.startswith("netboot: /var/lib/netboot has records already; ")
    room.second.salt.write_pillar({"netboot": {**room.second.pillar, "clean_images": True}})
    assert room.second.salt.apply(room.second.server, "netboot.clean").failed == {}
    (room.second.server.files / "root/a.tar.gz").write_bytes(saved.read_bytes())
    assert "Were armed, and are not any more" in room.second.ask("restore", "/root/a.tar.gz")
    room.second.salt.write_pillar({"netboot": room.second.pillar})
    assert room.second.salt.apply(room.second.server, "test=True").failed == {}
    room.second.apply()
    assert [room.second.boots(number) for number in (1, 2, 10)] == [LOCAL] * 3
    assert "/host/pc1." in room.first.boots(1), "the first server is as it was"


def test_server_out_of_service(room):
    room.first.apply(arms=False)
    assert room.first.boots(1) == LOCAL
    room.first.apply()
    assert room.first.boots(1) == LOCAL, "the other server may have installed it"
