"""Boot entries: facts x configuration -> kernel, initrd, command line, and what they cost."""

import pytest

from _modules import netboot_entries

MIB = 1024 * 1024
ISO_DIGEST = "ab" * 32
STAGE_DIGESTS = {"live": "cd" * 32, "altinst": "ef" * 32, "rescue": "01" * 32}
CONFIG = {"http": {"url": "http://192.0.2.10"}}
TREE = "server:192.0.2.10,directory:/tftp/netboot/x86_64/image"
ISO = "server:192.0.2.10,directory:/dist/image.iso"
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


def build(facts=P11, config=CONFIG, variants=None, **other):
    image = {
        "name": "Image",
        "label": "image",
        "file": "image.iso",
        "iso_sha256": ISO_DIGEST,
        "overrides": {"variants": variants} if variants else {},
        "facts": {**facts, **other},
        "boot_files": {facts["kernel"]: 10 * MIB, facts["initrd"]: 50 * MIB},
    }
    return netboot_entries.build(config, [image])


def entry(variant, **kwargs):
    (found,) = [one for one in build(**kwargs)["entries"] if one["variant"] == variant]
    return found


# facts, variant, whole command line, what must be unpacked, whether somebody is known to boot so
LINES = {
    "p9 livecd": (
        PROPAGATOR,
        "livecd",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=live "
        f"ramdisk_size=1454081 hash={STAGE_DIGESTS['live']} initrd=full.cz showopts",
        "stage",
        True,
    ),
    "p9 install": (
        PROPAGATOR,
        "install",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} stagename=altinst "
        f"ramdisk_size=450561 hash={STAGE_DIGESTS['altinst']} initrd=full.cz showopts",
        "tree",
        True,
    ),
    "p9 rescue": (
        PROPAGATOR,
        "rescue",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=rescue "
        f"ramdisk_size=307201 hash={STAGE_DIGESTS['rescue']} initrd=full.cz showopts",
        "stage",
        False,
    ),
    "10.1 livecd": (
        P10,
        "livecd",
        f"changedisk fastboot automatic=method:http,network:dhcp,{TREE} live stagename=live "
        f"ramdisk_size=1454081 hash={STAGE_DIGESTS['live']} initrd=initrd.img showopts",
        "stage",
        True,
    ),
    "10.1 install": (
        P10,
        "install",
        f"changedisk fastboot automatic=method:http,network:dhcp,{ISO} stagename=altinst "
        "initrd=initrd.img showopts",
        "boot",
        False,
    ),
    "Sisyphus 2022 livecd": (
        SISYPHUS_2022,
        "livecd",
        f"fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 automatic=method:http,{TREE} "
        "live stagename=live ramdisk_size=1454081 initrd=initrd.img showopts",
        "stage",
        False,
    ),
    "Sisyphus 2022 install": (
        SISYPHUS_2022,
        "install",
        f"fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 automatic=method:http,{TREE} "
        f"live stagename=live {INSTALL2_INIT} ramdisk_size=1454081 initrd=initrd.img showopts",
        "tree",
        False,
    ),
    "p11 livecd": (
        P11,
        "livecd",
        f"fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 automatic=method:http,{TREE} "
        "live stagename=live ramdisk_size=1454081 initrd=initrd.img showopts",
        "stage",
        False,
    ),
    "p11 install": (
        P11,
        "install",
        "fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 "
        f"automatic=method:http,type:iso,{ISO} live stagename=live {INSTALL2_TARGET} "
        f"hash={ISO_DIGEST} initrd=initrd.img showopts",
        "boot",
        True,
    ),
    "p11 rescue": (
        P11,
        "rescue",
        f"fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 automatic=method:http,{TREE} "
        f"live stagename=live {LIVE_RESCUE} ramdisk_size=1454081 initrd=initrd.img showopts",
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
    assert made["kernel"] == f"http://192.0.2.10/tftp/netboot/x86_64/image/{facts['kernel']}"
    assert made["initrd"] == f"http://192.0.2.10/tftp/netboot/x86_64/image/{facts['initrd']}"


@pytest.mark.parametrize("facts", [PROPAGATOR, P10, SISYPHUS_2022, P11])
def test_what_ends_a_boot_is_in_no_entry(facts):
    """ramdisk_size= makes an ISO a folder; hash= ends altboot's boot from an http tree."""
    for made in build(facts=facts)["entries"]:
        assert ("ramdisk_size=" in made["cmdline"]) == (made["form"] == "tree")
        if facts["dialect"] == "altboot":
            assert ("hash=" in made["cmdline"]) == (made["form"] == "iso")


def test_without_a_digest_there_is_no_hash():
    """So it is until the image is unpacked for the first time."""
    assert "hash=" not in entry("livecd", facts=PROPAGATOR, sha256={})["cmdline"]


def test_what_a_boot_fetches_and_how_much_memory_it_needs():
    tree, iso = entry("livecd"), entry("install")
    assert tree["bytes"] == (10 + 50 + 1420) * MIB
    assert tree["memory_mib"] == 1420 + 512 + 256
    assert tree["title"] == "Image: livecd"
    assert iso["bytes"] == (10 + 50 + 4000) * MIB
    assert iso["memory_mib"] == 2 * 4000 + 256
    assert iso["title"] == "Image: install (8.1 GiB of memory)"


@pytest.mark.parametrize(
    ("form", "size", "mib"),
    [
        ("tree", 1, 1 + 512 + 256),
        ("tree", 1420 * MIB + 1, 1421 + 512 + 256),
        # half of what is available, but never less than what alt27 keeps free
        ("iso", 4499472384, 2 * 4292 + 256),
        ("iso", 100 * MIB, 100 + 512 + 256),
    ],
)
def test_memory(form, size, mib):
    assert netboot_entries.memory_mib(form, size) == mib


def test_other_port_is_told_to_the_first_stage():
    made = entry("livecd", config={"http": {"url": "http://192.0.2.10:8080"}})
    assert "server:192.0.2.10:8080," in made["cmdline"]


@pytest.mark.parametrize(
    ("kwargs", "variants"),
    [
        ({}, ["livecd", "install", "rescue"]),
        ({"variants": ["rescue", "install"]}, ["install", "rescue"]),
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
        ({"livecd": None, "installer": None, "rescue": None}, "Image: has neither a live system"),
        ({"rescue": None, "variants": ["rescue"]}, "Image: has none of the variants"),
    ],
)
def test_image_without_an_entry_is_named(kwargs, said):
    built = build(**kwargs)
    assert built["entries"] == []
    (problem,) = built["problems"]
    assert problem.startswith(said)
