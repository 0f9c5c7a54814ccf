"""A server that the playbooks of asheplyakov/netinstall-alt set up is taken over.

What they leave on a machine is told by their role altinstall (2022-03). The loop mount is a tmpfs
here, as this machine's kernel need not have ISO 9660.
"""

import hashlib
import sys
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.integration.test_apply import GET
from tests.servers import WITH_CLIENTS

ROOT = "/srv/export"
TREES = f"{ROOT}/tftp/netboot/x86_64"
OURS = "/etc/nginx/sites-enabled/netboot.conf"
THEIRS = {
    "/etc/dnsmasq-altinstall.conf": """interface=eth0
port=0
user=dnsmasq
group=nogroup
dhcp-range={address},proxy
enable-tftp
tftp-root=/srv/export/tftp
dhcp-userclass=set:ipxe,iPXE
pxe-service=tag:!ipxe,X86-64_EFI,"UEFI",snponly-x86_64.efi
pxe-service=tag:ipxe,X86-64_EFI,"Menu",config-x86_64.ipxe
""",
    "/etc/systemd/system/dnsmasq-altinstall.service": """[Service]
ExecStart=/usr/sbin/dnsmasq -k -C /etc/dnsmasq-altinstall.conf
[Install]
WantedBy=multi-user.target
""",
    "/etc/nginx/sites-enabled/altinstall.conf": """server {
    location / { root /srv/export; autoindex on; gzip off; }
}
""",
    "/etc/samba/smb.conf": """[global]
workgroup = ALTINSTALL
map to guest = bad user
server min protocol = NT1

[dist]
path = /srv/export/dist
guest ok = yes

[tftp]
path = /srv/export/tftp
guest ok = yes
""",
    "/etc/vsftpd.conf": """listen=YES
local_enable=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=/srv/export
secure_chroot_dir=/run/vsftpd/empty
""",
    "/etc/systemd/system/vsftpd.service": """[Service]
ExecStartPre=-/bin/mkdir -p -m555 /run/vsftpd/empty
ExecStart=/usr/sbin/vsftpd
[Install]
WantedBy=multi-user.target
""",
    f"{ROOT}/tftp/config-x86_64.ipxe": "#!ipxe\nmenu Theirs\n",
    f"{ROOT}/tftp/config-product-TF307-MB.ipxe": "#!ipxe\nset linux_extra_cmdline:string a=b\n",
    f"{ROOT}/tftp/config-mac-525400000001.ipxe": "#!ipxe\nsanboot --drive 0x80\n",
    f"{ROOT}/tftp/snponly-x86_64.efi": "an older iPXE",
    f"{ROOT}/tftp/undionly.kpxe": "an older iPXE",
}
SERVICES = ("dnsmasq-altinstall", "nginx", "smbd", "vsftpd")
# What nobody but their admin changes from here on.
KEPT = [
    *(path for path in THEIRS if path.startswith("/etc") and "smb" not in path),
    f"{ROOT}/tftp/config-product-TF307-MB.ipxe",
    f"{ROOT}/tftp/config-mac-525400000001.ipxe",
]


def image(web, iso, name, **more):
    """One of their `alt_images`."""
    return {
        "name": name,
        "url": f"{web.url}/{iso.path.name}",
        "checksum": {"sha256": iso.sha256},
        "grub_arch": "x86_64",
        "alt_arch": "x86_64",
        "kernel": f"/{iso.kernel.lstrip('/')}",
        "initrd": f"/{iso.initrd.lstrip('/')}",
        **more,
    }


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A machine as the playbooks left it, whose ISOs are on a web server too."""
    folder = tmp_path_factory.mktemp("web")
    isos = {"live": make_iso(folder, "p11"), "mounted": make_iso(folder, "p10.1")}
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        packages = ["dnsmasq", "vsftpd"]
        server = lab.server("netboot1", packages, binds=[folder, CHECKOUT], installed=WITH_CLIENTS)
        server.run(["apt-get", "-qq", "update"])
        server.run(["apt-get", "-qq", "-y", "install", *packages])
        web = lab.web(folder)
        names = {"live": "ALT p11 live", "mounted": "ALT p10 mounted"}
        trees = {key: f"{TREES}/{name.lower().replace(' ', '_')}" for key, name in names.items()}
        server.run(["install", "-d", "-m775", "-oadmin", f"{ROOT}/dist", f"{ROOT}/tftp"])
        server.run(["chown", "admin", ROOT])
        server.run(["ln", "-s", ".", f"{ROOT}/tftp/tftp"])
        for key, iso in isos.items():
            server.run(["install", "-oadmin", "-m644", "-p", str(iso.path), f"{ROOT}/dist/"])
            server.run(["install", "-d", "-oadmin", f"{trees[key]}/boot"])
        # xorriso leaves what it copies as it is in the ISO.
        server.run(["install", "-m444", "/etc/hostname", f"{trees['live']}{isos['live'].kernel}"])
        server.run(["mount", "-t", "tmpfs", "tmpfs", trees["mounted"]])
        mount = f"{ROOT}/dist/{isos['mounted'].path.name} {trees['mounted']} iso9660"
        server.run(["tee", "-a", "/etc/fstab"], input=f"{mount} loop,ro,nodev,nosuid 0 0\n")
        for path, text in THEIRS.items():
            server.run(["tee", path], input=text.replace("{address}", server.address))
        server.run(["rm", "/etc/nginx/sites-enabled/default"])
        server.run(["systemctl", "daemon-reload"])
        server.run(["systemctl", "enable", *SERVICES])
        server.run(["systemctl", "restart", *SERVICES])
        images = [
            image(web, isos["live"], names["live"], need_ramdisk_size=False, http_iso_boot=True),
            image(web, isos["mounted"], names["mounted"], live_size=1000, altinst_size=1000),
        ]
        pillar = {"images": images, "methods": ["http", "cifs", "ftp"]}
        salt = SaltCall(server, {"netboot": pillar})
        yield SimpleNamespace(
            lab=lab, server=server, salt=salt, web=web, isos=isos, trees=trees, pillar=pillar
        )


def kept(old):
    return old.server.run(["sha256sum", *KEPT]).stdout


def get(old, path):
    url = f"http://{old.server.address}{path}"
    return old.lab.run([sys.executable, "-c", GET, "GET", url], capture_output=True).stdout.split()


def test_what_holds_the_ports_is_named_and_goes_on(old):
    done = old.salt.apply(old.server)
    said = done.failed["netboot-ports-free"]["comment"]
    for unit in ("dnsmasq-altinstall", "vsftpd"):
        assert f"of {unit}.service; stop it (systemctl disable --now {unit}.service), or" in said
    # Debian's own dnsmasq is not in the way, nor is their site or Samba.
    assert {line.split(" of ")[1].split(";")[0] for line in said.splitlines()} == {
        "dnsmasq-altinstall.service",
        "vsftpd.service",
    }
    assert done.changed == {}
    for service in SERVICES:
        assert old.server.run(["systemctl", "is-active", service]).stdout == "active\n"


def test_what_else_is_in_the_way_is_named(old):
    old.server.run(["systemctl", "disable", "--now", "dnsmasq-altinstall", "vsftpd"])
    shares = old.server.run(["sha256sum", "/etc/samba/smb.conf"]).stdout
    done = old.salt.apply(old.server)
    assert set(done.failed) == {
        "netboot-smb-shares",
        "netboot-smb-service",
        "netboot-image-alt_p10_mounted-ready",
    }
    said = done.failed["netboot-smb-shares"]["comment"]
    assert "/etc/samba/smb.conf" in said
    assert "it has its own share [dist]; remove or rename that" in said
    mounted = f"Something is mounted on {old.trees['mounted']} that these states did not mount; "
    assert mounted in done.failed["netboot-image-alt_p10_mounted-ready"]["comment"]
    assert old.server.run(["sha256sum", "/etc/samba/smb.conf"]).stdout == shares
    images = [old.pillar["images"][0], {**old.pillar["images"][1], "mount": True}]
    old.salt.write_pillar({"netboot": {**old.pillar, "images": images}})
    done = old.salt.apply(old.server, "netboot.images")
    assert mounted in done.failed["netboot-image-alt_p10_mounted-ready"]["comment"]
    old.salt.write_pillar({"netboot": old.pillar})


def test_taken_over(old):
    files = [f"{ROOT}/dist/{iso.path.name}" for iso in old.isos.values()]
    before = kept(old), old.server.run(["stat", "-c", "%i %Y %s", *files]).stdout
    old.server.run(["umount", old.trees["mounted"]])
    old.server.run(["sed", "-i", "/ iso9660 /d", "/etc/fstab"])
    old.server.run(["sed", "-i", "/^.dist/,$d", "/etc/samba/smb.conf"])
    done = old.salt.apply(old.server)
    assert done.failed == {}
    again = old.salt.apply(old.server)
    assert (again.failed, again.changed) == ({}, {})
    assert (kept(old), old.server.run(["stat", "-c", "%i %Y %s", *files]).stdout) == before
    assert old.web.requests() == [], "an ISO was fetched again"


def test_it_serves(old):
    for key, iso in old.isos.items():
        tree = old.trees[key].removeprefix(ROOT)
        assert get(old, f"/dist/{iso.path.name}") == ["200", str(iso.size), iso.sha256]
        assert get(old, tree + iso.kernel)[2] == iso.kernel_sha256
    menu = old.salt.call(old.server, "netboot.menu", "arch=x86_64")
    assert "ALT p11 live" in menu
    assert "Theirs" not in menu
    theirs = hashlib.sha256(THEIRS[f"{ROOT}/tftp/config-mac-525400000001.ipxe"].encode())
    assert get(old, "/tftp/config-mac-525400000001.ipxe")[2] == theirs.hexdigest()
    for service in ("netboot-dnsmasq", "netboot-vsftpd", "nginx", "smbd", "dnsmasq"):
        assert old.server.run(["systemctl", "is-active", service]).stdout == "active\n"


def test_clean_leaves_what_was_theirs(old):
    before = kept(old)
    assert old.salt.apply(old.server, "netboot.clean").failed == {}
    assert kept(old) == before
    old.server.run(["test", "!", "-e", OURS])
    for iso in old.isos.values():
        old.server.run(["test", "-e", f"{ROOT}/dist/{iso.path.name}"])
