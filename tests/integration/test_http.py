"""The web server, beside sites that the machine's nginx serves already."""

import copy
import hashlib
import json
import re
import subprocess
import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.host import require
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests import storm
from tests.servers import INSTALLED

SITE = "/etc/nginx/sites-enabled/netboot.conf"
DEFAULT = "/etc/nginx/sites-enabled/default"
OWN = "/etc/nginx/sites-enabled/own"
OWN_SITE = 'server {{ listen {}; server_name {}; location / {{ return 200 "mine"; }} }}\n'
SECOND = ".200"  # the last byte of another address of the machine
GIB = 1 << 30


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine that served something before, with two addresses."""
    require("curl", "openssl")
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        second = server.address.rpartition(".")[0] + SECOND
        server.run(["ip", "address", "add", f"{second}/24", "dev", "eth0"])
        server.run(["tee", OWN], input=OWN_SITE.format(80, "example.org"))
        server.run(["systemctl", "reload", "nginx"])
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"interface": "eth0", "images": {"ALT p11": image}}
        salt = SaltCall(server, {"netboot": pillar})
        # As pam_umask may set it; everything must be served nevertheless.
        salt._command = ["sh", "-c", 'umask 0027; exec "$@"', "sh", *salt._command]
        yield SimpleNamespace(
            lab=lab, server=server, iso=iso, pillar=pillar, salt=salt, second=second
        )


@pytest.fixture
def apply(machine):
    """Apply with these settings of the web server; afterwards the pillar is what it was."""

    def _apply(*arguments, **http):
        pillar = {**copy.deepcopy(machine.pillar), "http": http}
        machine.salt.write_pillar({"netboot": pillar})
        return machine.salt.apply(machine.server, *arguments)

    yield _apply
    machine.salt.write_pillar({"netboot": machine.pillar})


def curl(machine, url, *options):
    """Status, headers by lower-case name, and body; the status is 0 without an answer."""
    argv = ["curl", "-sS", "-i", "--path-as-is", "--max-time", "20", *options, url]
    done = subprocess.run(
        ["ip", "netns", "exec", machine.lab.name, *argv], capture_output=True, check=False
    )
    if done.returncode:
        return SimpleNamespace(status=0, headers={}, body=done.stderr)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return SimpleNamespace(status=int(lines[0].split()[1]), headers=headers, body=body)


def get(machine, path, *options):
    return curl(machine, f"http://{machine.server.address}{path}", *options)


def warnings(done):
    return [one for state in done.states.values() for one in state.get("warnings", [])]


def test_name_that_another_site_has_is_told_before_anything_is_put_in_place(machine, apply):
    server = machine.server
    server.run(["tee", OWN], input=OWN_SITE.format(80, server.address))
    server.run(["systemctl", "reload", "nginx"])
    done = apply()
    (failed,) = done.failed["netboot-http-ready"]["comment"].splitlines()
    assert failed.startswith(f"The nginx site in {OWN} has the name {server.address} on TCP")
    assert server.run(["test", "-e", SITE], check=False).returncode == 1
    assert get(machine, "/").body == b"mine"
    server.run(["tee", OWN], input=OWN_SITE.format(80, "example.org"))
    server.run(["systemctl", "reload", "nginx"])


MENU = "/tftp/config-x86_64.ipxe"
KERNEL = "/tftp/netboot/x86_64/alt_p11/boot/vmlinuz"
NO_HOST = ("--http1.0", "-H", "Host:")


def test_port_in_another_notation_is_told_before_anything_is_put_in_place(machine, apply):
    server = machine.server
    server.run(["mv", DEFAULT, "/root/default"])
    both = OWN_SITE.format("[::]:80 ipv6only=off default_server", "both.example")
    server.run(["tee", f"{OWN}2"], input=both)
    said = apply("netboot.http").failed["netboot-http-ready"]["comment"]
    server.run(["rm", f"{OWN}2"])
    server.run(["mv", "/root/default", DEFAULT])
    assert f"{OWN}2 listens on all IPv4 and IPv6 addresses in one socket" in said
    assert server.run(["test", "-e", SITE], check=False).returncode == 1


def test_directory_that_nginx_does_not_read_is_told(machine, apply):
    main = "/etc/nginx/nginx.conf"
    server = machine.server
    server.run(["sed", "-i.was", "s,include /etc/nginx/sites-enabled,# &,", main])
    said = apply("netboot.http").failed["netboot-http-ready"]["comment"]
    server.run(["mv", f"{main}.was", main])
    assert said.startswith(f"{main} does not include {SITE}")
    assert "conf.d/*.conf" in said
    assert server.run(["test", "-e", SITE], check=False).returncode == 1


def test_sites_of_the_machine_stay_and_the_untouched_default_gives_way(machine, apply):
    server = machine.server
    before = server.run(["sha256sum", OWN, "/etc/nginx/sites-available/default"]).stdout
    assert b"Welcome to nginx" in get(machine, "/", "-H", "Host: else.example").body
    foretold = apply("test=True")
    assert foretold.failed == {}
    assert DEFAULT in foretold.changed["netboot-http-site"]
    server.run(["test", "-L", DEFAULT])
    assert apply().failed == {}
    for arguments in ((), ("test=True",)):
        again = apply(*arguments)
        assert (again.failed, again.changed, warnings(again)) == ({}, {}, [])
    assert get(machine, "/x", "-H", "Host: else.example").status == 404
    assert get(machine, "/", "-H", "Host: example.org").body == b"mine"
    assert server.run(["sha256sum", OWN, "/etc/nginx/sites-available/default"]).stdout == before
    assert get(machine, "/x").status == 404


def test_requests_without_host(machine):
    """Those of the first stages of p10 and older."""
    for path in (MENU, KERNEL, f"/dist/{machine.iso.path.name}"):
        without, with_host = get(machine, path, *NO_HOST), get(machine, path)
        assert (without.status, with_host.status) == (200, 200)
        assert without.body == with_host.body


def test_foreign_default_server(machine, apply):
    """It stays; requests without Host come to us as long as it has a name."""
    server = machine.server
    server.run(["tee", f"{OWN}2"], input=OWN_SITE.format("80 default_server", "blog.example"))
    try:
        done = apply("netboot.http")
        assert (done.failed, warnings(done)) == ({}, [])
        said = done.states["netboot-http-ready"]["comment"]
        assert f"{OWN}2 stays the default server on TCP port 80" in said
        assert get(machine, "/", "-H", "Host: else.example").body == b"mine"
        assert get(machine, MENU, *NO_HOST).status == get(machine, MENU).status == 200
        server.run(["tee", f"{OWN}2"], input="server { listen 80 default_server; return 410; }\n")
        done = apply("netboot.http")
        assert done.failed == {}
        first, *others = warnings(done)
        assert f"the nginx site in {OWN}2 gets such requests" in first
        assert others
        for one in others:
            assert "without Host: 410" in one
            assert "images of p10 and older may not boot" in one
        assert get(machine, MENU, *NO_HOST).status == 410
        assert get(machine, MENU).status == 200
    finally:
        server.run(["rm", f"{OWN}2"])
    assert apply("netboot.http").failed == {}
    assert get(machine, MENU, *NO_HOST).status == 200


def test_what_clients_get_is_asked_for(machine, apply):
    """A site that gets our requests, and a mode that keeps them out, whoever made them."""
    server = machine.server
    other = f"server {{ listen {server.address}:80; return 410; }}\n"
    tree = KERNEL.rpartition("/")[0]
    server.run(["chmod", "700", f"/srv/export{tree}"])
    said = apply("netboot.http").failed["netboot-http-complete"]["comment"]
    server.run(["chmod", "755", f"/srv/export{tree}"])
    assert f"{KERNEL}: 403, the web server may not read it" in said
    # Put there after the site was written: what runs is not what is on the disk.
    server.run(["tee", "/etc/nginx/conf.d/late.conf"], input=other)
    server.run(["systemctl", "restart", "nginx"])
    server.run(["mv", "/etc/nginx/conf.d/late.conf", "/root/late.conf"])
    said = apply("netboot.http").failed["netboot-http-complete"]["comment"]
    server.run(["systemctl", "restart", "nginx"])
    assert f"http://{server.address}/tftp/config-aarch64.ipxe: 410, so another site" in said
    assert f"http://{server.address}{KERNEL}: 410, so another site or program" in said
    assert apply("netboot.http").failed == {}


def test_lost_iso_is_repaired_by_an_apply_that_succeeds(machine, apply):
    lost = f"/srv/export/dist/{machine.iso.path.name}"
    machine.server.run(["rm", lost])
    applied = apply()
    assert (applied.failed, applied.status) == ({}, 0)
    assert "Not ready yet: " in applied.states["netboot-menus-before"]["comment"]
    assert lost in applied.changed["netboot-image-alt_p11-fetched"]
    assert b"alt_p11-install" in get(machine, MENU).body


def test_modes_are_repaired(machine, apply):
    """Those that an earlier apply left to its umask, too."""
    server = machine.server
    closed = [
        "tftp/netboot/x86_64",
        "tftp/config-x86_64.ipxe",
        "tftp/undionly.kpxe",
        "dist",
        "tftp",
    ]
    server.run(["chmod", "o-rwx", *(f"/srv/export/{path}" for path in [*closed, "dist"])])
    assert get(machine, KERNEL).status == 403
    assert apply().failed == {}
    find = ["find", "/srv/export/dist", "/srv/export/tftp", "!", "-perm", "-o=r"]
    assert server.run(find).stdout == ""
    assert get(machine, KERNEL).status == 200
    assert apply().changed == {}


@pytest.mark.parametrize(
    ("there", "asked", "status"),
    [
        ("serial-PF 1", "serial-%20%20PF%201%20", 200),
        ("product-Q35", "product-Q35%20%20%20", 200),
        ("host-pc1", "host-pc1.school.example", 200),
        ("host-pc2.school.example", "host-pc2.school.example", 200),
        ("host-pc2.school.example", "host-pc2.other.example", 404),
        ("host-pc1", "host-pc10", 404),
        ("serial-PF1", "serial-..%2F..%2Fdist%2Fx", 404),
    ],
)
def test_padded_texts_and_names_with_a_domain(machine, there, asked, status):
    path = f"/srv/export/tftp/config-{there}.ipxe"
    machine.server.run(["tee", path], input="#!ipxe\n")
    found = get(machine, f"/tftp/config-{asked}.ipxe")
    machine.server.run(["rm", path])
    assert (found.status, found.body == b"#!ipxe\n") == (status, status == 200)


def test_passwords_cannot_be_guessed_at_any_rate(machine):
    argv = ["openssl", "passwd", "-6", "-salt", "x", "right"]
    hashed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    menu = {"password": {"users": {"admin": hashed}}}
    machine.salt.write_pillar({"netboot": {**machine.pillar, "menu": menu}})
    try:
        assert machine.salt.apply(machine.server, "netboot.http").failed == {}

        def login(password):
            return get(machine, "/private/granted", "-u", f"admin:{password}").status

        assert login("right") == 200
        statuses = [login("wrong") for _ in range(25)]
        assert set(statuses) == {401, 429}
        assert statuses.count(401) < 12
        # iPXE asks without a password first, which is no guess.
        assert [get(machine, "/private/granted").status for _ in range(25)] == [401] * 25
        time.sleep(2)
        assert login("right") == 200
    finally:
        machine.salt.write_pillar({"netboot": machine.pillar})
    assert machine.salt.apply(machine.server, "netboot.http").failed == {}


def test_what_a_killed_apply_left(machine, apply):
    """Files beside the site, as Salt's file.managed and ours name them, end no restart for good."""
    server = machine.server
    left = [f"{SITE}k3_x9zab", "/etc/systemd/system/netboot-dnsmasq.servicek3_x9zab"]
    for path in left:
        server.run(["cp", path[:-8], path])
        server.run(["chmod", "600", path])
    assert server.run(["nginx", "-t"], check=False).returncode
    applied = apply()
    assert applied.failed == {}
    assert applied.changed == {
        "netboot-http-site": {left[0]: "removed"},
        "netboot-dhcp-unit": {left[1]: "removed"},
    }
    server.run(["nginx", "-t"])


def test_clash_that_comes_later_replaces_nothing(machine, apply):
    server = machine.server
    before = server.run(["sha256sum", SITE]).stdout
    server.run(["tee", f"{OWN}2"], input=OWN_SITE.format(80, f"{server.address} other.example"))
    done = apply("netboot.http", listing="html")
    assert "has the name" in done.failed["netboot-http-ready"]["comment"]
    assert set(done.changed) == {"netboot-config-applied"}
    assert server.run(["sha256sum", SITE]).stdout == before
    server.run(["rm", f"{OWN}2"])


def test_broken_site_of_somebody_else_is_told(machine, apply):
    machine.server.run(["tee", f"{OWN}2"], input="server { nonsense }\n")
    done = apply("netboot.http", listing="html")
    machine.server.run(["rm", f"{OWN}2"])
    said = done.failed["netboot-http-ready"]["comment"]
    assert said.startswith("nginx rejects its existing configuration (without ours)")
    assert f"{OWN}2:1" in said


def test_listing_for_scripts(machine):
    answer = get(machine, "/dist/")
    assert answer.headers["content-type"] == "application/json"
    (row,) = json.loads(answer.body)
    assert (row["name"], row["type"]) == (machine.iso.path.name, "file")
    assert row["size"] == machine.iso.size
    assert row["mtime"].endswith("GMT")
    assert get(machine, "/tftp/").status == get(machine, "/tftp/netboot/").status == 403


def test_listing_for_people_and_none(machine, apply):
    assert apply("netboot.http", listing="html").failed == {}
    assert f'<a href="{machine.iso.path.name}">'.encode() in get(machine, "/dist/").body
    assert b'<a href="config-x86_64.ipxe">' in get(machine, "/tftp/").body
    assert apply("netboot.http", listing=False).failed == {}
    assert get(machine, "/dist/").status == get(machine, "/tftp/").status == 403
    assert get(machine, f"/dist/{machine.iso.path.name}", "-I").status == 200
    assert apply("netboot.http").changed["netboot-http-service"] == {"service": "reloaded"}


def test_length_and_ranges(machine):
    path = f"/dist/{machine.iso.path.name}"
    content, size = machine.iso.path.read_bytes(), machine.iso.size
    head = get(machine, path, "-I")
    assert (head.status, head.headers["content-length"]) == (200, str(size))
    assert head.headers["accept-ranges"] == "bytes"
    for asked, first, last in (
        ("0-0", 0, 0),
        ("100-", 100, size - 1),
        ("-5", size - 5, size - 1),
        (f"7-{size + 9}", 7, size - 1),
    ):
        part = get(machine, path, "-r", asked)
        assert (part.status, part.body) == (206, content[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["content-length"] == str(last - first + 1)
    assert get(machine, path, "-r", f"{size}-").status == 416
    # Of another version of the file nothing is a part.
    etag = head.headers["etag"]
    other = get(machine, path, "-r", "0-9", "-H", 'If-Range: "other"')
    assert (other.status, len(other.body)) == (200, size)
    assert get(machine, path, "-r", "0-9", "-H", f"If-Range: {etag}").status == 206
    assert get(machine, path, "-H", f"If-None-Match: {etag}").status == 304


def test_more_than_4_gib(machine):
    big = "/srv/export/dist/big.iso"
    machine.server.run(["truncate", "-s", str(5 * GIB), big])
    machine.server.run(["sh", "-c", f"printf end >> {big}"])
    try:
        head = get(machine, "/dist/big.iso", "-I")
        assert head.headers["content-length"] == str(5 * GIB + 3)
        end = get(machine, "/dist/big.iso", "-r", f"{5 * GIB - 1}-")
        assert (end.status, end.body) == (206, b"\0end")
        sizes = {row["name"]: row["size"] for row in json.loads(get(machine, "/dist/").body)}
        assert sizes["big.iso"] == 5 * GIB + 3
    finally:
        machine.server.run(["rm", big])


def test_certificate_that_is_not_there(machine, apply):
    before = machine.server.run(["sha256sum", SITE]).stdout
    https = {"certificate": "/etc/ssl/netboot.pem", "key": "/etc/ssl/private/netboot.key"}
    for arguments in ((), ("test=True",)):
        done = apply("netboot.http", *arguments, **https)
        said = done.failed["netboot-http-ready"]["comment"].splitlines()
        assert said == [
            f"{path} (netboot:http:{key}) does not exist on this machine; copy it there."
            for key, path in https.items()
        ]
    assert machine.server.run(["sha256sum", SITE]).stdout == before


def put_certificate(machine, folder):
    """Make a certificate, as an admin would have it from elsewhere."""
    certificate, key = folder / "netboot.pem", folder / "netboot.key"
    subject = ["-subj", "/CN=netboot1", "-addext", f"subjectAltName=IP:{machine.server.address}"]
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    argv = ["openssl", "req", *words, "-keyout", key, "-out", certificate]
    subprocess.run(argv, check=True, capture_output=True)
    machine.server.run(["tee", "/etc/ssl/netboot.pem"], input=certificate.read_text())
    machine.server.run(["tee", "/etc/ssl/private/netboot.key"], input=key.read_text())
    machine.server.run(["chmod", "600", "/etc/ssl/private/netboot.key"])


def test_https(machine, apply, tmp_path):
    https = {"certificate": "/etc/ssl/netboot.pem", "key": "/etc/ssl/private/netboot.key"}
    put_certificate(machine, tmp_path)
    other = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True).stdout
    key = machine.server.run(["cat", https["key"]]).stdout
    machine.server.run(["tee", https["key"]], input=other)
    failed = apply("netboot.http", **https).failed["netboot-http-site"]["comment"]
    assert "key values mismatch" in failed
    machine.server.run(["tee", https["key"]], input=key)
    assert apply(**https).failed == {}
    again = apply(**https)
    assert (again.failed, again.changed) == ({}, {})

    url = f"https://{machine.server.address}"
    trusting = ("--cacert", str(tmp_path / "netboot.pem"))
    answer = curl(machine, f"{url}/dist/{machine.iso.path.name}", *trusting)
    assert hashlib.sha256(answer.body).hexdigest() == machine.iso.sha256
    assert json.loads(curl(machine, f"{url}/dist/", *trusting).body)
    assert curl(machine, f"{url}/dist/").status == 0, "nobody has to trust it"
    menu = get(machine, "/tftp/config-x86_64.ipxe")
    assert menu.status == 200
    assert b"https:" not in menu.body
    tree = "/tftp/netboot/x86_64/alt_p11/live"
    answers = [get(machine, tree, "-I"), curl(machine, url + tree, "-I", *trusting)]
    plain, secure = ({**answer.headers, "date": ""} for answer in answers)
    assert plain == secure
    said = machine.server.run(["stat", "-c", "%a %U", https["key"]]).stdout
    assert said == "600 root\n"


def test_https_beside_another_https_site(machine, apply):
    https = {"certificate": "/etc/ssl/netboot.pem", "key": "/etc/ssl/private/netboot.key"}
    own = OWN_SITE.format("443 ssl", "example.org").replace(
        "server {", "server { ssl_certificate {certificate}; ssl_certificate_key {key};"
    )
    own = own.replace("{certificate}", https["certificate"]).replace("{key}", https["key"])
    machine.server.run(["tee", f"{OWN}2"], input=own)
    said = apply("netboot.http", **https).failed["netboot-http-ready"]["comment"]
    assert f"{OWN}2 also listens on TCP port 443" in said
    assert apply("netboot.http", **https, https_port=8443).failed == {}
    assert curl(machine, f"https://{machine.server.address}:8443/dist/", "-k").status == 200
    machine.server.run(["rm", f"{OWN}2"])


def test_listens_where_it_is_told(machine, apply):
    server = machine.server
    listen = {"listen": [server.address], "port": 8080}
    assert apply(**listen).failed == {}
    assert curl(machine, f"http://{server.address}:8080/dist/").status == 200
    sockets = server.run(["ss", "-Hltn", "sport", "=", ":8080"]).stdout.splitlines()
    assert [line.split()[3] for line in sockets] == [f"{server.address}:8080"]
    assert curl(machine, f"http://{machine.second}:8080/dist/").status == 0
    # On a port that nginx has on all addresses for others, only ours are ours.
    server.run(["rm", OWN])
    assert apply(listen=[server.address]).failed == {}
    assert get(machine, "/dist/").status == 200
    host = f"Host: {server.address}"
    assert curl(machine, f"http://{machine.second}/dist/", "-H", host).status == 404
    # On another listen than ours the default site is in nobody's way.
    server.run(["test", "-L", DEFAULT])
    assert b"Welcome to nginx" in curl(machine, f"http://{machine.second}/").body
    assert apply(listen=[server.address]).changed == {}


def test_port_of_one_address_is_held(machine, apply):
    """Nothing else may have the port on any address, unless ours is told where to listen."""
    server = machine.server
    listening = ["systemd-run", "--unit=held", "python3", "-m", "http.server", "8081"]
    server.run([*listening, "--bind", machine.second])
    server.run(["sh", "-c", "until ss -Hltn | grep -q :8081; do sleep 0.2; done"])
    said = apply(port=8081).failed["netboot-ports-free"]["comment"]
    assert said.startswith("TCP port 8081, which HTTP needs, is held by python3 of held.service")
    assert apply(port=8081, listen=[server.address]).failed == {}
    server.run(["systemctl", "stop", "held"])


def test_clean_leaves_the_other_sites(machine, apply):
    https = {"certificate": "/etc/ssl/netboot.pem", "key": "/etc/ssl/private/netboot.key"}
    machine.server.run(["tee", OWN], input=OWN_SITE.format(80, "example.org"))
    assert apply(**https).failed == {}
    assert apply("netboot.clean", **https).failed == {}
    machine.server.run(["test", "!", "-e", SITE])
    assert (
        machine.server.run(["readlink", DEFAULT]).stdout == "/etc/nginx/sites-available/default\n"
    )
    machine.server.run(["ls", *https.values()])
    assert get(machine, "/", "-H", "Host: example.org").body == b"mine"
    assert b"Welcome to nginx" in get(machine, "/").body
    assert curl(machine, f"https://{machine.server.address}/", "-k").status == 0


SEEN = "/seen?m=5254000000aa&u=x&f=efi&a=x86_64&v=1.21&b=&r=&p=Acer&s="


def test_steps_of_clients_are_on_record(machine):
    """Rarely more than 20 a second of one client, and not for everybody on the machine."""
    assert machine.salt.apply(machine.server).failed == {}
    answer = get(machine, f"{SEEN}script")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")
    get(machine, f"{SEEN}menu&e=local&w=30000")
    log = machine.server.files / "var/log/nginx/netboot-clients.jsonl"
    assert log.stat().st_mode & 0o007 == 0
    machine.server.run(["systemctl", "start", "netboot-clients.service"])
    assert log.read_text() == ""
    end = time.monotonic() + 10  # a worker that is busy opens it a moment later
    while "s=chosen" not in log.read_text():
        assert time.monotonic() < end, "nginx writes to the new log"
        get(machine, f"{SEEN}chosen&e=local")
    many = f"http://{machine.server.address}{SEEN}boot&n=[1-300]"
    flood = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n", many]
    said = machine.lab.run(flood, capture_output=True).stdout.split()
    assert said.count("429") > 200
    assert log.read_text().count("s=boot") == said.count("200")
    many = f"http://{machine.server.address}/tftp/config-host-x.y[1-3000].ipxe"
    flood[-1] = many
    said = machine.lab.run(flood, capture_output=True).stdout.split()
    assert said == ["404"] * 3000, "nothing is refused"
    logged = log.read_text().count("config-host-x.y")
    assert logged < 2500, "but not all is logged"
    machine.server.run(["systemctl", "start", "netboot-clients.service"])
    kept = machine.server.files / f"var/lib/netboot-clients/{machine.lab.address}.jsonl"
    (unlogged,) = re.findall('"unlogged":([0-9]+)', kept.read_text())
    # One in a hundred is counted, by chance.
    assert 0.2 < int(unlogged) / (3000 - logged + 250) < 3
    # Nor what nginx refuses before it looks at limits: no Host, a range that is no range.
    no_host = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n", "-H", "Host:"]
    no_host += ["-H", "Range: " + "x" * 5000, f"http://{machine.server.address}/dist/no[1-200]"]
    assert machine.lab.run(no_host, capture_output=True).stdout.split() == ["400"] * 200
    assert "/dist/no" not in log.read_text()
    (client,) = machine.salt.call(machine.server, "netboot.clients")
    assert (client["mac"], client["step"], client["model"]) == (
        *("52:54:00:00:00:aa", "boot", "Acer"),
    )
    assert machine.salt.apply(machine.server).changed == {}


PAGE = ("/", "/netboot/", "/netboot/index.ru.html", "/index.en.html", "/page.css", "/status.json")


@pytest.fixture
def status(machine):
    """Apply with these settings of the status page; afterwards the pillar is what it was."""

    def _status(*arguments, **status):
        machine.salt.write_pillar({"netboot": {**machine.pillar, "status": status}})
        return machine.salt.apply(machine.server, *arguments)

    yield _status
    machine.salt.write_pillar({"netboot": machine.pillar})


def answers(machine, *options):
    return [get(machine, path, *options).status for path in PAGE]


def test_status_page_is_for_the_served_networks(machine, status):
    """Made without Salt; in the browser's language, or the one that was chosen."""
    server = machine.server
    assert status().failed == {}
    # What was applied is there; the timer's next run makes the page of it.
    server.run(["systemctl", "start", "netboot-clients.service"])
    server.run(["systemctl", "start", "netboot-status.service"])
    assert answers(machine) == [200] * len(PAGE)
    shown = json.loads(get(machine, "/netboot/status.json").body)
    assert [one["name"] for one in shown["images"]] == ["ALT p11"]
    assert {one["state"] for one in shown["services"]} == {"active"}
    assert shown["server"] == "netboot1"
    page = get(machine, "/", "-H", "Accept-Language: ru-RU,ru;q=0.9,en;q=0.8")
    assert '<html lang="ru">' in page.body.decode()
    assert "set-cookie" not in page.headers
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert (
        '<html lang="en">' in get(machine, "/", "-H", "Accept-Language: de, en, ru").body.decode()
    )
    chosen = get(machine, "/netboot/index.ru.html").headers["set-cookie"].partition(";")[0]
    english = ("-H", "Accept-Language: en", "-H", f"Cookie: {chosen}")
    assert '<html lang="ru">' in get(machine, "/netboot/", *english).body.decode()
    assert get(machine, "/netboot").headers["location"].endswith("/netboot/")
    # Whoever looks is no client, and nothing beside the page is open.
    log = machine.server.files / "var/log/nginx/netboot-clients.jsonl"
    assert "/status.json" not in log.read_text()
    for path in ("/netboot/x", "/netboot/../page.css/x", "/index.html", "/.index.en.html.new"):
        assert get(machine, path).status == 404
    assert status().changed == {}


def test_status_page_is_made_when_salt_is_away_and_at_once(machine, status):
    """A run that is killed or fails leaves the old page whole."""
    server = machine.server
    page = server.files / "var/lib/netboot-status/www"
    program = ["/usr/local/lib/netboot/netboot-status", "--records=/var/lib/netboot"]
    program += ["--page=/var/lib/netboot-status/www"]
    empty = ["env", "-i", "PATH=/usr/bin"]
    server.run([*empty, *program])
    before = (page / "status.json").read_text()
    full = "ulimit -f 1; " + " ".join([*empty, *program])
    assert server.run(["bash", "-c", full], check=False).returncode != 0
    assert (page / "status.json").read_text() == before
    assert (page / "index.en.html").read_text().rstrip().endswith("</html>")
    time.sleep(1)
    server.run(["systemctl", "start", "netboot-status.service"])
    assert (page / "status.json").read_text() != before
    assert sorted(path.name for path in page.iterdir()) == [
        *("index.en.html", "index.ru.html", "page.css", "page.js", "status.json")
    ]


def test_status_page_for_others_and_off(machine, status):
    server = machine.server
    assert status(allow=["192.0.2.0/24"]).failed == {}
    assert answers(machine) == [403] * len(PAGE)
    own = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/netboot/').status)"
    own = own.replace("127.0.0.1", server.address)
    assert server.run(["python3", "-c", own]).stdout.strip() == "200"
    assert status(allow="off").failed == {}
    assert answers(machine) == [404] * len(PAGE)
    there = server.run(["ls", "/usr/local/lib/netboot", "/var/lib"]).stdout
    assert "netboot-clients" in there
    assert "netboot-status" not in there
    assert "netboot_" not in there


def test_metrics_without_the_page(machine):
    """For node_exporter, which must not find old ones; written by the same sandboxed service."""
    server, file = machine.server, "/var/lib/prometheus/node-exporter/netboot.prom"
    pillar = {**machine.pillar, "status": {"allow": "off"}, "metrics": {"file": file}}
    machine.salt.write_pillar({"netboot": pillar})
    assert machine.salt.apply(server).failed == {}
    start = ["systemctl", "start", "netboot-status.service"]
    assert server.run(start, check=False).returncode == 1
    said = server.run(["journalctl", "-q", "-o", "cat", "-u", "netboot-status"]).stdout
    assert "The file of netboot:metrics cannot be written: /var/lib/prometheus/node-e" in said
    server.run(["mkdir", "-p", file.rpartition("/")[0]])
    server.run(start)
    text = server.run(["cat", file]).stdout
    assert 'netboot_images{state="ready"} 1\n' in text
    assert 'netboot_service_up{service="nginx"} 1\n' in text
    assert server.run(["stat", "-c", "%a", file]).stdout == "644\n"
    assert machine.salt.apply(server).changed == {}
    machine.salt.write_pillar({"netboot": machine.pillar})
    done = machine.salt.apply(server)
    assert done.changed["netboot-status-metrics"] == {file: "removed"}
    assert done.failed == {}
    machine.server.run(["test", "!", "-e", file])


CROWD = 25
BOOT = {
    "loader": "snponly-x86_64.efi",
    "script": MENU,
    "files": [
        KERNEL,
        "/tftp/netboot/x86_64/alt_p11/boot/initrd.img",
        "/tftp/netboot/x86_64/alt_p11/live",
    ],
}


def test_clients_that_boot_at_once(machine, apply):
    machine.server.run(["rm", "-f", "/var/lib/netboot/owned/cached.json"])
    first, second = (apply().states["netboot-cached"]["comment"] for _ in range(2))
    read, _, there = first.removeprefix("Read ahead: ").partition(" of ")
    assert there == f"{read} MB that the menu offers."
    assert int(read) > 10
    assert second == "Nothing has changed since the files of the menu were read ahead."
    done = storm.in_lab(machine.lab, machine.server, clients=CROWD, **BOOT)
    assert done["failures"] == []
    assert len(done["loaded_s"]) == CROWD


def test_late_clients_wait_for_their_turn(machine, apply):
    slots = CROWD - 1
    assert apply(clients_at_once=slots).failed == {}
    done = storm.in_lab(machine.lab, machine.server, clients=CROWD, turns=True, wait_s=1, **BOOT)
    assert done["failures"] == []
    # Turns come one in 60 s / slots.
    assert done["waited"] == 1
    assert done["loaded_s"][-1] > 1 > done["loaded_s"][-2]
    turns = [get(machine, "/turn") for _ in range(3)]
    assert {(one.status, one.body) for one in turns} == {(200, b"#!ipxe\n")}
    log = machine.server.run(["cat", "/var/log/nginx/netboot-clients.jsonl"]).stdout
    assert "/turn" not in log
