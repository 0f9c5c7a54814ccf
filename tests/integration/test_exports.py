"""SMB and FTP servers that the states set up, read by real clients over the lab's network."""

import hashlib
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

SHARE = "\n[own]\n    path = /srv/own\n    guest ok = yes\n"


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A server with the methods that need no kernel of its own, and a machine with clients."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server(
            "netboot1", packages=["vsftpd"], installed=WITH_CLIENTS, binds=[CHECKOUT]
        )
        client = lab.server("client", installed=WITH_CLIENTS)
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"images": {"ALT p11": image}, "methods": ["http", "cifs", "ftp"]}
        salt = SaltCall(server, {"netboot": pillar})
        done = salt.apply(server)
        assert done.failed == {}
        yield SimpleNamespace(server=server, client=client, iso=iso, pillar=pillar, salt=salt)


def smb(applied, share, command, check=True):
    """What smbclient says; without a password, as a guest."""
    argv = ["smbclient", "-N", f"//{applied.server.address}/{share}", "-c", command]
    return applied.client.run(argv, check=check)


def digest(applied, path):
    return applied.client.run(["sha256sum", path]).stdout.split()[0]


def kernel(applied):
    return f"netboot/x86_64/alt_p11{applied.iso.kernel}"


def kernel_digest(applied, tmp_path):
    applied.iso.unpack(tmp_path / "tree")
    return hashlib.sha256((tmp_path / "tree" / applied.iso.kernel[1:]).read_bytes()).hexdigest()


def test_second_apply_changes_nothing(applied):
    again = applied.salt.apply(applied.server)
    assert (again.failed, again.changed) == ({}, {})


def test_every_method_has_its_entries(applied):
    entries = applied.salt.call(applied.server, "netboot.entries")
    assert {entry["method"] for entry in entries} == {"http", "cifs", "ftp"}


def test_smb_serves_the_same_bytes(applied, tmp_path):
    smb(applied, "dist", f"get {applied.iso.path.name} /root/smb.iso")
    assert digest(applied, "/root/smb.iso") == applied.iso.sha256
    smb(applied, "tftp", f"get {kernel(applied)} /root/smb.kernel")
    assert digest(applied, "/root/smb.kernel") == kernel_digest(applied, tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("put /etc/hostname x", "NT_STATUS_ACCESS_DENIED"),
        ("mkdir x", "NT_STATUS_(ACCESS_DENIED|MEDIA_WRITE_PROTECTED)"),
        ("get ../.staging/x /root/x", "NT_STATUS"),
        ("get ../../../etc/passwd /root/x", "NT_STATUS"),
    ],
)
def test_smb_can_only_be_read(applied, command, said):
    done = smb(applied, "dist", command, check=False)
    assert said.partition("(")[0] in done.stdout + done.stderr
    assert applied.client.run(["test", "!", "-e", "/root/x"]).returncode == 0


def test_smb_leads_out_of_the_share_by_no_link(applied):
    applied.server.run(["ln", "-sf", "/etc/passwd", "/srv/export/tftp/passwd"])
    done = smb(applied, "tftp", "get passwd /root/x", check=False)
    applied.server.run(["rm", "/srv/export/tftp/passwd"])
    assert "NT_STATUS" in done.stdout + done.stderr


def test_shares_of_the_machine_stay(applied):
    applied.server.run(["mkdir", "-p", "/srv/own"])
    applied.server.run(["sh", "-c", f"printf '%s' '{SHARE}' >> /etc/samba/smb.conf"])
    assert applied.salt.apply(applied.server, "netboot.smb").failed == {}
    smb(applied, "own", "ls")
    smb(applied, "dist", "ls")
    again = applied.salt.apply(applied.server, "netboot.smb")
    assert (again.failed, again.changed) == ({}, {})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("map to guest = Never", "its option 'map to guest' is 'never', which keeps guests out"),
        ("server signing = mandatory", "its option 'server signing' is"),
    ],
)
def test_option_that_keeps_guests_out_is_named(applied, line, said):
    before = applied.server.run(["cat", "/etc/samba/smb.conf"]).stdout
    applied.server.run(["sed", "-i", f"s/^.global.$/&\\n{line}/", "/etc/samba/smb.conf"])
    applied.server.run(["sed", "-i", "/^ *map to guest = bad user/d", "/etc/samba/smb.conf"])
    changed = applied.server.run(["cat", "/etc/samba/smb.conf"]).stdout
    failed = applied.salt.apply(applied.server, "netboot.smb").failed["netboot-smb-shares"]
    assert said in failed["comment"]
    assert applied.server.run(["cat", "/etc/samba/smb.conf"]).stdout == changed
    applied.server.run(["tee", "/etc/samba/smb.conf"], input=before)


def test_ftp_serves_the_same_bytes(applied):
    url = f"ftp://{applied.server.address}"
    applied.client.run(
        ["curl", "-sSf", "-o", "/root/ftp.iso", f"{url}/dist/{applied.iso.path.name}"]
    )
    assert digest(applied, "/root/ftp.iso") == applied.iso.sha256
    size, sha256 = applied.iso.stages["live"]
    stage = f"{url}/tftp/netboot/x86_64/alt_p11/live"
    applied.client.run(["curl", "-sSf", "-o", "/root/live", stage])
    assert digest(applied, "/root/live") == sha256


@pytest.mark.parametrize(
    "words",
    [
        ["-T", "/etc/hostname", "ftp://{}/dist/x"],
        ["-u", "root:x", "ftp://{}/dist/"],
        ["--path-as-is", "ftp://{}/../../etc/passwd"],
        ["ftp://{}/%2e%2e/%2e%2e/etc/passwd"],
        ["ftp://{}/.staging/"],
    ],
)
def test_ftp_can_only_be_read(applied, words):
    argv = ["curl", "-sS", *(word.format(applied.server.address) for word in words)]
    done = applied.client.run(argv, check=False)
    assert done.returncode != 0
    assert "root:" not in done.stdout


@pytest.mark.parametrize(
    ("line", "state", "said"),
    [
        ("nonsense=YES", "netboot-ftp-config", "check_cmd"),
        # It can be read, and then there is no such address.
        ("listen_address=192.0.2.99", "netboot-ftp-service", "runs with that again"),
    ],
)
def test_ftp_goes_back_to_the_configuration_that_worked(applied, line, state, said):
    template = (CHECKOUT / "salt/netboot/files/vsftpd.conf.jinja").read_text()
    with applied.salt.overridden("netboot/files/vsftpd.conf.jinja", f"{template}{line}\n"):
        failed = applied.salt.apply(applied.server, "netboot.ftp").failed
    assert said in failed[state]["comment"]
    url = f"ftp://{applied.server.address}/dist/"
    assert applied.iso.path.name in applied.client.run(["curl", "-sSf", url]).stdout
    again = applied.salt.apply(applied.server, "netboot.ftp")
    assert (again.failed, again.changed) == ({}, {})


def test_apply_that_was_killed_before_the_restart(applied):
    """The new file is there, the service has not read it: the next apply makes that good."""
    applied.server.run(["sed", "-i", "s/50000/50500/", "/etc/netboot/vsftpd.conf"])
    pillar = {**applied.pillar, "ftp": {"passive_ports": [50500, 50999]}}
    applied.salt.write_pillar({"netboot": pillar})
    done = applied.salt.apply(applied.server, "netboot.ftp")
    assert done.failed == {}
    assert done.changed["netboot-ftp-service"] == {"service": "restarted"}
    applied.salt.write_pillar({"netboot": applied.pillar})
    assert applied.salt.apply(applied.server, "netboot.ftp").failed == {}


def test_off(applied):
    applied.salt.write_pillar({"netboot": {**applied.pillar, "methods": ["http"]}})
    assert applied.salt.apply(applied.server).failed == {}
    applied.server.run(["smbcontrol", "smbd", "reload-config"])
    assert smb(applied, "dist", "ls", check=False).returncode != 0
    smb(applied, "own", "ls")
    ftp = ["curl", "-sS", f"ftp://{applied.server.address}/"]
    assert applied.client.run(ftp, check=False).returncode != 0
    again = applied.salt.apply(applied.server)
    assert (again.failed, again.changed) == ({}, {})
