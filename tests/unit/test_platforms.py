"""The table of platforms: complete for each, chosen by os-release, completed by the pillar."""

import re

import pytest

import netboot_keys
import netboot_machine
import netboot_names
import netboot_values
from tests.conftest import CHECKOUT
from tests.systems import SYSTEMS
from tests.unit.test_netboot_pillar import PLATFORMS, resolve


def keys(row):
    return {f"{section}.{key}" for section, below in row.items() for key in below}


@pytest.mark.parametrize("name", PLATFORMS)
def test_row_has_the_keys_of_the_others(name):
    assert keys(PLATFORMS[name]) == set.union(*(keys(row) for row in PLATFORMS.values()))


@pytest.mark.parametrize("name", PLATFORMS)
def test_row_may_stand_in_the_pillar(name):
    assert netboot_values.problems({"platform": PLATFORMS[name]}) == []
    assert set(PLATFORMS[name]["firmware"]) == set(netboot_names.FIRMWARE)


def test_pillar_has_the_keys_of_a_row():
    known = {row.path for row in netboot_keys.KEYS if row.path.startswith("platform.")}
    of_rows = {f"platform.{key}" for key in keys(PLATFORMS["debian"]) if "firmware." not in key}
    assert known == of_rows | {"platform.firmware.*"} | {"platform.packages.firmware"}


def test_states_take_nothing_else():
    """What the SLS and templates read of config.platform, by whatever name."""
    taken = set()
    for path in (CHECKOUT / "salt/netboot").rglob("*.*"):
        blocks = " ".join(re.findall(r"\{[{%].*?[%}]\}", path.read_text(), re.DOTALL))
        taken |= set(re.findall(r"platform\.(\w+\.\w+)", blocks))
        for name in re.findall(r"set (\w+) = config\.platform\.\1 ", blocks):
            taken |= {f"{name}.{key}" for key in re.findall(rf"(?<!\.)\b{name}\.(\w+)", blocks)}
    assert len(taken) > 15
    for row in PLATFORMS.values():
        assert taken <= keys(row)


@pytest.mark.parametrize("system", SYSTEMS)
def test_chosen_by_os_release(system, tmp_path, monkeypatch):
    os_release, name = SYSTEMS[system]
    (tmp_path / "os-release").write_text(os_release)
    monkeypatch.setattr(netboot_machine, "_OS_RELEASE", str(tmp_path / "os-release"))
    resolved = resolve({}, platform=netboot_machine.target("/var/lib/netboot")["platform"])
    if name is None:
        (problem,) = resolved["problems"]
        assert problem.startswith("netboot:platform: netboot-alt does not know '")
        return
    config = resolved["config"]
    expected = {key: value for key, value in PLATFORMS[name].items() if key != "firmware"}
    assert config["platform"] == expected
    (bios,) = (one for one in config["boot_files"] if one["kind"] == "bios")
    assert bios["packaged"] == PLATFORMS[name]["firmware"]["bios"]


def test_unknown_platform_names_what_the_pillar_must_say():
    (problem,) = resolve({}, platform=["plan9"])["problems"]
    assert problem.startswith(
        "netboot:platform: netboot-alt does not know 'plan9', only altlinux, debian, fedora and "
        "their derivatives; set packages:firmware, packages:dhcp, "
    )
    assert ", firmware, dnsmasq:user, " in problem
    assert problem.endswith(", admins:groups")
    own = {key: value for key, value in PLATFORMS["fedora"].items() if key != "ftp"}
    (problem,) = resolve({"platform": own}, platform=["plan9"])["problems"]
    assert problem.endswith("; set ftp:user, ftp:silence")
    assert resolve({"platform": PLATFORMS["fedora"]}, platform=["plan9"])["problems"] == []


def test_pillar_goes_over_the_table():
    own = {"packages": {"http": ["nginx-light"]}, "firmware": {"bios": ["/opt/undionly.kpxe"]}}
    config = resolve({"platform": own})["config"]
    assert config["platform"]["packages"] == {
        **PLATFORMS["debian"]["packages"],
        "http": ["nginx-light"],
    }
    packaged = {one["kind"]: one["packaged"] for one in config["boot_files"]}
    assert packaged["bios"] == ["/opt/undionly.kpxe"]
    assert packaged["efi-x86_64"] == PLATFORMS["debian"]["firmware"]["efi-x86_64"]
    assert PLATFORMS["debian"]["packages"]["http"] == ["nginx"]


WRONG = [
    ("x", "netboot:platform: must be a map of admins, dnsmasq, firmware, ftp, "),
    ({"packages": []}, "netboot:platform:packages: must be a map of admins, deltas, dhcp, "),
    (
        {"packages": {"http": "nginx"}},
        "netboot:platform:packages:http: must be a list of package names",
    ),
    (
        {"packages": {"http": ["-y"]}},
        "netboot:platform:packages:http: must be a list of package names",
    ),
    ({"package": {}}, "netboot:platform:package: unknown key, did you mean packages?"),
    ({"firmware": {"uefi": []}}, "netboot:platform:firmware:uefi: must be one of bios, "),
    ({"firmware": {"bios": ["x.kpxe"]}}, "netboot:platform:firmware:bios: must be a list of abs"),
    ({"nginx": {"site": "/x"}}, "netboot:platform:nginx:site: must be a path without a leading"),
    ({"nginx": {"site": "../x"}}, "netboot:platform:nginx:site: must be a path without a leading"),
    (
        {"nginx": {"directory": "/etc/a b"}},
        "netboot:platform:nginx:directory: must be an absolute path",
    ),
    (
        {"nfs": {"service": "a;b"}},
        "netboot:platform:nfs:service: must be the name of a systemd unit",
    ),
    ({"ftp": {"user": 3}}, "netboot:platform:ftp:user: must be a name of letters"),
]


@pytest.mark.parametrize(("own", "said"), WRONG)
def test_wrong_platform(own, said):
    (problem,) = resolve({"platform": own})["problems"]
    assert problem.startswith(said)


def test_salt_ssh_sends_no_links():
    """Python's tarfile on the target refuses those that lead out of the archive (PEP 706)."""
    sent = [path for name in ("_modules", "_states", "_utils", "_wrapper") for path in folder(name)]
    assert len(sent) > 50
    assert [path for path in sent if path.is_symlink()] == []


def folder(name):
    return (CHECKOUT / "salt" / name).resolve().glob("*.py")
