"""Defaults: the table of keys is the only place that has them."""

import pytest

import netboot_hosts
import netboot_keys
import netboot_pillar
import netboot_values
from tests.unit.test_netboot_pillar import IMAGE, INSTALL, PLATFORMS, TARGET

# Another value for each default, which its check accepts.
OTHER = {
    "root": "/srv/other",
    "images.*.verify": "always",
    "images.*.arguments": ("quiet",),
    "images.*.extra_ipxe_conf": ({"snippet": "echo"},),
    "default_variant.*": "rescue",
    "methods": ("nfs",),
    "arguments.*": ("quiet",),
    "kernel_over.*": "tftp",
    "fetch.from": ("upstream", "mirrors"),
    "site": "msk",
    "mirror": "also",
    "menu.title": "Other",
    "menu.languages": ("ru_RU",),
    "menu.password.variants": ("rescue",),
    "menu.extra.*.arguments": ("quiet",),
    "menu.extra.*.arches": ("aarch64",),
    "hosts.*.arguments": ("quiet",),
    "dhcp.mode": "off",
    "http.listing": "html",
    "ftp.passive_ports": (50001, 50009),
    "tftp.ports": (61001, 62000),
    "firewall": "off",
    "installs.*.language": "en_US",
    "installs.*.keyboard": "ctrl_shift_toggle",
    "installs.*.timezone": "Asia/Omsk",
    "installs.*.layout": "btrfs",
    "installs.*.interfaces": ("eth5",),
    "installs.*.package_groups": ("kworkstation/kde",),
    "installs.*.packages": ("vim",),
    "installs.*.repositories": ("rpm http://192.0.2.1/p11 x86_64 classic",),
    "installs.*.ntp": ("192.0.2.1",),
    "installs.*.commands": ("true",),
    "installs.*.users.*.real_name": "Alice",
    "installs.*.files.*.mode": "0600",
    "installs.*.finish": "poweroff",
}
# An image of another server, a line of the menu and so on, so that every map is there.
PILLAR = {
    "images": {
        "a": IMAGE,
        "b": {
            "skip_iso_deploy": True,
            "alt_arch": "x86_64",
            "kernel_url": "http://192.0.2.20/vmlinuz",
            "initrd_url": "http://192.0.2.20/full.cz",
            "stage2_http_url": "http://192.0.2.20/x",
            "live_size": 10240,
        },
    },
    "default_image": {"x86_64": "a"},
    "menu": {
        "extra": {"memtest": {"kernel": "http://192.0.2.9/memtest"}},
        "password": {"users": {"admin": f"$6$salt${'a' * 86}"}},
    },
    "admins": {"alice": {"keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"]}},
    "schedule": {"hours": 1},
    "installs": {
        "school": {
            **INSTALL,
            "users": {"pupil": {"password": INSTALL["root_password"]}},
            "files": {"/etc/motd": {"text": "Hello"}},
        }
    },
    "dhcp": {"subnets": {"192.0.2.0/24": {"range": ["192.0.2.100", "192.0.2.199"]}}},
}
# What the pillar must be for some of the other values.
_OTHERS = {key: value for key, value in PILLAR["images"]["b"].items() if key != "skip_iso_deploy"}
FITTING = {
    "images.*.sums": {"images": {"a": {"url": IMAGE["url"]}}},
    "images.*.refresh": {"images": {"a": {"url": IMAGE["url"], "sums": True}}},
    "images.*.skip_iso_deploy": {"images": {"a": {"url": IMAGE["url"], **_OTHERS}}},
    "virtual_address": {"address": "192.0.2.200"},
}
DEFAULTS = [row.path for row in netboot_keys.KEYS if row.default is not None]


def other(row):
    """Another value than the default of a row."""
    value = OTHER.get(row.path)
    if value is None and isinstance(row.default, bool):
        return not row.default
    return row.default + 1 if value is None else value


def outcome(pillar=PILLAR):
    """What the defaults end up in: the configuration or the problems, and a host's settings."""
    host = netboot_hosts.settings_of({"group": "g"}, {"g": {"image": "a", "variant": "livecd"}})
    return netboot_pillar.resolve(pillar, TARGET, PLATFORMS), host


@pytest.mark.parametrize("path", DEFAULTS)
def test_changed_default_shows_in_the_configuration(path, monkeypatch):
    pillar = {**PILLAR, **FITTING.get(path, {})}
    before = outcome(pillar)
    (row,) = (row for row in netboot_keys.KEYS if row.path == path)
    changed = row._replace(default=other(row))
    shown = list(changed.default) if isinstance(changed.default, tuple) else changed.default
    assert changed.check(shown) is None
    monkeypatch.setitem(netboot_values._ROWS, tuple(path.split(".")), changed)
    after = outcome(pillar)
    assert after[0]["problems"] == []
    assert after != before
