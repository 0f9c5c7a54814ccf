"""Clean takes back what an apply did, and nothing else: a machine before and after."""

import json

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

# Everything that an apply may touch: files with owner, mode and digest, units, users, ports.
LOOK = r"""
import grp, hashlib, json, os, pwd, stat, subprocess
files = {}
for top in ("/etc", "/usr/local", "/srv", "/opt", "/root", "/home", "/var/lib", "/lib/systemd"):
    for folder, folders, names in os.walk(top):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            digest = ""
            if stat.S_ISREG(found.st_mode):
                digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
            elif stat.S_ISLNK(found.st_mode):
                digest = os.readlink(path)
            files[path] = [oct(found.st_mode), found.st_uid, found.st_gid, digest]
def said(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
units = said("systemctl", "list-unit-files", "--no-legend", "--plain")
ports = said("ss", "-Hltun")
print(json.dumps({
    "files": files,
    "units": sorted(units),
    "ports": sorted({tuple(line.split()[i] for i in (0, 4)) for line in ports}),
    "users": [entry.pw_name for entry in pwd.getpwall()],
    "groups": [entry.gr_name for entry in grp.getgrall()],
}))
"""
HASH = "$6$abcdefgh$" + "a" * 86
# What changes by itself, or through the package manager, which stays as it is.
ITS_OWN = ("/var/lib/apt", "/var/lib/systemd", "/var/lib/samba", "/var/lib/dpkg", "/var/lib/nginx")


def look(server):
    """The machine as it is now."""
    seen = json.loads(server.run(["python3", "-c", LOOK]).stdout)
    seen["files"] = {
        path: found for path, found in seen["files"].items() if not path.startswith(ITS_OWN)
    }
    return seen


def differences(before, after):
    """What is there once only, or in another form, part by part."""
    found = {}
    for part, old in before.items():
        new = after[part]
        if isinstance(old, dict):
            keys = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        else:
            keys = {json.dumps(one) for one in old} ^ {json.dumps(one) for one in new}
        if keys:
            found[part] = sorted(keys)
    return found


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine that has all packages, a site and a share of its own, and no trace of us."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server(
            "netboot1", packages=["vsftpd"], installed=WITH_CLIENTS, binds=[CHECKOUT]
        )
        server.run(["apt-get", "-qq", "update"])
        server.run(["apt-get", "-qq", "-y", "install", "vsftpd"])
        # Its FTP server is in our way, and the states would say so.
        server.run(["systemctl", "disable", "--now", "vsftpd"])
        server.run(["mkdir", "-p", "/srv/own"])
        server.run(["sh", "-c", "printf '[own]\\npath = /srv/own\\n' >> /etc/samba/smb.conf"])
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {
            "images": {"ALT p11": image},
            "methods": ["http", "cifs", "ftp"],
            "hosts": {"pc1": {"image": "ALT p11", "variant": "install", "once": True}},
            "schedule": {"hours": 24},
            "menu": {"password": {"users": {"admin": HASH}}},
        }
        salt = SaltCall(server, {"netboot": pillar})
        salt.iso, salt.pillar, salt.server = iso, pillar, server
        yield salt


def test_clean(machine):
    server = machine.server
    before = look(server)
    assert machine.apply(server).failed == {}
    machine.call(server, "netboot.arm", "host=pc1")
    assert differences(before, look(server))["files"]
    machine.write_pillar({"netboot": {**machine.pillar, "clean_images": True}})
    applied = look(server)
    foretold = machine.apply(server, "netboot.clean", "test=True")
    assert foretold.failed == {}
    assert differences(applied, look(server)) == {}
    assert machine.apply(server, "netboot.clean").failed == {}
    assert differences(before, look(server)) == {}
    again = machine.apply(server, "netboot.clean")
    assert (again.failed, again.changed) == ({}, {})


@pytest.mark.long
def test_images_stay_and_are_not_fetched_again(machine):
    server = machine.server
    machine.write_pillar({"netboot": machine.pillar})
    assert machine.apply(server).failed == {}
    server.run(["sh", "-c", "echo mine > /srv/export/tftp/config-mac-525400000009.ipxe"])
    assert machine.apply(server, "netboot.clean").failed == {}
    left = server.run(["find", "/srv/export", "-type", "f"]).stdout.split()
    assert f"/srv/export/dist/{machine.iso.path.name}" in left
    assert "/srv/export/tftp/config-mac-525400000009.ipxe" in left
    assert not any(path.endswith(".kpxe") or "config-x86_64" in path for path in left)
    assert machine.apply(server, "test=True").failed == {}
    done = machine.apply(server)
    assert done.failed == {}
    assert "netboot-image-alt_p11-fetched" not in done.changed
    # nginx was told, although its site is word for word what it ran on before.
    fetch = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"
    url = f"http://{server.address}/tftp/config-x86_64.ipxe"
    assert server.run(["python3", "-c", fetch, url]).returncode == 0
