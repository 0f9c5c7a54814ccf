"""Ranges of one file, read over NFS from the kernel's own server, and its refusals.

By default test_methods.py reads one from exports that the states set up.
"""

import contextlib
import os
from types import SimpleNamespace

import pytest

import netboot_shares
from lab import Lab
from tests.integration.test_probe_methods import RANGES, SIZE, read, write
from tests.servers import IN_GUEST

pytestmark = pytest.mark.long

CONFIG = {"root": "/srv/export", "nfs": {"clients": ["*"]}}
MORE = """/srv/others 192.0.2.0/24(ro,fsid=91)
/srv/secure *(ro,fsid=92,secure)
"""
FILE = "/srv/export/dist!/deep/er/file.iso"
VERSIONS = ["nfs", "nfs4"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, and the bytes of its file."""
    data = os.urandom(SIZE)
    folder = tmp_path_factory.mktemp("web")
    (folder / "file.iso").write_bytes(data)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.guest("netboot1", installed=IN_GUEST)
        web = lab.web(folder)
        deep = "/srv/export/dist/deep/er"
        server.run(["mkdir", "-p", deep, "/srv/export/tftp", "/srv/others", "/srv/secure"])
        fetch = "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])"
        server.run(["python3", "-c", fetch, f"{web.url}/file.iso", f"{deep}/file.iso"])
        for name in ("/srv/others/file.iso", "/srv/secure/file.iso"):
            server.run(["ln", f"{deep}/file.iso", name])
        server.run(["ln", "-s", "file.iso", f"{deep}/link"])
        write(server, "/etc/exports", netboot_shares.nfs(CONFIG, []) + MORE)
        server.run(["systemctl", "restart", "nfs-server"])
        yield SimpleNamespace(lab=lab, server=server, data=data)


@pytest.mark.parametrize("version", VERSIONS)
def test_ranges_are_those_of_the_file(served, version):
    size, parts = read(served, f"{version}://{{}}{FILE}", RANGES, 20)
    assert size == SIZE
    assert parts == [served.data[offset : offset + length] for offset, length in RANGES]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("path", "cause", "missing"),
    [
        ("/srv/export/dist!/deep/er/file2.iso", "there is no such file", True),
        ("/srv/export/dist!/deep2/er/file.iso", "there is no such file", True),
        ("/srv/export/dist!/../../../etc/passwd", "there is no such file", True),
        ("/srv/export/dist!/deep/er/file.iso/x", "it cannot be read (NOTDIR)", False),
        ("/srv/export/dist!/deep/er", "it is a directory", False),
        ("/srv/export/dist!/deep/er/link", "it is a symbolic link", False),
        ("/srv/others!/file.iso", "the export /srv/others is refused to this machine", False),
        ("/srv/nothing!/file.iso", "the export /srv/nothing is refused to this machine", False),
    ],
)
def test_refusals(served, version, path, cause, missing):
    assert read(served, f"{version}://{{}}{path}") == (cause, missing)


@pytest.mark.parametrize("version", VERSIONS)
def test_file_that_must_not_be_read(served, version):
    path = "/srv/export/dist/deep/er/file.iso"
    served.server.run(["chmod", "0", path])
    said = read(served, f"{version}://{{}}{FILE}")
    served.server.run(["chmod", "644", path])
    assert said == ("reading it is refused", False)


@pytest.mark.parametrize("version", VERSIONS)
def test_reserved_ports_are_used(served, version):
    assert read(served, f"{version}://{{}}/srv/secure!/file.iso")[0] == SIZE


def start_nfs(served):
    # systemd refuses the sixth start within ten seconds.
    served.server.run(["systemctl", "reset-failed", "nfs-server", "nfs-mountd", "nfs-idmapd"])
    served.server.run(["systemctl", "restart", "nfs-server"])


@contextlib.contextmanager
def stopped(served, *units):
    served.server.run(["systemctl", "stop", *units])
    try:
        yield
    finally:
        served.server.run(["systemctl", "start", *reversed(units)])
        start_nfs(served)


def test_without_rpcbind(served):
    cause = "no answer on TCP 111 (connection refused); NFS 3 needs rpcbind"
    with stopped(served, "rpcbind.socket", "rpcbind.service"):
        assert read(served, f"nfs://{{}}{FILE}")[0] == cause
        assert read(served, f"nfs4://{{}}{FILE}")[0] == SIZE


def test_without_mountd(served):
    with stopped(served, "nfs-mountd"):
        assert read(served, f"nfs://{{}}{FILE}") == ("rpcbind knows no mountd", False)


def test_without_version_4(served):
    write(served.server, "/etc/nfs.conf.d/only3.conf", "[nfsd]\nvers4=n\n")
    start_nfs(served)
    said = [read(served, f"{version}://{{}}{FILE}") for version in VERSIONS]
    served.server.run(["rm", "/etc/nfs.conf.d/only3.conf"])
    start_nfs(served)
    assert [size for size, _parts in said] == [SIZE, SIZE]


def test_service_that_is_stopped(served):
    served.server.run(["systemctl", "stop", "nfs-server"])
    said = [read(served, f"{version}://{{}}{FILE}")[0] for version in VERSIONS]
    start_nfs(served)
    assert said == ["rpcbind knows no mountd", "no answer on TCP 2049 (connection refused)"]
