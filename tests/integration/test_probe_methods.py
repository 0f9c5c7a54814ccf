"""Ranges of one file, read as clients read it: from real dnsmasq, nginx, vsftpd and Samba.

NFS needs a kernel of its own: tests/boot/test_methods.py.
"""

import contextlib
import json
import os
import sys
from types import SimpleNamespace

import pytest

import netboot_shares
from lab import Lab
from lab.salt import CHECKOUT
from tests.servers import WITH_CLIENTS

SIZE = 5_000_001
RANGES = [(0, 100_000), (1_048_000, 70_000), (SIZE - 9, 9), (SIZE - 9, 50)]
READ = """import json, sys
import probe_reach
url, ranges, timeout = json.loads(sys.argv[1])
try:
    size, parts = probe_reach.read(url, ranges, timeout, "netboot-probe/1")
    print(json.dumps([size, [part.hex() for part in parts]]))
except probe_reach.Unreachable as err:
    print(json.dumps([str(err), err.missing]))
"""
DNSMASQ = """--port=0 --enable-tftp --tftp-root=/srv/export/tftp --user=nobody
--log-facility=/run/tftp.log --pid-file=/run/tftp.pid"""
NGINX = """server {
    listen 80 default_server;
    root /srv/export;
    location /moved { return 302 /dist/file.iso; }
}
"""
VSFTPD = """listen=YES
listen_ipv6=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=/srv/export
secure_chroot_dir=/run/vsftpd-empty
"""
URLS = {
    "http": "http://{}/dist/file.iso",
    "tftp": "tftp://{}/./file.iso",
    "ftp": "ftp://{}/dist/file.iso",
    "smb": "smb://{}/dist/deep/er/file.iso",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, and the bytes of its file."""
    data = os.urandom(SIZE)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", packages=["vsftpd"], installed=WITH_CLIENTS)
        server.run(["apt-get", "-q", "update"])
        server.run(["apt-get", "-q", "-y", "install", "vsftpd"])
        server.run(["systemctl", "stop", "vsftpd", "smbd"])
        config = {"root": "/srv/export", "smb": {"smb1": False}}
        shares = netboot_shares.smb(config, True)
        write(server, "/etc/samba/smb.conf", f"[global]\n{shares}")
        write(server, "/etc/nginx/sites-enabled/default", NGINX)
        write(server, "/etc/vsftpd.conf", VSFTPD)
        server.run(["mkdir", "-p", "/srv/export/tftp", "/srv/export/dist/deep/er"])
        (server.files / "srv/export/dist/file.iso").write_bytes(data)
        for name in ("tftp/file.iso", "dist/deep/er/file.iso"):
            server.run(["ln", "/srv/export/dist/file.iso", f"/srv/export/{name}"])
        server.run(["mkdir", "-p", "/run/vsftpd-empty"])
        server.run(["systemctl", "restart", "nginx", "smbd", "vsftpd"])
        server.run(["dnsmasq", *DNSMASQ.split()])
        yield SimpleNamespace(lab=lab, server=server, data=data)


def write(server, path, text):
    server.run(["tee", path], input=text)


def read(served, url, ranges=((0, 9),), timeout=5):
    """What comes of it: size and parts, or cause and whether the file is missing."""
    asked = json.dumps([url.format(served.server.address), list(ranges), timeout])
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "salt/_utils")}
    argv = [sys.executable, "-c", READ, asked]
    said = served.lab.run(argv, capture_output=True, env=environment).stdout
    first, second = json.loads(said)
    if isinstance(second, list):
        return first, [bytes.fromhex(part) for part in second]
    return first, second


@contextlib.contextmanager
def samba(served, lines):
    """While the block runs, Samba has more lines of configuration."""
    path = "/etc/samba/smb.conf"
    before = served.server.run(["cat", path]).stdout
    for text in (f"{before}{lines}", before):
        write(served.server, path, text)
        served.server.run(["systemctl", "reset-failed", "smbd"])  # the count of its starts
        served.server.run(["systemctl", "restart", "smbd"])
        if text != before:
            yield


@pytest.mark.parametrize("method", URLS)
def test_ranges_are_those_of_the_file(served, method):
    size, parts = read(served, URLS[method], RANGES, 20)
    assert size == SIZE
    assert parts == [served.data[offset : offset + length] for offset, length in RANGES]


@pytest.mark.parametrize("method", URLS)
def test_file_that_is_not_there(served, method):
    cause, missing = read(served, URLS[method].replace("file.iso", "file2.iso"))
    assert missing is True
    assert (
        cause
        == {
            "http": "the server answers 404 Not Found",
            "tftp": "there is no such file",
            "ftp": "the server answers 550 Could not get file size.",
            "smb": "there is no such file",
        }[method]
    )


@pytest.mark.parametrize("method", URLS)
def test_file_that_must_not_be_read(served, method):
    served.server.run(["chmod", "0", "/srv/export/dist/file.iso"])
    try:
        cause, missing = read(served, URLS[method])
    finally:
        served.server.run(["chmod", "644", "/srv/export/dist/file.iso"])
    assert (
        cause
        == {
            "http": "the server answers 403 Forbidden",
            "tftp": "reading it is refused",
            "ftp": "the server answers 550 Failed to open file.",
            "smb": "reading it is refused",
        }[method]
    )
    assert missing is (method == "ftp")


def test_redirect_is_refused(served):
    cause, _ = read(served, "http://{}/moved")
    at = f"http://{served.server.address}/dist/file.iso"
    assert cause == f"the server redirects to {at} (302 Moved Temporarily)"


def test_web_server_knows_the_reader(served):
    read(served, URLS["http"])
    assert '"netboot-probe/1"' in served.server.run(["cat", "/var/log/nginx/access.log"]).stdout


def wait_for(served, text):
    wait = f"until grep '{text}' /run/tftp.log; do sleep 0.1; done"
    served.server.run(["timeout", "10", "sh", "-c", wait])


def test_tftp_ends_at_once(served):
    """Without an ERROR, dnsmasq sends the last block again for minutes before it gives up."""
    served.server.run(["truncate", "-s", "0", "/run/tftp.log"])
    read(served, URLS["tftp"], [(0, 2000)])
    ended = "failed sending /srv/export/tftp/./file.iso to"
    wait_for(served, ended)
    assert "error 0 enough received from" in served.server.run(["cat", "/run/tftp.log"]).stdout


def test_tftp_of_a_whole_file_is_a_success_in_the_log(served):
    served.server.run(["truncate", "-s", "0", "/run/tftp.log"])
    read(served, URLS["tftp"], [(0, SIZE)], 20)
    sent = "sent /srv/export/tftp/./file.iso to"
    wait_for(served, sent)
    log = served.server.run(["cat", "/run/tftp.log"]).stdout
    assert "error" not in log
    assert "failed" not in log


def test_shares(served):
    assert read(served, "smb://{}/nothing/file.iso")[0] == "there is no share nothing"
    cause = read(served, "smb://{}/dist/deep")[0]
    assert cause == "it cannot be opened (FILE_IS_A_DIRECTORY)"


NO_KEY = "which a guest cannot do: a guest has no password"
# By lines of configuration, what comes of a share to which they give guests no access.
KEPT_OUT = {
    "server signing = mandatory": f"the server requires signing, {NO_KEY}",
    "server smb encrypt = required": "the server refuses guests (ACCESS_DENIED)",
    "server min protocol = NT1\nserver max protocol = NT1": "the server speaks only SMB 1",
    "hosts deny = ALL": "the server refuses this machine",
    "[own]\npath = /srv/export/dist": "the share own is refused",
}


@pytest.mark.parametrize(("lines", "cause"), KEPT_OUT.items())
def test_samba_that_keeps_guests_out(served, lines, cause):
    share = "own" if "[own]" in lines else "dist"
    with samba(served, f"[global]\n{lines}\n"):
        said = read(served, f"smb://{{}}/{share}/file.iso")
    assert said == (cause, False)


@pytest.mark.parametrize("dialect", ["SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"])
def test_dialects(served, dialect):
    lines = f"[global]\nserver min protocol = {dialect}\nserver max protocol = {dialect}\n"
    with samba(served, lines):
        size, (part,) = read(served, URLS["smb"], [(70, 200_000)])
    assert (size, part) == (SIZE, served.data[70:][:200_000])


@pytest.mark.parametrize("method", URLS)
def test_service_that_is_stopped(served, method):
    units = {"http": "nginx", "ftp": "vsftpd", "smb": "smbd"}
    if method in units:
        served.server.run(["systemctl", "stop", units[method]])
    else:
        served.server.run(["pkill", "dnsmasq"])
    protocol = {"http": "TCP 80", "tftp": "UDP 69", "ftp": "TCP 21", "smb": "TCP 445"}[method]
    assert read(served, URLS[method])[0] == f"no answer on {protocol} (connection refused)"
