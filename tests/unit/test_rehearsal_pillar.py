"""A user's pillar in the lab: what differs, and that nothing else does."""

import pytest

from lab.rehearsal_pillar import (
    HASH,
    SHORTEST_S,
    USER,
    Iso,
    arch_of,
    fitted,
    generation_of,
    images_of,
    methods_of,
    needs_kernel,
)
from lab.rehearse import resolved

URL = "http://192.0.2.7/alt-server-11.1-x86_64.iso"
IMAGE = {"url": URL, "checksum": {"sha512": "a" * 128}}
ISO = Iso("http://198.18.0.1:8000/alt-server-11.1-x86_64.iso", "b" * 64, "a made one")
REAL = ISO._replace(sha256=None, how="/isos/alt-server-11.1-x86_64.iso")


def fit(isos=None, loaders=None, **pillar):
    pillar = {"images": {"ALT": dict(IMAGE)}, **pillar}
    return fitted(pillar, "198.18.0", {"ALT": ISO} if isos is None else isos, loaders or {})


@pytest.mark.parametrize(
    ("file", "generation"),
    [
        ("alt-workstation-8.2-x86_64.iso", "p8"),
        ("alt-kworkstation-9.1-x86_64.iso", "p9"),
        ("alt-server-9.2-aarch64.iso", "p9-server"),
        ("alt-p9-jeos-20220612-x86_64.iso", "p9-2022"),
        ("alt-p10-jeos-20210812-x86_64.iso", "p10-2021-08"),
        ("alt-p10-jeos-systemd-20210912-x86_64.iso", "p10-2021-09"),
        ("alt-p10-xfce-20220612-x86_64.iso", "p10.0"),
        ("alt-p10-xfce-latest-x86_64.iso", "p10.4"),
        ("alt-workstation-10.0-x86_64.iso", "p10.0"),
        ("alt-workstation-10.2-x86_64.iso", "p10.1"),
        ("alt-server-10.4-x86_64.iso", "p10.4"),
        ("regular-xfce-20221207-x86_64.iso", "sisyphus-2022"),
        ("regular-xfce-latest-x86_64.iso", "sisyphus"),
        ("alt-p11-xfce-20240529-x86_64.iso", "p11-2024"),
        ("alt-kworkstation-11.1-install-x86_64.iso", "p11"),
        ("download?id=5", "p11"),
    ],
)
def test_generations(file, generation):
    assert generation_of("any", {"url": f"http://192.0.2.7/{file}"}) == generation


def test_architectures():
    assert arch_of("x", {"url": "http://192.0.2.7/alt-11-aarch64.iso"}) == "aarch64"
    assert arch_of("x", {"url": "http://192.0.2.7/x.iso", "alt_arch": "i586"}) == "i586"
    assert arch_of("x", {"url": "http://192.0.2.7/x.iso"}) == "x86_64"


def test_images_of_a_list_have_names():
    assert images_of({"images": [{"name": "a", "url": "u"}, 7, {"url": "v"}]}) == {
        "a": {"name": "a", "url": "u"}
    }


def test_the_pillar_itself_is_not_changed():
    pillar = {"images": {"ALT": dict(IMAGE)}, "interface": "ens18"}
    fitted(pillar, "198.18.0", {"ALT": ISO}, {})
    assert pillar == {"images": {"ALT": IMAGE}, "interface": "ens18"}


def test_what_boots_stays():
    kept = {
        "arguments": {"x86_64": ["quiet"]},
        "default_image": {"x86_64": "ALT"},
        "hosts": {"pc1": {"mac": "52:54:00:aa:00:01", "image": "ALT", "variant": "install"}},
        "kernel_over": {"x86_64": "tftp"},
        "http": {"port": 8080},
        "menu": {"title": "Ours", "timeout_s": 30},
        "firewall": "auto",
        "arms": False,
    }
    found = fit(**kept)
    assert {key: found.pillar[key] for key in kept} == kept
    assert len(found.changes) == 1  # its ISO


@pytest.mark.parametrize(
    ("pillar", "said"),
    [
        ({"interface": "ens18"}, "netboot:interface: left out"),
        ({"address": "10.0.0.1"}, "netboot:address: left out"),
        ({"http": {"certificate": "/etc/x.pem"}}, "netboot:http:certificate: left out"),
        ({"arms": "http://10.0.0.2"}, "netboot:arms: left out"),
        ({"schedule": {"hours": 4}}, "netboot:schedule: left out"),
        ({"platform": {"dnsmasq": {"user": "x"}}}, "netboot:platform: left out"),
        ({"dhcp": {"mode": "off"}}, "netboot:dhcp:mode: proxy"),
        ({"dhcp": {"mode": False}}, "netboot:dhcp:mode: proxy"),
        ({"dhcp": {"subnets": {"10.0.0.0/24": {}}}}, "netboot:dhcp:subnets: left out"),
        ({"menu": {"timeout_s": 3}}, f"netboot:menu:timeout_s: {SHORTEST_S}"),
        ({"menu": {"arch_timeout_s": {"i586": 1}}}, "netboot:menu:arch_timeout_s:i586: 20"),
        ({"firmware": {"bios": {"url": "http://x/y.kpxe"}}}, "netboot:firmware:bios: left out"),
    ],
)
def test_what_only_the_users_network_has(pillar, said):
    found = fit(**pillar)
    assert any(one.startswith(said) for one in found.changes), found.changes
    assert resolved(found.pillar)["problems"] == []


def test_made_iso_has_its_own_checksum():
    assert fit().pillar["images"]["ALT"] == {"url": ISO.url, "checksum": {"sha256": ISO.sha256}}


def test_real_iso_keeps_the_checksum_of_the_pillar():
    image = fit(isos={"ALT": REAL}).pillar["images"]["ALT"]
    assert image == {"url": ISO.url, "checksum": IMAGE["checksum"]}


def test_sum_files_and_mirrors_are_not_asked():
    image = {"url": URL, "sums": True, "refresh": True, "mirrors": ["http://x/y.iso"]}
    found = fit(images={"ALT": image})
    assert found.pillar["images"]["ALT"] == {"url": ISO.url, "checksum": {"sha256": ISO.sha256}}
    assert found.changes == ["netboot:images:ALT: a made one, without mirrors, refresh, sums"]


@pytest.mark.parametrize("as_list", [False, True])
def test_image_on_another_server(as_list):
    away = {"skip_iso_deploy": True}
    images = {"ALT": dict(IMAGE), "Away": away}
    if as_list:
        images = [{"name": name, **image} for name, image in images.items()]
    hosts = {"pc1": {"mac": "52:54:00:aa:00:01", "image": "Away", "variant": "install"}}
    found = fit(images=images, hosts=hosts, default_image={"x86_64": "Away"})
    assert list(images_of(found.pillar)) == ["ALT"]
    assert "netboot:images:Away: left out, it is on another server" in found.changes
    assert resolved(found.pillar)["problems"] == []


def test_server_that_gives_addresses():
    theirs = {"10.0.0.0/24": {"range": ["10.0.0.5", "10.0.0.9"], "lease_s": 600}}
    found = fit(dhcp={"mode": "server", "subnets": theirs})
    assert found.gives_addresses
    assert list(found.pillar["dhcp"]["subnets"]) == ["198.18.0.0/24"]
    assert resolved(found.pillar)["problems"] == []


def test_password_that_the_lab_knows():
    found = fit(menu={"password": {"users": {"boss": HASH}}})
    assert found.pillar["menu"]["password"]["users"] == {"boss": HASH, USER: HASH}
    assert "password" not in fit(menu={}).pillar["menu"]


def test_boot_loaders_of_this_machine():
    mine = {"bios": {"url": "http://x/y.kpxe", "checksum": {"sha256": "c" * 64}}}
    loaders = {
        "firmware.bios": ("http://198.18.0.1:8000/y.kpxe", None),
        "firmware.efi-aarch64": ("http://198.18.0.1:8000/ipxe-arm64.efi", "d" * 64),
    }
    found = fit(loaders=loaders, firmware=mine).pillar["firmware"]
    assert found["bios"] == {**mine["bios"], "url": loaders["firmware.bios"][0]}
    assert found["efi-aarch64"]["checksum"] == {"sha256": "d" * 64}


def test_kernel_of_its_own():
    assert not needs_kernel({"methods": ["http", "cifs"]})
    assert needs_kernel({"images": {"a": {"methods": ["nfs"]}}})
    assert needs_kernel({"images": [{"name": "a", "mount": True}]})
    assert methods_of({"images": {"a": {}}}) == {"http"}
