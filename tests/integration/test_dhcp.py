"""DHCP as clients see it: what real dnsmasq answers to boot ROMs, in each mode of the pillar.

The ROMs are lab.pxe's, packet by packet; real firmware is in tests/boot/test_firmware.py.
"""

import json
import re
import sys
import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.pxe import ask
from lab.salt import CHECKOUT, SaltCall
from tests.integration.test_platforms import TFTP as FETCH
from tests.servers import INSTALLED, other_server

DAEMONS = {
    "isc": ("isc-dhcp-server", ["dhcpd", "-t", "-4", "-cf"]),
    "kea": ("kea-dhcp4-server", ["kea-dhcp4", "-t"]),
    "dnsmasq": ("dnsmasq-base", ["dnsmasq", "--test", "-C"]),
}
PXE, HTTP = b"PXEClient".hex(), b"HTTPClient".hex()
NONE = "0.0.0.0"  # noqa: S104 (an address that is none)
PI = "b8:27:eb:12:34:56"
# They ask once.
PC, BOARD = "52:54:00:00:01:01", "52:54:00:00:01:02"
# Numbers of features in iPXE's option 175 (ipxe/features.h).
HTTP_19, BZIMAGE, EFI, MENU, ISCSI, TFTP = 19, 24, 36, 39, 17, 21
BIOS, UEFI, ROM = (TFTP, HTTP_19, BZIMAGE, MENU), (HTTP_19, EFI, MENU), (ISCSI, TFTP, HTTP_19, MENU)
# what the client says, the file it is given (None: silence), option 60 of the answer
KINDS = [
    ({"arch": 0}, "undionly.kpxe", PXE),
    ({"arch": 0, "features": BIOS}, "config-x86_64.ipxe", PXE),
    ({"arch": 0, "features": ROM}, "undionly.kpxe", PXE),
    ({"arch": 0, "features": (TFTP, HTTP_19, BZIMAGE)}, "undionly.kpxe", PXE),
    ({"arch": 6}, "snponly-i586.efi", PXE),
    ({"arch": 6, "features": UEFI}, "config-i586.ipxe", PXE),
    ({"arch": 7}, "snponly-x86_64.efi", PXE),
    ({"arch": 7, "features": UEFI}, "config-x86_64.ipxe", PXE),
    ({"arch": 9}, "snponly-x86_64.efi", PXE),
    ({"arch": 9, "features": UEFI}, "config-x86_64.ipxe", PXE),
    ({"arch": 11}, "snponly-aarch64.efi", PXE),
    ({"arch": 11, "features": UEFI}, "config-aarch64.ipxe", PXE),
    ({"arch": 22}, "snponly-aarch64.efi", PXE),
    ({"arch": 11, "mac": PI}, "snponly-aarch64.efi", PXE),
    ({"arch": 27}, "snponly-riscv64.efi", PXE),
    ({"arch": 39}, "snponly-loongarch64.efi", PXE),
    ({"arch": 15, "vendor": "HTTPClient"}, "http://{server}/tftp/snponly-i586.efi", HTTP),
    ({"arch": 16, "vendor": "HTTPClient"}, "http://{server}/tftp/snponly-x86_64.efi", HTTP),
    ({"arch": 19, "vendor": "HTTPClient"}, "http://{server}/tftp/snponly-aarch64.efi", HTTP),
    ({"arch": 28, "vendor": "HTTPClient"}, "http://{server}/tftp/snponly-riscv64.efi", HTTP),
    ({"arch": 40, "vendor": "HTTPClient"}, "http://{server}/tftp/snponly-loongarch64.efi", HTTP),
]
IDS = ["-".join(str(value).replace(":", "") for value in client.values()) for client, _, _ in KINDS]
STRANGERS = [
    {"arch": None},
    {"arch": 10},
    {"arch": 20, "vendor": "HTTPClient"},
    {"arch": 18, "vendor": "HTTPClient"},
]


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A netboot server that serves nobody yet, on two networks without DHCP, and a third behind.

    second: the lab's device on the second network; relay: its address on the third.
    """
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        daemons = [package for package, _ in DAEMONS.values()]
        server = lab.server("netboot1", packages=daemons, installed=INSTALLED, binds=[CHECKOUT])
        salt = SaltCall(server, {"netboot": {}})

        def apply(sls="netboot.dhcp", **netboot):
            salt.write_pillar({"netboot": netboot})
            done = salt.apply(server, sls)
            assert done.failed == {}
            return done

        further = f"198.19.{lab.number}"
        lab.run(["ip", "address", "add", f"{further}.1/25", "dev", "br0"])
        machine = str(server.leader)
        veth = ["type", "veth", "peer", "name", "eth1", "netns", machine]
        lab.run(["ip", "link", "add", "second", *veth])
        lab.run(["ip", "address", "add", f"{further}.129/25", "dev", "second"])
        lab.run(["ip", "link", "set", "second", "up"])
        at_machine = ["nsenter", f"--target={machine}", "--net", "ip"]
        lab.run([*at_machine, "address", "add", f"{further}.130/25", "dev", "eth1"])
        lab.run([*at_machine, "link", "set", "eth1", "up"])
        yield SimpleNamespace(
            lab=lab,
            server=server,
            salt=salt,
            apply=apply,
            prefix=lab.address.rpartition(".")[0],
            further=further,
            relay=f"{further}.1",
        )


@pytest.fixture(scope="module")
def proxy(lan):
    dhcp = {"mode": "proxy", "relayed": [f"{lan.further}.0/25"]}
    lan.apply(interface=["eth0", "eth1"], dhcp=dhcp)
    for arch, mac in ((0, PC), (10, BOARD)):
        ask(lan.lab, arch=arch, mac=mac, seconds=1)
    return lan


@pytest.fixture(scope="module")
def dhcp_server(lan):
    subnets = {
        f"{lan.prefix}.0/24": {
            "range": [f"{lan.prefix}.100", f"{lan.prefix}.199"],
            "lease_s": 600,
            "router": lan.lab.address,
            "dns": ["192.0.2.53", "192.0.2.54"],
            "domain": "example.org",
        },
        f"{lan.further}.0/25": {
            "range": [f"{lan.further}.100", f"{lan.further}.109"],
            "router": lan.relay,
        },
    }
    leases = {"5254.0077.0001": {"address": f"{lan.prefix}.77", "hostname": "desk7"}}
    lan.apply(dhcp={"mode": "server", "subnets": subnets, "leases": leases})
    return lan


def answer_of(lan, **client):
    """The one offer and its ack, which must come from the netboot server."""
    (offer,) = ask(lan.lab, **client)
    assert offer["server"] == lan.server.address
    return offer


@pytest.mark.parametrize(("client", "file", "option_60"), KINDS, ids=IDS)
def test_proxy(proxy, client, file, option_60):
    """The offer has no address. UEFI takes its file from the answer on port 4011."""
    offer = answer_of(proxy, **client)
    found = offer["ack"] if client["arch"] >= 6 else offer
    assert offer["address"] == NONE
    assert found["next_server"] == proxy.server.address
    assert found["file"] == file.format(server=proxy.server.address)
    assert offer["options"]["60"] == found["options"]["60"] == option_60
    if option_60 == HTTP:
        assert offer["file"] == found["file"]  # HTTP boot asks nobody on port 4011


@pytest.mark.parametrize("client", STRANGERS)
def test_proxy_is_silent(proxy, client):
    assert ask(proxy.lab, **client, seconds=1) == []


def test_proxy_behind_a_relay(proxy):
    offer = answer_of(proxy, arch=0, relay=proxy.relay)
    assert (offer["address"], offer["file"]) == (NONE, "undionly.kpxe")
    assert offer["next_server"] == proxy.server.address


def test_proxy_on_the_second_interface(proxy):
    """The client is told the server's address on that network, which it can reach."""
    (offer,) = ask(proxy.lab, arch=0, device="second")
    assert (offer["file"], offer["next_server"]) == ("undionly.kpxe", f"{proxy.further}.130")
    (offer,) = ask(proxy.lab, arch=16, vendor="HTTPClient", device="second")
    assert offer["file"] == f"http://{proxy.further}.130/tftp/snponly-x86_64.efi"


def test_second_address_of_an_interface_may_be_the_one(proxy):
    second = f"{proxy.further}.131"
    at_machine = ["nsenter", f"--target={proxy.server.leader}", "--net", "ip"]
    proxy.lab.run([*at_machine, "address", "add", f"{second}/25", "dev", "eth1"])
    addresses = proxy.salt.call(proxy.server, "netboot.target")["addresses"]
    first = f"{proxy.further}.130"
    assert sorted(addresses) == sorted(["127.0.0.1", proxy.server.address, first, second])


@pytest.mark.parametrize(
    "told", [{"mac": PI}, {"mac": "88:a2:9e:12:34:56"}, {"machine": b"RPi4" + bytes(12)}], ids=str
)
@pytest.mark.parametrize("mode", ["proxy", "dhcp_server"])
def test_raspberry_pi(request, mode, told):
    """Its boot ROM knows its server by a text, and gets no PC's boot loader."""
    lan = request.getfixturevalue(mode)
    offer = answer_of(lan, arch=0, **told)
    assert b"Raspberry Pi Boot" in bytes.fromhex(offer["options"]["43"])
    assert offer["file"] == ""
    other = answer_of(lan, arch=0)
    assert b"Raspberry" not in bytes.fromhex(other["options"].get("43", ""))


def test_boot_roms_get_their_file_whole(dhcp_server):
    """U-Boot on arm64 the boot loader, a Raspberry Pi its own firmware, where somebody put it."""
    board = answer_of(dhcp_server, arch=22, vendor="U-Boot.armv8")["ack"]
    pi = answer_of(dhcp_server, arch=0, machine=b"RPi4" + bytes(12))["ack"]
    for answer, name in ((board, board["file"]), (pi, "start4.elf")):
        dhcp_server.server.run(
            ["sh", "-c", f"head -c 2500000 /dev/urandom > /srv/export/tftp/{name}"]
        )
        argv = [sys.executable, "-c", FETCH, answer["next_server"], name]
        got = dhcp_server.lab.run(argv, capture_output=True).stdout
        sent = dhcp_server.server.run(["sha256sum", f"/srv/export/tftp/{name}"]).stdout
        dhcp_server.server.run(["rm", f"/srv/export/tftp/{name}"])
        assert got.split() == sent.split()[:1]
    assert board["file"] == "snponly-aarch64.efi"


@pytest.mark.parametrize(("client", "file", "option_60"), KINDS, ids=IDS)
def test_server(dhcp_server, client, file, option_60):
    offer = answer_of(dhcp_server, **client)
    for found in (offer, offer["ack"]):
        assert found["address"].startswith(dhcp_server.prefix)
        assert found["next_server"] == dhcp_server.server.address
        assert found["file"] == file.format(server=dhcp_server.server.address)
        assert found["options"]["60"] == option_60
    assert int(offer["options"]["51"], 16) == 600


@pytest.mark.parametrize("client", STRANGERS)
def test_server_gives_strangers_an_address(dhcp_server, client):
    offer = answer_of(dhcp_server, **client)
    assert offer["ack"]["address"].startswith(dhcp_server.prefix)
    assert offer["file"] == ""
    assert offer["options"]["6"] == bytes((192, 0, 2, 53, 192, 0, 2, 54)).hex()
    assert bytes.fromhex(offer["options"]["15"]) == b"example.org"


def test_server_static_lease(dhcp_server):
    offer = answer_of(dhcp_server, arch=7, mac="52:54:00:77:00:01")
    assert offer["ack"]["address"] == f"{dhcp_server.prefix}.77"
    assert bytes.fromhex(offer["options"]["12"]) == b"desk7"


def test_server_behind_a_relay(dhcp_server):
    offer = answer_of(dhcp_server, arch=7, relay=dhcp_server.relay, mac="52:54:00:88:00:01")
    assert offer["address"].startswith(f"{dhcp_server.further}.10")
    assert offer["file"] == "snponly-x86_64.efi"
    assert offer["next_server"] == dhcp_server.server.address


def test_server_keeps_leases_over_a_restart(dhcp_server):
    before = answer_of(dhcp_server, arch=7, mac="52:54:00:99:00:01")["address"]
    dhcp_server.server.run(["systemctl", "restart", "netboot-dnsmasq"])
    leases = dhcp_server.server.run(["cat", "/var/lib/netboot-dnsmasq/leases"]).stdout
    assert before in leases
    assert answer_of(dhcp_server, arch=7, mac="52:54:00:99:00:01")["address"] == before


@pytest.mark.parametrize("arch", [0, 7])
@pytest.mark.parametrize("mode", ["proxy", "server"])
def test_card_with_two_networks_serves_that_of_the_address(lan, mode, arch):
    """Also in option 54, by which clients recognize their server."""
    network = f"198.19.{100 + lan.lab.number}"
    ours = f"{network}.2"
    at_machine = ["nsenter", f"--target={lan.server.leader}", "--net"]
    lan.lab.run(["ip", "address", "replace", f"{network}.1/24", "dev", "second"])
    lan.lab.run([*at_machine, "ip", "address", "replace", f"{ours}/24", "dev", "eth1"])
    dhcp = {"mode": mode}
    if mode == "server":
        dhcp["subnets"] = {f"{network}.0/24": {"range": [f"{network}.100", f"{network}.109"]}}
    lan.apply(interface="eth1", address=ours, dhcp=dhcp)
    (offer,) = ask(lan.lab, arch=arch, device="second")
    assert offer["options"]["54"] == bytes(map(int, ours.split("."))).hex()
    assert offer["address"].startswith(network) == (mode == "server")
    # UEFI asks again, on port 4011, where it got no address.
    found = offer["ack"] if arch and mode == "proxy" else offer
    assert found["next_server"] == ours


@pytest.fixture(scope="module")
def off(lan):
    lan.apply("netboot", dhcp={"mode": "off", "clients_at_once": 3000})
    return lan


def test_off_is_silent(off):
    for client, _, _ in KINDS[::5]:
        assert ask(off.lab, **client, seconds=1) == []


def test_as_many_clients_as_the_pillar_says(off):
    """dnsmasq lowers tftp-max by itself, with a warning, where it may not open as many files."""
    log = off.server.run(["journalctl", "-u", "netboot-dnsmasq", "-o", "cat"]).stdout
    assert "restricting maximum simultaneous TFTP transfers" not in log
    conf = off.server.run(["cat", "/etc/netboot/dnsmasq.conf"]).stdout
    assert "tftp-max=3000" in conf.splitlines()


@pytest.fixture(params=sorted(DAEMONS))
def hints(off, request):
    """What netboot.dhcp_hints prints for a daemon, which is installed beside ours."""
    package, check = DAEMONS[request.param]
    text = off.salt.call(off.server, "netboot.dhcp_hints", f"server={request.param}")
    off.server.run(["apt-get", "-qq", "update"])
    off.server.run(["apt-get", "-qqy", "install", package])
    # Debian starts it, if it can, with a configuration of its own.
    off.server.run(["systemctl", "stop", package], check=False)
    return SimpleNamespace(server=request.param, text=text, check=check)


def test_hints_are_accepted_by_their_daemon(off, hints):
    off.server.run(["tee", "/root/hints"], input=hints.text)
    done = off.server.run([*hints.check, "/root/hints"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    off.server.run(["tee", "/root/hints"], input=hints.text.replace("netboot", "!", 1) + "}")
    assert off.server.run([*hints.check, "/root/hints"], check=False).returncode != 0


def test_hints_answer_as_our_own_server_does(off, hints):
    """The daemon with the hints and a range of addresses, in the place of somebody's server."""
    first, last = f"{off.prefix}.100", f"{off.prefix}.199"
    conf = hints.text
    if hints.server == "isc":
        conf += f"subnet {off.prefix}.0 netmask 255.255.255.0 {{ range {first} {last}; }}\n"
        command = "touch /root/leases && exec dhcpd -f -4 -cf /root/hints -lf /root/leases eth0"
    elif hints.server == "kea":
        given = json.loads(conf)
        given["Dhcp4"] |= {
            "interfaces-config": {"interfaces": ["eth0"]},
            "lease-database": {"type": "memfile", "persist": False},
            "subnet4": [{"subnet": f"{off.prefix}.0/24", "pools": [{"pool": f"{first}-{last}"}]}],
        }
        conf = json.dumps(given)
        command = "mkdir -p /run/kea && exec kea-dhcp4 -c /root/hints"
    else:
        conf += f"port=0\nno-ping\nbind-dynamic\ninterface=eth0\ndhcp-range={first},{last}\n"
        command = "exec dnsmasq --keep-in-foreground --conf-file=/root/hints"
    off.server.run(["tee", "/root/hints"], input=conf)
    off.server.run(["systemd-run", "--unit=foreign-dhcp", "sh", "-c", command])
    try:
        for client, file, option_60 in KINDS:
            if "x86_64" not in file and "undionly" not in file:
                continue
            offer = answer_of(off, **client, seconds=6)
            assert offer["ack"]["address"].startswith(off.prefix), client
            assert offer["ack"]["file"] == file.format(server=off.server.address), client
            if option_60 == HTTP:
                assert offer["ack"]["options"]["60"] == HTTP
            else:
                assert offer["ack"]["next_server"] == off.server.address, client
    finally:
        off.server.run(["systemctl", "stop", "foreign-dhcp"])


def test_hints_name_firmware_that_is_there(off):
    kinds = {row["kind"] for row in off.salt.call(off.server, "netboot.dhcp_hints", "server=table")}
    assert kinds == {"bios", "efi-x86_64"}


def test_wrong_configuration_is_not_put_in_place(off):
    """A template of somebody's own that dnsmasq refuses: the old file stays, dnsmasq runs on."""
    before = off.server.run(["cat", "/etc/netboot/dnsmasq.conf"]).stdout
    with off.salt.overridden("netboot/files/dnsmasq.conf.jinja", "no-such-option\n"):
        done = off.salt.apply(off.server, "netboot.dhcp")
    assert "netboot-dhcp-config" in done.failed
    assert off.server.run(["cat", "/etc/netboot/dnsmasq.conf"]).stdout == before
    assert off.server.run(["systemctl", "is-active", "netboot-dnsmasq"]).stdout == "active\n"


def test_why_firmware_went_elsewhere(proxy, off, tmp_path):
    """netboot.trace asks who else offers a boot; our own dnsmasq does not hear the question."""

    def told(mac):
        while True:
            boot = off.salt.call(off.server, "netboot.trace", mac)["boots"][-1]
            if boot["state"] != "loading":  # half a minute after it was asked
                return boot["cause"], boot["text"]
            time.sleep(1)

    assert told(BOARD)[0] == "unknown-firmware"
    assert told(PC)[0] == "file-not-asked"
    with other_server(off.lab, tmp_path):
        cause, text = told(PC)
    assert cause == "other-server"
    assert re.search(rf"{off.lab.address} \(([0-9a-f]{{2}}:){{5}}..\) offers other[.]0", text)
    log = off.server.run(["journalctl", "-u", "netboot-dnsmasq", "-o", "cat"]).stdout
    link = off.server.run(["ip", "link", "show", "eth0"]).stdout
    assert re.search("link/ether ([0-9a-f:]{17})", link)[1] not in log
