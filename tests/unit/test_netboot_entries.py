"""Boot entries: facts x configuration -> kernel, initrd, command line, and what they cost."""

import pytest

import netboot_entries
from tests.unit.test_netboot_pillar import resolve

MIB = 1024 * 1024
ISO_DIGEST = "ab" * 32
STAGE_DIGESTS = {"live": "cd" * 32, "altinst": "ef" * 32, "rescue": "01" * 32}
CONFIG = resolve({})["config"]
TREE = "server:192.0.2.10,directory:${nb-via}/tftp/netboot/x86_64/image"
ISO = "server:192.0.2.10,directory:${nb-via}/dist/image.iso"
ALTBOOT = "fastboot root=bootchain bootchain=fg,altboot ${nb-ip}"
END = "showopts lang=${lang} ${nb-board-arguments} ${linux_extra_cmdline} ${nb-arguments}"
INSTALL2_TARGET, INSTALL2_INIT = "systemd.unit=install2.target", "init=/usr/sbin/install2-init"
LIVE_RESCUE = "systemd.unit=live-rescue.target"


def stages(**mib):
    return {
        name: {"path": name, "size": size * MIB, "ramdisk_size": size * 1024 + 1}
        for name, size in mib.items()
    }


def started(stage, argument=""):
    return {"stage": stage, "argument": argument}


PROPAGATOR = {
    "arch": "x86_64",
    "dialect": "propagator",
    "kernel": "syslinux/alt0/vmlinuz",
    "initrd": "syslinux/alt0/full.cz",
    "stages": stages(altinst=440, live=1420, rescue=300),
    "livecd": started("live"),
    "installer": started("altinst"),
    "rescue": started("rescue"),
    "http_iso": False,
    "sha256": STAGE_DIGESTS,
    "tree": {"iso": {"size": 4000 * MIB}},
}
P10 = {**PROPAGATOR, "kernel": "boot/vmlinuz", "initrd": "boot/initrd.img", "http_iso": True}
P11 = {
    **P10,
    "dialect": "altboot",
    "stages": stages(live=1420),
    "installer": started("live", INSTALL2_TARGET),
    "rescue": started("live", LIVE_RESCUE),
}
SISYPHUS_2022 = {**P11, "http_iso": False, "installer": started("live", INSTALL2_INIT)}


def build(facts=P11, config=CONFIG, offer=None, setting=None, **other):
    image = {
        "name": "Image",
        "label": "image",
        "file": "image.iso",
        "iso_sha256": ISO_DIGEST,
        "facts": {**facts, **other},
        "boot_files": {facts["kernel"]: 10 * MIB, facts["initrd"]: 50 * MIB},
    }
    settings = {"label": "image", "offer": offer or {}, **(setting or {})}
    return netboot_entries.build({**config, "images": [settings]}, [image])


def entry(variant, **kwargs):
    (found,) = [one for one in build(**kwargs)["entries"] if one["variant"] == variant]
    return found


# facts, variant, whole command line, what must be unpacked, whether somebody is known to boot so
LINES = {
    "p9 livecd": (
        PROPAGATOR,
        "livecd",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=live "
        f"ramdisk_size=1454081 hash={STAGE_DIGESTS['live']} initrd=full.cz {END}",
        "stage",
        True,
    ),
    "p9 install": (
        PROPAGATOR,
        "install",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} stagename=altinst "
        f"ramdisk_size=450561 hash={STAGE_DIGESTS['altinst']} initrd=full.cz {END}",
        "tree",
        True,
    ),
    "p9 rescue": (
        PROPAGATOR,
        "rescue",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=rescue "
        f"ramdisk_size=307201 hash={STAGE_DIGESTS['rescue']} initrd=full.cz {END}",
        "stage",
        False,
    ),
    "10.1 livecd": (
        P10,
        "livecd",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=live "
        f"ramdisk_size=1454081 hash={STAGE_DIGESTS['live']} initrd=initrd.img {END}",
        "stage",
        True,
    ),
    "10.1 install": (
        P10,
        "install",
        f"changedisk fastboot automatic=method:http,network:dhcp,{ISO} stagename=altinst "
        f"initrd=initrd.img {END}",
        "boot",
        False,
    ),
    "Sisyphus 2022 livecd": (
        SISYPHUS_2022,
        "livecd",
        f"{ALTBOOT} automatic=method:http,{TREE} "
        f"live stagename=live ramdisk_size=1454081 initrd=initrd.img {END}",
        "stage",
        False,
    ),
    "Sisyphus 2022 install": (
        SISYPHUS_2022,
        "install",
        f"{ALTBOOT} automatic=method:http,{TREE} "
        f"live stagename=live {INSTALL2_INIT} ramdisk_size=1454081 initrd=initrd.img {END}",
        "tree",
        False,
    ),
    "p11 livecd": (
        P11,
        "livecd",
        f"{ALTBOOT} automatic=method:http,{TREE} "
        f"live stagename=live ramdisk_size=1454081 initrd=initrd.img {END}",
        "stage",
        False,
    ),
    "p11 install": (
        P11,
        "install",
        f"{ALTBOOT} "
        f"automatic=method:http,type:iso,{ISO} live stagename=live {INSTALL2_TARGET} "
        f"hash={ISO_DIGEST} initrd=initrd.img {END}",
        "boot",
        True,
    ),
    "p11 rescue": (
        P11,
        "rescue",
        f"{ALTBOOT} automatic=method:http,{TREE} "
        f"live stagename=live {LIVE_RESCUE} ramdisk_size=1454081 initrd=initrd.img {END}",
        "stage",
        False,
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_command_line(case):
    facts, variant, cmdline, files, proven = LINES[case]
    made = entry(variant, facts=facts)
    assert made["cmdline"] == cmdline
    assert (made["files"], made["proven"]) == (files, proven)
    assert made["needs_iso"] == (files == "boot") == (made["form"] == "iso")
    assert made["kernel"] == f"/netboot/x86_64/image/{facts['kernel']}"
    assert made["initrd"] == f"/netboot/x86_64/image/{facts['initrd']}"


@pytest.mark.parametrize("facts", [PROPAGATOR, P10, SISYPHUS_2022, P11])
def test_what_ends_a_boot_is_in_no_entry(facts):
    """ramdisk_size= makes an ISO a folder; hash= ends altboot's boot from an http tree."""
    for made in build(facts=facts)["entries"]:
        assert ("ramdisk_size=" in made["cmdline"]) == (made["form"] == "tree")
        if facts["dialect"] == "altboot":
            assert ("hash=" in made["cmdline"]) == (made["form"] == "iso")


# facts, method, form, what follows automatic=
OTHER_METHODS = [
    (
        PROPAGATOR,
        "cifs",
        "iso",
        "method:cifs,network:dhcp,server:192.0.2.10,directory:/dist/image.iso",
    ),
    (
        PROPAGATOR,
        "nfs",
        "tree",
        "method:nfs,network:dhcp,server:192.0.2.10,directory:/srv/export/tftp/netboot/x86_64/image",
    ),
    (P11, "cifs", "tree", "method:cifs,server:192.0.2.10,directory:/tftp/netboot/x86_64/image"),
    (P11, "nfs", "iso", "method:nfs,server:192.0.2.10,directory:/srv/export/dist/image.iso"),
    (
        PROPAGATOR,
        "ftp",
        "tree",
        "method:ftp,network:dhcp,server:192.0.2.10,directory:/tftp/netboot/x86_64/image",
    ),
    (
        P11,
        "ftp",
        "iso",
        "method:ftp,type:iso,server:192.0.2.10,directory:/dist/image.iso",
    ),
    (
        P11,
        "ftp",
        "tree",
        "method:ftp,server:192.0.2.10,directory:/tftp/netboot/x86_64/image",
    ),
]


@pytest.mark.parametrize(("facts", "method", "form", "automatic"), OTHER_METHODS)
def test_other_methods(facts, method, form, automatic):
    config = resolve({"http": {"port": 8080}})["config"]
    offer = {"methods": [method], "forms": [form], "variants": ["livecd"]}
    made = entry("livecd", facts=facts, config=config, offer=offer)
    words = made["cmdline"].split()
    assert f"automatic={automatic}" in words
    mounted = method in ("cifs", "nfs")
    assert ("lowmem" in words) == mounted
    assert any(word.startswith("ramdisk_size=") for word in words) == (
        not mounted and form == "tree"
    )
    checked = {
        ("altboot", True): None,
        ("altboot", False): ISO_DIGEST if form == "iso" else None,
        ("propagator", True): None,
        ("propagator", False): STAGE_DIGESTS["live"],
    }[facts["dialect"], mounted]
    assert [word for word in words if word.startswith("hash=")] == (
        [f"hash={checked}"] if checked else []
    )
    assert made["kernel"] == f"/netboot/x86_64/image/{facts['kernel']}"
    if mounted:
        assert made["memory_mib"] == 512 + 256
        made = entry("livecd", facts=facts, offer={**offer, "hash_mounted": True})
        assert ("hash=" in made["cmdline"]) == (facts["dialect"] == "altboot")


@pytest.mark.parametrize(
    ("setting", "form"),
    [
        ({}, "iso"),
        ({"mount": True}, "tree"),
        ({"keep_iso": False}, "tree"),
        ({"unpack": "tree"}, "tree"),
    ],
)
def test_what_is_mounted_is_what_is_there(setting, form):
    assert entry("livecd", offer={"methods": ["nfs"]}, setting=setting)["form"] == form


def test_each_method_and_form_that_is_wanted_has_an_entry():
    made = build(config={**CONFIG, "methods": ["http", "nfs"]}, offer={"forms": ["tree", "iso"]})
    assert [(one["id"], one["title"]) for one in made["entries"] if one["variant"] == "livecd"] == [
        ("image-livecd", "Image: livecd"),
        ("image-livecd-http-iso", "Image: livecd, whole ISO over http (8.1 GiB of memory)"),
        ("image-livecd-nfs-tree", "Image: livecd, over nfs"),
        ("image-livecd-nfs-iso", "Image: livecd, whole ISO over nfs"),
    ]
    assert len({one["id"] for one in made["entries"]}) == len(made["entries"]) == 12


def test_arguments_of_the_user_come_last():
    config = {**CONFIG, "arguments": {"x86_64": ["console=ttyS0"], "aarch64": ["x"]}}
    made = entry("livecd", config=config, offer={"arguments": ["ai", "curl=http://192.0.2.1/m/"]})
    assert (
        "showopts lang=${lang} console=ttyS0 ai curl=http://192.0.2.1/m/ ${nb-" in made["cmdline"]
    )


def test_addresses_of_another_server():
    offer = {
        "kernel_url": "http://192.0.2.20/k/vmlinuz",
        "initrd_url": "tftp://192.0.2.20/k/full.cz",
        "stage2_http_url": "http://192.0.2.20:81/isos/image.iso",
    }
    made = entry("install", offer=offer)
    assert (made["kernel"], made["initrd"]) == (offer["kernel_url"], offer["initrd_url"])
    assert "server:192.0.2.20:81,directory:/isos/image.iso " in made["cmdline"]
    assert " initrd=full.cz " in made["cmdline"]


@pytest.mark.parametrize(("variant", "nic"), [("livecd", "booted"), ("install", "any")])
def test_network_card(variant, nic):
    """An installer gets what published lines have; nobody published a line with a card's name."""
    made = entry(variant)
    assert (made["nic"], made["proven"]) == (nic, nic == "any")
    for asked in ("booted", "any"):
        made = entry(variant, offer={"nic": asked, "forms": ["iso"]})
        assert (made["nic"], made["proven"]) == (asked, asked == "any")
    assert entry(variant, facts=PROPAGATOR, offer={"nic": "booted"})["nic"] == ""


@pytest.mark.parametrize("method", ["http", "ftp"])
def test_size_of_the_download_is_told_on_request(method):
    """altboot then takes an error page of the server for the image."""
    offer = {"methods": [method], "forms": ["tree", "iso"]}
    assert "imgsize:" not in str(build(offer=offer))
    made = build(offer={**offer, "imgsize": True})["entries"]
    assert [f"imgsize:{one['stage']['bytes']}" in one["cmdline"] for one in made] == [True] * 6
    assert not any(one["proven"] for one in made)
    assert "imgsize:" not in str(build(facts=PROPAGATOR, offer={"imgsize": True}))


def test_what_propagator_may_not_read_is_a_warning():
    eighty, other = CONFIG, resolve({"http": {"port": 8080}})["config"]
    assert build(facts=PROPAGATOR, config=eighty)["warnings"] == []
    assert build(config=other, offer={"arguments": ["a" * 300]})["warnings"] == []
    said = build(facts=PROPAGATOR, config=other)["warnings"]
    assert [one.partition(":")[0] for one in said] == [
        "image-livecd",
        "image-install",
        "image-rescue",
    ]
    assert "no port but 80; set netboot:http:port to 80, or netboot:images:Image:methods" in said[0]
    assert build(facts=PROPAGATOR, config=other, offer={"methods": ["nfs"]})["warnings"] == []
    for words in (["a" * 400], ["a"] * 45):
        said = build(facts=PROPAGATOR, offer={"arguments": words})["warnings"]
        assert len(said) == 3
        assert "its first stage may read 511 and 50; shorten netboot:arguments:x86_64" in said[0]


def test_without_a_digest_there_is_no_hash():
    """So it is until the image is unpacked for the first time."""
    assert "hash=" not in entry("livecd", facts=PROPAGATOR, sha256={})["cmdline"]


def test_what_a_boot_fetches_and_how_much_memory_it_needs():
    tree, iso = entry("livecd"), entry("install")
    assert tree["bytes"] == (10 + 50 + 1420) * MIB
    assert tree["memory_mib"] == 2 * 1420 + 256  # a real-time kernel has no RAM disk
    assert tree["title"] == "Image: livecd"
    assert iso["bytes"] == (10 + 50 + 4000) * MIB
    assert iso["memory_mib"] == 2 * 4000 + 256
    assert iso["title"] == "Image: install (8.1 GiB of memory)"


@pytest.mark.parametrize(
    ("dialect", "form", "size", "mib"),
    [
        ("propagator", "tree", 1, 1 + 512 + 256),
        ("propagator", "tree", 1420 * MIB + 1, 1421 + 512 + 256),
        # half of what is available, but never less than what alt27 keeps free
        ("altboot", "tree", 1420 * MIB + 1, 2 * 1421 + 256),
        ("altboot", "iso", 4499472384, 2 * 4292 + 256),
        ("propagator", "iso", 4499472384, 2 * 4292 + 256),
        ("altboot", "iso", 100 * MIB, 100 + 512 + 256),
    ],
)
def test_memory(dialect, form, size, mib):
    assert netboot_entries.memory_mib(dialect, form, size) == mib


def test_other_port_is_told_to_the_first_stage():
    made = entry("livecd", config=resolve({"http": {"port": 8080}})["config"])
    assert "server:192.0.2.10:8080," in made["cmdline"]


@pytest.mark.parametrize(
    ("kwargs", "variants"),
    [
        ({}, ["livecd", "install", "rescue"]),
        ({"offer": {"variants": ["rescue", "install"]}}, ["install", "rescue"]),
        ({"installer": None}, ["livecd", "rescue"]),
        ({"livecd": None, "rescue": None}, ["install"]),
        # propagator runs on i586 too
        ({"facts": PROPAGATOR, "arch": "i586"}, ["livecd", "install", "rescue"]),
    ],
)
def test_variants(kwargs, variants):
    built = build(**kwargs)
    assert [one["variant"] for one in built["entries"]] == variants
    assert built["problems"] == []


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"arch": "i586"}, "Image: the initrd of i586 images with altboot has no network"),
        (
            {"livecd": None, "installer": None, "rescue": None},
            "Image: contains neither a live system",
        ),
        (
            {"facts": PROPAGATOR, "offer": {"forms": ["iso"]}},
            "Image: its first stage supports none of netboot:images:Image:forms (iso)",
        ),
        (
            {"rescue": None, "offer": {"variants": ["rescue"]}},
            "Image: contains none of the variants",
        ),
    ],
)
def test_image_without_an_entry_is_named(kwargs, said):
    built = build(**kwargs)
    assert built["entries"] == []
    (problem,) = built["problems"]
    assert problem.startswith(said)


def test_command_line_that_a_kernel_would_cut_off():
    built = build(offer={"arguments": ["a" * 1000]})
    assert built["entries"] == []
    assert built["problems"][0].startswith(
        "image-livecd: its kernel command line has up to 1390 characters; the limit on "
    )
    assert len(build(offer={"arguments": ["a" * 600]})["entries"]) == 3
    riscv = {"config": {**CONFIG, "arguments": {"riscv64": ["a" * 600]}}, "arch": "riscv64"}
    assert "the limit on riscv64 is 768; shorten netboot:arguments:riscv64" in str(build(**riscv))
