"""netboot.doctor on a real server that is broken in one way after another, and mended again."""

import json
import subprocess
import sys
import time

import pytest

from lab.network import ip
from lab.salt import PROGRAMS
from tests.servers import other_server
from tests.unit.test_netboot_looks import CERTIFICATE

# Breaks, examines and mends the machine in one process: starting Salt takes longer than all looks.
PROGRAM = r"""
import json, os, subprocess, sys, time
import salt.client, salt.config

opts = salt.config.minion_config(sys.argv[1] + "/minion")
opts["file_client"] = "local"

def sh(command):
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=90)
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
FAILING = "/run/systemd/system/netboot-dnsmasq.service.d"
# Without systemd's limit of starts, after which it would be dead.
FAILS = r"[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=200ms\n"
FAILS += r'ExecStartPre=/bin/sh -c "exit 1"\n'
SMALL = "/srv/small"
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
        "systemctl reset-failed netboot-dnsmasq",
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
        "nginx.connections",
        "sed -i.was 's/worker_connections .*/worker_connections 100;/' /etc/nginx/nginx.conf",
        "mv /etc/nginx/nginx.conf.was /etc/nginx/nginx.conf",
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


def run(lan, steps, timeout=120, python=(str(PROGRAMS / "python"),)):
    """What the doctor finds after each step of breaking the machine, and after mending that."""
    lan.server.run(["tee", "/root/doctor.py"], input=PROGRAM)
    argv = [*python, "/root/doctor.py", lan.salt.home]
    steps = json.dumps(steps).replace("ADDRESS", lan.server.address)
    done = lan.server.run(argv, input=steps, timeout=timeout)
    return json.loads(done.stdout.rpartition("\n[[")[2].join(("[[", "")))


def keys(answer):
    return " ".join(sorted(one["key"] for one in answer["found"] if one["key"] != HINT))


#: The same, long: what takes seconds to break.
LONG_WAYS = [
    (
        "service.restarting",
        f"mkdir -p {FAILING}; printf '{FAILS}' >{FAILING}/fails.conf; systemctl daemon-reload;"
        " systemctl restart --no-block netboot-dnsmasq;"
        ' until [ "$(systemctl show -P NRestarts netboot-dnsmasq)" -ge 3 ]; do sleep 0.2; done',
        # systemd goes on counting when a unit that is about to be started is restarted.
        f"rm -r {FAILING}; systemctl daemon-reload; systemctl restart netboot-dnsmasq;"
        " systemctl reset-failed netboot-dnsmasq",
    ),
]


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


@pytest.mark.long
def test_50_times_nothing_on_a_healthy_machine(lan, applied):
    step = {"breaks": ":", "mends": ":"}
    answers = [one for pair in run(lan, [step] * 25, 600) for one in pair]
    asked = [broken for broken, _mended in run(lan, [{**step, "network": True}] * 3, 600)]
    for runs, limit in ((answers, 5), (asked, 20)):
        slowest = max(one["took"] for one in runs)
        print(f"{len(runs)} runs: the slowest took {slowest:.1f} s of {limit}")
    found = [(one["key"], one["severity"]) for each in answers + asked for one in each["found"]]
    assert len(answers) == 50
    assert found == [(HINT, "info")] * 53


def test_each_way_to_break_it_is_named_until_it_is_mended(lan, applied):
    steps = [{"breaks": breaks, "mends": mends} for _keys, breaks, mends in WAYS]
    compare([way[0] for way in WAYS], run(lan, steps))


@pytest.mark.long
def test_each_way_that_takes_long(lan, applied):
    steps = [{"breaks": breaks, "mends": mends} for _keys, breaks, mends in LONG_WAYS]
    compare([way[0] for way in LONG_WAYS], run(lan, steps))


@pytest.mark.long
def test_carrier(lan, applied):
    """The other end of the machine's cable."""
    port = ["-n", lan.lab.name, "link", "set", "machine0"]
    ip(*port, "down")
    try:
        broken = lan.salt.call(lan.server, "netboot.doctor")
    finally:
        ip(*port, "up")
    assert keys({"found": broken}) == "interface.no_carrier"
    assert keys({"found": lan.salt.call(lan.server, "netboot.doctor")}) == ""


@pytest.mark.long
def test_another_server_that_boots_clients(lan, applied, tmp_path):
    asking = [{"breaks": ":", "mends": ":", "network": True}]
    with other_server(lan.lab, tmp_path):
        ((broken, _),) = run(lan, asking)
    ((mended, _),) = run(lan, asking)
    assert (keys(broken), keys(mended)) == ("dhcp.foreign", "")
    (text,) = [one["text"] for one in broken["found"] if one["key"] == "dhcp.foreign"]
    assert lan.lab.address in text
    assert "other.0" in text


# Its words: its address, and the file with the seconds by which its clock is ahead.
CLOCK = """
import http.server, sys, time
class Mirror(http.server.SimpleHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(timestamp or time.time() + int(open(sys.argv[2]).read()))
http.server.ThreadingHTTPServer((sys.argv[1], 8002), Mirror).serve_forever()
"""


@pytest.mark.long
def test_clock_of_the_mirror(lan, applied, tmp_path):
    ahead = tmp_path / "ahead"
    argv = [sys.executable, "-c", CLOCK, lan.lab.address, str(ahead)]
    image = lan.pillar["images"]["ALT p11"]
    url = image["url"].replace(":8000/", ":8002/")
    pillar = {**lan.pillar, "images": {"ALT p11": {**image, "url": url}}}
    asking = [{"breaks": ":", "mends": ":", "network": True, "pillar": pillar}]
    found = []
    with lan.lab.popen(argv, cwd=lan.iso.path.parent, stderr=subprocess.DEVNULL) as mirror:
        try:
            for seconds in (3600, -3600, 0):
                ahead.write_text(str(seconds))
                found.append(keys(run(lan, asking)[0][0]))
        finally:
            mirror.kill()
    assert found == ["apply.outdated time.differs"] * 2 + ["apply.outdated"]


@pytest.mark.long
def test_user_without_rights(lan, applied):
    home, mine = lan.salt.home, "/home/admin/salt"
    lan.server.run(["tee", "/tmp/doctor.py"], input=PROGRAM)
    copy = f"mkdir {mine}; cp -r {home}/minion {home}/pillar {mine}; chown -R admin {mine};"
    lan.server.run(["sh", "-ec", f"{copy} sed -i 's,{home},{mine},' {mine}/minion"])
    argv = ["setpriv", "--reuid=admin", "--clear-groups", "env", "HOME=/home/admin"]
    argv += [str(PROGRAMS / "python"), "/tmp/doctor.py", mine]
    done = lan.server.run(argv, input=json.dumps([{"breaks": ":", "mends": ":"}]))
    ((found, _),) = json.loads(done.stdout.splitlines()[-1])
    assert {"records.damaged", "user.rights"} <= set(keys(found).split())
    assert keys(run(lan, [{"breaks": ":", "mends": ":"}])[0][0]) == ""


@pytest.mark.long
def test_without_systemd(lan, applied):
    """As in a chroot."""
    hidden = 'mount -t tmpfs tmpfs /run; exec "$@"'
    python = ["unshare", "--mount", "sh", "-ec", hidden, "sh", str(PROGRAMS / "python")]
    step = [{"breaks": ":", "mends": ":"}]
    (((broken, _),), ((mended, _),)) = run(lan, step, python=python), run(lan, step)
    assert "system.systemd" in keys(broken).split()
    assert keys(mended) == ""


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


@pytest.mark.long
def test_space_for_what_the_pillar_wants(lan, applied):
    """A file system for netboot:root that is too small, and is made larger."""
    image = lan.pillar["images"]["ALT p11"]
    more = {**image, "url": image["url"].replace(lan.iso.path.name, "more.iso")}
    pillar = {**lan.pillar, "root": SMALL}
    larger = {**pillar, "images": {**pillar["images"], "More": more}}
    ways = [
        (pillar, "mkdir SMALL; mount -t tmpfs -o size=600m,nr_inodes=500 tmpfs SMALL", "inodes"),
        (pillar, "mount -o remount,nr_inodes=9999 SMALL", ""),
        (pillar, "mount -o remount,size=300m SMALL", "space: SMALL has only 300 MiB free"),
        (pillar, "mount -o remount,size=600m SMALL", ""),
        # An ISO that somebody has copied there and is to be unpacked; it takes no memory.
        (larger, "mkdir SMALL/dist; truncate -s 3G SMALL/dist/more.iso", "space: unpacking"),
        (larger, "mount -o remount,size=4G SMALL", ""),
    ]
    steps = [
        {"breaks": breaks.replace("SMALL", SMALL), "mends": ":", "pillar": one}
        for one, breaks, _text in ways
    ]
    answers = [broken for broken, _ in run(lan, steps)]
    lan.server.run(["umount", SMALL])
    for (_pillar, _breaks, wanted), answer in zip(ways, answers, strict=True):
        kind, _, words = wanted.partition(": ")
        key = f"apply.outdated disk.{kind}" if kind else "apply.outdated"
        assert keys(answer) == key
        texts = [one["text"] for one in answer["found"] if one["key"] == f"disk.{kind}"]
        assert all(words.replace("SMALL", SMALL) in text for text in texts)


@pytest.mark.long
def test_disk_that_was_filled_while_an_iso_was_fetched(lan, applied):
    slow = lan.lab.web(lan.iso.path.parent, 8003, rate=500_000)
    image = lan.pillar["images"]["ALT p11"]
    url = f"{slow.url}/new.iso"
    (lan.iso.path.parent / "new.iso").hardlink_to(lan.iso.path)
    images = {"New": {**image, "url": url}}
    pillar = {**lan.pillar, "root": SMALL, "images": images, "default_image": {"x86_64": "New"}}
    lan.server.run(["mkdir", "-p", SMALL])
    lan.server.run(["mount", "-t", "tmpfs", "-o", "size=1G", "tmpfs", SMALL])
    lan.salt.write_pillar({"netboot": pillar})
    argv = [*lan.salt.program, f"--config-dir={lan.salt.home}", "state.apply"]
    part = f"{SMALL}/.staging/new.iso.part"
    killed = f'"$@" & for i in $(seq 300); do [ -s {part} ] && break; sleep 0.2; done; kill -9 -$$'
    lan.server.run(["setsid", "-w", "sh", "-c", killed, "sh", *argv], check=False, timeout=100)
    fill = f"mount -o remount,size=$(($(df --output=used -k {SMALL} | tail -1) + 1024))k {SMALL}"
    lan.server.run(["sh", "-ec", fill])
    broken = lan.salt.call(lan.server, "netboot.doctor")
    lan.server.run(["mount", "-o", "remount,size=1G", SMALL])
    mended = lan.salt.call(lan.server, "netboot.doctor")
    lan.salt.write_pillar({"netboot": lan.pillar})
    assert lan.salt.apply(lan.server).failed == {}
    lan.server.run(["umount", SMALL])
    (text,) = [one["text"] for one in broken if one["key"] == "disk.space"]
    assert "of ISOs are still to be fetched" in text
    assert "disk.space" not in keys({"found": mended}).split()
    assert keys({"found": lan.salt.call(lan.server, "netboot.doctor")}) == ""


@pytest.mark.long
def test_lease_that_ends_before_the_download(lan, applied):
    """As the DHCP server, with an image of another server that takes 6 minutes at 20 Mbit/s."""
    place = f"http://{lan.lab.address}:8000"
    big = {
        "skip_iso_deploy": True,
        "alt_arch": "x86_64",
        "kernel_url": f"{place}/vmlinuz",
        "initrd_url": f"{place}/full.cz",
        "stage2_http_url": f"{place}/tree",
        "live_size": 900_000_000,
    }
    prefix = lan.lab.address.rpartition(".")[0]
    found = []
    for lease_s in (120, 3600):
        subnet = {"range": [f"{prefix}.60", f"{prefix}.69"], "lease_s": lease_s}
        dhcp = {"mode": "server", "subnets": {lan.lab.network: subnet}}
        images = {**lan.pillar["images"], "Big": big}
        lan.salt.write_pillar({"netboot": {**lan.pillar, "images": images, "dhcp": dhcp}})
        assert lan.salt.apply(lan.server).failed == {}
        found.append({one["key"] for one in lan.salt.call(lan.server, "netboot.doctor")} - {HINT})
    lan.salt.write_pillar({"netboot": lan.pillar})
    assert lan.salt.apply(lan.server).failed == {}
    # Of the other server's first stage nothing is known.
    assert found == [{"dhcp.lease_short", "menu.first_stage"}, {"menu.first_stage"}]
