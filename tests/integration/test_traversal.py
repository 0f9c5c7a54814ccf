"""No way out of the export root: odd paths and links, asked of real servers as raw as they come.

NFS needs a kernel of its own: tests/boot/test_methods.py.
"""

import json
import sys
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

MARK = "of nobody's concern"
# Readable by everybody who gets there: beside the root, and in it beside the served folders.
OUTSIDE, BESIDE = "/srv/secret", "/srv/export/beside"
STAGED = "/srv/export/.staging/secret"
TREE = "tftp/netboot/x86_64/alt_p11"

UPS = [
    "../",
    "%2e%2e/",
    ".%2e/",
    "%2e%2e%2f",
    "..%2f",
    "%252e%252e/",
    "..%252f",
    "..\\",
    "..%5c",
    "%2e%2e%5c",
    "%c0%ae%c0%ae/",
    "..%c0%af",
    "%e0%80%ae%e0%80%ae/",
    "%uff0e%uff0e/",
    "..%00/",
    "..;/",
    "....//",
    "./../",
    "x/../../",
    ".//..//",
]
TARGETS = ["secret", "beside", ".staging/secret", "srv/secret", "etc/passwd"]

# Each asks for all paths on its stdin (a JSON list) and prints what was answered, by path, as
# JSON; characters are bytes. Words: the server's address.
HTTP = """
import json, socket, sys
said = {}
for path in json.load(sys.stdin):
    with socket.create_connection((sys.argv[1], 80), timeout=20) as sock:
        lines = [f"GET {path} HTTP/1.1", f"Host: {sys.argv[1]}", "Connection: close"]
        sock.sendall("\\r\\n".join([*lines, "", ""]).encode("latin-1"))
        said[path] = b"".join(iter(lambda: sock.recv(65536), b"")).decode("latin-1")[:4096]
print(json.dumps(said))
"""
# RFC 1350; the answer is data (3) or an error (5).
TFTP = """
import json, socket, struct, sys
said = {}
for path in json.load(sys.stdin):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        asked = struct.pack("!H", 1) + path.encode("latin-1") + b"\\0octet\\0"
        sock.sendto(asked, (sys.argv[1], 69))
        try:
            answer, peer = sock.recvfrom(600)
        except TimeoutError:
            said[path] = "no answer"
            continue
        sock.sendto(struct.pack("!HH", 5, 0) + b"enough\\0", peer)
        said[path] = ("data " if answer[1] == 3 else "error ") + answer[4:].decode("latin-1")
print(json.dumps(said))
"""
FTP = """
import ftplib, json, sys
said = {}
for path in json.load(sys.stdin):
    with ftplib.FTP(sys.argv[1], timeout=20, encoding="latin-1") as ftp:
        ftp.login()
        read = []
        try:
            ftp.retrbinary(f"RETR {path}", read.append)
            said[path] = "data " + b"".join(read)[:4096].decode("latin-1")
        except ftplib.error_perm as err:
            said[path] = f"error {err}"
print(json.dumps(said))
"""
# Samba's own library sends names as they are, which smbclient does not. Paths begin with a share.
SMB = """
import json, sys
from samba import NTSTATUSError
from samba.credentials import Credentials
from samba.samba3 import libsmb_samba_internal as libsmb, param
context = param.get_context()
context.load("/dev/null")
guest = Credentials()
guest.guess(context)
guest.set_username("guest")
guest.set_password("")
shares = {share: libsmb.Conn(sys.argv[1], share, context, guest) for share in ("dist", "tftp")}
said = {}
for path in json.load(sys.stdin):
    share, _, name = path.partition("/")
    try:
        said[path] = "data " + shares[share].loadfile(name)[:4096].decode("latin-1")
    except NTSTATUSError as err:
        said[path] = f"error {err}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with all methods that need no kernel of its own, and a machine with SMB's client."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server(
            "netboot1", packages=["vsftpd"], installed=WITH_CLIENTS, binds=[CHECKOUT]
        )
        client = lab.server("client", installed=WITH_CLIENTS)
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        once = {"image": "ALT p11", "variant": "install", "once": True}
        pillar = {
            "images": {"ALT p11": image},
            "methods": ["http", "cifs", "ftp"],
            "hosts": {"pc1": once},  # whose files are at paths of their own
        }
        salt = SaltCall(server, {"netboot": pillar})
        done = salt.apply(server)
        assert [state["comment"] for state in done.failed.values()] == []
        salt.call(server, "netboot.arm", "host=pc1")
        for path in (OUTSIDE, BESIDE, STAGED):
            server.run(["tee", path], input=MARK)
            server.run(["chmod", "644", path])
        server.run(["useradd", "somebody"])

        def ask(program, paths, at=None):
            """What a server answers; at: the machine that asks."""
            words = ["-c", program, server.address]
            if at:
                done = at.run(["python3", *words], input=json.dumps(paths))
            else:
                python = [sys.executable, *words]
                done = lab.run(python, input=json.dumps(paths), capture_output=True)
            return json.loads(done.stdout)

        yield SimpleNamespace(server=server, client=client, iso=iso, ask=ask)


def link(served, path, target, owner="root"):
    served.server.run(["ln", "-sfn", target, f"/srv/export/{path}"])
    served.server.run(["chown", "-h", owner, f"/srv/export/{path}"])


def ways_out(*starts):
    """Paths that leave the start, by every way of saying so."""
    paths = [
        f"{start}{up * depth}{target}"
        for start in starts
        for up in UPS
        for depth in range(1, 8)
        for target in TARGETS
    ]
    for start in starts:
        for target in (OUTSIDE, "/etc/passwd"):
            paths += [f"{start}{target}", f"{start}/{target}", f"{start}{target[1:]}"]
            paths += [f"{start}%2f{target[1:]}", f"{start}\\{target[1:]}", f"{start}%00{target}"]
    return paths


def leaked(said):
    """The paths whose answers have what they must not."""
    return [path for path, answer in said.items() if MARK in answer or "root:x:" in answer]


def test_http(served):
    starts = ["/", "/dist/", "/tftp/", f"/{TREE}/", "/host/pc1/dist/", "/host/pc1/tftp/"]
    paths = ways_out(*starts, "/dist", "/tftp", "/host/pc1/dist", "/private/granted/", "/host/../")
    paths += [f"http://{served.server.address}/dist/../secret", "dist/../secret", "*", "/dist/%"]
    said = served.ask(HTTP, paths)
    assert leaked(said) == []
    assert {answer[9:12] for answer in said.values()} <= {"400", "403", "404", ""}
    same = [f"/{TREE}/live", f"//{TREE}//live", f"/dist/../{TREE}/./live", f"/host/pc1/{TREE}/live"]
    assert {answer[9:12] for answer in served.ask(HTTP, same).values()} == {"200"}


def test_tftp(served):
    tree = TREE.partition("/")[2]
    paths = ways_out("", "/", "netboot/", f"{tree}/", "/srv/export/tftp/", "/srv/export/", "\\")
    paths += [path.replace("..", "\xc0\xae\xc0\xae") for path in ways_out("")]
    said = served.ask(TFTP, paths)
    assert leaked(said) == []
    assert not [path for path, answer in said.items() if answer.startswith("data ")]
    same = [f"{tree}/live", f"/{tree}/live", f"/srv/export/{TREE}/live", tree.replace("/", "\\")]
    assert [answer[:5] for answer in served.ask(TFTP, same).values()] == [*["data "] * 3, "error"]


def test_ftp(served):
    # Its root is the export root, where the file beside the served folders is.
    paths = [path for path in ways_out("", "/", "dist/", f"{TREE}/") if "srv/" in path]
    paths += [path for path in ways_out("", "/dist/") if "etc/" in path or "staging" in path]
    paths += [path.replace("..", "\xc0\xae\xc0\xae") for path in ways_out("") if "srv" in path]
    said = served.ask(FTP, paths)
    assert leaked(said) == []
    assert not [path for path, answer in said.items() if answer.startswith("data ")]
    (answer,) = served.ask(FTP, [f"/../../{TREE}/live"]).values()
    assert answer.startswith("data ")


def test_smb(served):
    paths = ways_out("dist/", "tftp/", f"{TREE}/")
    paths += [path.replace("/", "\\").replace("\\", "/", 1) for path in ways_out("dist/", "tftp/")]
    paths += [path.replace("..", "\uff0e\uff0e") for path in ways_out("dist/")]
    said = served.ask(SMB, paths, served.client)
    assert leaked(said) == []
    assert not [path for path, answer in said.items() if answer.startswith("data ")]
    (answer,) = served.ask(SMB, [f"{TREE}/live"], served.client).values()
    assert answer.startswith("data ")


LINKS = {
    "tftp/link": OUTSIDE,
    "tftp/relative": "../../secret",
    "tftp/beside": BESIDE,
    "tftp/staged": "../.staging/secret",
    "tftp/folder": "/etc",
    "dist/link": OUTSIDE,
}


@pytest.mark.parametrize("owner", ["root", "somebody"])
def test_links_that_lead_out(served, owner):
    """SMB and FTP follow none, HTTP those of the file's own owner, TFTP all that it may read."""
    for path, target in LINKS.items():
        link(served, path, target, owner)
    paths = [f"{path}/passwd" if path.endswith("folder") else path for path in LINKS]
    http = served.ask(HTTP, [f"/{path}" for path in paths] + ["/host/pc1/tftp/link"])
    smb = served.ask(SMB, paths, served.client)
    ftp = served.ask(FTP, paths)
    tftp = served.ask(TFTP, [path.partition("/")[2] for path in paths if "tftp" in path])
    for path in LINKS:
        served.server.run(["rm", f"/srv/export/{path}"])
    assert leaked(smb) == leaked(ftp) == []
    open_to_all = [path for path in paths if not path.endswith("staged")]
    by_root = [*(f"/{path}" for path in open_to_all), "/host/pc1/tftp/link"]
    assert leaked(http) == (by_root if owner == "root" else [])
    # As docs/architecture.md says.
    assert leaked(tftp) == [path.partition("/")[2] for path in open_to_all if "tftp" in path]


def test_links_that_stay_inside(served):
    """As images have them."""
    link(served, f"{TREE}/again", "live")
    link(served, f"{TREE}/up", "../alt_p11")
    link(served, "tftp/tree", "netboot/x86_64/alt_p11")
    paths = [f"{TREE}/again", f"{TREE}/up/live", "tftp/tree/live"]
    http = served.ask(HTTP, [f"/{path}" for path in paths] + [f"/host/pc1/{TREE}/again"])
    assert {answer[9:12] for answer in http.values()} == {"200"}
    others = {
        **served.ask(FTP, paths),
        **served.ask(SMB, paths, served.client),
        **served.ask(TFTP, [path.partition("/")[2] for path in paths]),
    }
    assert {answer[:5] for answer in others.values()} == {"data "}
