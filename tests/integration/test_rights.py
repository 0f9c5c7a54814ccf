"""With which rights the services work: their units, their processes while they serve, and files."""

import json
import re
import sys
import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

# Exposure as systemd-analyze reckons it, from 0 (safe) to 10. Debian 12's systemd says 1.6, 2.4 and
# 1.1; another systemd may know more that could be forbidden.
MOST_EXPOSED = {"netboot-dnsmasq": 3.0, "netboot-vsftpd": 3.0, "netboot-once": 2.0}

# What clients fetch slowly, by method.
LARGE = {"cifs": "tftp/smb", "ftp": "dist/ftp", "http": "dist/http", "tftp": "tftp/tftp"}

# Clients that ask for a file, take its first bytes, and wait. Arguments: server, path of the file.
BY_URL = """
import sys, time, urllib.request
answer = urllib.request.urlopen(f"{sys.argv[3]}://{sys.argv[1]}/{sys.argv[2]}", timeout=60)
print(len(answer.read(1)), flush=True)
time.sleep(60)
"""
# RFC 1350: a request, and no acknowledgement of the first block.
BY_TFTP = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(30)
    file = sys.argv[2].removeprefix("tftp/").encode()
    sock.sendto(b"\\0\\1" + file + b"\\0octet\\0", (sys.argv[1], 69))
    print(sock.recv(600)[1:2] == b"\\3", flush=True)
    time.sleep(60)
"""

# The processes that have a file open: name, user ids (real, effective, saved, of the file system)
# and effective capabilities of each of their threads.
HOLDERS = """
import glob, json, os, sys
found = []
for status in glob.glob("/proc/[0-9]*/task/[0-9]*/status"):
    try:
        handles = glob.glob(f"/proc/{status.split('/')[2]}/fd/*")
        if sys.argv[1] in map(os.readlink, handles):
            lines = dict(line.split(":", 1) for line in open(status))
            found.append({
                "name": lines["Name"].strip(),
                "uids": [int(one) for one in lines["Uid"].split()],
                "capabilities": int(lines["CapEff"], 16),
            })
    except OSError:
        pass  # it has ended meanwhile
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A server with all that needs no kernel of its own, and a machine with an SMB client."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server(
            "netboot1", packages=["vsftpd"], installed=WITH_CLIENTS, binds=[CHECKOUT]
        )
        client = lab.server("client", installed=WITH_CLIENTS)
        web = lab.web(iso.path.parent)
        pillar = {
            "images": {
                "ALT p11": {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
            },
            "methods": ["http", "cifs", "ftp"],
            "hosts": {"pc1": {"image": "ALT p11", "variant": "install", "once": True}},
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        salt.call(server, "netboot.arm", "host=pc1")
        for path in LARGE.values():
            # More than all buffers on the way hold.
            server.run(["truncate", "--size=256M", f"/srv/export/{path}"])
        yield SimpleNamespace(lab=lab, server=server, client=client)


@pytest.mark.parametrize("unit", sorted(MOST_EXPOSED))
def test_exposure(applied, unit):
    said = applied.server.run(["systemd-analyze", "security", "--no-pager", unit]).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])
    assert exposure <= MOST_EXPOSED[unit], said


@pytest.mark.parametrize("unit", sorted(MOST_EXPOSED))
def test_unit_has_no_words_that_systemd_does_not_know(applied, unit):
    done = applied.server.run(["systemd-analyze", "verify", f"{unit}.service"])
    assert done.stdout + done.stderr == ""


def holders(applied, method):
    """Who has the large file open on the server while a client fetches it with this method."""
    path = LARGE[method]
    if method == "cifs":
        # It waits as nobody takes what it prints.
        file = path.removeprefix("tftp/")
        get = f"smbclient -N //{applied.server.address}/tftp -c 'get {file} -' | sleep 60"
        fetching = ["nsenter", f"--target={applied.client.leader}", "--all", "--root"]
        fetching += ["sh", "-c", get]
    else:
        program = BY_TFTP if method == "tftp" else BY_URL
        fetching = [sys.executable, "-c", program, applied.server.address, path, method]
    client = applied.lab.popen(fetching)
    look = ["python3", "-c", HOLDERS, f"/srv/export/{path}"]
    deadline = time.monotonic() + 60
    try:
        while not (found := json.loads(applied.server.run(look).stdout)):
            assert time.monotonic() < deadline, "nobody opened the file"
        return found
    finally:
        client.kill()


@pytest.mark.parametrize(
    ("method", "process"), [("http", "nginx"), ("ftp", "vsftpd"), ("tftp", "dnsmasq")]
)
def test_who_serves_is_not_root(applied, method, process):
    found = holders(applied, method)
    assert {one["name"] for one in found} == {process}
    assert all(0 not in one["uids"] for one in found), found
    rights = {one["capabilities"] for one in found}
    # dnsmasq's are those of its unit: CAP_NET_BIND_SERVICE (10), CAP_NET_ADMIN, CAP_NET_RAW (13).
    assert rights == {1 << 10 | 1 << 12 | 1 << 13 if process == "dnsmasq" else 0}


def test_smb_serves_with_its_guest_s_rights(applied):
    """It keeps root's as saved user id, to which it returns between two clients' requests."""
    for found in holders(applied, "cifs"):
        _, effective, _, of_files = found["uids"]
        assert (found["name"], found["capabilities"]) == ("smbd", 0), found
        assert 0 not in (effective, of_files), found


def fetch(applied, method, path):
    """Whether a client gets the file with this method."""
    address = applied.server.address
    if method == "cifs":
        command = f"get {path.removeprefix('tftp/')} /dev/null"
        argv = ["smbclient", "-N", f"//{address}/tftp", "-c", command]
        return applied.client.run(argv, check=False).returncode == 0
    program = BY_TFTP if method == "tftp" else BY_URL
    program = program.replace("time.sleep(60)", "")
    done = applied.lab.run(
        [sys.executable, "-c", program, address, path, method], check=False, capture_output=True
    )
    return done.stdout in ("True\n", "1\n")


@pytest.mark.parametrize("method", sorted(LARGE))
def test_file_that_root_alone_may_read_is_not_served(applied, method):
    path = f"{LARGE[method]}.secret"
    applied.server.run(["sh", "-c", f"umask 077; echo secret > /srv/export/{path}"])
    assert not fetch(applied, method, path)
    applied.server.run(["chmod", "644", f"/srv/export/{path}"])
    assert fetch(applied, method, path)


@pytest.mark.parametrize("user", ["dnsmasq", "ftp", "nobody", "www-data"])
def test_services_may_write_nothing_below_the_root(applied, user):
    find = ["runuser", "-u", user, "--", "find", "/srv/export", "-writable", "!", "-type", "l"]
    assert applied.server.run(find, check=False).stdout == ""
    # It would be found.
    applied.server.run(["install", "-o", user, "/dev/null", "/srv/export/tftp/of-a-service"])
    assert "of-a-service" in applied.server.run(find, check=False).stdout
    applied.server.run(["rm", "/srv/export/tftp/of-a-service"])
