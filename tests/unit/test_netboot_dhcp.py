"""DHCP and firmware: mistakes in the pillar, dnsmasq's file, hints for other servers."""

import json
import re

import jinja2
import pytest

import netboot_firmware
import netboot_hints
import netboot_names
from tests.conftest import CHECKOUT
from tests.unit.test_netboot_pillar import IMAGE, SHA256, problems, resolve

SUBNET = {"range": ["192.0.2.100", "192.0.2.199"]}
SERVER = {"mode": "server", "subnets": {"192.0.2.0/24": SUBNET}}
BINARY = {"url": "http://example.org/ipxe.efi", "checksum": {"sha256": SHA256}}
ELSEWHERE = {
    "skip_iso_deploy": True,
    "alt_arch": "x86_64",
    "live_size": 1,
    **{f"{one}_url": f"http://192.0.2.7/{one}" for one in ("kernel", "initrd", "stage2_http")},
}


def server(subnets=None, **dhcp):
    return {"dhcp": {**SERVER, **({"subnets": subnets} if subnets else {}), **dhcp}}


BY_GRUB = {"secure_boot": {"efi-x86_64": {"image": "ALT"}}}
WRONG = [
    ({"address": "127.0.0.1"}, "netboot:address: must be the address of a machine; 127.0.0.1 "),
    ({"address": "224.0.0.1"}, "netboot:address: must be the address of a machine"),
    ({"address": "0.0.0.0"}, "netboot:address: must be the address of a machine"),  # noqa: S104
    ({"address": "255.255.255.255"}, "netboot:address: must be the address of a machine"),
    ({"address": 3221225994}, "netboot:address: must be an IPv4 address"),
    ({"address": "192.0.2.99"}, "netboot:address: this machine does not have 192.0.2.99 (it has"),
    ({"virtual_address": True}, "netboot:address: is missing"),
    ({"interface": ["eth0", "eth0"]}, "netboot:interface: contains a duplicate"),
    ({"interface": ["eth0", "wlan0"]}, "netboot:interface: wlan0 has no IPv4 address"),
    ({"interface": []}, "netboot:interface: must be the name of a network interface"),
    ({"dhcp": {"mode": "server"}}, "netboot:dhcp:subnets: is missing"),
    ({"dhcp": {"relayed": ["192.0.2.1/24"]}}, "netboot:dhcp:relayed: '192.0.2.1/24' must be"),
    ({"dhcp": {"relayed": "192.0.2.0/24"}}, "netboot:dhcp:relayed: must be a list"),
    ({"dhcp": {"relayed": ["192.0.2.7"]}}, "netboot:dhcp:relayed: '192.0.2.7' must be a subnet"),
    ({"dhcp": {"clients_at_once": 0}}, "netboot:dhcp:clients_at_once: must be an integer"),
    (
        {"tftp": {"ports": [61000, 61198]}},
        "netboot:tftp:ports: allows 199 transfers, but netboot:dhcp:",
    ),
    (server({"192.0.2.0/24": {}}), "netboot:dhcp:subnets:192.0.2.0/24:range: is missing"),
    (server({"192.0.2.7": SUBNET}), "netboot:dhcp:subnets:192.0.2.7: the name must be a subnet"),
    (
        server({"192.0.2.0/24": {"range": ["192.0.2.9", "192.0.2.8"]}}),
        "netboot:dhcp:subnets:192.0.2.0/24:range: 192.0.2.9 comes after 192.0.2.8",
    ),
    (
        server({"192.0.2.0/24": {"range": ["192.0.2.100", "192.0.3.1"]}}),
        "netboot:dhcp:subnets:192.0.2.0/24:range: 192.0.3.1 is not in 192.0.2.0/24",
    ),
    (
        server({"192.0.2.0/24": {"range": ["192.0.2.1", "192.0.2.99"]}}),
        "netboot:dhcp:subnets:192.0.2.0/24:range: contains 192.0.2.10, 192.0.2.11, which this",
    ),
    (
        server({"192.0.2.0/24": {**SUBNET, "router": "192.0.3.1"}}),
        "netboot:dhcp:subnets:192.0.2.0/24:router: 192.0.3.1 is not in 192.0.2.0/24",
    ),
    (
        server({"192.0.2.0/24": {**SUBNET, "domain": "a b"}}),
        "netboot:dhcp:subnets:192.0.2.0/24:domain: must be a domain",
    ),
    (
        server({"203.0.113.0/24": {"range": ["203.0.113.5", "203.0.113.9"]}}),
        "netboot:dhcp:subnets:203.0.113.0/24:router: is missing",
    ),
    (
        server(
            {
                "192.0.2.0/24": SUBNET,
                "192.0.2.128/25": {"range": ["192.0.2.200"] * 2, "router": "192.0.2.129"},
            }
        ),
        "netboot:dhcp:subnets:192.0.2.128/25: overlaps with 192.0.2.0/24",
    ),
    (
        server(leases={"52:54:00:00:00:01": {"address": "203.0.113.7"}}),
        "netboot:dhcp:leases:52:54:00:00:00:01:address: 203.0.113.7 is not in any subnet of",
    ),
    (
        server(leases={"52:54:00:00:00:01": {"address": "192.0.2.10"}}),
        "netboot:dhcp:leases:52:54:00:00:00:01:address: 192.0.2.10 is an address of this machine",
    ),
    (
        server(leases={"52:54:00:00:00:01": {"address": "192.0.2.255"}}),
        "netboot:dhcp:leases:52:54:00:00:00:01:address: 192.0.2.255 is the network or broadcast",
    ),
    (
        server(
            leases={
                "52:54:00:00:00:0a": {"address": "192.0.2.7"},
                "5254.0000.000A": {"address": "192.0.2.8"},
            }
        ),
        "netboot:dhcp:leases:5254.0000.000A: has 52540000000a in common with",
    ),
    (
        server({"192.0.2.0/24": {"range": ["192.0.2.100", "192.0.2.255"]}}),
        "netboot:dhcp:subnets:192.0.2.0/24:range: 192.0.2.255 is the network or broadcast",
    ),
    (
        server(leases={"52:54:00:00:00:01": {}}),
        "netboot:dhcp:leases:52:54:00:00:00:01:address: is missing",
    ),
    (
        server(
            leases={
                "52:54:00:00:00:01": {"address": "192.0.2.7"},
                "52:54:00:00:00:02": {"address": "192.0.2.7"},
            }
        ),
        "netboot:dhcp:leases:52:54:00:00:00:02: has 192.0.2.7 in common with",
    ),
    (
        server(leases={"52-54-00-00-00-0z": {"address": "192.0.2.7"}}),
        "netboot:dhcp:leases:52-54-00-00-00-0z: must be a MAC address",
    ),
    ({"firmware": {"efi-arm": BINARY}}, "netboot:firmware:efi-arm: must be one of"),
    (
        {"firmware": {"efi-aarch64": {"url": BINARY["url"]}}},
        "netboot:firmware:efi-aarch64:checksum: is missing",
    ),
    (
        {"firmware": {"efi-aarch64": {**BINARY, "url": "http://example.org/"}}},
        "netboot:firmware:efi-aarch64:url: must be the http://",
    ),
    (
        {"secure_boot": {"efi-x86_64": {"shim": BINARY, "ipxe": {"url": BINARY["url"]}}}},
        "netboot:secure_boot:efi-x86_64:ipxe:checksum: is missing",
    ),
    (
        {"secure_boot": {"efi-x86_64": {}}},
        "netboot:secure_boot:efi-x86_64: set shim and ipxe, or image",
    ),
    (
        {"secure_boot": {"efi-x86_64": {"image": "ALT", "shim": BINARY}}},
        "netboot:secure_boot:efi-x86_64:image: contradicts shim; remove one of the two",
    ),
    (
        {"secure_boot": {"efi-x86_64": {"image": "ALY"}}, "images": {"ALT": IMAGE}},
        "netboot:secure_boot:efi-x86_64:image: netboot:images has no 'ALY', did you mean ALT?",
    ),
    (
        {"secure_boot": {"efi-x86_64": {"image": "there"}}, "images": {"there": ELSEWHERE}},
        "netboot:secure_boot:efi-x86_64:image: there is on another server; its shim and GRUB are",
    ),
    ({**BY_GRUB, "images": 1}, "netboot:images: must be a map"),
    ({**BY_GRUB, "images": {"ALT": {**IMAGE, "url": 5}}}, "netboot:images:ALT:url: must be"),
]


@pytest.mark.parametrize("image", ["x", [], 1, None])
def test_image_of_grub_that_is_no_map(image):
    assert all(
        one.startswith("netboot:images:ALT:")
        for one in problems({**BY_GRUB, "images": {"ALT": image}})
    )


@pytest.mark.parametrize(("pillar", "said"), WRONG, ids=[said for _, said in WRONG])
def test_mistake_is_named(pillar, said):
    (problem,) = problems(pillar)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("pillar", "said"),
    [
        (
            {"dhcp": {"subnets": {"192.0.2.0/24": SUBNET}}},
            "subnets: has no effect while netboot:dhcp:mode is",
        ),
        (
            server(relayed=["203.0.113.0/24"]),
            "relayed: has no effect while netboot:dhcp:mode is server",
        ),
        ({**server(), "interface": ["eth0", "eth1"]}, "subnets: lacks 198.51.0.0/16"),
    ],
)
def test_likely_mistake_is_shown(pillar, said):
    (warning,) = resolve(pillar)["warnings"]
    assert warning.startswith(f"netboot:dhcp:{said}")


@pytest.mark.parametrize(
    "pillar",
    [
        {"address": "192.0.2.11"},  # a second address of the interface
        {"address": "203.0.113.1", "virtual_address": True},
        server(leases={"5254.0000.0001": {"address": "192.0.2.7", "hostname": "desk7"}}),
        {"secure_boot": {"efi-x86_64": {"shim": BINARY, "ipxe": BINARY}}},
    ],
)
def test_right(pillar):
    assert problems(pillar) == []


def test_names_of_firmware_are_the_same_everywhere():
    assert {row["kind"] for row in netboot_firmware.FIRMWARE} == set(netboot_names.FIRMWARE)
    arches = {arch for row in netboot_firmware.FIRMWARE for arch in row["boots"]}
    assert arches == set(netboot_names.ARCHES)


def test_first_interface_is_the_main_one():
    config = resolve({"interface": ["eth1", "eth0"]})["config"]
    assert (config["interface"], config["address"]) == ("eth1", "198.51.100.1")
    assert [one["address"] for one in config["interfaces"]] == ["198.51.100.1", "192.0.2.10"]


def test_boot_loader_of_the_pillar_replaces_the_package():
    config = resolve({"firmware": {"bios": BINARY}})["config"]
    files = {one["file"]: one for one in config["boot_files"]}
    assert files["undionly.kpxe"] == {"kind": "bios", "file": "undionly.kpxe", **BINARY}
    assert files["snponly-x86_64.efi"]["packaged"] == ["/usr/lib/ipxe/snponly.efi"]
    assert files["snponly-i586.efi"]["packaged"] == []


def test_secure_boot_starts_with_the_shim():
    """The shim is told first; both it and the iPXE that it starts are laid down."""
    pillar = {"secure_boot": {kind: {"shim": BINARY, "ipxe": BINARY} for kind in ("efi-x86_64",)}}
    config = resolve(pillar)["config"]
    files = {one["file"] for one in config["boot_files"] if "url" in one}
    assert files == {"ipxe-shimx64.efi", "ipxe.efi"}
    (copy,) = (one for one in config["boot_files"] if "copy_of" in one)
    assert (copy["file"], copy["copy_of"]) == ("grubx64.efi", "ipxe.efi"), "for other shims"
    lines = dnsmasq(pillar)
    assert 'pxe-service=tag:!ipxe,7,"Network boot",ipxe-shimx64.efi,192.0.2.10' in lines
    assert 'pxe-service=tag:ipxe,7,"Network boot",config-x86_64.ipxe,192.0.2.10' in lines
    assert "dhcp-boot=tag:efi-x86_64-http,http://192.0.2.10/tftp/ipxe-shimx64.efi" in lines


SIGNED = {"efi-x86_64": {"shim": BINARY, "ipxe": BINARY}}


def test_shim_finds_what_it_starts_beside_a_boot_file_in_a_directory():
    """It reads BOOTP's field of the file name, which dnsmasq would move to an option."""
    assert "dhcp-no-override" in dnsmasq({**server(), "secure_boot": SIGNED})
    assert "dhcp-no-override" not in dnsmasq(server())
    assert "dhcp-no-override" not in dnsmasq({"secure_boot": SIGNED})


@pytest.mark.parametrize("mode", ["proxy", "server"])
def test_machines_that_stay_on_the_unsigned_loader(mode):
    """In each way that a UEFI client is answered; others get the shim."""
    hosts = {
        "old1": {"mac": "00:1E:4F:00:00:01", "secure_boot": False},
        "old2": {"uuid": "01234567-89ab-cdef-0123-456789abcdef", "group": "old"},
        "new": {"mac": "00:1e:4f:00:00:02"},
    }
    pillar = {
        **(server() if mode == "server" else {}),
        "hosts": hosts,
        "groups": {"old": {"secure_boot": False}},
        "secure_boot": {"efi-x86_64": {**SIGNED["efi-x86_64"], "unsigned": ["00:21:CC"]}},
    }
    lines = dnsmasq(pillar)
    assert [
        line for line in lines if line.startswith(("dhcp-mac=set:uns", "dhcp-match=set:uns"))
    ] == [
        "dhcp-mac=set:unsigned,00:21:cc:*:*:*",
        "dhcp-mac=set:unsigned,00:1e:4f:00:00:01",
        "dhcp-match=set:unsigned,97,00:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef",
        "dhcp-match=set:unsigned,97,00:67:45:23:01:ab:89:ef:cd:01:23:45:67:89:ab:cd:ef",
    ]
    told = {
        (tag, file): [line for line in lines if f"tag:{tag}unsigned" in line and file in line]
        for tag in ("", "!")
        for file in ("ipxe-shimx64.efi", "snponly-x86_64.efi")
    }
    assert told["", "ipxe-shimx64.efi"] == told["!", "snponly-x86_64.efi"] == []
    ways = 3 if mode == "proxy" else 2  # PXE by each of its numbers, and HTTP
    assert len(told["", "snponly-x86_64.efi"]) == len(told["!", "ipxe-shimx64.efi"]) == ways
    assert not [line for line in dnsmasq({**pillar, "secure_boot": {}}) if "unsigned" in line]


OWN_GRUB = {"way": "grub", "image": "alt_11", "enrolled": []}


def test_image_s_own_shim_and_grub():
    """Over PXE alone: ALT's GRUB has no module for HTTP."""
    pillar = {"images": {"ALT 11": IMAGE}, "secure_boot": {"efi-x86_64": {"image": "ALT 11"}}}
    config = resolve(pillar)["config"]
    assert config["secure_boot"] == {"efi-x86_64": OWN_GRUB}
    assert not [one for one in config["boot_files"] if "url" in one or "copy_of" in one]
    lines = dnsmasq(pillar)
    assert 'pxe-service=tag:!ipxe,7,"Network boot",grub/shimx64.efi,192.0.2.10' in lines
    assert "dhcp-boot=tag:efi-x86_64-http,http://192.0.2.10/tftp/snponly-x86_64.efi" in lines


@pytest.mark.parametrize(
    ("host", "wrong"),
    [
        ({"serial": "K7-2213"}, True),
        ({"product": "Old PC"}, True),
        ({"group": "old", "hostname": "pc1"}, True),
        ({"mac": "00:1e:4f:00:00:01", "serial": "K7-2213"}, False),
    ],
)
def test_unsigned_host_that_dhcp_does_not_know(host, wrong):
    own = {} if "group" in host else {"secure_boot": False}
    found = problems({"hosts": {"pc1": {**host, **own}}, "groups": {"old": {"secure_boot": False}}})
    expected = "netboot:hosts:pc1:secure_boot: false requires mac or uuid, as DHCP recognizes"
    assert [one[: len(expected)] for one in found] == ([expected] if wrong else [])


def dnsmasq(pillar, **target):
    """The lines of dnsmasq.conf without comments, as Salt renders them."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 (no HTML)
    environment.filters["regex_replace"] = lambda text, old, new: re.sub(old, new, text)
    text = (CHECKOUT / "salt/netboot/files/dnsmasq.conf.jinja").read_text()
    config = resolve(pillar, **target)["config"]
    salt = {"netboot.applied": lambda: config}
    rendered = environment.from_string(text).render(salt=salt, pillar={"netboot": pillar})
    return [line for line in rendered.splitlines() if line and not line.startswith("#")]


def test_dnsmasq_proxy():
    lines = dnsmasq({"dhcp": {"relayed": ["203.0.113.0/24"]}})
    assert "dhcp-range=192.0.2.0,proxy,255.255.255.0" in lines
    assert "dhcp-range=203.0.113.0,proxy,255.255.255.0" in lines
    assert "leasefile-ro" in lines
    # dnsmasq 2.92 answers a BIOS client's pxe-service on a port where nobody listens
    services = [line for line in lines if re.match("pxe-service=.*,(0|x86PC),", line)]
    assert services == ['pxe-service=tag:rpi,0,"Raspberry Pi Boot"']


def test_dnsmasq_server():
    subnet = {**SUBNET, "lease_s": 600, "dns": ["192.0.2.1"], "domain": "example.org"}
    leases = {
        "52-54-00-00-00-01": {"address": "192.0.2.7", "hostname": "desk7"},
        "525400000002": {"address": "192.0.2.8"},
    }
    lines = dnsmasq(server({"192.0.2.0/24": subnet}, leases=leases))
    for line in (
        "dhcp-range=set:subnet1,192.0.2.100,192.0.2.199,255.255.255.0,600",
        "dhcp-option=tag:subnet1,option:router",
        "dhcp-option=tag:subnet1,option:dns-server,192.0.2.1",
        "dhcp-option=tag:subnet1,option:domain-name,example.org",
        "dhcp-host=52:54:00:00:00:01,192.0.2.7,desk7",
        "dhcp-host=52:54:00:00:00:02,192.0.2.8",
    ):
        assert line in lines
    assert not any("proxy" in line or line.startswith("dhcp-ignore") for line in lines)
    assert "port=0" in lines


def test_dnsmasq_off():
    lines = dnsmasq({"dhcp": {"mode": "off"}})
    assert not any(line.startswith(("dhcp-", "pxe-")) for line in lines)
    assert "enable-tftp" in lines


def test_dnsmasq_on_several_interfaces():
    """Each client is told the address of the interface that it asked on."""
    lines = dnsmasq({"interface": ["eth0", "eth1"], "http": {"port": 8080}})
    assert {"interface=eth0", "interface=eth1", "dhcp-range=198.51.0.0,proxy,255.255.0.0"} <= {
        *lines
    }
    for name, address in (("eth0", "192.0.2.10"), ("eth1", "198.51.100.1")):
        url = f"http://{address}:8080/tftp/snponly-aarch64.efi"
        assert f"dhcp-boot=tag:{name},tag:bios,tag:ipxe,config-x86_64.ipxe,,{address}" in lines
        assert f"dhcp-boot=tag:{name},tag:efi-aarch64-http,{url}" in lines


TWO_NETWORKS = {
    "interfaces": {"eth0": ["192.0.2.10/24", "203.0.113.5/25"]},
    "addresses": ["192.0.2.10", "203.0.113.5"],
}


@pytest.mark.parametrize(
    ("address", "network", "netmask"),
    [(None, "192.0.2.0", "255.255.255.0"), ("203.0.113.5", "203.0.113.0", "255.255.255.128")],
)
def test_range_follows_the_address_on_a_card_with_two_networks(address, network, netmask):
    """So does option 54: dnsmasq takes it from the network of the range."""
    pillar = {"address": address} if address else {}
    config = resolve(pillar, **TWO_NETWORKS)["config"]
    assert config["network"] == network
    assert config["interfaces"][0]["address"] == config["address"]
    lines = dnsmasq(pillar, **TWO_NETWORKS)
    assert f"dhcp-range={network},proxy,{netmask}" in lines
    assert sum(line.startswith("dhcp-range=") for line in lines) == 1
    files = [line for line in lines if line.startswith(("dhcp-boot=", "pxe-service=tag:!ipxe"))]
    assert files
    assert all(line.endswith(config["address"]) or "-http," in line for line in files)


def test_clients_in_the_network_of_the_address_get_an_address():
    wanted = {"address": "203.0.113.5", **server()}
    (warning,) = resolve(wanted, **TWO_NETWORKS)["warnings"]
    assert warning.startswith("netboot:dhcp:subnets: lacks 203.0.113.0/25, so clients on eth0")
    behind = {"address": "198.51.100.1", "virtual_address": True}
    assert resolve(behind, **TWO_NETWORKS)["config"]["network"] == "192.0.2.0"


@pytest.mark.parametrize("other", ["desk7", "DESK7", "Desk7.school.lan"])
def test_names_of_leases_are_equal_without_case_and_domain(other):
    """dnsmasq 2.90 assigns all of them as desk7."""
    leases = {
        "52:54:00:00:00:01": {"address": "192.0.2.7", "hostname": "desk7.lan"},
        "52:54:00:00:00:02": {"address": "192.0.2.8", "hostname": other},
    }
    (problem,) = problems(server(leases=leases))
    said = "netboot:dhcp:leases:52:54:00:00:00:02: has desk7 in common with"
    assert problem.startswith(said)


def test_hints_answer_each_client_once():
    """Every kind in every server's words, with this machine's addresses."""
    config = resolve({"http": {"port": 8080}})["config"]
    hints = netboot_hints.hints(config)
    classes = json.loads(hints["kea"])["Dhcp4"]["client-classes"]
    assert len(classes) == len(hints["table"]) == hints["isc"].count("filename")
    assert len({one["test"] for one in classes}) == len(classes)
    assert len({one["name"] for one in classes}) == len(classes)
    for row in hints["table"]:
        assert f'filename "{row["file"]}"' in hints["isc"]
        assert any(
            line.endswith(row["file"]) or f",{row['file']},," in line
            for line in hints["dnsmasq"].splitlines()
        )
    http = [row for row in hints["table"] if row["option_60"]]
    assert {row["file"].partition("/tftp/")[0] for row in http} == {"http://192.0.2.10:8080"}


def test_images_that_no_boot_loader_here_can_start():
    config = resolve({})["config"]
    wanted = [("ALT 32", "i586"), ("ALT", "x86_64"), ("ALT arm", "aarch64")]
    (said,) = netboot_firmware.not_bootable(config, {"undionly.kpxe"}, wanted)
    assert said.startswith("ALT arm is for aarch64, but no boot loader here can start it")
