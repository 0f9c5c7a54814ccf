"""Applies that are killed, or find the disk full, where a file is put in its place.

Not by luck: what the operating system is asked for then ends the run, or fails.
"""

import subprocess
from types import SimpleNamespace

import pytest

from lab.salt import CHECKOUT, PROGRAMS, SaltCall
from tests.conftest import made_lan
from tests.servers import INSTALLED

# salt-call; what puts a file at the path in AT is the end of it, or finds the disk full.
HOOKED = """
import errno, os
def hooked(real):
    def call(*paths, **more):
        if os.environ["AT"] in map(str, paths):
            if os.environ["HOW"] == "killed":
                os._exit(137)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.environ["AT"])
        return real(*paths, **more)
    return call
os.replace, os.rename, os.link = map(hooked, (os.replace, os.rename, os.link))
from salt.scripts import salt_call
salt_call()
"""
SITE, MENU = "/etc/nginx/sites-enabled/netboot.conf", "/srv/export/tftp/config-x86_64.ipxe"
UNIT = "/etc/systemd/system/netboot-dnsmasq.service"
# Written by netboot_files; and by Salt's file.managed, which copies where it cannot rename.
OURS = [
    SITE,
    MENU,
    UNIT,
    "/etc/samba/netboot.conf",
    "/etc/sudoers.d/netboot",
    "/srv/export/tftp/config-mac-525400000001.ipxe",
    "/var/lib/netboot/applied/config.json",
    "/var/lib/netboot/owned/menus.json",
]
SALTS = [f"/etc/netboot/{name}" for name in ("dnsmasq.conf", "vsftpd.conf", "htpasswd")]
CASES = [(path, "killed") for path in (*OURS, *SALTS)] + [(path, "full") for path in OURS]
IN_CI = [(SITE, "killed"), (SALTS[0], "killed")]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJoPP2xEyZVWLxbrmqcCLVJsyQKEAhfhJBDmQdv8Vh4B a@b"
HASH = "$6$abcdefgh$" + "a" * 86
# Every daemon starts with what lies on the disk, and sudo works.
START = "systemctl daemon-reload; visudo -c -f /etc/sudoers.d/netboot; systemctl restart "
START += "nginx netboot-dnsmasq netboot-vsftpd smbd"
# A disk below these files that has no room for one more, and what ends that.
FULL = """
cp -a /etc/netboot /root/kept
mount -t tmpfs -o size=64k,mode=755 full /etc/netboot
cp -a /root/kept/. /etc/netboot
dd if=/dev/zero of=/etc/netboot/filler bs=4k 2>/dev/null || true
"""
EMPTIED = """
rm /etc/netboot/filler
cp -a /etc/netboot/. /root/kept
umount /etc/netboot
cp -a /root/kept/. /etc/netboot
"""
LEFT = r"""
find /etc /srv/export /var/lib/netboot  \
    \( -name '.netboot.*' -o -regextype posix-extended -regex \
    '.*/(netboot[a-z.-]*|[a-z]+\.conf|htpasswd|menu\.)[A-Za-z0-9_]{8}' \) -newer /root/began
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A server with all services that a container can have."""
    with made_lan(
        tmp_path_factory,
        packages=["samba", "sudo", "vsftpd"],
        installed=INSTALLED,
        binds=[CHECKOUT],
    ) as found:
        found.salt = SaltCall(found.server, {"netboot": found.pillar})
        found.number = 0
        yield found


def pillar_of(lan, number):
    """A pillar that changes each file when its number changes."""
    odd = number % 2
    return {
        **lan.pillar,
        "methods": ["http", "cifs", "ftp"],
        "menu": {
            "title": f"Number {number}",
            "timeout_s": 5 + odd,
            "password": {"users": {"a": HASH, **({"b": HASH} if odd else {})}},
        },
        "http": {"listing": ["json", "html"][odd]},
        "dhcp": {"clients_at_once": 2000 + odd},
        "ftp": {"passive_ports": [50000, 50100 + odd]},
        "smb": {"smb1": bool(odd)},
        "admins": {name: {"keys": [KEY], "sudo": True} for name in ("admin1", f"admin{2 + odd}")},
        "hosts": {
            "pc1": {"mac": "52:54:00:00:00:01", "entry": "local", "timeout_s": 5 + odd},
            **({"pc2": {"mac": "52:54:00:00:00:02", "entry": "local"}} if odd else {}),
        },
    }


@pytest.fixture
def before(lan):
    """What was applied before everything changes."""
    lan.salt.write_pillar({"netboot": pillar_of(lan, lan.number)})
    assert lan.salt.apply(lan.server).failed == {}
    lan.server.run(["touch", "/root/began"])
    lan.number += 1
    lan.salt.write_pillar({"netboot": pillar_of(lan, lan.number)})
    return SimpleNamespace(title=f"Number {lan.number - 1}", new=f"Number {lan.number}")


@pytest.mark.parametrize(
    ("path", "how"),
    [pytest.param(*case, marks=[] if case in IN_CI else pytest.mark.long) for case in CASES],
)
def test_pulled_plug_where_a_file_is_put_in_its_place(lan, before, path, how):
    words = [word for word in lan.salt._command if word.startswith(("--config-dir=", "--out="))]
    argv = ["env", f"AT={path}", f"HOW={how}", str(PROGRAMS / "python"), "-c", HOOKED, *words]
    done = lan.server.run([*argv, "state.apply"], check=False)
    assert done.returncode == 137 if how == "killed" else done.returncode, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if how == "full":
        assert "No space left on device" in done.stdout
    assert_serves_either(lan, before)
    assert_repaired(lan)


@pytest.mark.long
def test_full_disk_below_files_that_salt_writes(lan, before):
    lan.server.run(["sh", "-e", "-c", FULL])
    old = lan.server.run(["sha256sum", *SALTS]).stdout
    done = lan.salt.apply(lan.server)
    said = str(done.failed)
    assert all(path in said for path in SALTS)
    assert "No space left on device" in said
    assert lan.server.run(["sha256sum", *SALTS]).stdout == old
    assert_serves_either(lan, before)
    lan.server.run(["sh", "-e", "-c", EMPTIED])
    assert_repaired(lan)


def assert_serves_either(lan, before):
    """The menu of before or the new one, and every daemon starts with what lies on the disk."""
    menu = subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            lan.lab.name,
            "curl",
            "-sSf",
            f"http://{lan.server.address}{MENU[11:]}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (before.title in menu) != (before.new in menu)
    lan.server.run(["sh", "-e", "-c", START])


def assert_repaired(lan):
    """By the next apply, and nothing is left."""
    assert lan.salt.apply(lan.server).failed == {}
    assert lan.salt.apply(lan.server).changed == {}
    assert lan.server.run(["sh", "-c", LEFT]).stdout == ""
