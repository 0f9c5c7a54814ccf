"""Menus: what a client with some firmware sees, what it boots, and that it is never stranded."""

import re

import pytest

import netboot_entries
import netboot_ipxe
import netboot_menus
from cli import screen
from netboot_labels import LABELS, LACKS
from tests.conftest import CHECKOUT
from tests.ipxe import Client, module, problems
from tests.unit.test_netboot_entries import P11, PROPAGATOR
from tests.unit.test_netboot_pillar import IMAGE, resolve

TEMPLATE = (CHECKOUT / "salt/netboot/files/menu.ipxe.jinja").read_text()
TFTP = "http://192.0.2.10/tftp"
LOCAL = {"pcbios": "sanboot --no-describe --drive 0x80", "efi": "exit 1"}
USERS = {"users": {"admin": f"$6$salt${'a' * 86}"}}


def made(count=1, arch="x86_64", facts=P11, names=None, **pillar):
    """The configuration and the boot entries of a server with so many images."""
    names = names or [f"ALT {number}" for number in range(count)]
    images = {name: {**IMAGE, "url": f"http://x/{number}.iso"} for number, name in enumerate(names)}
    config = resolve({"images": images, **pillar})["config"]
    records = [
        {
            "name": image["name"],
            "label": image["label"],
            "file": image["file"],
            "iso_sha256": "ab" * 32,
            "facts": {**facts, "arch": arch},
        }
        for image in config["images"]
    ]
    return config, netboot_entries.build(config, records)["entries"]


def menus(*args, waits=False, **pillar):
    """The scripts by URL."""
    config, entries = made(*args, **pillar)
    scripts = netboot_menus.render(TEMPLATE, config, entries, waits=waits)
    assert {name: problems(text) for name, text in scripts.items()} == dict.fromkeys(scripts, [])
    return {f"{TFTP}/{name}": text for name, text in scripts.items()}


def boots(scripts, arch="x86_64", platform="efi", **client):
    settings = {"platform": platform, "mac": "52:54:00:00:00:01", "netX/mac": "52:54:00:00:00:01"}
    made = Client(scripts, {**settings, **client.pop("settings", {})}, **client)
    assert made.run(f"{TFTP}/config-{arch}.ipxe") or made.end, made
    assert made.end, "the script ended and left a bare prompt or an error"
    return made


def host_script(scripts, *lines):
    return {**scripts, f"{TFTP}/config-mac-525400000001.ipxe": "\n".join(["#!ipxe", *lines])}


@pytest.mark.parametrize("platform", LOCAL)
@pytest.mark.parametrize("count", [0, 1, 30])
def test_nobody_assigned_anything(platform, count):
    """After a time-out: the local disk, however many images there are."""
    assert boots(menus(count), platform=platform).end == LOCAL[platform]


@pytest.mark.parametrize("count", [1, 30])
def test_default_image(count):
    client = boots(menus(count, default_image={"x86_64": "ALT 0"}))
    assert client.end.startswith(f"{TFTP}/netboot/x86_64/alt_0/boot/vmlinuz fastboot ")
    assert client.end.endswith(" boot")
    assert "ifname=bootif0:52:54:00:00:00:01 ip=bootif0:dhcp4 automatic=method:http" in client.end
    assert "directory:/tftp/netboot/x86_64/alt_0 " in client.end
    assert " lang=en_US " in client.end
    assert f"{TFTP}/netboot/x86_64/alt_0/boot/initrd.img" in client.fetched


@pytest.mark.parametrize(
    ("variant", "lines", "words"),
    [
        ("livecd", [], "ifname=bootif0:52:54:00:00:00:01 ip=bootif0:dhcp4"),
        ("install", [], "ip=dhcp4"),
        ("install", ["set nb-nic ip=of-this-host"], "ip=of-this-host"),
    ],
)
def test_network_card(variant, lines, words):
    label = f"alt_0-{variant}"
    files = host_script(menus(), *lines)
    client = boots(files, chosen=[label])
    assert f"bootchain=fg,altboot {words} automatic=" in client.end


def test_default_variant():
    pillar = {"default_image": {"x86_64": "ALT 0"}, "default_variant": {"x86_64": "install"}}
    assert "systemd.unit=install2.target" in boots(menus(**pillar)).end


def test_no_installer_starts_unless_the_pillar_says_so():
    """A server's image has no live system."""
    facts = {**P11, "livecd": None}
    pillar = {"default_image": {"x86_64": "ALT 0"}}
    assert boots(menus(facts=facts, **pillar)).end == "exit 1"
    config = resolve({"images": {"ALT 0": IMAGE}, **pillar})["config"]
    entries = [{"image": "ALT 0", "variant": "install", "arch": "x86_64", "password": False}]
    (said,) = netboot_menus.unmet_defaults(config, entries)
    assert said.startswith(
        "netboot:default_image:x86_64: ALT 0 has no livecd; set netboot:default_"
    )
    assert netboot_menus.unmet_defaults(config, []) == []
    (said,) = netboot_menus.unmet_defaults(config, [{**entries[0], "arch": "aarch64"}])
    assert said == "netboot:default_image:x86_64: ALT 0 is an image for aarch64"
    config["default_variant"] = {"x86_64": "install"}
    assert netboot_menus.unmet_defaults(config, entries) == []


def test_default_variant_that_the_image_lacks():
    pillar = {"default_image": {"x86_64": "ALT 0"}, "default_variant": {"x86_64": "rescue"}}
    assert boots(menus(facts={**P11, "rescue": None}, **pillar)).end == "exit 1"


@pytest.mark.parametrize(
    ("count", "chosen", "end"),
    [
        (1, ["alt_0-rescue"], "live-rescue.target"),
        (30, ["@alt_29", "alt_29-rescue"], "alt_29/boot/vmlinuz"),
        (30, ["@alt_29", "menu", "@alt_3", "alt_3-livecd"], "alt_3/boot/vmlinuz"),
        (1, ["language", "alt_0-livecd"], " lang=ru_RU "),
        (1, ["language", "language", "alt_0-livecd"], " lang=en_US "),
        (1, ["shell"], "shell"),
        (1, ["reboot"], "reboot"),
        (1, ["firmware"], "exit 1"),
        (0, ["again", "local"], "exit 1"),
    ],
)
def test_choices(count, chosen, end):
    assert end in boots(menus(count), chosen=chosen).end


@pytest.mark.parametrize(
    ("chosen", "steps"),
    [
        ([], ["script", "menu&e=local&w=30000", "chosen&e=local", "local"]),
        (
            ["alt_0-livecd"],
            [
                *("script", "menu&e=local&w=30000", "chosen&e=alt_0-livecd"),
                *(f"{step}&e=alt_0-livecd" for step in ("kernel", "initrd", "boot")),
            ],
        ),
        (["reboot"], ["script", "menu&e=local&w=30000", "chosen&e=reboot", "reboot"]),
    ],
)
def test_steps_are_reported(chosen, steps):
    assert boots(menus(), chosen=chosen).seen == steps


def test_steps_of_a_host_that_does_not_ask():
    client = boots(host_script(menus(), "set nb-entry alt_0-livecd", "set nb-straight 1"))
    assert client.seen[:3] == ["script", "host&e=alt_0-livecd", "kernel&e=alt_0-livecd"]
    client = boots(host_script(menus(), "set nb-entry alt_9-livecd", "set nb-straight 1"))
    assert client.seen[2:] == ["missing&e=alt_9-livecd", "failed&x=&n=", "local"]


def test_what_failed_is_reported():
    client = boots(menus(), chosen=["alt_0-livecd"], refused={"initrd"})
    assert client.seen[-2:] == ["failed&x=&n=initrd&e=alt_0-livecd", "local"]


def test_after_a_report_that_failed_none_is_sent():
    client = boots(menus(), chosen=["alt_0-livecd"], refused={"seen"})
    assert client.seen == ["script"]
    assert client.end.endswith(" boot")


RUSSIAN = {"title": "Школа № 5", "languages": ["ru_RU", "en_US"]}


def lines(**client):
    return {label: re.sub("^. ", "", title).strip() for label, title in boots(**client).items}


@pytest.mark.parametrize("platform", LOCAL)
def test_russian_in_latin_letters(platform):
    """No firmware is known to draw others."""
    scripts = menus(menu=RUSSIAN)
    assert all(text.isascii() for text in scripts.values())
    assert "menu Shkola No 5\n" in scripts[f"{TFTP}/config-x86_64.ipxe"]
    shown = lines(scripts=scripts, platform=platform)
    assert shown["local"] == "Zagruzka s lokalnogo diska"
    assert shown["alt_0-install"] == "ALT 0: ustanovka (8.1 GiB pamiati)"
    assert shown["language"] == "Iazyk: ru_RU"


@pytest.mark.parametrize(
    ("platform", "title", "install"),
    [("efi", "Школа № 5", "Альт 0: установка"), ("pcbios", "Shkola No 5", "Alt 0: ustanovka")],
)
def test_russian_letters_where_the_pillar_says_that_firmware_draws_them(platform, title, install):
    extra = {"Память": {"script": "exit 1"}}
    scripts = menus(names=["Альт 0"], menu={**RUSSIAN, "unicode": True, "extra": extra})
    client = boots(scripts, platform=platform)
    assert client.titled == title
    assert dict(client.items)["alt_0-install"].startswith(f"2 {install}")
    assert dict(client.items)["+1"] == f"{'Память' if platform == 'efi' else 'Pamiat'}"
    assert boots(scripts, platform=platform, chosen=["alt_0-livecd"]).end.endswith(" boot")


@pytest.mark.parametrize("scripts", [{}, {"config-mac-525400000001.ipxe": "set lang en_US"}])
def test_language_that_is_chosen(scripts):
    """In the menu, or by a script of the host."""
    made = menus(30, menu=RUSSIAN)
    made |= {f"{TFTP}/{name}": f"#!ipxe\n{line}\n" for name, line in scripts.items()}
    chosen = [] if scripts else ["language"]
    assert lines(scripts=made, chosen=[*chosen, "local"])["local"] == "Boot from the local disk"
    again = [*chosen, "language", "@alt_3", "menu", "local"]
    assert lines(scripts=made, chosen=again)["local"] == "Zagruzka s lokalnogo diska"


def test_labels_of_the_pillar():
    labels = {"local": "Мой диск", "memory": "GB"}
    shown = lines(scripts=menus(menu={"languages": ["en_US"], "labels": labels}))
    assert shown["local"] == "Moi disk"
    assert shown["alt_0-install"] == "ALT 0: install (8.1 GB)"
    assert shown["reboot"] == "Reboot"


def test_every_line_of_the_menu_leads_somewhere():
    extra = {
        "memtest": {"kernel": "http://192.0.2.9/memtest", "arguments": "a b"},
        "other": {"chain": "http://192.0.2.9/menu.ipxe"},
        "own": {"script": "echo hello\nexit 1"},
    }
    scripts = menus(3, menu={"extra": extra, "password": USERS})
    scripts["http://192.0.2.9/menu.ipxe"] = "#!ipxe\nreboot\n"
    labels = [label for label, _ in boots(scripts).items]
    assert {"+1", "+2", "+3", "!alt_1-install", "!shell", "local"} <= set(labels)
    for label in labels:
        chosen = [label] + ["local"] * (label in ("language",))
        assert boots(scripts, chosen=chosen).end


def test_extra_lines_are_for_their_architectures():
    scripts = menus(menu={"extra": {"own": {"script": "exit 1", "arches": ["aarch64"]}}})
    assert "+1" not in dict(boots(scripts).items)
    assert "+1" in dict(boots(scripts, arch="aarch64").items)


@pytest.mark.parametrize(
    ("platform", "refused", "labels"),
    [
        ("pcbios", set(), {"alt_0-livecd"}),  # a CPU with long mode runs both
        ("pcbios", {"cpuid"}, {"alt_0-livecd"}),
        ("efi", set(), set()),
    ],
)
def test_i586_images_on_x86(platform, refused, labels):
    scripts = menus(facts=PROPAGATOR, arch="i586")
    client = boots(scripts, platform=platform, refused=refused)
    assert labels == {label for label, _ in client.items if label == "alt_0-livecd"}
    assert (f"{TFTP}/config-i586.ipxe" in client.fetched) == ("cpuid" in refused)


def test_x86_64_images_are_not_for_cpus_without_long_mode():
    client = boots(menus(), platform="pcbios", refused={"cpuid"})
    assert [label for label, _ in client.items if "alt_0" in label] == []


def test_each_architecture_sees_its_own():
    scripts = menus(arch="aarch64", default_image={"aarch64": "ALT 0"})
    assert "netboot/aarch64/alt_0" in boots(scripts, arch="aarch64").end
    for arch in ("x86_64", "i586", "riscv64", "loongarch64"):
        assert boots(scripts, arch=arch).end == "exit 1"


def test_kernel_over_tftp():
    pillar = {"kernel_over": {"aarch64": "tftp"}, "default_image": {"aarch64": "ALT 0"}}
    client = boots(menus(arch="aarch64", **pillar), arch="aarch64")
    assert client.end.startswith("tftp://192.0.2.10/netboot/aarch64/alt_0/boot/vmlinuz ")
    assert "tftp://192.0.2.10/netboot/aarch64/alt_0/boot/initrd.img" in client.fetched
    assert "method:http" in client.end


def test_time_out_of_an_architecture():
    scripts = menus(menu={"timeout_s": 30, "arch_timeout_s": {"aarch64": 5}})
    for arch, timeout in (("aarch64", "5000"), ("x86_64", "30000")):
        assert boots(scripts, arch=arch).settings["nb-timeout"] == timeout


def test_a_person_stops_the_clock():
    assert boots(menus(), chosen=["language", "local"]).settings["nb-timeout"] == "0"


def test_scripts_of_hosts_are_looked_up_in_order():
    settings = {
        "hostname": "pc1",
        "uuid": "0-1",
        "serial": "S 1",
        "smbios/product": "Standard PC (Q35 + ICH9, 2009)",
        "smbios/manufacturer": "QEMU",
    }
    assert [
        url.removeprefix(f"{TFTP}/config-") for url in boots(menus(), settings=settings).fetched
    ] == [
        "x86_64.ipxe",
        "x86_64.ipxe",
        "host-pc1.ipxe",
        "uuid-0-1.ipxe",
        "serial-S%201.ipxe",
        "mac-525400000001.ipxe",
        "product-Standard%20PC%20%28Q35%20%2B%20ICH9%2C%202009%29.ipxe",
        "manufacturer-QEMU.ipxe",
    ]


def test_the_first_script_of_a_host_wins():
    scripts = host_script(menus(2), "set nb-entry alt_0-livecd", "set nb-straight 1")
    scripts[f"{TFTP}/config-host-pc1.ipxe"] = "#!ipxe\nset nb-entry alt_1-livecd\n"
    client = boots(scripts, settings={"hostname": "pc1"})
    assert "alt_1" in client.end


def test_host_goes_straight():
    scripts = host_script(
        menus(30), "set nb-entry alt_7-install", "set nb-straight 1", "set nb-arguments a=1 b"
    )
    client = boots(scripts)
    assert client.items == []
    assert "alt_7" in client.end
    assert client.end.endswith(" a=1 b boot")


def test_what_a_host_that_boots_once_fetches():
    scripts = host_script(
        menus(), "set nb-entry alt_0-livecd", "set nb-straight 1", "set nb-via /host/pc1"
    )
    client = boots(scripts)
    assert client.kernel.startswith("http://192.0.2.10/host/pc1/tftp/netboot/x86_64/alt_0/boot/vm")
    assert "directory:/host/pc1/tftp/netboot/x86_64/alt_0 " in client.kernel


@pytest.mark.parametrize("straight", [[], ["set nb-straight 1"]])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_image_of_a_host_is_not_ready(count, straight):
    scripts = host_script(menus(count), "set nb-entry other-install", *straight)
    assert boots(scripts).end == "exit 1"


def test_settings_of_the_last_script_do_not_stay():
    """Somebody looks again, and the host's script is gone meanwhile."""
    stale = {"nb-entry": "alt_0-install", "nb-straight": "1", "nb-via": "/host/pc1"}
    assert boots(menus(), settings=stale).end == "exit 1"


def test_server_that_has_gone():
    """Kernel, initrd or start fail: a message, then the local disk."""
    scripts = menus(default_image={"x86_64": "ALT 0"})
    for command in ("kernel", "initrd", "boot"):
        assert boots(scripts, refused={command}).end == "exit 1"


def test_web_server_that_is_away_for_a_moment():
    """The scripts of this machine cannot be had: it must not get what others get."""
    installs = {"default_image": {"x86_64": "ALT 0"}, "default_variant": {"x86_64": "install"}}
    pinned = host_script(menus(**installs), "set nb-entry local")
    assert boots(pinned, refused={"imgfetch"}).end == "exit 1"


def test_disk_that_does_not_boot():
    assert boots(menus(), platform="pcbios", refused={"sanboot"}).end == "exit 1"


def test_password():
    scripts = menus(default_image={"x86_64": "ALT 0"}, menu={"password": USERS})
    client = boots(scripts, chosen=["!alt_0-install"])
    assert "install2.target" in client.end
    assert "http://:@192.0.2.10/private/granted" in client.fetched
    wrong = boots(scripts, chosen=["!alt_0-install", "local"], refused={"password"})
    assert (wrong.end, wrong.asked) == ("exit 1", True)
    assert boots(scripts, chosen=["!shell"]).end == "shell"
    assert "alt_0-livecd" in dict(client.items)
    assert not any("$6$" in text for text in scripts.values())


@pytest.mark.parametrize("count", [1, 30])
def test_default_that_asks_for_a_password_is_not_started_by_a_time_out(count):
    installs = {"default_image": {"x86_64": "ALT 0"}, "default_variant": {"x86_64": "install"}}
    scripts = menus(count, **installs, menu={"password": USERS})
    assert boots(scripts).end == "exit 1"
    client = boots(scripts, chosen=["!alt_0-install"])
    assert "install2.target" in client.end
    assert "http://:@192.0.2.10/private/granted" in client.fetched


def test_password_of_one_image_and_one_extra_line():
    images = {"open": {**IMAGE, "url": "http://x/0.iso"}, "closed": {**IMAGE, "password": True}}
    extra = {"memtest": {"kernel": "http://192.0.2.9/m"}, "wipe": {"script": "reboot"}}
    extra["wipe"]["password"] = True
    scripts = menus(
        images=images, menu={"password": {**USERS, "variants": ["rescue"]}, "extra": extra}
    )
    labels = set(dict(boots(scripts).items))
    assert {"open-livecd", "open-install", "!open-rescue", "+1", "!+2"} <= labels
    assert {"!closed-livecd", "!closed-install", "!closed-rescue"} <= labels
    assert boots(scripts, chosen=["!+2"]).end == "reboot"
    for chosen in ("!closed-livecd", "!+2"):
        wrong = boots(scripts, chosen=[chosen, "local"], refused={"password"})
        assert (wrong.end, wrong.asked) == ("exit 1", True)


def test_default_behind_a_password_is_told():
    pillar = {"default_image": {"x86_64": "ALT 0"}, "menu": {"password": USERS}}
    pillar["images"] = {"ALT 0": {**IMAGE, "password": True}}
    config = resolve(pillar)["config"]
    entries = [{"image": "ALT 0", "variant": "livecd", "arch": "x86_64", "password": True}]
    (said,) = netboot_menus.unmet_defaults(config, entries)
    assert said.startswith("netboot:default_image:x86_64: ALT 0: livecd asks for a password")


def test_snippets_run_before_their_image():
    scripts = menus(
        images={"ALT": {**IMAGE, "extra_ipxe_conf": [{"comment": "c", "snippet": "set a b"}]}},
        default_image={"x86_64": "ALT"},
    )
    assert boots(scripts).settings["a"] == "b"


def memory(*modules, **pillar):
    """The lines of an image in the menu of a machine with these memory modules."""
    made = lines(scripts=menus(**pillar), modules=[module(mib) for mib in modules])
    return [title for label, title in made.items() if label.startswith("alt_0")]


ENOUGH = ["ALT 0: livecd", "ALT 0: install (8.1 GiB of memory)", "ALT 0: rescue"]


@pytest.mark.parametrize(
    "modules",
    [
        [],
        [None],
        [1024, None],
        [8192],
        [4096, 4096],
        [2048] * 4,
        [65536],
        [1024, 131072],
        [512] * 300,
    ],
)
def test_machine_with_enough_memory_or_an_unknown_amount(modules):
    assert memory(*modules) == ENOUGH


@pytest.mark.parametrize(
    ("modules", "live", "install"),
    [
        ([4096], "", " - only 4096 MiB here"),
        ([2048, 0, 2048, 0], "", " - only 4096 MiB here"),
        # Less than 256 MiB is not missed.
        ([2816], " (3.0 GiB of memory) - only 2816 MiB here", " - only 2816 MiB here"),
        ([3072], "", " - only 3072 MiB here"),
        ([7935], "", " - only 7935 MiB here"),
        ([1000], " (3.0 GiB of memory) - only 1000 MiB here", " - only 1000 MiB here"),
        ([128], " (3.0 GiB of memory) - only 128 MiB here", " - only 128 MiB here"),
    ],
)
def test_machine_with_little_memory(modules, live, install):
    """It is offered all the same."""
    assert memory(*modules) == [ENOUGH[0] + live, ENOUGH[1] + install, ENOUGH[2] + live]


def test_memory_in_another_language():
    scripts = menus(menu=RUSSIAN)
    client = boots(scripts, modules=[module(2048)], chosen=["language", "local"])
    assert dict(client.items)["alt_0-livecd"].endswith(" (3.0 GiB of memory) - only 2048 MiB here")
    client = boots(scripts, modules=[module(2048)])
    assert dict(client.items)["alt_0-livecd"].endswith(" (3.0 GiB pamiati) - tolko 2048 MiB zdes")


MOUNTS = {"methods": ["http", "nfs"], "default_image": {"x86_64": "ALT 0"}}
INSTALLS = {**MOUNTS, "default_variant": {"x86_64": "install"}}
SMALL = "Too little memory for alt_0-install"


@pytest.mark.parametrize(
    ("mib", "pillar", "method", "gaps"),
    [
        (4096, INSTALLS, "nfs", [SMALL]),
        (8192, INSTALLS, "http", []),
        (4096, {**INSTALLS, "methods": ["http"]}, "http", []),
        (4096, MOUNTS, "http", []),
        (1024, MOUNTS, "nfs", ["Too little memory for alt_0-livecd"]),
        (512, {**INSTALLS, "methods": ["nfs"]}, "nfs", []),
    ],
)
@pytest.mark.parametrize("count", [1, 30])
def test_default_entry_of_a_machine_with_little_memory(count, mib, pillar, method, gaps):
    """It mounts its image instead where the pillar offers that."""
    client = boots(menus(count, **pillar), modules=[module(mib)])
    assert f"automatic=method:{method}," in client.end
    assert [gap for gap in client.gaps if "memory" in gap] == gaps


@pytest.mark.parametrize(
    ("lines", "method", "said"),
    [
        ([], "nfs", f"{SMALL}: only 4096 MiB here. Boot: alt_0-install-nfs-iso"),
        # What an armed host fetches shows that it has booted: only that will do.
        (["set nb-via /host/pc1"], "http", f"{SMALL}: only 4096 MiB here. Boot: alt_0-install"),
    ],
)
def test_host_with_little_memory_that_does_not_ask(lines, method, said):
    scripts = menus(methods=["http", "nfs"])
    scripts = host_script(scripts, "set nb-entry alt_0-install", "set nb-straight 1", *lines)
    client = boots(scripts, modules=[module(4096)])
    assert f"automatic=method:{method}," in client.end
    assert client.said == [said]


def test_memory_is_reported():
    assert "&r=4096&" in boots(menus(), modules=[module(4096)]).settings["nb-report"]
    assert (
        "&r=147456&"
        in boots(menus(), modules=[module(131072), module(16384)]).settings["nb-report"]
    )
    assert "&r=&" in boots(menus()).settings["nb-report"]


SUMS = {"vmlinuz": "aa" * 32, "initrd.img": "bb" * 32}
ON_RECORD = {**P11, "sha256": {f"boot/{name}": digest for name, digest in SUMS.items()}}
FORMS = {"methods": ["http", "nfs"], "forms": ["tree", "iso"]}


LOADED = "kernel initrd"


@pytest.mark.parametrize(
    ("sums", "refused"),
    [
        (SUMS, ""),
        (None, ""),
        ({**SUMS, "vmlinuz": "ab" * 32}, "kernel"),
        ({**SUMS, "initrd.img": "ab" * 32}, "initrd"),
    ],
)
@pytest.mark.parametrize("entry", ["livecd", "livecd-http-iso", "install", "rescue-nfs-tree"])
@pytest.mark.parametrize("files", [[], ["set nb-files tftp://192.0.2.10"]])
def test_kernel_and_initrd_are_those_on_record(sums, refused, entry, files):
    """Where iPXE can compare them."""
    image = {**IMAGE, **FORMS}
    scripts = host_script(menus(facts=ON_RECORD, images={"ALT 0": image}), *files)
    client = boots(scripts, chosen=[f"alt_0-{entry}"], sums=sums)
    steps = " ".join(step.replace(f"&e=alt_0-{entry}", "") for step in client.seen[3:])
    if refused:
        assert steps.startswith(f"{LOADED} failed&x=sum&n={refused} script menu&e=local")
        assert client.end == "exit 1"
    else:
        assert steps == f"{LOADED} boot"
        assert client.end.endswith(" boot")
    assert len([line for line in client.said if "on record" in line]) == bool(refused)


class Replaced(dict):
    """Digests that are right only after the menu was read again."""

    def __getitem__(self, name):
        digest = super().__getitem__(name)
        self.update(SUMS)
        return digest


@pytest.mark.parametrize(
    ("sums", "end"),
    [
        (Replaced(vmlinuz="ab" * 32), f"{LOADED} boot"),
        ({**SUMS, "vmlinuz": "ab" * 32}, f"{LOADED} failed&x=sum&n=kernel local"),
    ],
)
def test_host_reads_its_menu_once_more_when_its_kernel_is_refused(sums, end):
    """The image may have been replaced since."""
    scripts = menus(facts=ON_RECORD)
    scripts = host_script(scripts, "set nb-entry alt_0-install", "set nb-straight 1")
    client = boots(scripts, sums=sums)
    steps = " ".join(step.replace("&e=alt_0-install", "") for step in client.seen)
    assert steps == f"script host {LOADED} failed&x=sum&n=kernel script host {end}"


def test_kernel_that_is_not_of_this_server_is_not_compared():
    image = {**IMAGE, "kernel_url": "http://192.0.2.9/vmlinuz"}
    scripts = menus(facts=ON_RECORD, images={"ALT 0": image})
    assert boots(scripts, chosen=["alt_0-livecd"], sums={}).end.endswith(" boot")


# What iso_coming writes; tests/functional/test_iso_coming.py reads what it really is.
COMING = """#!ipxe
set nb-coming Alt 11: 43 % ${nb-text-of} 5.2 GB ${nb-text-at} 21:45
iseq ${nb-say} echo && echo ${nb-coming} || item --gap ${nb-coming}
"""
ON_ITS_WAY = "Alt 11: 43 % of 5.2 GB at 21:45"


@pytest.mark.parametrize("count", [0, 1, 30])
def test_image_on_its_way(count):
    scripts = menus(count, waits=True)
    assert boots(scripts).end == "exit 1"
    assert "again" in dict(boots(scripts).items)
    scripts[f"{TFTP}/coming.ipxe"] = COMING
    client = boots(scripts)
    assert [line for line in client.gaps if "43" in line] == [ON_ITS_WAY]
    # Each menu asks again.
    client = boots(scripts, chosen=["language", "local"])
    assert client.fetched.count(f"{TFTP}/coming.ipxe") == 2
    assert [line for line in client.gaps if "43" in line] == ["Alt 11: 43 % iz 5.2 GB v 21:45"]


def test_host_whose_image_is_on_its_way():
    scripts = host_script(menus(waits=True), "set nb-entry alt_11-install", "set nb-straight 1") | {
        f"{TFTP}/coming.ipxe": COMING
    }
    client = boots(scripts)
    assert client.said[0].startswith("Not ready yet, though this machine is to boot it: alt_11")
    assert client.said[1] == ON_ITS_WAY
    assert client.end == "exit 1"


def test_nothing_is_asked_for_where_every_image_is_ready():
    assert f"{TFTP}/coming.ipxe" not in boots(menus(), chosen=["language", "local"]).fetched


@pytest.mark.parametrize(
    "menu",
    [
        {"password": USERS, "arch_timeout_s": {"x86_64": 7}},
        {**RUSSIAN, "labels": {"local": "Мой диск"}},
        {**RUSSIAN, "unicode": True, "extra": {"Память": {"script": "exit 1"}}},
    ],
)
def test_view_is_what_a_client_sees(menu):
    """As the status page shows it: without what boots nothing."""
    pillar = {"menu": menu, "names": ["Альт 0", "ALT 1"], "default_image": {"x86_64": "ALT 1"}}
    client = boots(menus(**pillar))
    view = netboot_menus.view(made(**pillar)[0], "x86_64", made(**pillar)[1])
    assert (view["title"], view["default"]) == (client.titled, "alt_1-livecd")
    assert view["timeout_s"] == menu.get("arch_timeout_s", {}).get("x86_64", 30)
    seen = {label: title.strip() for label, title in client.items if label not in TOOLS}
    shown = {"!" * one["password"] + one["id"]: one["title"] for one in view["lines"]}
    assert {label: " ".join(title.split()) for label, title in shown.items()} == seen


TOOLS = ("language", "shell", "!shell", "reboot", "firmware")


SECURE = {
    "secure_boot": {"shim": "EFI/BOOT/BOOTX64.EFI", "grub": "", "grub_version": "", "lacks": ""}
}
ON = {"settings": {"efi/SecureBoot": "01"}}
FIRST = {"default_image": {"x86_64": "ALT 0"}}


def test_signed_image_with_secure_boot():
    """The kernel is handed over through the image's own shim, without Secure Boot as before."""
    scripts = menus(facts={**P11, **SECURE}, **FIRST)
    on, off = boots(scripts, **ON), boots(scripts)
    assert on.kernel.split()[0] == off.kernel.split()[0]
    assert (on.end, off.end) == (f"{on.kernel} boot", f"{off.kernel} boot")
    assert on.shim == f"{TFTP}/netboot/x86_64/alt_0/EFI/BOOT/BOOTX64.EFI"
    assert off.shim == ""
    assert on.items == off.items
    assert on.seen[-3:] == [f"{step}&e=alt_0-livecd" for step in ("kernel", "initrd", "boot")]


def test_kernel_that_firmware_refuses():
    """Loaded it was; the next failure is told as its own."""
    scripts = menus(facts={**P11, **SECURE}, **FIRST)
    client = boots(scripts, refused=["boot"], **ON)
    assert client.said[-1] == f"alt_0-livecd: {LABELS['en']['unstarted']}."
    assert (client.seen[-2][:8], client.end) == ("failed&x", "exit 1")
    client = boots(scripts, refused=["kernel"], **ON)
    assert client.said[-1] == "This could not be loaded from 192.0.2.10."


@pytest.mark.parametrize("lacks", LACKS)
@pytest.mark.parametrize("way", ["default", "chosen", "host"])
def test_image_that_secure_boot_refuses(lacks, way):
    """Its lines say why, and it does not start; the machine falls back to its disk."""
    facts = {**P11, "secure_boot": {**SECURE["secure_boot"], "lacks": lacks}}
    scripts = menus(facts=facts, **(FIRST if way == "default" else {}))
    if way == "host":
        scripts = host_script(scripts, "set nb-entry alt_0-livecd", "set nb-straight 1")
    # Once it was refused, the menu comes again and times out.
    client = boots(scripts, chosen=["alt_0-livecd"] if way == "chosen" else [], **ON)
    why = f"does not start with Secure Boot: {LABELS['en'][lacks]}"
    assert (client.kernel, client.end) == ("", "exit 1")
    if way != "host":
        lines = [title for label, title in client.items if label.startswith("alt_0")]
        assert all(title.endswith(f"({why})") for title in lines)
        assert len(lines) == 3
    if way == "default":
        assert f"alt_0-livecd: {why}" in client.gaps
    else:
        assert f"alt_0-livecd: {why}" in client.said
        assert "failed&x=secure&n=kernel&e=alt_0-livecd" in client.seen
    chosen = {"chosen": ["alt_0-livecd"]} if way == "chosen" else {}
    off = boots(scripts, **chosen)
    assert off.end.endswith(" boot")
    assert "Secure Boot" not in str([off.items, off.gaps, off.said])


def test_menu_has_only_commands_of_secure_boot_builds():
    """Those of ipxe/ipxe 0ab2277 marked FILE_SECBOOT(PERMITTED); cpuid is behind a BIOS."""
    (script,) = (text for name, text in menus(facts={**P11, **SECURE}).items() if "i586" in name)
    words = set()
    for line in script.splitlines():
        if line and not line.startswith((":", "#")):
            words |= {part.split()[0] for part in re.split(r" (?:&&|\|\|) ?", line) if part.strip()}
    assert words <= set(
        "boot chain choose clear echo exit goto imgfetch imgfree inc initrd iseq isset item kernel "
        "login menu prompt reboot sanboot set sha256sum shell shim".split()
    )


def test_drawn_menu_is_that_of_a_machine_with_enough_memory():
    """What ./netboot menu prints."""
    drawn, _ = screen.draw(menus()[f"{TFTP}/config-x86_64.ipxe"])
    assert [line[3:] for line in drawn if line[:1] in ("1", "2", "3")] == ENOUGH


def test_view_of_pages():
    config, entries = made(30)
    view = netboot_menus.view(config, "x86_64", entries)
    assert [(one["id"], one["page"]) for one in view["lines"][:3]] == [
        *(("local", ""), ("alt_0-livecd", "ALT 0"), ("alt_0-install", "ALT 0"))
    ]
    assert len(view["lines"]) == 1 + len(entries)
    assert netboot_menus.view(config, "aarch64", entries)["lines"][1:] == []


SLOTS = {"http": {"clients_at_once": 2}, "default_image": {"x86_64": "ALT 0"}}
WAIT = "#!ipxe\n"


def test_clients_take_turns():
    client = boots(menus(**SLOTS), turns=[WAIT, WAIT])
    asked = [url for url in client.fetched if url.endswith("/turn")]
    assert asked == ["http://192.0.2.10/turn"] * 3
    kernel = f"{TFTP}/netboot/x86_64/alt_0/boot/vmlinuz"
    assert client.fetched.index(kernel) > client.fetched.index(asked[0]) + 2
    assert client.end.startswith(f"{kernel} ")
    assert client.said == ["Waiting for a turn (Ctrl-C: menu). Clients that may load at once: 2"]
    assert [step for step in client.seen if step.startswith("turn")] == ["turn&e=alt_0-livecd"]


def test_whose_turn_it_is_does_not_wait():
    client = boots(menus(**SLOTS))
    assert client.said == []
    assert not [step for step in client.seen if step.startswith("turn")]


def test_a_host_that_shows_no_menu_waits_too():
    files = host_script(menus(**SLOTS), "set nb-entry alt_0-install", "set nb-straight 1")
    client = boots(files, turns=[WAIT])
    assert "turn&e=alt_0-install" in client.seen
    assert "systemd.unit=install2.target" in client.end


def test_who_waits_can_go_back_to_the_menu():
    client = boots(
        menus(**SLOTS), turns=[WAIT], refused={"sleep"}, chosen=["alt_0-livecd", "local"]
    )
    assert client.end == "exit 1"
    assert client.kernel == ""


def test_a_server_that_no_longer_answers_is_not_waited_for():
    client = boots(menus(**SLOTS), turns=[WAIT, None])
    assert client.kernel == ""
    assert client.end == "exit 1"


def test_without_slots_nobody_asks_for_a_turn():
    scripts = menus(default_image={"x86_64": "ALT 0"})
    assert not [name for name, text in scripts.items() if "/turn" in text or ":turn" in text]


@pytest.mark.parametrize("answers", [True, False])
def test_the_probe_asks_for_a_turn_and_waits_for_none(answers):
    files = {**menus(**SLOTS), **({"http://192.0.2.10/turn": WAIT} if answers else {})}
    probe = netboot_ipxe.Client(files.get, {"platform": "efi"}, chosen=["alt_0-livecd"])
    assert probe.run(f"{TFTP}/config-x86_64.ipxe")
    assert bool(probe.kernel) == answers
