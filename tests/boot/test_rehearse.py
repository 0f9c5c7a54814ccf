"""./netboot rehearse on pillars of other people, and on mistakes that it must find."""

import json
from xml.etree import ElementTree

import pytest

from lab.iso import make_iso
from lab.rehearse import rehearse

SHA = "a" * 64
OWN = "time-out: its own disk"


def run(tmp_path, pillar, *words):
    """The exit status, and the results by persona and name."""
    path = tmp_path / "theirs.sls"
    path.write_text(pillar)
    out = tmp_path / "out"
    status = rehearse(["--pillar", str(path), "--out", str(out), "--jobs", "1", *words])
    found = json.loads((out / "results.json").read_text())
    return status, {(one["who"], one["what"]): one for one in found["results"]}


ONE = f"""
netboot:
  interface: ens18
  images:
    ALT Server 11.1:
      url: http://192.0.2.7/alt-server-11.1-x86_64.iso
      checksum: {{sha256: {SHA}}}
      variants: [livecd]
"""


def test_one_entry(tmp_path, capsys):
    status, found = run(tmp_path, ONE, "--firmware", "bios")
    out = tmp_path / "out"
    assert (status, set(found)) == (0, {("bios", "alt_server_11.1/livecd/http"), ("bios", OWN)})
    result = found["bios", "alt_server_11.1/livecd/http"]
    assert (result["result"], result["entry"]) == ("booted", "alt_server_11.1-livecd")
    said = capsys.readouterr().out
    assert "1/2  bios  alt_server_11.1/livecd/http  booted  " in said
    assert "\nalt_server_11.1/livecd/http  " in said
    assert "\n2 of 2 booted." in said
    assert "differs: netboot:interface: left out" in said
    assert "made in the layout of p11" in said
    table = (out / "table.txt").read_text()
    assert table.startswith("1/2  bios  alt_server_11.1/livecd/http  booted  ")
    (suite,) = ElementTree.parse(out / "junit.xml").getroot()  # noqa: S314
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    for picture in (result["picture"], result["menu"]):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert "NETBOOT-ALT-MARKER" in (out / result["log"]).read_text(errors="replace")


# As asheplyakov/netinstall-alt has its images, pasted.
THEIR_LIST = f"""
{{% set alt_images = [
  {{'name': 'p10 jeos', 'url': 'http://192.0.2.7/alt-p10-jeos-systemd-20220612-x86_64.iso',
   'checksum': {{'sha256': '{SHA}'}}, 'grub_arch': 'x86_64', 'alt_arch': 'x86_64',
   'kernel': '/boot/vmlinuz', 'initrd': '/boot/full.cz', 'variants': ['livecd', 'install'],
   'live_size': 1000, 'altinst_size': 1000, 'need_ramdisk_size': false, 'http_iso_boot': true}},
  {{'name': 'Alt Education 9.1', 'url': 'http://192.0.2.7/alt-education-9.1-x86_64.iso',
   'checksum': {{'sha1': '{SHA[:40]}'}}, 'grub_arch': 'x86_64', 'alt_arch': 'x86_64',
   'kernel': '/syslinux/alt0/vmlinuz', 'initrd': '/syslinux/alt0/full.cz',
   'variants': ['livecd', 'install'], 'need_ramdisk_size': true}},
] %}}
netboot:
  interface: br0
  images: {{{{ alt_images | tojson }}}}
  default_image: {{x86_64: p10 jeos}}
"""


@pytest.mark.long
def test_list_of_netinstall_alt(tmp_path):
    status, found = run(tmp_path, THEIR_LIST)
    assert {name: one["text"] for name, one in found.items() if one["text"]} == {}
    assert status == 0
    assert set(found) == {
        (who, f"{image}/{variant}/http")
        for who in ("bios", "efi-x86_64")
        for image in ("p10_jeos", "alt_education_9.1")
        for variant in ("livecd", "install")
    } | {(who, "time-out: p10_jeos/livecd/http") for who in ("bios", "efi-x86_64")}


# A class room whose server is the network's DHCP server; the installer asks for a password.
CLASS = f"""
netboot:
  address: 10.1.2.3
  images:
    ALT Education 11.0:
      url: https://192.0.2.7/alt-education-11.0-x86_64.iso
      checksum: {{sha256: {SHA}}}
      variants: [install]
  dhcp:
    mode: server
    subnets: {{10.1.2.0/24: {{range: [10.1.2.10, 10.1.2.99], router: 10.1.2.1}}}}
    leases: {{'52:54:00:11:22:33': {{address: 10.1.2.5}}}}
  menu:
    title: Школа № 5
    timeout_s: 3
    languages: [ru_RU, en_US]
    password: {{users: {{boss: '$6$salt${"a" * 86}'}}}}
  groups:
    class: {{image: ALT Education 11.0, variant: install, once: true}}
  hosts:
    pc1: {{mac: '52:54:00:aa:00:01', group: class}}
    pc2: {{serial: ABX42, entry: local}}
"""


@pytest.mark.long
def test_class_room_with_passwords(tmp_path):
    status, found = run(tmp_path, CLASS, "--persona", "bios,network-first,disk-first")
    assert {name: one["text"] for name, one in found.items() if one["text"]} == {}
    assert status == 0
    assert set(found) == {
        ("bios", "alt_education_11.0/install/http"),
        ("disk-first", "its own disk"),
        ("network-first", "alt_education_11.0/install/http"),
        ("network-first", "local"),
        ("bios", OWN),
        ("network-first", OWN),
    }


@pytest.mark.long
def test_hosts_of_the_class_room(tmp_path):
    status, found = run(tmp_path, CLASS, "--host", "pc*", "--firmware", "bios")
    assert {name: one["text"] for name, one in found.items() if one["text"]} == {}
    assert status == 0
    assert set(found) == {
        ("bios", "pc1: alt_education_11.0/install/http"),
        ("bios", "pc2: its own disk"),
    }


@pytest.mark.long
def test_iso_of_this_machine(tmp_path):
    """It is served as it is, and judged by what clients fetch; boards and NFS are theirs."""
    iso = make_iso(tmp_path / "isos", "p11", name="alt-kworkstation-11.1-x86_64", stage_mib=2)
    pillar = f"""
netboot:
  images:
    KWorkstation:
      file: {iso.path.name}
      url: http://192.0.2.7/download?id=5
      checksum: {{sha256: {iso.sha256}}}
      variants: [livecd, install]
"""
    status, found = run(
        tmp_path, pillar, "--isos", str(tmp_path / "isos"), "--persona", "little-memory,hyper-v"
    )
    assert {name: one["text"] for name, one in found.items() if one["text"]} == {}
    assert status == 0
    assert {one["iso"] for one in found.values()} == {str(iso.path)}
    assert len(found) == 4


@pytest.mark.long
@pytest.mark.parametrize("methods", [["cifs"], ["nfs", "ftp"]])
def test_other_methods(tmp_path, methods):
    pillar = f"{ONE}  methods: {methods}\n"
    status, found = run(tmp_path, pillar, "--firmware", "bios")
    assert {name: one["text"] for name, one in found.items() if one["text"]} == {}
    assert status == 0
    lines = {("bios", f"alt_server_11.1/livecd/{one}") for one in methods}
    assert set(found) == {*lines, ("bios", OWN)}


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.long
def test_kernel_that_cannot_boot(tmp_path):
    """One image names a file that is no kernel, one an argument by which it never starts."""
    wrong = "\n".join(
        f"""
    {name}:
      url: http://192.0.2.7/{name}-11.1-x86_64.iso
      checksum: {{sha256: {SHA}}}
      variants: [livecd]
      {setting}"""
        for name, setting in (
            ("kernel", "kernel: live"),
            ("argument", "arguments: [rdinit=/nothing]"),
        )
    )
    pillar = ONE + wrong
    status, found = run(tmp_path, pillar, "--firmware", "bios", "--timeout", "150")
    results = {what: (one["result"], one["cause"]) for (_, what), one in found.items()}
    assert status == 1
    assert results == {
        "alt_server_11.1/livecd/http": ("booted", ""),
        "kernel/livecd/http": ("FAILED", "not-bootable"),
        "argument/livecd/http": ("FAILED", "stage-not-asked"),
        OWN: ("booted", ""),
    }
    (suite,) = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()  # noqa: S314
    assert suite.get("failures") == "2"


@pytest.mark.long
def test_kernel_that_is_not_in_the_iso(tmp_path):
    """The apply says so; the other images are booted all the same."""
    missing = f"""
    missing:
      url: http://192.0.2.7/missing-11.1-x86_64.iso
      checksum: {{sha256: {SHA}}}
      kernel: boot/vmlinux
"""
    status, found = run(tmp_path, ONE + missing, "--firmware", "bios")
    assert status == 1
    assert found["bios", "alt_server_11.1/livecd/http"]["result"] == "booted"
    failed = [one for one in found.values() if one["result"] == "FAILED"]
    assert any("boot/vmlinux" in one["text"] and one["who"] == "apply" for one in failed)


def test_mistakes_in_the_pillar_end_it_before_anything_is_built(tmp_path, capsys):
    path = tmp_path / "theirs.sls"
    path.write_text(ONE.replace("interface", "interfase"))
    with pytest.raises(SystemExit) as ended:
        rehearse(["--pillar", str(path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "netboot:interfase: unknown key, did you mean interface?" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()
