"""Boot entries: facts x configuration -> kernel, initrd, command line."""

import pytest

from _modules import netboot_entries

ISO_DIGEST = "ab" * 32
CONFIG = {"http": {"url": "http://192.0.2.10"}}
P11 = {
    "arch": "x86_64",
    "dialect": "altboot",
    "kernel": "boot/vmlinuz",
    "initrd": "boot/initrd.img",
    "stages": {"live": {"path": "live", "size": 8392704, "ramdisk_size": 8197}},
    "livecd": {"stage": "live", "argument": ""},
    "installer": {"stage": "live", "argument": "systemd.unit=install2.target"},
    "http_iso": True,
}
IMAGE = {
    "name": "ALT p11",
    "label": "alt_p11",
    "file": "alt-p11-x86_64.iso",
    "iso_sha256": ISO_DIGEST,
    "overrides": {},
    "facts": P11,
}


def build(config=CONFIG, overrides=None, **facts):
    image = {**IMAGE, "overrides": overrides or {}, "facts": {**P11, **facts}}
    return netboot_entries.build(config, [image])


def entry(variant, **kwargs):
    (found,) = [one for one in build(**kwargs)["entries"] if one["variant"] == variant]
    return found


def test_p11_livecd_is_an_http_tree_with_ramdisk_size_and_without_hash():
    made = entry("livecd")
    assert made["kernel"] == "http://192.0.2.10/tftp/netboot/x86_64/alt_p11/boot/vmlinuz"
    assert made["initrd"] == "http://192.0.2.10/tftp/netboot/x86_64/alt_p11/boot/initrd.img"
    assert made["cmdline"] == (
        "fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 "
        "automatic=method:http,server:192.0.2.10,directory:/tftp/netboot/x86_64/alt_p11 "
        "live stagename=live ramdisk_size=8197 initrd=initrd.img showopts"
    )


def test_p11_install_is_the_whole_iso_with_its_hash_and_without_ramdisk_size():
    assert entry("install")["cmdline"] == (
        "fastboot root=bootchain bootchain=fg,altboot ip=dhcp4 "
        "automatic=method:http,type:iso,server:192.0.2.10,directory:/dist/alt-p11-x86_64.iso "
        f"live stagename=live systemd.unit=install2.target hash={ISO_DIGEST} "
        "initrd=initrd.img showopts"
    )


def test_installer_argument_is_the_one_that_the_iso_names():
    made = entry("install", installer={"stage": "live", "argument": "init=/usr/sbin/install2-init"})
    assert " init=/usr/sbin/install2-init " in made["cmdline"]
    assert "install2.target" not in made["cmdline"]


def test_other_port_is_told_to_the_first_stage():
    made = entry("livecd", config={"http": {"url": "http://192.0.2.10:8080"}})
    assert "server:192.0.2.10:8080," in made["cmdline"]


@pytest.mark.parametrize(
    ("kwargs", "variants"),
    [
        ({}, ["livecd", "install"]),
        ({"overrides": {"variants": ["install"]}}, ["install"]),
        ({"installer": None}, ["livecd"]),
        ({"livecd": None}, ["install"]),
        ({"http_iso": False}, ["livecd"]),
    ],
)
def test_variants(kwargs, variants):
    built = build(**kwargs)
    assert [one["variant"] for one in built["entries"]] == variants
    assert built["problems"] == []


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"dialect": "propagator"}, "ALT p11: its first stage is propagator"),
        ({"livecd": None, "installer": None}, "ALT p11: has neither a live system"),
        ({"overrides": {"variants": ["rescue"]}}, "ALT p11: has none of the variants"),
    ],
)
def test_image_without_an_entry_is_named(kwargs, said):
    built = build(**kwargs)
    assert built["entries"] == []
    (problem,) = built["problems"]
    assert problem.startswith(said)
