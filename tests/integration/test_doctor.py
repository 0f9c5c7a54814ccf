"""netboot.doctor on a real server that is broken in one way after another, and mended again."""

import json
import time

import pytest

from lab.salt import PROGRAMS
from tests.unit.test_netboot_looks import CERTIFICATE

# Breaks, examines and mends the machine in one process: starting Salt takes longer than all looks.
PROGRAM = r"""
import json, os, subprocess, sys, time
import salt.client, salt.config

opts = salt.config.minion_config(sys.argv[1] + "/minion")
opts["file_client"] = "local"

def sh(command):
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=20)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")

def caller():
    return salt.client.Caller(mopts=dict(opts))  # which reads the pillar

def examined(by, network=False):
    started = time.monotonic()
    found = by.cmd("netboot.doctor", network=network)
    return {"found": found, "took": time.monotonic() - started}

result, usual = [], caller()
for step in json.load(sys.stdin):
    sh(step["breaks"])
    os.environ.update(step.get("environment", {}))
    pillar = opts["pillar_roots"]["base"][0] + "/all.sls"
    before = open(pillar).read()
    if "pillar" in step:
        with open(pillar, "w") as file:
            json.dump({"netboot": step["pillar"]}, file)
    broken = examined(caller() if "pillar" in step else usual, step.get("network", False))
    with open(pillar, "w") as file:
        file.write(before)
    for name in step.get("environment", {}):
        del os.environ[name]
    sh(step["mends"])
    result.append([broken, examined(usual)])
print("\n" + json.dumps(result))
"""

# This image's first stage asks for its address late, which netboot.check says of a healthy server.
HINT = "network.spanning_tree"
DIST, TFTP = "/srv/export/dist", "/srv/export/tftp"
KERNEL = f"{TFTP}/netboot/x86_64/alt_p11/boot/vmlinuz"
MENU, LOADER = "config-aarch64.ipxe", "undionly.kpxe"
CONF, SITES = "/etc/netboot/dnsmasq.conf", "/etc/nginx/sites-enabled"
RECORDS = "/var/lib/netboot"
UNIT = "/etc/systemd/system/netboot-dnsmasq.service"
FAULTY = "#!/bin/sh\\necho Dnsmasq version 2.92  Copyright\\n"
DENIED = (
    'type=AVC msg=audit(9999999999.1:2): avc:  denied  { read } for pid=1 comm="nginx" '
    'path="/srv/export/tftp/x"'
)
DROP_IN = "/run/systemd/system/nginx.service.d"
# All IPv4 and IPv6 addresses, in one socket.
HOLDER = (
    f"{PROGRAMS}/python -c 'import http.server as h, socket; s = h.ThreadingHTTPServer; "
    's.address_family = socket.AF_INET6; h.test(ServerClass=s, port=80, bind="::")\''
)

HOLD = (
    f"systemctl stop nginx; cd /tmp; systemd-run -q --unit=holder {HOLDER};"
    " until grep -q ':0050 .* 0A ' /proc/net/tcp6; do sleep 0.1; done"
)
FREE = "systemctl stop holder; systemctl start nginx"


def saved(path, breaks):
    """Break a file, and put it back with its times."""
    copied = f"/root/{path.rpartition('/')[2]}"
    return f"cp -p {path} {copied}; {breaks}", f"cp -p {copied} {path}"


def moved(path, to="/root"):
    return f"mv {path} {to}/", f"mv {to}/{path.rpartition('/')[2]} {path}"


#: Keys of what is found then, what breaks the machine so, and what mends it.
WAYS = [
    ("interface.mtu", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"),
    ("interface.down", "ip link set eth0 down", "ip link set eth0 up; sleep 0.2"),
    (
        "interface.several",
        "ip address add ADDRESS0/24 dev eth0",
        "ip address del ADDRESS0/24 dev eth0",
    ),
    (
        "apply.outdated http.answer interface.other_address",
        "ip address flush dev eth0; ip address add ADDRESS0/24 dev eth0",
        "ip address flush dev eth0; ip address add ADDRESS/24 dev eth0",
    ),
    (
        "http.answer http.answer interface.no_address",
        "ip address flush dev eth0",
        "ip address add ADDRESS/24 dev eth0",
    ),
    ("service.dead", "systemctl stop netboot-dnsmasq", "systemctl start netboot-dnsmasq"),
    (
        "service.restarting",
        "for i in 1 2 3; do systemctl kill -s KILL netboot-dnsmasq; sleep 0.4; done",
        "systemctl reset-failed netboot-dnsmasq; systemctl restart netboot-dnsmasq",
    ),
    (
        "service.disabled",
        "systemctl disable -q netboot-dnsmasq",
        "systemctl enable -q netboot-dnsmasq",
    ),
    (
        "service.descriptors",
        f"mkdir -p {DROP_IN}; printf '[Service]\\nLimitNOFILE=100\\n' >{DROP_IN}/limit.conf;"
        " systemctl daemon-reload; systemctl restart nginx",
        f"rm -r {DROP_IN}; systemctl daemon-reload; systemctl restart nginx",
    ),
    (
        "config.changed service.unit_changed",
        saved(UNIT, f"echo '#' >>{UNIT}")[0],
        f"{saved(UNIT, '')[1]}; systemctl daemon-reload",
    ),
    ("config.changed", *saved(CONF, f"echo '# mine' >>{CONF}")),
    ("config.changed dnsmasq.rejected", *saved(CONF, f"echo nonsense >>{CONF}")),
    (
        "dnsmasq.faulty",
        f"printf '{FAULTY}' >/usr/local/sbin/dnsmasq; chmod 755 /usr/local/sbin/dnsmasq",
        "rm /usr/local/sbin/dnsmasq",
    ),
    ("package.missing", *moved("/usr/sbin/dnsmasq")),
    (
        "http.answer http.answer port.held service.dead",
        HOLD,
        FREE,
    ),
    (
        "nginx.clash",
        "echo 'server { listen 80; server_name ADDRESS; return 200 mine; }'"
        f" >{SITES}/z; systemctl reload nginx",
        f"rm {SITES}/z; systemctl reload nginx",
    ),
    (
        "nginx.not_included",
        "sed -i.was 's,include /etc/nginx/sites-enabled,# &,' /etc/nginx/nginx.conf",
        "mv /etc/nginx/nginx.conf.was /etc/nginx/nginx.conf",
    ),
    (
        "http.answer mode.unreadable",
        f"chmod 700 {TFTP}/netboot/x86_64/alt_p11",
        f"chmod 755 {TFTP}/netboot/x86_64/alt_p11",
    ),
    ("menu.gone", *moved(f"{TFTP}/{MENU}")),
    ("menu.empty", *saved(f"{TFTP}/{MENU}", f": >{TFTP}/{MENU}")),
    ("loader.gone", *moved(f"{TFTP}/{LOADER}")),
    ("loader.empty", *saved(f"{TFTP}/{LOADER}", f": >{TFTP}/{LOADER}")),
    ("secret.readable", f"chmod 755 {RECORDS}", f"chmod 700 {RECORDS}"),
    (
        "records.damaged",
        *saved(f"{RECORDS}/applied/config.json", f": >{RECORDS}/applied/config.json"),
    ),
    (
        "time.wrong",
        *saved(
            f"{RECORDS}/applied/run.json",
            f'sed -i \'s/"at": [0-9]*/"at": 9999999999/\' {RECORDS}/applied/run.json',
        ),
    ),
    (
        "iso.old_digest",
        f"cp -pr {RECORDS}/isos /root;"
        f" sed -i 's/_at\": [0-9]*/_at\": 1700000000/' {RECORDS}/isos/*",
        f"cp -pr /root/isos {RECORDS}",
    ),
    ("disk.records", "mount -t tmpfs -o size=1m tmpfs /var/log/nginx", "umount /var/log/nginx"),
    (
        "security.denied",
        f"mkdir -p /var/log/audit; echo '{DENIED}' >/var/log/audit/audit.log",
        "rm -r /var/log/audit",
    ),
]


def run(lan, steps):
    """What the doctor finds after each step of breaking the machine, and after mending that."""
    lan.server.run(["tee", "/root/doctor.py"], input=PROGRAM)
    argv = [str(PROGRAMS / "python"), "/root/doctor.py", lan.salt.home]
    steps = json.dumps(steps).replace("ADDRESS", lan.server.address)
    done = lan.server.run(argv, input=steps, timeout=120)
    return json.loads(done.stdout.rpartition("\n[[")[2].join(("[[", "")))


def keys(answer):
    return " ".join(sorted(one["key"] for one in answer["found"] if one["key"] != HINT))


@pytest.fixture(scope="module")
def before(lan):
    """What the doctor finds on a machine to which nothing was applied yet."""
    steps = [
        {"breaks": HOLD, "mends": FREE},
        {"breaks": "ip address flush dev eth0", "mends": "ip address add ADDRESS/24 dev eth0"},
        {"breaks": ":", "mends": ":", "pillar": {**lan.pillar, "interface": "eth9"}},
    ]
    return run(lan, steps)


@pytest.fixture(scope="module")
def applied(lan, before):
    assert lan.salt.apply(lan.server).failed == {}


def test_before_the_first_apply(before):
    found = [(keys(broken), keys(mended)) for broken, mended in before]
    assert found == [
        ("apply.none port.held", "apply.none"),
        ("pillar.interface", "apply.none"),
        ("pillar.interface", "apply.none"),
    ]


def test_healthy(lan, applied):
    for network, limit in ((False, 5), (True, 20)):
        started = time.monotonic()
        found = lan.salt.call(lan.server, "netboot.doctor", f"network={network}")
        print(
            f"network={network}: {time.monotonic() - started:.1f} s of {limit}, with Salt's start"
        )
        assert [one["key"] for one in found] == [HINT]


def test_each_way_to_break_it_is_named_until_it_is_mended(lan, applied):
    steps = [{"breaks": breaks, "mends": mends} for _keys, breaks, mends in WAYS]
    compare([way[0] for way in WAYS], run(lan, steps))


def compare(wanted, answers):
    slow = {key: broken["took"] for key, (broken, _) in zip(wanted, answers) if broken["took"] > 1}
    print(f"longer than 1 s, of 5, with others 20: {slow}")
    found = [(keys(broken), keys(mended)) for broken, mended in answers]
    wrong = [pair for pair in zip(wanted, found) if pair[1] != (pair[0], "")]
    assert len(found) == len(wanted)
    assert not wrong, "\n".join(map(str, wrong))


def test_pillar_that_was_not_applied_yet(lan, applied):
    """A mistyped key, and what the pillar wants that is not there."""
    lan.server.run(["tee", "/root/cert.pem"], input=CERTIFICATE)
    lan.server.run(["sh", "-c", "umask 022; echo >/root/key.pem"])
    own = lan.pillar["images"]["ALT p11"]
    lab = own["url"].split(":")[1].strip("/")
    urls = {
        "Refused": f"http://{lab}:9/refused.iso",
        "Unknown": "http://mirror.invalid/unknown.iso",
        "Proxied": "http://198.18.0.77/proxied.iso",
    }
    more = {name: {**own, "url": url} for name, url in urls.items()}
    environment = {"http_proxy": f"http://{lab}:9", "no_proxy": f"{lab},mirror.invalid"}
    tls = {"certificate": "/root/cert.pem", "key": "/root/key.pem"}
    steps = [
        {"imags": {}},
        {"http": tls},
        {"http": {**tls, "certificate": "/root/none.pem"}},
        {"methods": ["http"], "dhcp": {"mode": "off"}},
        {"images": {**lan.pillar["images"], **more}},
        {"images": {**lan.pillar["images"], "Named": more["Unknown"]}},
        {
            "hosts": {f"pc{n}": {"mac": f"52:54:00:00:00:{n:02x}"} for n in range(9)},
            "dhcp": {"clients_at_once": 8},
        },
    ]
    steps = [{"breaks": ":", "mends": ":", "pillar": {**lan.pillar, **one}} for one in steps]
    steps[4].update(network=True, environment=environment)
    compare(
        [
            "pillar.imags",
            "apply.outdated certificate.ending secret.readable",
            "apply.outdated certificate.missing secret.readable",
            "apply.outdated",
            "apply.outdated dns.none dns.unknown mirror.unreachable proxy.unreachable",
            "apply.outdated dns.none",
            "apply.outdated tftp.limit",
        ],
        run(lan, steps),
    )


def test_what_only_an_apply_mends(lan, applied):
    """The same bytes at another time, files that are gone."""
    iso = f"{DIST}/{lan.iso.path.name}"
    lan.server.run(["touch", KERNEL])
    lan.server.run(["mv", KERNEL.replace("vmlinuz", "initrd.img"), iso, "/root"])
    broken = lan.salt.call(lan.server, "netboot.doctor")
    assert keys({"found": broken}) == "image.changed image.incomplete iso.gone"
    assert lan.salt.apply(lan.server).failed == {}
    assert keys({"found": lan.salt.call(lan.server, "netboot.doctor")}) == ""
