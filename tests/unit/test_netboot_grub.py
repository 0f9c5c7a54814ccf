"""GRUB's menus for machines with Secure Boot: iPXE's entries, and nothing gets out of quotes."""

import random
import re
import shutil
import subprocess

import pytest

import netboot_entries
import netboot_grub
import netboot_menus
import tests.unit.test_netboot_menus as of_ipxe
from tests.conftest import CHECKOUT
from tests.grub import GrubError, Machine, parsed
from tests.unit.test_netboot_entries import P11
from tests.unit.test_netboot_pillar import IMAGE, INSTALL, problems, resolve

TEMPLATE = (CHECKOUT / "salt/netboot/files/grub.cfg.jinja").read_text()
MAC, KEY = "52:54:00:00:00:01", "52-54-00-00-00-01"
ALT = {"name": "ALT signer", "issuer": "ALT CA"}
HOST = {"mac": MAC, "image": "ALT 0", "variant": "livecd"}
GRUB = {"secure_boot": {"efi-x86_64": {"image": "ALT 0"}}}


def secure(signer=ALT, lacks="", version="2.12", keys=("ALT CA",), key="old", **changed):
    """What was read of an image's boot files (see netboot_shapes)."""
    signed = {"signers": [signer] if signer else [], "changed": False, "sbat": {}, "keys": []}
    authorities = [[name, key] for name in (signer or {}).values()]
    signed.update(authorities=authorities, trusts=[], microsoft=[])
    return {
        "shim": "EFI/BOOT/BOOTX64.EFI",
        "grub": "EFI/BOOT/grubx64.efi",
        "grub_version": version,
        "lacks": lacks,
        "files": {
            "EFI/BOOT/BOOTX64.EFI": {
                **signed,
                "keys": list(keys),
                "trusts": [[name, "old"] for name in keys],
            },
            "EFI/BOOT/grubx64.efi": signed,
            P11["kernel"]: signed,
        },
        **changed,
    }


def made(names=("ALT 0",), facts=P11, boot=None, waits=False, hosts=None, groups=None, **pillar):
    """What a server with these images has for GRUB; `boot`: what was read, by name of the image."""
    boot = boot or {}
    images = {name: {**IMAGE, "url": f"http://x/{at}.iso"} for at, name in enumerate(names)}
    images = {**images, **pillar.pop("images", {})}
    asked = {"images": images, "hosts": hosts or {}, "groups": groups or {}, **GRUB, **pillar}
    resolved = resolve(asked)
    assert resolved["problems"] == []
    config = resolved["config"]
    records = [
        {
            "name": image["name"],
            "label": image["label"],
            "file": image["file"],
            "iso_sha256": "ab" * 32,
            "facts": {**facts, "secure_boot": boot.get(image["name"], secure())},
        }
        for image in config["images"]
    ]
    entries = netboot_entries.build(config, records)["entries"]
    done = netboot_grub.render(
        TEMPLATE, config, entries, asked["hosts"], asked["groups"], records, waits
    )
    checked({**done.menus, **done.hosts})
    return done


def checked(texts):
    """GRUB's own parser accepts the texts."""
    program = shutil.which("grub-script-check")
    assert program, "grub-script-check (grub-common) is missing"
    for name, text in texts.items():
        found = subprocess.run([program], input=text, capture_output=True, text=True)
        assert found.returncode == 0, f"{name}: {found.stderr}\n{text}"


def machine(done, more=None, alt=False, **given):
    files = {
        **done.menus,
        **done.hosts,
        **{f"grub/{name}": one for name, one in (more or {}).items()},
    }
    return Machine({name[len("grub/") :]: one for name, one in files.items()}, **given).starts(alt)


def config_of(**pillar):
    return resolve({"images": {"ALT 0": IMAGE}, **GRUB, **pillar})["config"]


def test_no_image_no_menu():
    assert made(secure_boot={}) == netboot_grub.Made({}, {}, [], [])


@pytest.mark.parametrize("alt", [False, True])
def test_nobody_assigned_anything(alt):
    client = machine(made(), alt=alt, disks=["/EFI/BOOT/BOOTX64.EFI"])
    assert client.env["timeout"] == "30"
    assert client.waits() == "chainloader (hd0,gpt1)/EFI/BOOT/BOOTX64.EFI"
    assert machine(made(), alt=alt).waits() == "exit 1"


def test_signed_loader_of_the_installed_system_first():
    disks = ["/EFI/BOOT/BOOTX64.EFI", "/EFI/altlinux/grubx64.efi", "/EFI/altlinux/shimx64.efi"]
    assert machine(made(), disks=disks).waits() == "chainloader (hd0,gpt1)/EFI/altlinux/shimx64.efi"


def test_loader_of_another_system():
    disks = ["/EFI/debian/grubx64.efi", "/EFI/debian/shimx64.efi", "/EFI/debian/mmx64.efi"]
    done = made()
    assert machine(done, disks=disks).waits() == "chainloader (hd0,gpt1)/EFI/debian/shimx64.efi"
    assert machine(done, disks=disks[2:]).waits() == "exit 1"


def test_default_entry():
    client = machine(made(default_image={"x86_64": "ALT 0"}))
    boots = client.waits()
    assert boots.startswith("linux /netboot/x86_64/alt_0/boot/vmlinuz fastboot root=bootchain ")
    assert boots.endswith(" initrd /netboot/x86_64/alt_0/boot/initrd.img")
    assert f"ifname=bootif0:{MAC} ip=bootif0:dhcp4 automatic=method:http" in boots
    assert "directory:/tftp/netboot/x86_64/alt_0 " in boots
    assert " lang=en_US " in boots
    assert "initrd=" not in boots
    assert "$" not in boots


def test_same_lines_as_in_ipxe():
    """Order, titles, keys and the default: as netboot_menus.view reads them from iPXE's menu."""
    names = ["ALT 0", "Школа"]
    pillar = {"default_image": {"x86_64": "ALT 0"}, "menu": {"timeout_s": 7}}
    config, entries = of_ipxe.made(2, names=names, **pillar)
    view = netboot_menus.view(config, "x86_64", [{**one, "secure_lacks": ""} for one in entries])
    client = machine(made(names, **pillar))
    count = len(view["lines"])
    assert count == 7
    assert [one.title for one in client.entries[:count]] == [one["title"] for one in view["lines"]]
    assert client.env["default"] == f"nb-{view['default']}"
    assert client.env["timeout"] == "7"
    assert [one.hotkey for one in client.entries[:count]] == ["l", *"123456"]


@pytest.mark.parametrize(
    ("settings", "words", "timeout"),
    [
        ({}, ["automatic=method:http"], "0"),
        ({"menu": True}, ["automatic=method:http"], "30"),
        ({"menu": True, "timeout_s": 5}, ["automatic=method:http"], "5"),
        ({"arguments": ["a=b", "mac=${mac}"]}, ["a=b", f"mac={MAC}"], "0"),
        ({"nic": "any"}, ["ip=dhcp4"], "0"),
    ],
)
@pytest.mark.parametrize("alt", [False, True])
def test_host(alt, settings, words, timeout):
    """Its own file is found by both ways, and loaded once."""
    done = made(hosts={"pc1": {**HOST, **settings}})
    client = machine(done, alt=alt)
    assert client.asked.count(f"grub.cfg-01-{KEY}") == client.asked.count("grub.cfg") == 1
    assert client.env["timeout"] == timeout
    assert set(words) <= set(client.waits().split()) | {"automatic=method:http"}
    assert "automatic=method:http" in client.end
    assert machine(done, mac="52:54:00:00:00:02", alt=alt).waits() == "exit 1"


def test_host_with_several_cards():
    done = made(hosts={"pc1": {**HOST, "mac": [MAC, "52:54:00:00:00:02"]}})
    assert sorted(done.hosts) == [
        "grub/grub.cfg-01-52-54-00-00-00-01",
        "grub/grub.cfg-01-52-54-00-00-00-02",
    ]


def test_local_host():
    done = made(hosts={"pc1": {"mac": MAC, "entry": "local"}}, default_image={"x86_64": "ALT 0"})
    client = machine(done)
    assert client.env["timeout"] == "0"
    assert client.waits() == "exit 1"


def test_hosts_that_grub_cannot_know():
    uuid = "4c4c4544-0042-3510-8052-b4c04f4a3132"
    hosts = {
        "pc1": {"hostname": "pc1", "image": "ALT 0", "variant": "livecd"},
        "pc2": {"uuid": uuid, "entry": "local"},
        "pc3": {**HOST, "secure_boot": False},
        "boards": {"product": "P", "arguments": ["a"]},
    }
    done = made(hosts=hosts)
    assert done.hosts == {}
    told = [one for one in done.warnings if one.startswith("netboot:hosts")]
    assert [one.rpartition(": ")[2] for one in told] == ["pc1, pc2", "boards"]
    assert "mac" in told[0]


def test_host_of_an_entry_that_is_not_there():
    done = made(
        hosts={"pc1": {**HOST, "variant": "rescue"}},
        images={"ALT 0": {**IMAGE, "variants": ["rescue"]}},
        facts={**P11, "rescue": None},
    )
    assert machine(done, disks=["/EFI/altlinux/shimx64.efi"]).waits().startswith("chainloader ")


@pytest.mark.parametrize(
    ("boot", "reason"),
    [
        (secure(), ""),
        (secure(signer=None, lacks="kernel-unsigned"), "its kernel is not signed"),
        (secure(signer={"name": "B", "issuer": "C"}), "the shim has no key for its kernel"),
        # ALT's key was replaced twice.
        (secure(key="new"), "the shim has no key for its kernel"),
        (secure(lacks="no-shim", shim="", grub=""), ""),
        ({}, "its kernel is not signed"),
    ],
)
def test_kernel_of_another_image(boot, reason):
    """What counts is the shim that started GRUB, not the image's own."""
    done = made(["ALT 0", "ALT 1"], boot={"ALT 1": boot}, default_image={"x86_64": "ALT 1"})
    assert machine(done).waits().startswith("linux /netboot/x86_64/alt_1/")
    client = machine(done, lockdown=True)
    titles = [one for one in client.menu() if "ALT 1: livecd" in one]
    assert len(titles) == 1
    assert titles[0].endswith(
        f"livecd (does not start with Secure Boot: {reason})" if reason else "livecd"
    )
    assert client.waits() == "exit 1" if reason else client.waits().startswith("linux ")
    refused = [one for one in client.entries if "Secure Boot" in one.title]
    if refused:
        client.end = None
        client.choose(refused[0])
        assert client.end is None
        assert reason in client.said[-1]


def test_languages():
    done = made(menu={"languages": ["en_US", "ru_RU"], "unicode": True})
    client = machine(done)
    assert "Boot from the local disk" in client.menu()[0]
    assert client.presses("t") is None
    assert "Загрузка с локального диска" in client.menu()[0]
    assert client.env["timeout"] == "-1"
    assert " lang=ru_RU " in client.presses("1")
    plain = machine(made(menu={"languages": ["ru_RU"]}))
    assert all(one.isascii() for one in plain.menu())


def test_arches_of_their_own():
    """A menu for each processor, out of one file."""
    done = made(secure_boot={"efi-x86_64": {"image": "ALT 0"}, "efi-aarch64": {"image": "ALT 0"}})
    assert machine(done).menu()[1].startswith("1  ALT 0")
    arm = machine(done, cpu="arm64", disks=["/EFI/BOOT/BOOTAA64.EFI"])
    assert "ALT 0" not in " ".join(arm.menu())
    assert arm.waits().endswith("BOOTAA64.EFI")
    assert [one.partition(": ")[0] for one in done.problems] == [
        "netboot:secure_boot:efi-aarch64:image"
    ]


def test_image_that_has_no_loaders():
    done = made(boot={"ALT 0": secure(shim="", grub="", lacks="no-shim")})
    (problem,) = done.problems
    assert problem.startswith(
        "netboot:secure_boot:efi-x86_64:image: ALT 0 has no signed shim nor GRUB"
    )


@pytest.mark.parametrize(
    ("version", "mode", "warned"),
    [
        ("2.06", "proxy", True),
        ("2.12", "proxy", False),
        ("2.06", "off", False),
        ("", "proxy", False),
    ],
)
def test_old_grub_beside_another_server(version, mode, warned):
    done = made(boot={"ALT 0": secure(version=version)}, dhcp={"mode": mode})
    assert any("hang beside another DHCP server" in one for one in done.warnings) == warned


def test_what_grub_cannot_do_is_named():
    image = {**IMAGE, "url": "http://x/9.iso", "kernel_url": "http://y/vmlinuz"}
    quoted = {**IMAGE, "url": "http://x/8.iso", "arguments": ['a="b"', "u=${uuid}"]}
    done = made(
        images={"ALT 8": quoted, "ALT 9": image},
        menu={
            "password": {"users": {"admin": f"$6$salt${'a' * 86}"}, "variants": ["install"]},
            "extra": {"memtest": {"kernel": "http://x/m"}},
        },
        http={"clients_at_once": 9},
    )
    told = "\n".join(done.warnings)
    for words in (
        "alt_9-livecd",
        "kernel_url",
        "password",
        "${uuid}",
        "quotes",
        "memtest",
        "turns",
    ):
        assert words in told
    titles = " ".join(machine(done).menu())
    assert "ALT 9" not in titles
    assert "install" not in titles
    assert "memtest" not in titles


@pytest.mark.parametrize(("shell", "locked"), [(True, False), (False, True)])
def test_command_line_only_where_the_pillar_has_a_shell(shell, locked):
    client = machine(made(menu={"shell": shell}))
    assert ("superusers" in client.env) == locked
    assert all(one.unrestricted for one in client.entries)


# -- once ------------------------------------------------------------------------------------------


def arming(**changed):
    return {
        "host": "pc1",
        "entry": "alt_0-livecd",
        "straight": True,
        "told_by": [f"mac={MAC.replace(':', '')}"],
        "path": "/x",
        "server": "",
        "arming": "ab" * 16,
        **changed,
    }


@pytest.mark.parametrize("alt", [False, True])
def test_armed_host_boots_from_a_path_of_its_own(alt):
    done = made(hosts={"pc1": {**HOST, "once": True}})
    script = netboot_grub.armed_script(arming())
    checked({"once": script})
    client = machine(done, {"once/pc1.cfg": script}, alt=alt)
    assert f"directory:/host/pc1.{'ab' * 16}/tftp/netboot/x86_64/alt_0 " in client.waits()
    assert machine(done, alt=alt).waits() == "exit 1"


@pytest.mark.parametrize(
    ("changed", "arms"),
    [
        ({}, True),
        ({"server": "http://192.0.2.10"}, False),
        ({"install": "room"}, False),
        ({"told_by": ["uuid=x"]}, False),
    ],
)
def test_who_is_armed_for_grub(changed, arms):
    assert netboot_grub.arms(config_of(), arming(**changed)) == arms
    assert not netboot_grub.arms(config_of(secure_boot={}), arming(**changed))


@pytest.mark.parametrize("method", ["nfs", "cifs"])
def test_boot_that_cannot_be_seen_is_named(method):
    done = made(methods=[method], hosts={"pc1": {**HOST, "once": True}})
    assert any("by its stage over http" in one and one.endswith(": pc1") for one in done.warnings)


def test_armed_by_another_server():
    done = made(hosts={"pc1": {**HOST, "once": True}}, arms="http://192.0.2.11")
    assert any("netboot:arms" in one for one in done.warnings)
    assert machine(done).waits() == "exit 1"


# -- the pillar ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["hosts", "groups"])
def test_unattended_install_is_refused(where):
    host = {"mac": MAC, "image": "ALT 0"}
    asked = {"images": {"ALT 0": IMAGE}, "installs": {"room": INSTALL}, **GRUB}
    if where == "hosts":
        asked["hosts"] = {"pc1": {**host, "install": "room"}}
        one = asked["hosts"]["pc1"]
    else:
        asked["hosts"] = {
            "pc1": {**host, "group": "g"},
            "pc2": {**host, "mac": "52:54:00:00:00:02", "group": "g"},
        }
        asked["groups"] = {"g": {"install": "room"}}
        one = asked["groups"]["g"]
    (problem,) = problems(asked)
    assert problem.startswith(f"netboot:{where}:{'pc1' if where == 'hosts' else 'g'}:install: ")
    assert "secure_boot: false" in problem
    one["secure_boot"] = False
    assert problems(asked) == []
    del one["secure_boot"]
    assert problems({**asked, "secure_boot": {}}) == []


# -- injection -------------------------------------------------------------------------------------

SIGNS = "'\"\\$`;{}()|&<>#!%~*?[]= \n\r\t\v\x00\x1b\u2028\u0085éЖ\u202e"


def hostile(seed):
    chance = random.Random(seed)  # noqa: S311 (no secret)
    pieces = [
        "'; reboot; '",
        '"; reboot; "',
        "}\nreboot\n",
        "${root}",
        "$nb_entry",
        "\\",
        "'\\''",
        SIGNS,
    ]
    return "".join(chance.choice([*pieces, *SIGNS, "a"]) for _ in range(chance.randint(1, 30)))


@pytest.mark.parametrize("seed", range(60))
def test_nothing_gets_out_of_quotes(seed):
    """Whatever a later check of the pillar lets through."""
    text = hostile(seed)
    plain = "".join(char if char.isprintable() else " " for char in text)
    script = f"set a={netboot_grub.quoted(text)}\n"
    checked({"a": script})
    client = Machine({"grub.cfg": script}).starts()
    assert client.env["a"] == plain
    assert client.end is None
    filled = re.sub(r"\$\{[^}]*\}", "", text)
    script = f"set a={netboot_grub.word(text)}\n"
    checked({"a": script})
    assert Machine({"grub.cfg": script}).starts().env["a"] == "".join(
        char if char.isprintable() else " " for char in filled
    )


@pytest.mark.parametrize("seed", range(20))
def test_hostile_names_everywhere(seed):
    """Names, texts and arguments that the pillar's checks refuse, put in behind them."""
    config = config_of()
    text = hostile(seed)
    config["menu"].update(
        labels={"local": text}, unicode=bool(seed % 2), languages=["en_US", "ru_RU"]
    )
    entry = {
        "id": f"x{text}",
        "image": text,
        "label": "alt_0",
        "arch": "x86_64",
        "variant": "livecd",
        "method": "http",
        "remark": "${nb-text-livecd}",
        "kernel": f"/{text}",
        "initrd": f"/{text}",
        "secure_lacks": "",
        "password": False,
        "before": [],
        "nic": "any",
        "cmdline": f"a{text} ${{nb-ip}} ${{nb-arguments}}",
        "memory_mib": 1024,
        "kernel_sha256": "",
        "initrd_sha256": "",
    }
    hosts = {
        text: {
            "mac": MAC,
            "image": "ALT 0",
            "variant": "livecd",
            "arguments": text.split(),
            "once": True,
        }
    }
    done = netboot_grub.render(TEMPLATE, config, [entry], hosts, {}, [])
    checked({**done.menus, **done.hosts})
    client = machine(done)
    assert client.end is None
    assert client.entries[1].id.startswith("nb-x")
    assert client.presses("1").startswith("linux /")


@pytest.mark.parametrize(
    "script", ["set a='", "set a=b | c", "menuentry x {", "if true; then\n", "}", "nothing a"]
)
def test_reader_refuses(script):
    with pytest.raises(GrubError):
        Machine({"grub.cfg": script}).starts()


def test_reader_reads_quotes_as_grub_does():
    assert Machine({"grub.cfg": "set a='x'\\''y'\"$b\\\"z\"\n"}).starts().env["a"] == "x'y\"z"
    assert parsed("a;b\nc") == parsed("a\nb\nc")
