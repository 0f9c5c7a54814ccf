"""The pillar: what is accepted, what is said about the rest."""

import json
import re

import jsonschema
import pytest
import yaml
from salt.exceptions import CommandExecutionError

import netboot_entries
import netboot_keys
import netboot_pillar
import netboot_values
from netboot_records import Records
from tests.conftest import CHECKOUT

TARGET = {
    "platform": ["debian"],
    "interfaces": {"eth0": ["192.0.2.10/24"], "eth1": ["198.51.100.1/16"], "wlan0": []},
    "addresses": ["127.0.0.1", "192.0.2.10", "192.0.2.11", "198.51.100.1"],
    "default_interface": "eth0",
    "selinux": False,
    "state_dir": "/var/lib/netboot",
}
PLATFORMS = yaml.safe_load((CHECKOUT / "salt/netboot/platforms.yaml").read_text())
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((CHECKOUT / "docs/pillar.schema.json").read_text()),
    format_checker=jsonschema.FormatChecker(),
)
SHA256 = "0123456789abcdef" * 4
URL = "http://example.org/p11/alt-server-11.0-x86_64.iso"
IMAGE = {"url": URL, "checksum": {"sha256": SHA256}}
HASH = f"$6$salt${'a' * 86}"
INSTALL = {"disk": "all", "root_password": HASH}


def _without_none(settings):
    return {key: one for key, one in settings.items() if one is not None}


def installed(host=None, install=None, **pillar):
    """A pillar with an install, and a host with it."""
    pc1 = {"mac": "52:54:00:12:34:56", "image": "a", "install": "school", **(host or {})}
    return {
        "images": {"a": IMAGE},
        "installs": {"school": _without_none({**INSTALL, **(install or {})})},
        "hosts": {"pc1": _without_none(pc1)},
        **pillar,
    }


def resolve(pillar, **target):
    """What the project makes of a pillar. Each that it accepts must fit docs/pillar.schema.json."""
    resolved = netboot_pillar.resolve(pillar, {**TARGET, **target}, PLATFORMS)
    if not resolved["problems"]:
        SCHEMA.validate({"netboot": json.loads(json.dumps(pillar))})
    return resolved


def problems(pillar, **target):
    return resolve(pillar, **target)["problems"]


def test_url_and_checksum_are_enough():
    config = resolve({"images": {"ALT Server 11": IMAGE}})["config"]
    assert config["interface"] == "eth0"
    assert config["address"] == "192.0.2.10"
    assert config["network"] == "192.0.2.0"
    assert config["http"] == {
        "port": 80,
        "url": "http://192.0.2.10",
        "listen": [],
        "listing": "json",
        "certificate": "",
        "key": "",
        "https_port": 443,
        "clients_at_once": 0,
    }
    assert config["root"] == "/srv/export"
    assert config["menu"]["timeout_s"] == 30
    assert config["schedule"] == {}
    assert config["images"] == [
        {
            "name": "ALT Server 11",
            "label": "alt_server_11",
            "file": "alt-server-11.0-x86_64.iso",
            "sources": [URL],
            "mirrors": [],
            "controller": [],
            "checksum": {"sha256": SHA256},
            "sums": False,
            "refresh": False,
            "verify": "changed",
            "overrides": {},
            "offer": {
                "arguments": [],
                "extra_ipxe_conf": [],
                "password": False,
                "imgsize": False,
                "hash_mounted": False,
            },
            "unpack": "",
            "mount": False,
            "keep_iso": True,
        }
    ]
    assert config["prune"] is False


def test_sample_pillar_is_valid():
    pillar = yaml.safe_load((CHECKOUT / "pillar/netboot.sls.example").read_text())
    assert problems(pillar["netboot"]) == []


def test_empty_pillar_is_valid():
    assert problems({}) == []


def test_list_of_the_ansible_ancestor_gives_the_same_images():
    """The keys of asheplyakov/netinstall-alt's `alt_images`, with values of our own."""
    listed = {
        **IMAGE,
        "name": "ALT Server 11",
        "alt_arch": "x86_64",
        "grub_arch": "x86_64",
        "kernel": "boot/vmlinuz",
        "initrd": "boot/initrd.img",
        "variants": ["livecd", "install"],
        "live_size": 1000,
        "altinst_size": 1000,
        "need_ramdisk_size": False,
        "http_iso_boot": True,
    }
    (image,) = resolve({"images": [listed]})["config"]["images"]
    assert image["name"] == "ALT Server 11"
    assert image["overrides"] == {
        "alt_arch": "x86_64",
        "kernel": "boot/vmlinuz",
        "initrd": "boot/initrd.img",
    }
    assert image["offer"]["variants"] == ["livecd", "install"]


def test_image_on_another_server():
    """netinstall-alt's skip_iso_deploy: nothing is fetched, the pillar tells what the ISO would."""
    listed = {
        "name": "ALT p10",
        "alt_arch": "aarch64",
        "skip_iso_deploy": True,
        "kernel_url": "http://192.0.2.20/vmlinuz",
        "initrd_url": "http://192.0.2.20/full.cz",
        "stage2_http_url": "http://192.0.2.20/p10/x.iso",
        "live_size": 10240,
        "http_iso_boot": True,
    }
    config = resolve({"images": [listed]})["config"]
    assert config["images"] == []
    entries = netboot_entries.build(config, config["elsewhere"])["entries"]
    assert [(one["id"], one["kernel"]) for one in entries] == [
        ("alt_p10-livecd", "http://192.0.2.20/vmlinuz")
    ]
    assert "server:192.0.2.20,directory:/p10/x.iso live" in entries[0]["cmdline"]
    assert entries[0]["cmdline"].startswith("changedisk ")


@pytest.mark.parametrize("query", ["?id=5", "?path=/a/b", "#x"])
def test_names_of_boot_files_are_those_that_ipxe_gives(query):
    """UEFI kernels look for the initrd by it; it tells the first stage, too."""
    urls = {f"{one}_url": f"http://192.0.2.20/{one}{query}" for one in ("kernel", "initrd")}
    elsewhere = {
        **urls,
        "initrd_url": f"http://192.0.2.20/full.cz{query}",
        "skip_iso_deploy": True,
        "alt_arch": "x86_64",
        "stage2_http_url": "http://192.0.2.20/p10",
        "live_size": 10240,
    }
    config = resolve({"images": {"ALT p10": elsewhere}})["config"]
    (image,) = config["elsewhere"]
    assert (image["facts"]["kernel"], image["facts"]["initrd"]) == ("kernel", "full.cz")
    (entry,) = netboot_entries.build(config, [image])["entries"]
    assert entry["cmdline"].startswith("changedisk ")
    assert " initrd=full.cz showopts" in entry["cmdline"]


@pytest.mark.parametrize(
    "path", ["boot/vmlinuz", "/boot/vmlinuz", "./boot//vmlinuz", "boot/vmlinuz/"]
)
def test_path_in_the_iso_in_any_notation(path):
    config = resolve({"images": {"ALT p11": {**IMAGE, "kernel": path, "alt_arch": "i586"}}})[
        "config"
    ]
    assert config["images"][0]["overrides"] == {"kernel": "boot/vmlinuz", "alt_arch": "i586"}


def test_dhcp_off_as_yaml_reads_it():
    assert resolve(yaml.safe_load("dhcp: {mode: off}"))["config"]["dhcp"]["mode"] == "off"


def test_no_listing_as_yaml_reads_it():
    assert resolve(yaml.safe_load("http: {listing: off}"))["config"]["http"]["listing"] == "off"


def test_listening_on_one_address():
    config = resolve({"http": {"listen": ["192.0.2.10"]}})["config"]
    assert config["http"]["listen"] == ["192.0.2.10"]
    behind = {"address": "203.0.113.1", "virtual_address": True}
    assert problems({**behind, "http": {"listen": ["192.0.2.10"]}}) == []


def test_settings_are_used():
    config = resolve(
        {
            "interface": "eth1",
            "http": {"port": 8080},
            "menu": {"title": "Room 12", "timeout_s": 5},
            "images": {"a": IMAGE},
            "default_image": {"x86_64": "a"},
            "schedule": {"hours": 24},
        }
    )["config"]
    assert config["address"] == "198.51.100.1"
    assert config["network"] == "198.51.0.0"
    assert config["http"]["url"] == "http://198.51.100.1:8080"
    assert (config["menu"]["title"], config["menu"]["timeout_s"]) == ("Room 12", 5)
    assert config["menu"]["languages"] == ["en_US", "ru_RU"]
    assert config["default_image"] == {"x86_64": "a"}
    assert config["schedule"] == {"hours": 24, "splay_s": 600}


# The same for an install and a host with it.
_INSTALL = "netboot:installs:school:"
_PC1 = "netboot:hosts:pc1:"
_OWN = '((x (title . "x") (action . trivial) (actiondata ("/" (size 1 . #t)))))'
WRONG_INSTALLS = [
    ({"install": {"disk": None}}, f"{_INSTALL}disk: is missing"),
    ({"install": {"disk": "al"}}, f"{_INSTALL}disk: must be all, smallest, empty, a path"),
    (
        {"install": {"disk": "/dev/sda"}},
        f"{_INSTALL}disk: must be all, smallest, empty, a path such as /dev/disk/by-path/"
        "pci-0000:00:17.0-ata-1, or a range of sizes in GB such as [100, 600]; /dev/sda is another",
    ),
    ({"install": {"disk": [600, 100]}}, f"{_INSTALL}disk: must be all, smallest, empty, a path"),
    ({"install": {"dsk": "all"}}, f"{_INSTALL}dsk: unknown key, did you mean disk?"),
    ({"install": {"root_password": "secret"}}, f"{_INSTALL}root_password: must be a password's"),
    (
        {"install": {"root_password": f"$1$salt${'a' * 22}"}},
        f"{_INSTALL}root_password: must be a password's hash, as openssl passwd -6 prints it, not "
        "the password; MD5 is broken",
    ),
    (
        {"install": {"root_password": f"$6$salt${'a' * 85}"}},
        f"{_INSTALL}root_password: must be a whole hash",
    ),
    ({"install": {"root_password": 12345}}, f"{_INSTALL}root_password: must be a password's hash"),
    (
        {"install": {"users": {"pupil": {"password": "pupil"}}}},
        f"{_INSTALL}users:pupil:password: must be a password's hash",
    ),
    ({"install": {"users": {"pupil": {}}}}, f"{_INSTALL}users:pupil:password: is missing"),
    (
        {"install": {"users": {"root": {"password": HASH}}}},
        f"{_INSTALL}users:root: the name must not be root; its password is root_password",
    ),
    (
        {"install": {"users": {"pupil": {"password": HASH, "real_name": 'a"b'}}}},
        f"{_INSTALL}users:pupil:real_name: must be a name in one line",
    ),
    (
        {"install": {"users": {x: {"password": HASH, "autologin": True} for x in "ab"}}},
        f"{_INSTALL}users:b:autologin: a has it; one user can",
    ),
    ({"install": {"language": "ru"}}, f"{_INSTALL}language: must be a language and country"),
    ({"install": {"timezone": "moscow"}}, f"{_INSTALL}timezone: must be the name of a time zone"),
    ({"install": {"timezone": "Moscow"}}, f"{_INSTALL}timezone: must be the name of a time zone"),
    (
        {"install": {"keyboard": "ctrl_shift"}},
        f"{_INSTALL}keyboard: must be one of ctrl_shift_toggle,",
    ),
    ({"install": {"layout": "ext5"}}, f"{_INSTALL}layout: must be one of ext4, btrfs, own"),
    ({"install": {"layout": "own"}}, f"{_INSTALL}vm_profile: is missing; layout: own requires it"),
    ({"install": {"vm_profile": _OWN}}, f"{_INSTALL}vm_profile: requires layout: own, not ext4"),
    (
        {"install": {"layout": "own", "vm_profile": _OWN[:-1]}},
        f"{_INSTALL}vm_profile: line 1: a ( is not closed",
    ),
    (
        {"install": {"layout": "own", "vm_profile": f"{_OWN[:-1]} {_OWN[1:]}"}},
        f"{_INSTALL}vm_profile: must be one list with one profile",
    ),
    (
        {"install": {"layout": "own", "vm_profile": "((x (action . trivial)))"}},
        f"{_INSTALL}vm_profile: its profile must have (actiondata",
    ),
    ({"install": {"grub_device": "sda"}}, f"{_INSTALL}grub_device: must be a disk such as"),
    ({"install": {"interfaces": []}}, f"{_INSTALL}interfaces: must be a list of network cards"),
    ({"install": {"package_groups": ["a b"]}}, f"{_INSTALL}package_groups: must be a list of"),
    ({"install": {"packages": ["a b"]}}, f"{_INSTALL}packages: must be a list of package names"),
    ({"install": {"repositories": ["http://x"]}}, f"{_INSTALL}repositories: must be a list of"),
    (
        {"install": {"apt_proxy": "http://u:p@x:1"}},
        f"{_INSTALL}apt_proxy: must be the http:// URL of a proxy",
    ),
    ({"install": {"ntp": ["a b"]}}, f"{_INSTALL}ntp: 'a b' must be the name or IPv4 address"),
    ({"install": {"ntp": ["192.0.2.256"]}}, f"{_INSTALL}ntp: '192.0.2.256' must be the name or"),
    ({"install": {"files": {"etc/x": {"text": ""}}}}, f"{_INSTALL}files:etc/x: the name must be"),
    ({"install": {"files": {"/etc/x": {}}}}, f"{_INSTALL}files:/etc/x:text: is missing"),
    (
        {"install": {"files": {"/etc/x": {"text": "", "mode": 644}}}},
        f"{_INSTALL}files:/etc/x:mode: must be the mode of a file in quotes, such as '0644'",
    ),
    ({"install": {"commands": "reboot"}}, f"{_INSTALL}commands: must be a list of shell commands"),
    ({"install": {"commands": [""]}}, f"{_INSTALL}commands: must be a list of shell commands"),
    ({"install": {"script": "/x.sh"}}, f"{_INSTALL}script: must be the http://, https:// or ftp"),
    ({"install": {"salt": {"master": "a b"}}}, f"{_INSTALL}salt:master: must be the name or IPv4"),
    (
        {"install": {"salt": {"master_finger": ":".join(["ab"] * 32)}}},
        f"{_INSTALL}salt:master: is missing; salt:master_finger requires it",
    ),
    (
        {"install": {"salt": {"master": "salt", "master_finger": ":".join(["ab"] * 16)}}},
        f"{_INSTALL}salt:master_finger: must be the master's fingerprint (SHA-256), as salt-key "
        "-F master prints it: 32 pairs of hexadecimal digits with colons, not 16",
    ),
    ({"install": {"finish": "halt"}}, f"{_INSTALL}finish: must be one of reboot, poweroff"),
    (
        {"host": {"install": "shcool"}},
        f"{_PC1}install: netboot:installs has no 'shcool', did you mean school?",
    ),
    ({"host": {"image": None}}, f"{_PC1}image: is missing; install requires the image to install"),
    ({"host": {"variant": "livecd"}}, f"{_PC1}variant: contradicts install; remove one"),
    ({"host": {"once": False}}, f"{_PC1}once: contradicts install; nothing is installed again"),
    ({"host": {"image": None, "entry": "local"}}, f"{_PC1}entry: contradicts install"),
    (
        {"host": {"install": None, "group": "g"}, "groups": {"g": {"install": "scool"}}},
        "netboot:groups:g:install: netboot:installs has no 'scool', did you mean school?",
    ),
    (
        {
            "host": {"install": None, "group": "g", "variant": "rescue"},
            "groups": {"g": {"install": "school"}},
        },
        f"{_PC1}variant: contradicts install, which its group sets; remove one of the two",
    ),
    (
        {"images": {"a": {**IMAGE, "variants": ["livecd"]}}},
        f"{_PC1}install: netboot:images:a:variants offers only livecd",
    ),
    (
        {
            "images": {
                "a": {
                    "skip_iso_deploy": True,
                    "alt_arch": "x86_64",
                    "kernel_url": "http://192.0.2.20/vmlinuz",
                    "initrd_url": "http://192.0.2.20/full.cz",
                    "stage2_http_url": "http://192.0.2.20/x",
                    "altinst_size": 10240,
                }
            }
        },
        f"{_PC1}install: netboot:images:a is on another server (skip_iso_deploy)",
    ),
    (
        {"host": {"mac": None, "product": "X"}},
        f"{_PC1}install: does not work for all machines of a product; set it per host",
    ),
    (
        {"host": {"network": {"address": "192.0.2.31/24"}}},
        f"{_PC1}network:interface: is missing",
    ),
    (
        {"host": {"network": {"interface": "eth0", "address": "192.0.2.31"}}},
        f"{_PC1}network:address: must be an IPv4 address with the length of its prefix",
    ),
    (
        {
            "host": {
                "network": {
                    "interface": "eth0",
                    "address": "192.0.2.31/24",
                    "gateway": "198.51.100.1",
                }
            }
        },
        f"{_PC1}network:gateway: 198.51.100.1 is not in 192.0.2.0/24, the network of address",
    ),
    (
        {
            "host": {
                "image": None,
                "install": None,
                "network": {"interface": "eth0", "address": "192.0.2.31/24"},
            }
        },
        f"{_PC1}network: requires install, which sets it up",
    ),
]
# A pillar, and what must stand in its only problem.
WRONG = [
    ({"mirror": "yes"}, "netboot:mirror: must be one of only, also, off"),
    ({"site": "Moscow, 1"}, "netboot:site: must be a name of letters, digits and _ -, at most 64"),
    (
        {"share_url": "http://192.0.2.1/dist"},
        "netboot:share_url: must be the http:// URL of a server",
    ),
    ({"fetch": {"from": ["peer"]}}, "netboot:fetch:from: 'peer' is not one of controller, peers"),
    (
        {"mirror": "also", "images": {"a": {**IMAGE, "keep_iso": False}}},
        "netboot:images:a:keep_iso: false contradicts netboot:mirror",
    ),
    *((installed(**given), wrong) for given, wrong in WRONG_INSTALLS),
    (
        {"groups": {"g": {"network": {"address": "192.0.2.31/24"}}}},
        "netboot:groups:g:network: unknown key",
    ),
    (
        installed(
            hosts={
                name: {"image": "a", "install": "school", "network": network}
                for name, network in (
                    ("pc1", {"interface": "eth0", "address": "192.0.2.31/24"}),
                    ("pc2", {"interface": "eth1", "address": "192.0.2.31/16"}),
                )
            }
        ),
        "netboot:hosts:pc2:network:address: 192.0.2.31 is that of netboot:hosts:pc1",
    ),
    ([], "netboot: must be a map"),
    ({"imags": {}}, "netboot:imags: unknown key, did you mean images?"),
    ({"zzz": 1}, "netboot:zzz: unknown key, known keys: address, "),
    ({"images": {"a": {**IMAGE, "sum": 1}}}, "netboot:images:a:sum: unknown key"),
    ({"images": {"a": {"url": URL}}}, "netboot:images:a:checksum: is missing"),
    ({"images": {"a": {"checksum": {"sha256": SHA256}}}}, "netboot:images:a:url: is missing"),
    (
        {"images": {"a": {**IMAGE, "checksum": {"sha265": SHA256}}}},
        "netboot:images:a:checksum:sha265: unknown key, did you mean sha256?",
    ),
    (
        {"images": {"a": {**IMAGE, "checksum": {"sha256": SHA256[:-1]}}}},
        "netboot:images:a:checksum:sha256: must be 64 hexadecimal digits, but has 63",
    ),
    (
        {"images": {"a": {**IMAGE, "checksum": {"sha256": "g" * 64}}}},
        "netboot:images:a:checksum:sha256: contains characters that are not hexadecimal digits",
    ),
    (
        {"images": {"a": {**IMAGE, "checksum": {"md5": 12345}}}},
        "netboot:images:a:checksum:md5: must be 32 hexadecimal digits, in quotes",
    ),
    ({"images": {"a": {**IMAGE, "checksum": SHA256}}}, "netboot:images:a:checksum: must be a map"),
    ({"images": {"a": "x"}}, "netboot:images:a: must be a map"),
    ({"images": "x"}, "netboot:images: must be a map"),
    ({"images": [{"url": URL}]}, "netboot:images:0: must be a map with a name"),
    (
        {"images": [{"name": "a", **IMAGE}, {"name": "a", **IMAGE}]},
        "netboot:images:a: the name occurs twice in the list",
    ),
    (
        {"images": {"A b": IMAGE, "a_B": {**IMAGE, "url": URL.replace("server", "x")}}},
        "netboot:images:a_B: has the same directory name 'a_b' as netboot:images:A b",
    ),
    (
        {"images": {"Overlays-Live": IMAGE}},
        "netboot:images:Overlays-Live: altboot lays what overlays-live contains over systems",
    ),
    (
        {"images": {"a": IMAGE, "b": {**IMAGE, "url": URL.replace(".org", ".net")}}},
        "netboot:images:b:url: has the same file name 'alt-server-11.0-x86_64.iso' as "
        "netboot:images:a:url",
    ),
    ({"images": {"a;b": IMAGE}}, "netboot:images:a;b: the name contains ';'"),
    ({"images": {"a/b": IMAGE}}, "netboot:images:a/b: the name may only contain"),
    (
        {"images": {"Альт": IMAGE, "Alt": {**IMAGE, "file": "b.iso"}}},
        "netboot:images:Alt: has the same directory name 'alt' as netboot:images:Альт",
    ),
    ({"images": {"ь": IMAGE}}, "netboot:images:ь: the name in Latin letters"),
    ({"images": {"ь..": IMAGE}}, "netboot:images:ь..: the name becomes '..' as a directory"),
    ({"images": {"Щ" * 70: IMAGE}}, f"netboot:images:{'Щ' * 70}: the name becomes 'shchshch"),
    ({"images": {"画像": IMAGE}}, "netboot:images:画像: the name contains characters"),
    (
        {"images": {"a": {**IMAGE, "url": "smb://x/a.iso"}}},
        "netboot:images:a:url: must be the http",
    ),
    (
        {"images": {"a": {**IMAGE, "url": "file://x/a.iso"}}},
        "netboot:images:a:url: must be the http",
    ),
    ({"images": {"a": {**IMAGE, "mirrors": URL}}}, "netboot:images:a:mirrors: must be a list"),
    (
        {"images": {"a": {**IMAGE, "mirrors": [URL, "x/a.iso"]}}},
        "netboot:images:a:mirrors: 'x/a.iso' must be the http",
    ),
    ({"images": {"a": {**IMAGE, "sums": "yes"}}}, "netboot:images:a:sums: must be true or false"),
    ({"images": {"a": {**IMAGE, "sums": True}}}, "netboot:images:a:sums: contradicts checksum"),
    (
        {"images": {"a": {"url": URL, "refresh": True}}},
        "netboot:images:a:refresh: requires sums: true",
    ),
    (
        {"images": {"a": {**IMAGE, "sums": True, "refresh": True}}},
        "netboot:images:a:refresh: contradicts checksum",
    ),
    (
        {"images": {"a": {**IMAGE, "verify": "allways"}}},
        "netboot:images:a:verify: must be one of changed, always, did you mean always?",
    ),
    ({"mirrors": "http://x/"}, "netboot:mirrors: must be a list"),
    ({"mirrors": ["http://x/dist", "/srv"]}, "netboot:mirrors: '/srv' must be the http"),
    ({"fetch": {"at_once": 0}}, "netboot:fetch:at_once: must be an integer from 1 to 64"),
    ({"images": {"a": {**IMAGE, "url": "http://x/a,b.iso"}}}, "netboot:images:a:url: must end in"),
    ({"images": {"a": {**IMAGE, "url": "http://x/a.img"}}}, "netboot:images:a:url: must end in"),
    (
        {"images": {"a": {**IMAGE, "url": "https://x/download?id=5"}}},
        "netboot:images:a:url: must end in a file name of letters, digits and . _ + - with the "
        "suffix .iso, not 'download'; or set netboot:images:a:file",
    ),
    (
        {"images": {"a": {**IMAGE, "file": "../a.iso"}}},
        "netboot:images:a:file: must be a file name of",
    ),
    (
        {"images": {"a": {**IMAGE, "file": "-a.iso"}}},
        "netboot:images:a:file: must be a file name of",
    ),
    (
        {"images": {"a": {**IMAGE, "url": "http://x/a%2Fb.iso"}}},
        "netboot:images:a:url: must end in a file name of",
    ),
    (
        {"images": {"a": {**IMAGE, "file": "b.iso"}, "b": {**IMAGE, "url": "http://x/b.iso"}}},
        "netboot:images:b:url: has the same file name 'b.iso' as netboot:images:a:url; set "
        "another one in netboot:images:b:file",
    ),
    *(
        ({"images": {"a": {**IMAGE, "url": url}}}, "netboot:images:a:url: must be the http")
        for url in ("ftp://x/a.iso?b", "http://x/a.iso#b", "http://x/", "http://x/a\nb.iso")
    ),
    (
        {"images": {"a": {**IMAGE, "kernel": "../x"}}},
        "netboot:images:a:kernel: must not contain ..",
    ),
    (
        {"images": {"a": {**IMAGE, "variants": ["live"]}}},
        "netboot:images:a:variants: 'live' is not one of livecd, install, rescue, "
        "did you mean livecd?",
    ),
    (
        {"images": {"a": {**IMAGE, "alt_arch": "amd64"}}},
        "netboot:images:a:alt_arch: must be one of x86_64",
    ),
    (
        {"images": {"a": {**IMAGE, "unpack": "stage"}}},
        "netboot:images:a:unpack: must be one of stages, tree, did you mean stages?",
    ),
    (
        {"images": {"a": {**IMAGE, "mount": "yes"}}},
        "netboot:images:a:mount: must be true or false",
    ),
    (
        {"images": {"a": {**IMAGE, "mount": True, "keep_iso": False}}},
        "netboot:images:a:keep_iso: must not be false when mount is true",
    ),
    (
        {"images": {"a": {**IMAGE, "mount": True, "unpack": "tree"}}},
        "netboot:images:a:unpack: contradicts mount",
    ),
    ({"prune": "no"}, "netboot:prune: must be true or false"),
    ({"interface": "eth7"}, "netboot:interface: this machine has no interface 'eth7', it has eth0"),
    ({"interface": "wlan0"}, "netboot:interface: wlan0 has no IPv4 address"),
    ({"interface": ["eth 0"]}, "netboot:interface: must be the name of a network interface"),
    ({"address": "10.0.0.300"}, "netboot:address: must be an IPv4 address"),
    ({"root": "srv"}, "netboot:root: must be an absolute path"),
    ({"root": "/tmp"}, "netboot:root: must be a directory of its own; /tmp belongs"),
    ({"root": "/etc/netboot"}, "netboot:root: must be a directory of its own"),
    ({"root": "/var/lib/netboot/x"}, "netboot:root: must be a directory of its own"),
    ({"menu": {"title": "--- ALT ---"}}, "netboot:menu:title: must not begin with -"),
    ({"menu": {"title": "A" * 77}}, "netboot:menu:title: must be at most 76 characters"),
    ({"images": {"a" * 77: IMAGE}}, f"netboot:images:{'a' * 77}: the name must be at most 76"),
    ({"images": [{**IMAGE, "name": ["x"]}]}, "netboot:images:0: must be a map with a name"),
    (
        {"images": {"a": {**IMAGE, "url": "http://[::1/a.iso"}}},
        "netboot:images:a:url: is not a valid URL",
    ),
    (
        {"images": {"a": {**IMAGE, "mirrors": ["http://me:s/e cret@[x/a.iso"]}}},
        "netboot:images:a:mirrors: 'http://***@[x/a.iso' is not a valid URL; in passwords write /",
    ),
    (
        {"images": {"a": {**IMAGE, "mirrors": ["http://[::1/a.iso"]}}},
        "netboot:images:a:mirrors: 'http://[::1/a.iso' is not a valid URL",
    ),
    (
        {"mirrors": ["http://[::1/p11"], "images": {"a": IMAGE}},
        "netboot:mirrors: 'http://[::1/p11' is not a valid URL",
    ),
    (
        {"mirrors": ["http://me:secret/x@h/p11"], "images": {"a": IMAGE}},
        "netboot:mirrors: 'http://***@h/p11' is not a valid URL; in passwords write / as %2F",
    ),
    (
        {"firmware": {"bios": {"url": "http://[::1/a.kpxe", "checksum": {"sha256": SHA256}}}},
        "netboot:firmware:bios:url: is not a valid URL",
    ),
    (
        {"secure_boot": {"efi-x86_64": {"shim": {"url": "https://:80/shim.efi"}}}},
        "netboot:secure_boot:efi-x86_64:shim:url: is not a valid URL: it lacks a host",
    ),
    (
        {"images": {"a": {**IMAGE, "kernel_url": "http://h:0/vmlinuz"}}},
        "netboot:images:a:kernel_url: is not a valid URL",
    ),
    (
        {"images": {"a": {**IMAGE, "stage2_http_url": "http://h]/x.iso"}}},
        "netboot:images:a:stage2_http_url: is not a valid URL",
    ),
    (
        {"images": {"a": {**IMAGE, "url": "http://x:99999/a.iso"}}},
        "netboot:images:a:url: is not a valid URL",
    ),
    (
        {"images": {"a": {**IMAGE, "url": f"http://x/{'a' * 200}.iso"}}},
        "netboot:images:a:url: must end in a file name of at most 200",
    ),
    ({"default_image": {"x86_64": "b"}}, "netboot:default_image:x86_64: netboot:images has no 'b'"),
    ({"default_image": {"amd64": "b"}}, "netboot:default_image:amd64: must be one of x86_64"),
    ({"default_image": "b"}, "netboot:default_image: must be a map"),
    ({"menu": {"timeout": 5}}, "netboot:menu:timeout: unknown key, did you mean timeout_s?"),
    ({"menu": {"timeout_s": "5"}}, "netboot:menu:timeout_s: must be an integer from 1"),
    ({"menu": {"timeout_s": True}}, "netboot:menu:timeout_s: must be an integer from 1"),
    ({"menu": {"title": "a\nkernel b"}}, "netboot:menu:title: contains characters"),
    ({"menu": {"title": "${mac}"}}, "netboot:menu:title: contains '${'"),
    ({"menu": {"title": "a || goto b"}}, "netboot:menu:title: contains '||'"),
    ({"menu": {"title": "Room 12 \\"}}, "netboot:menu:title: ends in a backslash"),
    ({"menu": {"extra": {"a": {"script": "x \\\n"}}}}, "netboot:menu:extra:a:script: ends in a b"),
    (
        {"menu": {"extra": {"a": {"script": "x\ry"}}}},
        "netboot:menu:extra:a:script: contains characters",
    ),
    (
        {"menu": {"extra": {"a": {"script": "x\u2028y"}}}},
        "netboot:menu:extra:a:script: contains characters",
    ),
    ({"menu": {"extra": {"a": {"chain": "x"}}}}, "netboot:menu:extra:a:chain: must be an http://"),
    (
        {"menu": {"extra": {"a": {}}}},
        "netboot:menu:extra:a: set exactly one of kernel, chain and script",
    ),
    (
        {"menu": {"extra": {"a": {"chain": "http://x/y", "initrd": "http://x/y"}}}},
        "netboot:menu:extra:a: initrd and arguments require kernel",
    ),
    (
        {"menu": {"extra": {"a": {"script": "echo\n:local"}}}},
        "netboot:menu:extra:a:script: contains the label ':local'",
    ),
    ({"menu": {"languages": ["ru"]}}, "netboot:menu:languages: 'ru' must be a locale"),
    (
        {"dhcp": "proxy"},
        "netboot:dhcp: must be a map of clients_at_once, leases, mode, relayed, subnets, "
        "did you mean dhcp: {mode: proxy}?",
    ),
    (
        {"dhcp": False},  # as YAML reads off
        "netboot:dhcp: must be a map of clients_at_once, leases, mode, relayed, subnets, "
        "did you mean dhcp: {mode: off}?",
    ),
    (
        {"http": 8080},  # two keys take it
        "netboot:http: must be a map of certificate, clients_at_once, https_port, key, listen, "
        "listing, port",
    ),
    (
        {"menu": {"password": {"users": {"a": "secret"}}}},
        "netboot:menu:password:users:a: must be a password's hash",
    ),
    (
        {"menu": {"password": {"users": {"a b": f"$6$a${'a' * 86}"}}}},
        "netboot:menu:password:users:a b: must",
    ),
    ({"arguments": {"x86_64": "a;b"}}, "netboot:arguments:x86_64: 'a;b' contains ';'"),
    ({"arguments": {"x86_64": ["a b"]}}, "netboot:arguments:x86_64: 'a b' must be a kernel argum"),
    ({"arguments": {"x86_64": "#a"}}, "netboot:arguments:x86_64: '#a' begins with #"),
    ({"arguments": {"x86_64": "a\\"}}, "netboot:arguments:x86_64: 'a\\\\' ends in a backslash"),
    (
        {"arguments": {"x86_64": ["a" * 500, "b" * 524]}},
        "netboot:arguments:x86_64: must be at most 1024 characters long in total",
    ),
    (
        {"http": {"port": 50005}, "methods": ["ftp"], "images": {"a": IMAGE}},
        "netboot:ftp:passive_ports: FTP needs TCP port 50005, which netboot:http:port assigns",
    ),
    (
        {"http": {"port": 445}, "methods": ["cifs"], "images": {"a": IMAGE}},
        "netboot:methods: SMB needs TCP port 445, which netboot:http:port assigns to HTTP",
    ),
    (
        {"tftp": {"ports": [4000, 4999]}},
        "netboot:dhcp:mode: PXE needs UDP port 4011, which netboot:tftp:ports assigns to TFTP",
    ),
    ({"menu": {"languages": ["ru_RU", "ru_RU"]}}, "netboot:menu:languages: contains a duplicate"),
    (
        {"default_variant": {"x86_64": "install"}},
        "netboot:default_variant:x86_64: requires netboot:default_image:x86_64",
    ),
    (
        {"images": {"a": {**IMAGE, "password": True}}},
        "netboot:images:a:password: requires netboot:menu:password:users",
    ),
    (
        {"menu": {"extra": {"a": {"script": "reboot", "password": True}}}},
        "netboot:menu:extra:a:password: requires netboot",
    ),
    ({"arguments": {"x86_64": "${a}" * 99 + "\t"}}, "netboot:arguments:x86_64: '${a}"),
    ({"nfs": {"clients": [True]}}, "netboot:nfs:clients: True must be a network"),
    ({"groups": {"a: b": {"image": []}}}, "netboot:groups:a: b:image: must be a string"),
    ({"arguments": {"x86": "a"}}, "netboot:arguments:x86: must be one of x86_64"),
    ({"arguments": {"x86_64": "a=${b"}}, "netboot:arguments:x86_64: 'a=${b' contains '${'"),
    ({"methods": ["smb"]}, "netboot:methods: 'smb' is not one of http, cifs, nfs, ftp"),
    (
        {"images": {"a": {**IMAGE, "extra_ipxe_conf": [{"snippet": ":x"}]}}},
        "netboot:images:a:extra_ipxe_conf: snippet contains the label ':x'",
    ),
    (
        {"images": {"a": {**IMAGE, "skip_iso_deploy": True, "live_size": 1}}},
        "netboot:images:a:alt_arch: is missing; skip_iso_deploy: true",
    ),
    (
        {"images": {"a": {**IMAGE, "stage2_http_url": "http://x/a,b"}}},
        "netboot:images:a:stage2_http_url: must be an http:// URL without commas",
    ),
    (
        {"dhcp": {"mode": "porxy"}},
        "netboot:dhcp:mode: must be one of proxy, server, off, did you mean",
    ),
    ({"http": {"port": 0}}, "netboot:http:port: must be an integer from 1 to 65535"),
    ({"http": {"listing": "xml"}}, "netboot:http:listing: must be one of json, html, off"),
    ({"http": {"listen": "192.0.2.10"}}, "netboot:http:listen: must be a list of IPv4 addresses"),
    ({"http": {"listen": ["192.0.2"]}}, "netboot:http:listen: '192.0.2' must be an IPv4 address"),
    (
        {"http": {"listen": ["192.0.2.10", "192.0.2.12"]}},
        "netboot:http:listen: this machine does not have 192.0.2.12 (it has 127.0.0.1, ",
    ),
    (
        {"http": {"listen": ["192.0.2.11"]}},
        "netboot:http:listen: lacks 192.0.2.10, from which clients on eth0 fetch",
    ),
    (
        {"http": {"listen": ["192.0.2.10"]}, "interface": ["eth0", "eth1"]},
        "netboot:http:listen: lacks 198.51.100.1, from which clients on eth1 fetch",
    ),
    ({"http": {"certificate": "a.pem"}}, "netboot:http:certificate: must be an absolute path"),
    (
        {"http": {"certificate": "/etc/ssl/a.pem"}},
        "netboot:http:key: is missing; netboot:http:certificate",
    ),
    (
        {"http": {"key": "/etc/ssl/a.key"}},
        "netboot:http:certificate: is missing; netboot:http:key",
    ),
    (
        {"http": {"certificate": "/a.pem", "key": "/a.key", "https_port": 80}},
        "netboot:http:https_port: HTTPS needs TCP port 80, which netboot:http:port assigns to HTTP",
    ),
    ({"schedule": {"splay_s": 3}}, "netboot:schedule: set either hours or minutes"),
]


@pytest.mark.parametrize(("pillar", "said"), WRONG, ids=[said for _, said in WRONG])
def test_mistake_is_named(pillar, said):
    (problem,) = problems(pillar)
    assert problem.startswith(said)
    assert "\n" not in problem


@pytest.mark.parametrize("state_dir", ["records", "", None, 3, "/", "/a/../b", "/a/", "/a b"])
def test_wrong_directory_of_records(state_dir):
    (problem,) = problems({}, state_dir=state_dir)
    option = "minion option netboot.state_dir: must be an absolute path"
    assert problem.startswith(option)
    with pytest.raises(CommandExecutionError, match=option):
        Records.of({"netboot.state_dir": state_dir}, {})


def test_records_and_root_are_separate():
    for root, state_dir in (
        *(("/data/a", "/data/a"), ("/data/a", "/data"), ("/data/a", "/data/a/b")),
        ("/data/a-once", "/data/a"),  # the scripts of armed hosts
    ):
        (problem,) = problems({"root": root}, state_dir=state_dir)
        assert problem.startswith(f"netboot:root: {root} and the minion option netboot.state_dir, ")
    assert problems({"root": "/data/a"}, state_dir="/data/ab") == []
    for root in ("/var/lib/dpkg", "/var/run/x", "/lib32", "/var/lib/netboot-once"):
        assert problems({"root": root})


@pytest.mark.parametrize("host", [True, [1], {"mac": 5}, {"group": []}, {"arguments": 5}])
def test_host_with_two_mistakes(host):
    """A colon and a space in a name look like the end of the key in a problem."""
    name, value = problems({"hosts": {"a: b": host}})
    assert name.startswith("netboot:hosts:a: b: the name must")
    assert value.startswith("netboot:hosts:a: b:")


def test_all_mistakes_are_told_at_once():
    found = problems({"imags": {}, "interface": "eth7", "images": {"a": {"url": URL}}})
    assert [one.split(": ")[0] for one in found] == [
        "netboot:imags",
        "netboot:interface",
        "netboot:images:a:checksum",
    ]


def test_no_default_route_and_no_interface():
    (problem,) = problems({}, default_interface=None)
    assert problem.startswith("netboot:interface: is missing")


def test_default_route_over_an_interface_without_an_address():
    (problem,) = problems({}, default_interface="wlan0")
    assert problem.startswith("netboot:interface: is missing, and wlan0, which has the default")


def test_form_of_an_image_is_resolved():
    asked = {"unpack": "tree", "keep_iso": False}
    config = resolve({"images": {"a": {**IMAGE, **asked}}, "prune": True})["config"]
    (image,) = config["images"]
    assert asked.items() <= image.items()
    assert image["overrides"] == {}
    assert config["prune"] is True


def test_weak_checksum_is_a_warning():
    resolved = resolve({"images": {"a": {"url": URL, "checksum": {"md5": "0" * 32}}}})
    assert resolved["problems"] == []
    (warning,) = resolved["warnings"]
    assert warning.startswith("netboot:images:a:checksum: md5 alone can be forged")


def test_sources_are_tried_from_the_nearest_on():
    image = {**IMAGE, "url": "ftp://far/p11/a.iso", "mirrors": ["file:///media/b.iso"]}
    pillar = {"mirrors": ["http://near/dist", "https://nearer/"], "images": {"a": image}}
    assert resolve(pillar)["config"]["images"][0]["sources"] == [
        "http://near/dist/a.iso",
        "https://nearer/a.iso",
        "ftp://far/p11/a.iso",
        "file:///media/b.iso",
    ]


def test_order_of_sources_is_the_pillar_s():
    pillar = {
        "mirrors": ["http://near/dist"],
        "images": {"a": {**IMAGE, "url": "http://far/a.iso"}},
    }
    order = {"from": ["upstream", "peers", "mirrors"]}
    (image,) = resolve({**pillar, "fetch": order})["config"]["images"]
    assert image["sources"] == ["http://far/a.iso", "http://near/dist/a.iso"]
    (image,) = resolve({**pillar, "fetch": {"from": ["peers"]}})["config"]["images"]
    assert image["sources"] == []


def test_mirror_has_the_pillar_of_servers_and_does_nothing_for_clients():
    pillar = {
        "images": {"a": IMAGE},
        "dhcp": {
            "mode": "server",
            "subnets": {"192.0.2.0/24": {"range": ["192.0.2.100", "192.0.2.199"]}},
        },
        "methods": ["http", "cifs"],
        "hosts": {"pc1": {"mac": "52:54:00:12:34:56", "image": "a", "variant": "livecd"}},
    }
    resolved = resolve({**pillar, "mirror": "only"})
    assert resolved["problems"] == []
    config = resolved["config"]
    assert (config["dhcp"]["mode"], config["serves"], config["probe"]) == ("off", ["http"], False)
    assert config["share_url"] == "http://192.0.2.10"
    also = resolve({**pillar, "mirror": "also"})["config"]
    assert also["serves"] == ["cifs", "http"]


@pytest.mark.parametrize(
    ("url", "more", "file"),
    [
        (
            "https://x/sisyphus/regular.iso",
            {"file": "sisyphus-regular.iso"},
            "sisyphus-regular.iso",
        ),
        ("https://x/download?id=5&b=a/b", {"file": "a.iso"}, "a.iso"),
        ("https://x/a.iso?token=secret", {}, "a.iso"),
        ("https://x/a.iso/download", {"file": "a.iso"}, "a.iso"),
        ("https://x/ALT%20Linux/a%2B.iso", {}, "a+.iso"),
        ("https://x/ALT Linux/a.iso", {}, "a.iso"),
        ("https://x/a.iso", {"mirrors": ["https://x/get?id=5"]}, "a.iso"),
        ("file:///srv/ALT Linux/\u0438\u0441\u043e.iso", {"file": "iso.iso"}, "iso.iso"),
    ],
)
def test_file_name_of_an_iso(url, more, file):
    pillar = {"mirrors": ["http://near/ALT Linux/"], "images": {"a": {**IMAGE, "url": url, **more}}}
    (image,) = resolve(pillar)["config"]["images"]
    assert image["file"] == file
    nearer = f"http://near/ALT Linux/{file}"
    assert image["sources"] == [nearer, url, *more.get("mirrors", [])]


def test_sums_that_any_minion_can_forge():
    image = {"url": "https://x.example/a.iso", "sums": True}
    resolved = resolve({"images": {"a": image}, "fetch": {"from": ["peers", "master"]}})
    (warning,) = resolved["warnings"]
    assert warning.startswith("netboot:images:a:sums: any minion of this master can say")
    assert resolve({"images": {"a": image}})["warnings"] == []


@pytest.mark.parametrize(
    ("url", "mirrors", "warned"),
    [
        ("https://x/a.iso", [], False),
        ("file:///x/a.iso", [], False),
        ("http://x/a.iso", [], True),
        ("https://x/a.iso", ["http://y"], True),
    ],
)
def test_sum_files_that_anybody_can_forge_are_a_warning(url, mirrors, warned):
    resolved = resolve({"mirrors": mirrors, "images": {"a": {"url": url, "sums": True}}})
    assert resolved["problems"] == []
    assert [one.split(": ")[0] for one in resolved["warnings"]] == [
        "netboot:images:a:sums"
    ] * warned


def test_schema_is_a_schema():
    SCHEMA.check_schema(SCHEMA.schema)


@pytest.mark.parametrize(
    "netboot",
    [
        {"imags": {}},
        {"images": {"a": {"url": URL, "chekcsum": {"sha256": SHA256}}}},
        {"images": {"a": {"checksum": {"sha256": SHA256}}}},
        {"images": {"a": {"url": URL, "checksum": {"sha256": "0"}}}},
        {"dhcp": {"mode": "proxi"}},
        {"default_image": {"x64": "a"}},
        {"admins": {"alice": {}}},
        {"menu": {"timeout_s": 0}},
        {"images": {"a": {"url": URL}}},
        {"images": {"a/b": IMAGE}},
        {"images": [IMAGE]},
        {"hosts": {"a b/c": {"mac": "52:54:00:12:34:56"}}},
        {"dhcp": {"leases": {"zz": {"address": "192.0.2.5"}}}},
        {"dhcp": {"subnets": {"192.0.2.0": {}}}},
        {"firmware": {"bios": {"url": "https://example.org/undionly.kpxe"}}},
        {"secure_boot": {"efi-x86_64": {"shim": {"url": "https://example.org/shim.efi"}}}},
        {"menu": {"password": {"users": {"a b": "x"}}}},
        {"admins": {"Alice": {"keys": ["ssh-ed25519 AAAA"]}}},
    ],
)
def test_schema_finds_mistakes(netboot):
    assert problems(netboot)
    assert not SCHEMA.is_valid({"netboot": netboot})


def test_no_key_is_documented_twice():
    keys = [row.path for row in netboot_keys.KEYS]
    assert len(keys) == len(set(keys))
    assert all(re.search(r"[.`]$", row.meaning) for row in netboot_keys.KEYS)


@pytest.mark.parametrize("value", ["Plain secret", HASH, [HASH]])
def test_password_in_the_place_of_a_user_is_not_repeated(value):
    install = {**INSTALL, "users": {"pupil": value}}
    (problem,) = netboot_values.problems({"installs": {"school": install}})
    assert problem == (
        "netboot:installs:school:users:pupil: must be a map of "
        "admin, autologin, password, real_name"
    )
