"""Hosts and boards: what the pillar may say of them, and what their machines then boot."""

import urllib.parse

import pytest
import yaml

import netboot_entries
import netboot_host_checks
import netboot_host_scripts
import netboot_hosts
import netboot_menus
from tests.ipxe import Client, problems
from tests.unit.test_netboot_entries import P11
from tests.unit.test_netboot_menus import TEMPLATE, TFTP
from tests.unit.test_netboot_pillar import HASH, IMAGE, resolve

ONCE = TFTP.replace("/tftp", "/once")
IMAGES = {"ALT 11": {**IMAGE, "variants": ["livecd", "install"]}}
URL = "http://192.0.2.10"
MAC = "52:54:00:ab:cd:ef"
UUID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
INSTALL = {"image": "ALT 11", "variant": "install"}
LIVECD = {"image": "ALT 11", "variant": "livecd"}


def config_of(hosts=None, groups=None, **pillar):
    netboot = {"images": IMAGES, "hosts": hosts or {}, "groups": groups or {}, **pillar}
    done = resolve(netboot)
    assert done["problems"] == []
    return done["config"]


def entries_of(config):
    record = {
        "name": "ALT 11",
        "label": "alt_11",
        "file": "alt-server-11.0-x86_64.iso",
        "iso_sha256": "ab" * 32,
        "facts": P11,
    }
    return netboot_entries.build(config, [record])["entries"]


def scripts_of(hosts, groups=None, **pillar):
    """What the server has for clients, by URL."""
    config = config_of(hosts, groups, **pillar)
    scripts = {
        **netboot_menus.render(TEMPLATE, config, entries_of(config)),
        **netboot_host_scripts.scripts(hosts, groups or {}, config),
    }
    assert {name: problems(text) for name, text in scripts.items()} == dict.fromkeys(scripts, [])
    return {f"{TFTP}/{urllib.parse.quote(name, safe='')}": one for name, one in scripts.items()}


def boots(scripts, **settings):
    """What a machine boots; without a choice of anybody."""
    settings = {"platform": "efi", "mac": MAC, "netX/mac": MAC, **settings}
    client = Client(scripts, {name.replace("__", "/"): one for name, one in settings.items()})
    client.run(f"{TFTP}/config-x86_64.ipxe")
    assert client.end
    return client


# -- identities ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["52:54:00:12:34:56", "98:00:00:00:00:00", "10:59:59:59:59:59", "525400123456", "pc1"]
)
def test_host_on_the_command_line_that_yaml_takes_for_a_number(text):
    assert netboot_host_checks.typed(yaml.safe_load(text)) == text


@pytest.mark.parametrize(
    ("name", "host", "file"),
    [
        ("pc1", {}, "host-pc1"),
        ("pc1", {"hostname": "PC-1.school"}, "host-PC-1.school"),
        ("pc1", {"mac": "52:54:00:AB:CD:EF"}, "mac-525400abcdef"),
        ("pc1", {"mac": "52-54-00-ab-cd-ef"}, "mac-525400abcdef"),
        ("pc1", {"mac": "5254.00AB.CDEF"}, "mac-525400abcdef"),
        ("pc1", {"mac": "525400abcdef"}, "mac-525400abcdef"),
        ("52:54:00:ab:cd:ef", {}, "mac-525400abcdef"),
        ("525400ABCDEF", {}, "mac-525400abcdef"),
        ("pc1", {"uuid": UUID.upper()}, f"uuid-{UUID}"),
        (UUID.replace("-", ""), {}, f"uuid-{UUID}"),
        ("pc1", {"serial": "PF 1/2"[:4]}, "serial-PF 1"),
        ("b", {"product": "Standard PC (Q35 + ICH9, 2009)"}, "product-Standard PC (Q35 + ICH9,"),
        ("b", {"manufacturer": "QEMU 100%?"}, "manufacturer-QEMU 100%?"),
    ],
)
def test_name_of_the_script(name, host, file):
    hosts = {name: {**host, "arguments": "quiet"}}
    found = netboot_host_scripts.scripts(hosts, {}, config_of(hosts))
    assert any(one.startswith(f"config-{file}") for one in found)
    assert len(set(found.values())) == 1 + len(netboot_hosts.BUILT_IN)


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ({"mac": MAC}, {}),
        ({"uuid": UUID}, {"uuid": UUID}),
        ({"serial": "PF 1#%&=?:@"}, {"serial": "PF 1#%&=?:@"}),
        ({"hostname": "pc1"}, {"hostname": "pc1"}),
        ({"product": "Q35 + ICH9, 100%"}, {"smbios__product": "Q35 + ICH9, 100%"}),
        ({"manufacturer": "QEMU"}, {"smbios__manufacturer": "QEMU"}),
    ],
)
def test_told_by(host, settings):
    scripts = scripts_of({"pc1": {**host, **LIVECD}})
    assert "alt_11/boot/vmlinuz" in boots(scripts, **settings).end
    others = dict.fromkeys(("mac", *settings), "52:54:00:00:00:99")
    assert boots(scripts, **others).end == "exit 1"


SWAPPED = "ae4f1df8-ec7d-d011-a765-00a0c91e6bf6"


@pytest.mark.parametrize("name", [{"pc1": {"uuid": UUID}}, {SWAPPED.upper(): {}}])
def test_uuid_in_the_other_byte_order(name):
    """A label, a firmware's screen or a DHCP log may show it so; iPXE and dmidecode do not."""
    scripts = scripts_of({key: {**host, **LIVECD} for key, host in name.items()})
    for uuid in (UUID, SWAPPED):
        assert "alt_11" in boots(scripts, mac="other", uuid=uuid).end
    assert boots(scripts, mac="other", uuid=UUID.replace("f8", "f9")).end == "exit 1"


@pytest.mark.parametrize("kind", ["serial", "product", "manufacturer"])
def test_texts_that_firmware_pads_with_spaces(kind):
    """Exactly as given, and without the spaces around them."""
    scripts = scripts_of({"pc1": {kind: " PF 12  ", **LIVECD}})
    setting = "serial" if kind == "serial" else f"smbios__{kind}"
    for value in (" PF 12  ", "PF 12"):
        assert "alt_11" in boots(scripts, mac="other", **{setting: value}).end
    (problem,) = resolve(
        {"images": IMAGES, "hosts": {"a": {kind: "PF 12"}, "b": {kind: "pf 12 "}}}
    )["problems"]
    assert problem.startswith(f"netboot:hosts:b: has the same {kind} 'pf 12' as netboot:hosts:a")


@pytest.mark.parametrize(
    ("given", "assigned"),
    [
        ("PC9", ["PC9", "pc9", "pc9.school.lan"]),  # dnsmasq assigns pc9 for PC9
        ("pc9", ["PC9", "pc9"]),
        ("Pc9.School.lan", ["Pc9.School.lan", "pc9.school.lan", "PC9", "pc9", "Pc9"]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_host_names_are_equal_without_case_and_domain(given, assigned, named):
    host = {"pc": {"hostname": given, **LIVECD}} if named else {given: LIVECD}
    subnet = {"range": ["192.0.2.100", "192.0.2.199"], "domain": "school.lan"}
    scripts = scripts_of(host, dhcp={"mode": "server", "subnets": {"192.0.2.0/24": subnet}})
    for name in assigned:
        assert "alt_11" in boots(scripts, mac="other", hostname=name).end, name
    assert boots(scripts, mac="other", hostname="pc8").end == "exit 1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"pc9": {}}, {"PC9.school.lan": {}}),
        ({"pc9.school.lan": {}}, {"pc9": {}}),
        ({"pc9": {}}, {"room12": {"hostname": "PC9"}}),
        ({"a": {"mac": MAC}}, {"b": {"mac": ["52:54:00:00:00:01", MAC]}}),
        ({"a": {"uuid": UUID}}, {SWAPPED: {}}),
        ({"a": {"serial": "PF1Z"}}, {"b": {"serial": "pf1z "}}),
    ],
)
def test_machine_with_another_name_in_the_pillar(old, new):
    """It is the same machine: it must not be armed again."""
    before, after = (
        next(iter(once_of({name: {**host, **INSTALL, "once": True} for name, host in one.items()})
                  ["hosts"].values()))
        for one in (old, new)
    )  # fmt: skip
    assert {*before["told_by"]} & {*after["told_by"]}


def test_bare_name_that_hosts_of_two_domains_have():
    hosts = {"pc9.a": LIVECD, "PC9.b": INSTALL}
    scripts = scripts_of(hosts)
    assert boots(scripts, mac="other", hostname="pc9").end == "exit 1"
    assert "install2" in boots(scripts, mac="other", hostname="pc9.b").end


def test_one_machine_with_two_cards():
    """One host with one arming, whichever card it boots from."""
    macs = ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-F0"]
    hosts = {"pc1": {"mac": macs, **INSTALL, "once": True}}
    scripts = scripts_of(hosts)
    assert sum("# Host: pc1\n" in text for text in scripts.values()) == 2
    ((key, host),) = once_of(hosts)["hosts"].items()
    assert host["told_by"] == ["mac=525400abcdef", "mac=525400abcdf0"]
    for mac in macs:
        assert boots(scripts, mac=mac.replace("-", ":").lower()).end == "exit 1"
    scripts[f"{ONCE}/{key}.ipxe"] = netboot_host_scripts.armed_script({**host, "arming": "0"}, URL)
    for mac in macs:
        assert "install2" in boots(scripts, mac=mac.replace("-", ":").lower()).end
    for other in ({"mac": macs[1]}, {"mac": ["52:54:00:00:00:01", "525400abcdf0"]}):
        (problem,) = resolve({"images": IMAGES, "hosts": {**hosts, "b": other}})["problems"]
        assert problem.startswith("netboot:hosts:b: has the same mac '525400abcdf0' as netboot")


def test_a_machine_told_by_two():
    scripts = scripts_of({"pc1": {"mac": MAC, "uuid": UUID, **LIVECD}})
    for settings in ({"mac": MAC}, {"mac": "other", "uuid": UUID}):
        assert "alt_11" in boots(scripts, **settings).end


def test_network_card_of_hosts_and_boards():
    one = {"serial": "PF1A", "image": "ALT 11", "variant": "install"}
    hosts = {
        "pc1": {**one, "nic": "booted"},
        "pc2": {**one, "serial": "PF1B"},
        "pc3": {**LIVECD, "serial": "PF1C"},
        "board": {"product": "Two cards", "nic": "any"},
    }
    scripts = scripts_of(hosts)
    pinned = f"ifname=bootif0:{MAC} ip=bootif0:dhcp4"
    for serial, words in (("PF1A", pinned), ("PF1B", "ip=dhcp4"), ("PF1C", pinned)):
        assert f"altboot {words} auto" in boots(scripts, serial=serial, mac="x").end
    board = boots(scripts, serial="PF1C", mac="x", smbios__product="Two cards")
    assert "altboot ip=dhcp4 auto" in board.end


# -- what is booted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "group", "end"),
    [
        ({}, {}, ""),
        (LIVECD, {}, "alt_11-livecd"),
        ({"group": "lab"}, LIVECD, "alt_11-livecd"),
        ({"group": "lab", "variant": "install"}, LIVECD, "alt_11-install"),
        ({"group": "lab", "entry": "local"}, LIVECD, "local"),
        ({"group": "lab", **LIVECD}, {"entry": "local"}, "alt_11-livecd"),
        ({"entry": "local"}, {}, "local"),
    ],
)
def test_entry(host, group, end):
    scripts = scripts_of({MAC: host}, {"lab": group}, default_image={"x86_64": "ALT 11"})
    client = boots(scripts)
    assert client.settings["nb-entry"] == (end or "alt_11-livecd")
    assert bool(client.items) == (not end), "only who was given nothing gets a menu"


def test_menu_with_a_default_of_its_own():
    client = boots(scripts_of({MAC: {**INSTALL, "menu": True, "timeout_s": 7}}))
    assert client.items
    assert "install2.target" in client.end
    assert client.settings["nb-timeout"] == "7000"


def test_arguments_of_host_come_after_those_of_its_group_and_board():
    hosts = {
        MAC: {**LIVECD, "group": "lab", "arguments": "of=host x"},
        "b": {"product": "P", "arguments": ["of=board"]},
    }
    scripts = scripts_of(hosts, {"lab": {"arguments": ["of=group"]}})
    client = boots(scripts, smbios__product="P")
    assert " ".join(client.end.split()).endswith(" of=board of=group of=host x boot")
    assert " of=" not in boots(scripts_of({MAC: LIVECD})).end


def test_kernel_over():
    client = boots(scripts_of({MAC: {**LIVECD, "kernel_over": "tftp"}}))
    assert client.end.startswith("tftp://192.0.2.10/netboot/x86_64/alt_11/")


# -- boards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", ["TF307-MB", "TF307-MB-S-D", "ET101-1.2"])
def test_boards_that_come_with_the_project(product):
    scripts = scripts_of({MAC: LIVECD})
    client = boots(scripts, smbios__product=product)
    assert client.end.startswith("tftp://192.0.2.10/")
    assert " console=ttyS0,115200n8 earlycon=uart8250,mmio32,0x20230000" in client.end


def test_board_of_the_pillar_wins_over_one_of_the_project():
    scripts = scripts_of({MAC: LIVECD, "b": {"product": "TF307-MB", "kernel_over": "http"}})
    client = boots(scripts, smbios__product="TF307-MB")
    assert client.end.startswith("http://192.0.2.10/")
    assert "earlycon=uart8250" in client.end
    scripts = scripts_of({MAC: LIVECD, "b": {"product": "TF307-MB", "arguments": "console=tty1"}})
    assert "earlycon" not in boots(scripts, smbios__product="TF307-MB").end


def test_host_wins_over_product_and_that_over_manufacturer():
    hosts = {
        "p": {"product": "P", "entry": "local"},
        "m": {"manufacturer": "M", **LIVECD, "timeout_s": 3},
    }
    client = boots(scripts_of(hosts), smbios__product="P", smbios__manufacturer="M")
    assert (client.end, client.items, client.settings["nb-timeout"]) == ("exit 1", [], "3000")
    hosts[MAC] = {**INSTALL, "menu": True}
    client = boots(scripts_of(hosts), smbios__product="P", smbios__manufacturer="M")
    assert "install2" in client.end
    assert client.items, "a board does not take a host's menu away"


# -- once ------------------------------------------------------------------------------------------


def once_of(hosts, groups=None, entries=None, **pillar):
    config = config_of(hosts, groups, **pillar)
    found = entries_of(config) if entries is None else entries
    return netboot_host_scripts.once(hosts, groups or {}, config, found)


@pytest.mark.parametrize("menu", [False, True])
def test_once(menu):
    hosts = {"PC:1": {"mac": MAC, **INSTALL, "once": True, "menu": menu}}
    scripts = scripts_of(hosts)
    client = boots(scripts)
    assert client.end == "exit 1", "not armed, or the server is in trouble: the local disk"
    assert bool(client.items) == menu

    (key, host) = once_of(hosts)["hosts"].popitem()
    assert (key, host["host"], host["entry"]) == ("pc-1", "PC:1", "alt_11-install")
    scripts[f"{ONCE}/pc-1.ipxe"] = netboot_host_scripts.armed_script(
        {**host, "arming": "1a2b3c4d"}, URL
    )
    assert problems(scripts[f"{ONCE}/pc-1.ipxe"]) == []
    client = boots(scripts)
    assert "install2.target" in client.end
    assert bool(client.items) == menu
    assert client.kernel.startswith("http://192.0.2.10/host/pc-1.1a2b3c4d/tftp/netboot/x86_64/")
    assert f"directory:/host/pc-1.1a2b3c4d{host['path']} " in client.kernel
    assert host["path"] == "/dist/alt-server-11.0-x86_64.iso"


@pytest.mark.parametrize(
    ("method", "variant", "path"),
    [
        ("http", "install", "/dist/alt-server-11.0-x86_64.iso"),
        ("http", "livecd", "/tftp/netboot/x86_64/alt_11/live"),
        ("cifs", "install", "/tftp/netboot/x86_64/alt_11/boot/initrd.img"),
        ("nfs", "livecd", "/tftp/netboot/x86_64/alt_11/boot/initrd.img"),
        ("ftp", "livecd", "/tftp/netboot/x86_64/alt_11/boot/initrd.img"),
    ],
)
def test_what_shows_that_it_booted(method, variant, path):
    """Also for a board that wants its kernel over TFTP, where nothing is seen."""
    hosts = {MAC: {"image": "ALT 11", "variant": variant, "once": True}}
    (host,) = once_of(hosts, methods=[method])["hosts"].values()
    assert host["path"] == path
    scripts = scripts_of(hosts, methods=[method])
    key = "52-54-00-ab-cd-ef"
    scripts[f"{ONCE}/{key}.ipxe"] = netboot_host_scripts.armed_script({**host, "arming": "0"}, URL)
    for product in ("P", "TF307-MB"):
        client = boots(scripts, smbios__product=product)
        asked = [*client.fetched, "http://192.0.2.10" + _directory(client.kernel)]
        if variant == "livecd" and method == "http":
            asked[-1] += "/live"
        assert f"http://192.0.2.10/host/{key}.0{path}" in asked


def _directory(line):
    return line.partition(",directory:")[2].partition(" ")[0]


def test_entry_that_is_not_ready():
    hosts = {MAC: {**INSTALL, "once": True}}
    found = once_of(hosts, entries=[])
    assert found["problems"] == []
    assert found["hosts"]["52-54-00-ab-cd-ef"]["path"] == ""


@pytest.mark.parametrize(
    ("host", "pillar"),
    [
        ({"kernel_over": "tftp"}, {"methods": ["nfs"]}),
        ({}, {"methods": ["nfs"], "kernel_over": {"x86_64": "tftp"}}),
        ({}, {"methods": ["nfs"], "images": {"ALT 11": {**IMAGE, "initrd_url": "http://x/i"}}}),
        (
            {},
            {
                "images": {
                    "ALT 11": {
                        **IMAGE,
                        "stage2_http_url": "http://x/i.iso",
                        "initrd_url": "http://x/i",
                    }
                }
            },
        ),
    ],
)
def test_boot_that_this_server_cannot_see(host, pillar):
    """It would boot its entry for ever."""
    found = once_of({MAC: {**INSTALL, "once": True, **host}}, **pillar)
    assert found["hosts"] == {}
    assert "cannot detect the boot" in found["problems"][0]


def test_config_says_whether_and_has_no_hosts():
    assert config_of({MAC: LIVECD})["once"] is False
    config = config_of({MAC: {**LIVECD, "group": "lab"}}, {"lab": {"once": True}})
    assert config["once"] is True
    assert MAC not in str(config)


def test_installer_at_every_boot_is_warned_about():
    hosts = {f"pc{number}": INSTALL for number in range(9)}
    hosts["good"] = {**INSTALL, "once": True}
    warnings = resolve({"images": IMAGES, "hosts": hosts})["warnings"]
    assert warnings == [
        "netboot:hosts: pc0, pc1, pc2, pc3, pc4 and 4 more will start the installer at every boot; "
        "set once: true"
    ]


def test_menu_whose_default_asks_for_a_password():
    hosts = {"pc": {**INSTALL, "once": True, "menu": True}, "straight": {**INSTALL, "once": True}}
    menu = {"password": {"users": {"admin": f"$6$salt${'a' * 86}"}}}
    (warning,) = resolve({"images": IMAGES, "hosts": hosts, "menu": menu})["warnings"]
    assert warning.startswith("netboot:hosts: pc will boot from disk when the menu times out")


def test_local_disk_of_a_host_wins_over_what_its_group_boots_once():
    groups = {"lab": {**INSTALL, "once": True}}
    hosts = {"pc": {"group": "lab", "entry": "local"}}
    assert resolve({"images": IMAGES, "hosts": hosts, "groups": groups})["problems"] == []


def test_group_without_variant_is_told_once():
    hosts = {f"pc{number}": {"group": "lab"} for number in range(30)}
    groups = {"lab": {"image": "ALT 11"}}
    assert resolve({"images": IMAGES, "hosts": hosts, "groups": groups})["problems"] == [
        "netboot:groups:lab:variant: is missing; set it to livecd, install or rescue"
    ]
    hosts = {"pc1": {"group": "lab", "variant": "install", "once": True}}
    assert resolve({"images": IMAGES, "hosts": hosts, "groups": groups})["problems"] == []


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        ({"a": {"mac": 525400123456}}, "a:mac: must be a string: put it in quotes, '525400123456'"),
        ({"a": {"mac": 41135085296}},
         "a:mac: must be a string: put it in quotes, '52:54:00:12:34:56'"),
        ({41135085296: {}},
         "41135085296: the name must be a string: put it in quotes, '52:54:00:12:34:56'"),
        ({"a": {"mac": 3232235521.0}}, "a:mac: must be a string: put it in quotes"),
        ({525400123456: {}}, "525400123456: the name must be a string: put it in quotes"),
        ({"a": {"mac": "52:54:00:12:34"}}, "a:mac: must be a MAC address"),
        ({"a": {"mac": "52:54:00:12:34:5g"}}, "a:mac: must be a MAC address"),
        ({"a": {"mac": "01:54:00:12:34:56"}}, "a:mac: is a multicast address"),
        ({"52:54:00:12:34:5": {}}, "52:54:00:12:34:5: the name is not a MAC address, UUID or host"),
        ({"a": {"uuid": "f81d4fae"}}, "a:uuid: must be a UUID"),
        ({"a": {"hostname": "a b"}}, "a:hostname: must be letters, digits and . _ -"),
        ({"a": {"hostname": "${x}"}}, "a:hostname: must be letters, digits and . _ -"),
        ({"a": {"serial": 12345}}, "a:serial: must be a string: put it in quotes"),
        ({"a": {"serial": "../x"}}, "a:serial: contains '/'"),
        ({"a": {"product": "a${b}"}}, "a:product: contains '${'"),
        ({"a": {"product": "  "}}, "a:product: must be a string of ASCII characters"),
        ({"a": {"product": "x\ny"}}, "a:product: must be a string of ASCII characters"),
        ({"a": {"product": "Эльбрус"}}, "a:product: must be a string of ASCII characters"),
        ({"a": {"product": "p" * 201}}, "a:product: must be a string of ASCII characters"),
        ({"a b": {}}, "a b: the name must be up to 64 letters, digits and . _ : -"),
        ({"../a": {}}, "../a: the name must be up to 64 letters"),
        ({"a": None}, "a: must be a map of "),
        ({"a": {"imag": "x"}}, "a:imag: unknown key, did you mean image?"),
        ({"a": {"group": "lba"}}, "a:group: netboot:groups has no 'lba', did you mean lab?"),
        ({"a": {"image": "ALT 12", "variant": "livecd"}},
         "a:image: netboot:images has no 'ALT 12', did you mean ALT 11?"),
        ({"a": {"image": "ALT 11"}}, "a:variant: is missing; set it to livecd, install or rescue"),
        ({"a": {"variant": "install"}}, "a:image: is missing"),
        ({"a": {**INSTALL, "variant": "rescue"}},
         "a:variant: netboot:images:ALT 11:variants offers only livecd, install"),
        ({"a": {"group": "lab", "variant": "rescue"}},
         "a:variant: netboot:images:ALT 11:variants offers only livecd, install"),
        ({"a": {"variant": "instal", "image": "ALT 11"}},
         "a:variant: must be one of livecd, install, rescue, did you mean install?"),
        ({"a": {**INSTALL, "entry": "local"}}, "a:entry: contradicts image"),
        ({"a": {"entry": "disk"}}, "a:entry: must be one of local"),
        ({"a": {"once": True}}, "a:once: requires image and variant"),
        ({"a": {"once": True, "entry": "local"}}, "a:once: requires image and variant"),
        ({"a": {"once": True, **INSTALL, "product": "P"}}, "a:once: does not work for all"),
        ({"a": {"product": "P", "mac": MAC}}, "a:product: stands for many machines"),
        ({"a": {"product": "P", "manufacturer": "M"}}, "a:product: stands for many machines"),
        ({"a": {"menu": False}}, "a:menu: false requires image and variant, or entry: local"),
        ({"a": {"arguments": ["a b"]}}, "a:arguments: 'a b' must be a kernel argument"),
        ({"a": {"arguments": "a || b"}}, "a:arguments: '||' contains '||', which iPXE interprets"),
        ({"a": {"arguments": "a\nreboot"}}, "a:arguments: 'a\\nreboot' must be a kernel argument"),
        ({"a": {"arguments": "a #b"}}, "a:arguments: '#b' begins with #"),
        ({"a": {"arguments": "a" * 193}}, "a:arguments: must be at most 192 characters"),
        ({"a": {"timeout_s": 0}}, "a:timeout_s: must be an integer"),
        ({"a": {"kernel_over": "ftp"}}, "a:kernel_over: must be one of http, tftp"),
        ({"a": {"mac": MAC}, "b": {"mac": "525400ABCDEF"}},
         "b: has the same mac '525400abcdef' as netboot:hosts:a"),
        ({"p": {}, "b": {"hostname": "P"}}, "b: has the same hostname 'P' as netboot:hosts:p"),
        ({MAC: {}, "b": {"mac": MAC}}, "b: has the same mac '525400abcdef' as netboot:hosts:52:"),
        ({"PC1": {"mac": MAC}, "pc1": {}}, "pc1: clashes with netboot:hosts:PC1"),
        ({"pc9.school.lan": {}, "PC9": {}},
         "pc9.school.lan: has the host name 'pc9.school.lan', which is that of netboot:hosts:PC9 "),
        ({UUID: {}, "b": {"uuid": SWAPPED}}, f"b: has the same uuid '{SWAPPED}' as netboot:hosts"),
        ({"52_54_00_12_34_56": {}}, "52_54_00_12_34_56: the name is not a MAC address, UUID or"),
        ({"52-54-00-12-34-5": {}}, "52-54-00-12-34-5: the name is not a MAC address"),
        ({"52-54-0-12-34-56": {}}, "52-54-0-12-34-56: the name is not a MAC address"),
        ({"52-54-00-12-34-5g": {}}, "52-54-00-12-34-5g: the name is not a MAC address"),
        ({"5254.0012.345": {}}, "5254.0012.345: the name is not a MAC address"),
        ({"5254.0012.345O": {}}, "5254.0012.345O: the name is not a MAC address"),
        ({"525-400-123-456": {}}, "525-400-123-456: the name is not a MAC address"),
        ({UUID[:-1]: {}}, f"{UUID[:-1]}: the name is not a MAC address, UUID or host name; it re"),
        ({UUID.replace("a", "O"): {}}, f"{UUID.replace('a', 'O')}: the name is not a MAC address"),
        ({UUID.replace("-", "")[1:]: {}}, f"{UUID.replace('-', '')[1:]}: the name is not a MAC"),
        ({"a..b": {}}, "a..b: the name contains the label ''"),
        ({"198.18.0.7": {}}, "198.18.0.7: the name is a number with dots or an address"),
        ({"b" * 64: {}}, f"{'b' * 64}: the name contains 'bbb"),
    ],
)  # fmt: skip
def test_mistakes(hosts, problem):
    groups = {"lab": {"image": "ALT 11"}}
    found = resolve({"images": IMAGES, "hosts": hosts, "groups": groups})["problems"]
    assert len(found) == 1, found
    assert found[0].startswith(f"netboot:hosts:{problem}")


# From forums and from the lists of inventory programs.
NOBODY = {
    "serial": """To be filled by O.E.M.|To Be Filled By O.E.M|System Serial Number|Default string
Default_string| Default string |None|none|N.A.|Not Specified|Not Applicable|INVALID|Unknown|OEM
0123456789|123456789|1234567890|12345|01234567890123456789|00000000|XXXXXXXXXX|.|..|0|SN-12345
Chassis Serial Number|Base Board Serial Number|empty|SystemSerialNumb""",
    "uuid": """00000000-0000-0000-0000-000000000000|FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF
03000200-0400-0500-0006-000700080009|00020003-0004-0005-0006-000700080009|0300020004000500000600070\
0080009|01010101-0101-0101-0101-010101010101|fefefefe-fefe-fefe-fefe-fefefefefefe
00010203-0405-0607-0809-0a0b0c0d0e0f|12345678-1234-5678-90AB-CDDEEFAABBCC""",
    "mac": "00:00:00:00:00:00|000000000000|00-00-00-00-00-00|88:88:88:88:87:88",
    "hostname": "localhost|LOCALHOST|localhost.localdomain",
}


@pytest.mark.parametrize("kind", NOBODY)
def test_identity_that_many_machines_have(kind):
    """A host with it would install its image on every board of that make."""
    for value in NOBODY[kind].replace("\\\n", "").replace("\n", "|").split("|"):
        (problem,) = resolve({"images": IMAGES, "hosts": {"pc1": {kind: value}}})["problems"]
        assert problem.startswith(f"netboot:hosts:pc1:{kind}: is not unique"), value
        if kind != "serial" and " " not in value:
            (problem,) = resolve({"images": IMAGES, "hosts": {value: {}}})["problems"]
            assert problem.startswith(f"netboot:hosts:{value}: the name is not unique"), value
    assert resolve({"images": IMAGES, "hosts": {"a": {"mac": [MAC, "0" * 12]}}})["problems"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("serial", "5CD0123456"),
        ("serial", "PF12345"),
        ("serial", "00000001"),
        ("serial", "2345678"),
        ("uuid", "00000000-0000-0000-0000-ac1f6b123456"),
        ("uuid", "4c4c4544-0042-3510-8052-b4c04f4e3132"),
        ("mac", "00:00:00:00:00:01"),
        ("mac", "02:00:00:00:00:00"),
        ("hostname", "localhost1"),
        ("hostname", "none"),
        ("product", "Default string"),
    ],
)
def test_identity_of_one_machine(kind, value):
    assert resolve({"images": IMAGES, "hosts": {"pc1": {kind: value}}})["problems"] == []


def test_board_of_nobody_and_name_that_resembles_a_mac_are_warned_about():
    hosts = {
        "all": {"product": "To be filled by O.E.M.", "arguments": "nosplash"},
        "rest": {"manufacturer": "System manufacturer"},
        "52540012345O": LIVECD,
        "5254001234567": LIVECD,
        "cafe": LIVECD,
        "workstation1": LIVECD,
        "room-12-pc-01-ab": LIVECD,
        "dead.beef.lan": LIVECD,
    }
    done = resolve({"images": IMAGES, "hosts": hosts})
    assert done["problems"] == []
    near, shared = done["warnings"]
    assert near.startswith("netboot:hosts: 52540012345O, 5254001234567 may be a mistyped MAC")
    assert shared.startswith("netboot:hosts: all, rest matches all machines whose firmware has no")


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (
            {"lab": {"image": "ALT 12"}},
            "lab:image: netboot:images has no 'ALT 12', did you mean ALT",
        ),
        ({"lab": {"group": "x"}}, "lab:group: unknown key"),
        ({"lab": {"mac": MAC}}, "lab:mac: unknown key"),
        ({"lab": {**INSTALL, "entry": "local"}}, "lab:entry: contradicts image"),
        ({"lab": 3}, "lab: must be a map"),
    ],
)
def test_mistakes_of_groups(groups, problem):
    hosts = {"a": {"group": "lab", "variant": "livecd"}}
    found = resolve({"images": IMAGES, "hosts": {}, "groups": groups})["problems"]
    assert len(found) == 1, found
    assert found[0].startswith(f"netboot:groups:{problem}")
    assert resolve({"images": IMAGES, "hosts": hosts, "groups": groups})["problems"]


@pytest.mark.parametrize("shape", [[], "x", 3, {"a": 3}, {"a": []}, None])
def test_hosts_of_any_shape(shape):
    for key in ("hosts", "groups"):
        resolve({"images": IMAGES, key: shape})


def test_group_that_many_hosts_name_is_missing_once():
    hosts = {f"pc{number}": {"group": "class"} for number in range(1, 31)}
    assert netboot_hosts.problems(hosts, {"clas": {}}, {}, {}) == [
        "netboot:groups has no 'class', did you mean clas?; 30 hosts name it: pc1, pc2, pc3, pc4, "
        "pc5 and 25 more"
    ]


def test_group_that_installs_from_no_image_is_told_once():
    groups = {"room12": {"install": "school"}}
    hosts = {f"pc{number}": {"group": "room12"} for number in range(1, 31)}
    hosts["pc2"]["image"] = "ALT 11"
    assert netboot_hosts.problems(hosts, groups, {"ALT 11": {}}, {"school": {}}) == [
        "netboot:groups:room12:image: is missing; install requires the image to install on pc1, "
        "pc3, pc4, pc5, pc6 and 24 more"
    ]


SCHOOL = {"school": {"disk": "all", "root_password": HASH}}


@pytest.mark.parametrize(
    ("host", "group", "expected"),
    [
        ({"install": "school", "image": "ALT 11"}, {}, ("install", True, "ALT 11")),
        ({}, {"install": "school", "image": "ALT 11"}, ("install", True, "ALT 11")),
        ({"image": "ALT 11"}, {"install": "school"}, ("install", True, "ALT 11")),
        (
            {"install": "other"},
            {"install": "school", "image": "ALT 11"},
            ("install", True, "ALT 11"),
        ),
        # The host's own disk wins over what its group installs.
        ({"entry": "local"}, {"install": "school", "image": "ALT 11"}, (None, False, None)),
    ],
)
def test_install_sets_variant_and_once(host, group, expected):
    pillar = {"installs": {**SCHOOL, "other": SCHOOL["school"]}}
    config_of({"pc1": {"mac": MAC, "group": "g", **host}}, {"g": group}, **pillar)
    settings = netboot_hosts.settings_of({"mac": MAC, "group": "g", **host}, {"g": group})
    assert (settings.get("variant"), settings["once"], settings.get("image")) == expected
    assert ("install" in settings) == bool(expected[0])


def test_host_with_an_install_boots_its_disk_until_it_is_armed():
    hosts = {"pc1": {"mac": MAC, "install": "school", "image": "ALT 11"}}
    done = resolve({"images": IMAGES, "hosts": hosts, "installs": SCHOOL})
    assert (done["problems"], done["warnings"]) == ([], [])
    assert done["config"]["once"]
    assert done["config"]["installs"]["school"]["layout"] == "ext4"
    once = {"pc1": {"mac": MAC, **INSTALL, "once": True}}
    mine = [one for one in scripts_of(once) if "config-mac-" in one]
    assert mine
    assert [scripts_of(hosts, installs=SCHOOL)[one] for one in mine] == [
        scripts_of(once)[one] for one in mine
    ]


TOKEN = "0a" * 16


def installs(menu=False, methods=("http",), served=("efi", "pcbios"), **more):
    """The server's scripts while a host is armed to be installed."""
    hosts = {"pc1": {"mac": MAC, "image": "ALT 11", "install": "school", "menu": menu}}
    pillar = {"installs": {"school": {**SCHOOL["school"], **more}}, "methods": list(methods)}
    scripts = scripts_of(hosts, **pillar)
    host = once_of(hosts, **pillar)["hosts"]["pc1"]
    assert (host["install"], host["hostname"], host["network"]) == ("school", "pc1", None)
    text = netboot_host_scripts.armed_script({**host, "arming": TOKEN}, URL)
    assert problems(text) == []
    answers = {f"{URL}/host/pc1.{TOKEN}/answers/{on}/autoinstall.scm": "" for on in served}
    return {**scripts, f"{ONCE}/pc1.ipxe": text, **answers}


@pytest.mark.parametrize("platform", ["efi", "pcbios"])
@pytest.mark.parametrize(("finish", "words"), [("reboot", "ai"), ("poweroff", "ai poweroff")])
def test_armed_host_is_installed(platform, finish, words):
    client = boots(installs(finish=finish), platform=platform)
    curl = f"curl={URL}/host/pc1.{TOKEN}/answers/{platform}/"
    assert client.end.endswith(f" {words} {curl} boot")
    assert "install2.target" in client.end


def test_without_answers_no_installer_starts():
    """It would take those of its medium, whatever they wipe."""
    client = boots(installs(served=()))
    assert (client.end, client.kernel) == ("exit 1", "")
    asked = f"{URL}/host/pc1.{TOKEN}/answers/efi/autoinstall.scm"
    assert client.fetched.count(asked) == 5
    assert "n=answers" in client.seen[-2]


def test_no_time_out_wipes_a_disk():
    client = boots(installs(menu=True))
    assert client.end == "exit 1"
    assert "This machine is to be installed: its disk is wiped" in client.gaps


@pytest.mark.parametrize(
    ("chosen", "answered"),
    [("alt_11-install", True), ("alt_11-install-nfs-iso", False), ("alt_11-livecd", False)],
)
def test_only_the_entry_that_it_is_armed_for_gets_the_answers(chosen, answered):
    settings = {"platform": "efi", "mac": MAC, "netX/mac": MAC}
    scripts = installs(menu=True, methods=["http", "nfs"])
    client = Client(scripts, settings, chosen=[chosen])
    client.run(f"{TFTP}/config-x86_64.ipxe")
    assert ("curl=" in client.end) == answered
    assert ("install2.target" in client.end) == ("install" in chosen)


def test_other_hosts_get_no_answers():
    scripts = installs()
    settings = {"platform": "efi", "mac": "52:54:00:00:00:99"}
    client = Client(scripts, settings, chosen=["alt_11-install"])
    client.run(f"{TFTP}/config-x86_64.ipxe")
    assert "install2.target" in client.end
    assert "curl=" not in client.end
