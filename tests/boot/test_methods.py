"""Stages that travel over SMB, NFS and FTP, from a netboot server whose kernel serves NFS.

Some clients go through firmware and menu, the others start the kernel with the entry's own command
line, as the way there is the same.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import Lab, network, roots
from lab.iso import make_iso
from lab.salt import GuestSaltCall
from tests.boot.test_mounts import assert_is_served, with_root_only_modes
from tests.integration import test_doctor as doctor
from tests.integration.test_kills import HOOKED
from tests.integration.test_probe_methods import read
from tests.servers import IN_GUEST

TITLE = "ALT Linux network boot"
HOST = 70  # a client of the lab that has an entry of its own
NFS3 = str(Path(__file__).parents[1] / "nfs3.py")

# $1 NFS version, $2 what to mount, $3 a command to run there.
MOUNTED = """mkdir -p /mnt/nfs
mount -t nfs -o "vers=$1,rw,soft,retry=0" "$2" /mnt/nfs || exit 99
cd /mnt/nfs && sh -c "$3"; code=$?
cd / && umount /mnt/nfs && exit $code
"""

# What the NFS server knows of clients that have a stage open at the top of a file system.
HOLDERS = """cd /proc/fs/nfsd/clients
for one in *; do grep -q '"/live"' "$one/states" && cat "$one/info"; done; true
"""

# Says of each file what ext4 calls it: number and generation, and those of its folder.
HANDLES = """import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
for path in sys.argv[1:]:
    said = b""
    for name in (path, os.path.dirname(path)):
        handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
        if libc.name_to_handle_at(-100, name.encode(), handle, ctypes.byref(ctypes.c_int()), 0):
            sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
        said += handle.raw[8:16]
    print(said.hex())
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """The server, and its boot entries by id."""
    folder = tmp_path_factory.mktemp("web")
    isos = {
        "p11": make_iso(folder, "p11", stage_mib=1),
        "p10": make_iso(folder, "p10.1", stage_mib=1),
        "p9": make_iso(folder, "p9", stage_mib=1),
        "mounted": with_root_only_modes(make_iso(folder, "p11", edition="mounted", stage_mib=1)),
    }
    for name, iso in isos.items():
        iso.unpack(folder / name)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.guest("netboot1", installed=IN_GUEST)
        server.run(["systemctl", "disable", "--now", "vsftpd"])
        web = lab.web(folder)
        images = {
            name: {
                "url": f"{web.url}/{iso.path.name}",
                "checksum": {"sha256": iso.sha256},
                "variants": ["livecd"],
                "forms": ["tree", "iso"],
            }
            for name, iso in isos.items()
        }
        images["p11"]["methods"] = ["nfs", "cifs", "ftp"]
        images["p10"]["methods"] = ["cifs", "nfs", "ftp"]
        images["p9"] |= {"methods": ["nfs", "cifs"], "forms": ["iso"]}
        images["mounted"] |= {"methods": ["nfs"], "forms": ["tree"], "mount": True}
        mac = network.client_mac(lab.number, HOST)
        pillar = {
            "images": images,
            "default_image": {"x86_64": "p11"},
            "hosts": {"pc1": {"mac": mac, "image": "p10", "variant": "livecd"}},
            "menu": {"timeout_s": 5},
        }
        salt = GuestSaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        entries = {one["id"]: one for one in salt.call(server, "netboot.entries")}
        yield SimpleNamespace(
            lab=lab, server=server, isos=isos, pillar=pillar, salt=salt, entries=entries, web=folder
        )


def start(applied, entry, cmdline=None):
    """Start an entry's kernel; returns what its first stage says."""
    iso = applied.isos[entry["image"]]
    tree = applied.web / entry["image"]
    with applied.lab.client(
        "bios",
        memory_mib=512,
        kernel=tree / iso.kernel[1:],
        initrd=tree / iso.initrd[1:],
        # What iPXE would fill in; without a card's address the first stage takes every card.
        cmdline=(cmdline or entry["cmdline"])
        .replace("${nb-ip}", "ip=dhcp4")
        .replace("${lang}", "en_US")
        .partition(" ${nb-board-arguments}")[0],
    ) as client:
        said = client.wait_for(r"NETBOOT-ALT-(MARKER|REFUSED) (.*?)\r?\n", timeout=120)
    return said[2]


def test_it_is_served_and_enabled(applied):
    tree = "/srv/export/tftp/netboot/x86_64/mounted"
    assert_is_served(applied, applied.isos["mounted"], tree)
    units = ["netboot-dnsmasq", "nginx", "smbd", "netboot-vsftpd", "nfs-server"]
    enabled = applied.server.run(["systemctl", "is-enabled", *units]).stdout.split()
    assert enabled == ["enabled"] * len(units)
    assert tree in applied.server.run(["cat", "/etc/fstab"]).stdout


@pytest.mark.long
def test_after_a_reboot_all_is_there_before_any_apply(applied):
    """Loop mount, services and exports; all that follows is served by the machine after it."""
    applied.server.reboot()
    tree = "/srv/export/tftp/netboot/x86_64/mounted"
    assert_is_served(applied, applied.isos["mounted"], tree)


@pytest.mark.long
def test_pulled_plug_where_the_exports_are_put_in_their_place(applied):
    """As in integration/test_kills.py, for the file that needs a kernel of its own."""
    path = "/etc/exports.d/netboot.exports"
    before = applied.server.run(["cat", path]).stdout
    clients = {"nfs": {"clients": ["198.18.0.0/15"]}}
    applied.salt.write_pillar({"netboot": {**applied.pillar, **clients}})
    *python, program = applied.salt.program
    start = f"import runpy, sys\nsys.argv[0] = {program!r}\n"
    start += f"runpy.run_path({program!r}, None, '__main__')\n"
    hooked = HOOKED.partition("from salt.scripts")[0] + start
    words = [f"--config-dir={applied.salt.home}", "--out=json", "state.apply", "netboot.nfs"]
    argv = ["env", f"AT={path}", "HOW=killed", *python, "-c", hooked, *words]
    assert applied.server.run(argv, check=False).returncode == 137
    assert applied.server.run(["cat", path]).stdout == before
    applied.server.run(["systemctl", "restart", "nfs-server"])
    assert applied.salt.apply(applied.server, "netboot.nfs").failed == {}
    assert "198.18.0.0/15" in applied.server.run(["cat", path]).stdout
    assert applied.server.run(["ls", "-A", "/etc/exports.d"]).stdout == "netboot.exports\n"
    applied.salt.write_pillar({"netboot": applied.pillar})
    assert applied.salt.apply(applied.server, "netboot.nfs").failed == {}


@pytest.mark.long
def test_every_entry_loads_by_its_own_method(applied):
    """As netboot.check tries it, with all numbers of firmware."""
    found = applied.salt.call(applied.server, "netboot.check", "probe=True")
    assert [one["text"] for one in found if one["key"] == "probe.failed"] == []
    good = " ".join(one["text"] for one in found if one["key"] == "probe.good")
    assert "bios gets all of " in good
    assert "efi-x86_64 gets all of " in good
    tried = applied.server.run(["cat", "/var/lib/netboot/owned/probe.json"]).stdout
    pairs = {entry for kind, entry in json.loads(tried)["good"] if kind == "bios"}
    assert pairs == set(applied.entries)


@pytest.mark.long
def test_second_apply_changes_nothing(applied):
    again = applied.salt.apply(applied.server)
    assert (again.failed, again.changed) == ({}, {})


# What breaks the machine, and what mends it. Who exports a mount keeps it in use.
MOUNTED_TREE = "/srv/export/tftp/netboot/x86_64/mounted"
NO_NFS3 = "/etc/nfs.conf.d/no3.conf"
NFS_RESTART = "systemctl restart nfs-mountd nfs-server"
RPC = ("systemctl stop rpcbind.socket rpcbind", "systemctl start rpcbind.socket rpcbind")
BREAKAGES = [
    ("", ":", ":"),
    ("nfs.dead service.dead", "systemctl stop nfs-server", "systemctl start nfs-server"),
    ("nfs.rpcbind", RPC[0], f"{RPC[1]}; {NFS_RESTART}"),
    (
        "nfs.rpcbind",
        f"{RPC[0]}; systemd-run -q --unit=own rpcbind -f -h 127.0.0.1; sleep 3",
        f"systemctl stop own; {RPC[1]}; {NFS_RESTART}",
    ),
    (
        "nfs.version",
        f"mkdir -p /etc/nfs.conf.d; printf '[nfsd]\\nvers3=n\\n' >{NO_NFS3};"
        " systemctl restart nfs-server",
        f"rm {NO_NFS3}; systemctl restart nfs-server",
    ),
    ("mount.missing", f"exportfs -f; umount {MOUNTED_TREE}", f"mount {MOUNTED_TREE}"),
    # As when the disk with the four ISOs is not mounted.
    (
        "iso.gone iso.gone iso.gone iso.gone",
        "mount -t tmpfs tmpfs /srv/export/dist",
        "umount /srv/export/dist",
    ),
]


@pytest.mark.long
def test_doctor_names_what_is_broken_until_it_is_mended(applied):
    wait_for_its_clients(applied.server)
    steps = [{"breaks": breaks, "mends": mends} for _keys, breaks, mends in BREAKAGES]
    path = f"PYTHONPATH={roots.THIN}/py3:{roots.THIN}/pyall"
    answers = doctor.run(applied, steps, 900, ("env", path, "python3", "-S"))
    found = [tuple(map(doctor.keys, pair)) for pair in answers]
    # The first stage of p9 from before 2021-09-02 needs what the pillar has off.
    wanted = [(f"{keys} smb.smb1".strip(), "smb.smb1") for keys, _breaks, _mends in BREAKAGES]
    assert found == wanted


@pytest.mark.long
def test_doctor_names_an_iso_that_was_replaced_under_its_mount(applied):
    """Clients would go on with the old one; what the message says mends it."""
    iso = f"/srv/export/dist/{applied.isos['mounted'].path.name}"
    applied.server.run(["sh", "-ec", f"cp {iso} /root/new; rm {iso}; cp /root/new {iso}"])
    broken = doctor.keys({"found": applied.salt.call(applied.server, "netboot.doctor")})
    applied.server.run(["sh", "-ec", f"exportfs -f; umount {MOUNTED_TREE}"])
    assert applied.salt.apply(applied.server, "netboot.images").failed == {}
    mended = doctor.keys({"found": applied.salt.call(applied.server, "netboot.doctor")})
    assert (broken, mended) == ("image.changed mount.stale smb.smb1", "smb.smb1")


@pytest.mark.parametrize(
    ("ident", "method", "form", "dialect"),
    [
        ("mounted-livecd", "nfs", "tree", "altboot"),
        pytest.param("p11-livecd-nfs-iso", "nfs", "iso", "altboot", marks=pytest.mark.long),
        ("p11-livecd-cifs-tree", "cifs", "tree", "altboot"),
        pytest.param("p11-livecd-cifs-iso", "cifs", "iso", "altboot", marks=pytest.mark.long),
        pytest.param("p11-livecd-ftp-tree", "ftp", "tree", "altboot", marks=pytest.mark.long),
        ("p11-livecd-ftp-iso", "ftp", "iso", "altboot"),
        ("p10-livecd-cifs-iso", "cifs", "iso", "propagator"),
        ("p10-livecd-nfs-tree", "nfs", "tree", "propagator"),
        pytest.param("p10-livecd-nfs-iso", "nfs", "iso", "propagator", marks=pytest.mark.long),
        pytest.param("p10-livecd-ftp-tree", "ftp", "tree", "propagator", marks=pytest.mark.long),
        pytest.param("p9-livecd", "nfs", "iso", "propagator", marks=pytest.mark.long),
    ],
)
def test_boots(applied, ident, method, form, dialect):
    entry = applied.entries[ident]
    said = dict(word.split("=", 1) for word in start(applied, entry).split())
    digest = applied.isos[entry["image"]].stages["live"][1]
    assert (said["method"], said["form"], said["dialect"]) == (method, form, dialect)
    assert said["digest"] == digest


def test_nfs_exports_nothing_else(applied):
    entry = applied.entries["p11-livecd"]
    wanted = "directory:/srv/export/tftp/netboot/x86_64/p11"
    assert wanted in entry["cmdline"]
    cmdline = entry["cmdline"].replace(wanted, "directory:/srv/export/.staging")
    said = start(applied, entry, cmdline)
    assert "is neither a folder nor a file" in said


def mounted(applied, version, path, command, address=None):
    """Run a command where the server has mounted an export of its own, as mount.nfs does it."""
    what = f"{address or applied.server.address}:{path}"
    return applied.server.run(["sh", "-c", MOUNTED, "sh", version, what, command], check=False)


@pytest.mark.parametrize("version", ["3", "4.2"])
def test_nfs_can_only_be_read(applied, version):
    iso = applied.isos["p11"]
    said = mounted(applied, version, "/srv/export/dist", f"sha256sum {iso.path.name}; touch x")
    assert said.stdout.split()[0] == iso.sha256
    assert "Read-only file system" in said.stderr


@pytest.mark.parametrize(
    ("version", "path", "address"),
    [
        ("3", "/", None),
        ("3", "/srv/export", None),
        ("3", "/srv/export/.staging", None),
        ("3", "/srv/export/dist/../.staging", None),
        ("4.2", "/srv/export/.staging", None),
        ("4.2", "/etc", None),
        # Not an address of netboot:nfs:clients.
        ("3", "/srv/export/dist", "127.0.0.1"),
        ("4.2", "/srv/export/dist", "127.0.0.1"),
    ],
)
def test_nfs_refuses(applied, version, path, address):
    said = mounted(applied, version, path, "true", address)
    assert said.returncode == 99, said.stdout
    assert "denied" in said.stderr or "No such file" in said.stderr


def test_nfs_4_shows_the_way_to_the_exports_alone(applied):
    said = mounted(applied, "4.2", "/", "find . -mindepth 1 -maxdepth 3")
    assert sorted(said.stdout.split()) == [
        "./srv",
        "./srv/export",
        "./srv/export/dist",
        "./srv/export/tftp",
    ]


def nfs3(applied, *words):
    """What tests/nfs3.py reads in the export of the TFTP root."""
    argv = [sys.executable, NFS3, applied.server.address, "/srv/export/tftp", *words]
    return applied.lab.run(argv, check=False, capture_output=True)


@pytest.mark.parametrize(
    "names",
    [
        ["../../../etc/debian_version"],
        ["..", "..", "..", "etc", "debian_version"],
        ["..", ".staging"],
        ["/etc/debian_version"],
        ["netboot/../../../../etc/debian_version"],
        ["..\\..\\..\\etc\\debian_version"],
        ["%2e%2e", "%2e%2e", "%2e%2e", "etc", "debian_version"],
        ["\udcc0\udcae\udcc0\udcae", "etc", "debian_version"],
        # Links are the client's to follow: the server only tells what they say.
        ["link"],
        ["folder", "debian_version"],
    ],
)
def test_nfs_names_lead_to_the_exports_alone(applied, names):
    applied.server.run(["ln", "-sfn", "/etc/debian_version", "/srv/export/tftp/link"])
    applied.server.run(["ln", "-sfn", "/etc", "/srv/export/tftp/folder"])
    kernel = applied.isos["p11"].kernel[1:]
    # Above the export's folder is that folder again.
    inside = ["..", "..", "netboot", "x86_64", "p11", *kernel.split("/")]
    read, refused = nfs3(applied, "names", *inside), nfs3(applied, "names", *names)
    applied.server.run(["rm", "/srv/export/tftp/link", "/srv/export/tftp/folder"])
    assert bytes.fromhex(read.stdout) == (applied.web / "p11" / kernel).read_bytes()[:64]
    assert refused.stdout == ""
    assert refused.stderr.startswith(("RPC: ", "LOOKUP ", "READ: "))


def test_nfs_handles_lead_to_the_exports_alone(applied):
    """Clients can make up the handle of any file of the file system that an export is on."""
    kernel = applied.isos["p11"].kernel[1:]
    inside = f"/srv/export/tftp/netboot/x86_64/p11/{kernel}"
    outside = "/etc/debian_version"
    asked = ["python3", "-c", HANDLES, inside, outside]
    handles = applied.server.run(asked).stdout.split()
    read, refused = (nfs3(applied, "handle", handle) for handle in handles)
    assert bytes.fromhex(read.stdout) == (applied.web / "p11" / kernel).read_bytes()[:64]
    stale = 70
    assert refused.stderr == f"READ: {stale}\n"


def test_entries_are_read_without_a_client(applied):
    """Their stages and ISOs: beginning and end, as the probe reads them."""
    read_ = set()
    for entry in applied.entries.values():
        path, image = entry["stage"]["path"], entry["image"]
        folder, _, name = path.rpartition("/")
        source = applied.isos[image].path if entry["form"] == "iso" else applied.web / image / name
        data = source.read_bytes()
        urls = {
            "cifs": [f"smb://{{}}{path}"],
            "ftp": [f"ftp://{{}}{path}"],
            "nfs": [f"{scheme}://{{}}/srv/export{folder}!/{name}" for scheme in ("nfs", "nfs4")],
        }[entry["method"]]
        for url in urls:
            size, parts = read(applied, url, [(0, 1000), (len(data) - 1000, 1000)])
            assert (size, parts) == (len(data), [data[:1000], data[-1000:]]), url
            read_.add((url.partition(":")[0], entry["form"]))
    assert read_ == {
        (scheme, form) for scheme in ("ftp", "nfs", "nfs4", "smb") for form in ("iso", "tree")
    }


@pytest.mark.parametrize(
    ("number", "image", "method"),
    [pytest.param(None, "p11", "nfs", marks=pytest.mark.long), (HOST, "p10", "cifs")],
)
def test_through_firmware_and_menu(applied, number, image, method):
    with applied.lab.client("efi-x86_64", number=number) as client:
        marker = client.booted(timeout=240)
    assert (marker["method"], marker["form"]) == (method, "tree")
    assert marker["digest"] == applied.isos[image].stages["live"][1]


LONG = [
    ("p11", "nfs", "iso"),
    ("p11", "cifs", "tree"),
    ("p11", "cifs", "iso"),
    ("p11", "ftp", "iso"),
    ("p10", "cifs", "iso"),
    ("p10", "nfs", "tree"),
    ("p10", "nfs", "iso"),
    ("p10", "ftp", "tree"),
    ("mounted", "nfs", "tree"),
]


@pytest.mark.parametrize(
    ("image", "method", "form"),
    [("p11", "ftp", "tree"), *(pytest.param(*one, marks=pytest.mark.long) for one in LONG)],
)
def test_chosen_on_the_image_s_page(applied, image, method, form):
    """Somebody presses the hotkeys of the image and, on its page, of the line."""
    lines = [
        (entry["method"], entry["form"])
        for entry in applied.entries.values()
        if entry["image"] == image
    ]
    images = list(dict.fromkeys(entry["image"] for entry in applied.entries.values()))
    with applied.lab.client("efi-x86_64") as client:
        client.wait_for(TITLE, timeout=120)
        time.sleep(1)  # the menu is drawn after its title
        client.press(str(1 + images.index(image)))
        time.sleep(1)  # the page is drawn
        client.press(str(1 + lines.index((method, form))))
        marker = client.booted(timeout=180)
    assert (marker["method"], marker["form"]) == (method, form)
    assert marker["digest"] == applied.isos[image].stages["live"][1]


def again(applied, changes, **more):
    """Apply the pillar with other keys in some images, or without those that are None."""
    images = {
        name: {
            key: value
            for key, value in {**image, **changes.get(name, {})}.items()
            if value is not None
        }
        for name, image in applied.pillar["images"].items()
    }
    applied.salt.write_pillar({"netboot": {**applied.pillar, "images": images, **more}})
    return applied.salt.apply(applied.server)


@pytest.mark.long
def test_smb1_and_no_mount(applied):
    """A first stage from before 2021-09-02 gets its stage over SMB once the pillar agrees."""
    entry = applied.entries["p9-livecd-cifs-iso"]
    assert "/dist cannot be mounted" in start(applied, entry)
    # In the same apply a mounted image is unpacked that was booted, while the NFS server goes on.
    wait_for_its_clients(applied.server)
    done = again(applied, {"mounted": {"mount": None}}, smb={"smb1": True})
    assert done.failed == {}
    found = applied.salt.call(applied.server, "netboot.doctor")
    assert "smb.smb1" not in doctor.keys({"found": found}).split()
    assert "iso9660" not in applied.server.run(["cat", "/proc/mounts"]).stdout
    for ident in ("p9-livecd-cifs-iso", "mounted-livecd"):
        entry = applied.entries[ident]
        digest = applied.isos[entry["image"]].stages["live"][1]
        assert f"digest={digest} method={entry['method']}" in start(applied, entry)


def wait_for_its_clients(server):
    """Wait until NFS clients of the mounted image that were switched off have lost their lease."""
    end = time.monotonic() + 180
    while "confirmed" in (said := server.run(["sh", "-c", HOLDERS]).stdout):
        assert time.monotonic() < end, said
        time.sleep(2)


@pytest.mark.long
def test_off(applied):
    """The exports go with the methods, and what the machine exports besides stays."""
    applied.server.run(["mkdir", "-p", "/srv/own", "/etc/exports.d"])
    applied.server.run(["tee", "/etc/exports.d/own.exports"], input="/srv/own *(ro)\n")
    applied.server.run(["exportfs", "-ra"])
    off = {name: {"methods": None, "forms": None, "mount": None} for name in applied.isos}
    assert again(applied, off).failed == {}
    exported = applied.server.run(["exportfs", "-s"]).stdout
    assert "/srv/own" in exported
    assert "/srv/export" not in exported
