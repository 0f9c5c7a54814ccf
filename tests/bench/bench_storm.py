"""
Clients that boot at once: how long until all have all, beside plain nginx on the same machine.

    .venv/bin/python -m tests.bench.bench_storm [RUNS]

25, 100 and 200 clients load, in the order of a boot, the boot loader over TFTP, the menu's script,
kernel, initrd and stage, and report their steps (tests/storm.py). Plain: nginx with Debian's own
configuration and one more port for the same files, where a report is an empty file. Both in turn,
in one lab machine with these states applied. It prints medians, the ratio of the times with the web
server, and how many processors the machine, the load and all together used. The last row: 200
clients of which 100 at once may load (netboot:http:clients_at_once), with how many waited.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from lab import Lab
from lab.iso import make_iso
from lab.machine import CGROUPS, cgroup_of
from lab.salt import CHECKOUT, SaltCall
from tests import storm
from tests.servers import INSTALLED

CLIENTS = (25, 100, 200)
SLOTS = 100
PORT = 8080
TREE = "/tftp/netboot/x86_64/alt_p11"
FILES = [f"{TREE}/boot/vmlinuz", f"{TREE}/boot/initrd.img", f"{TREE}/live"]
# Beside ours in one nginx it would share our settings of the http block: it is one of its own.
PLAIN = f"""
set -e
mkdir -p /srv/plain /etc/nginx-plain
cp -r /etc/nginx/. /etc/nginx-plain
rm -f /etc/nginx-plain/sites-enabled/* /etc/nginx-plain/conf.d/*
sed -i 's,/etc/nginx/,/etc/nginx-plain/,; s,/run/nginx.pid,/run/nginx-plain.pid,' \\
    /etc/nginx-plain/nginx.conf
sed 's/listen 80 default_server/listen {PORT}/; /listen \\[::\\]/d; s,/var/www/html,/srv/plain,' \\
    /etc/nginx/sites-available/default > /etc/nginx-plain/sites-enabled/plain
ln -sfn /srv/export/tftp /srv/plain/tftp
: > /srv/plain/seen
systemd-run --unit=nginx-plain nginx -c /etc/nginx-plain/nginx.conf -g 'daemon off;'
"""


def used_s(lab, server):
    """Seconds of processors that the machine has used."""
    for hierarchy in CGROUPS:
        group = hierarchy / cgroup_of(lab.name) / server.name
        for name, unit in (("cpu.stat", 1e6), ("cpuacct.usage", 1e9)):
            if (group / name).exists():
                return int((group / name).read_text().replace("usage_usec", "").split()[0]) / unit
    return sum(map(float, processors()))


def processors():
    """Seconds of all processors but idle ones, where machines are not counted apart."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = [int(word) / 100 for word in words]
    return [one for number, one in enumerate(ticks) if number not in (3, 4)]


def measured(lab, server, clients, **plan):
    before = used_s(lab, server), sum(processors())
    began = time.monotonic()
    plan = {"files": FILES, "script": "/tftp/config-x86_64.ipxe", **plan}
    done = storm.in_lab(lab, server, clients=clients, loader="snponly-x86_64.efi", **plan)
    took = time.monotonic() - began
    done["server_cores"] = (used_s(lab, server) - before[0]) / took
    done["all_cores"] = (sum(processors()) - before[1]) / took
    done["load_cores"] = done["cpu_s"] / took
    return done


def row(clients, how, runs, ratio=""):
    def median(of):
        return statistics.median(of(run) for run in runs)

    failures = [failure for run in runs for failure in run["failures"]]
    cells = [
        f"{clients:7} {how:6}",
        f"{median(lambda run: run['tftp_s']):6.2f}",
        f"{median(lambda run: run['web_s']):7.2f}",
        f"{median(lambda run: run['bytes'] / run['web_s'] / 1e6):6.0f}",
        f"{median(lambda run: run['server_cores']):7.2f}",
        f"{median(lambda run: run['load_cores']):5.2f}",
        f"{median(lambda run: run['all_cores']):5.2f}",
        f"{max(run['waited'] for run in runs):6}",
        f"{len(failures):6}",
        ratio,
    ]
    print(" ".join(cells), flush=True)
    for failure in failures[:5]:
        print(f"        {failure}")


def web_s(runs):
    return statistics.median(run["web_s"] for run in runs)


def main():
    runs = int(sys.argv[1]) if sys.argv[1:] else 5
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base, Lab() as lab:
        iso = make_iso(Path(base), stage_mib=64)
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        image = {
            "url": f"{lab.web(base).url}/{iso.path.name}",
            "checksum": {"sha256": iso.sha256},
        }
        pillar = {"images": {"ALT p11": image}, "default_image": {"x86_64": "ALT p11"}}
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        server.run(["sh", "-c", PLAIN])
        sizes = [server.run(["stat", "-c%s", f"/srv/export{one}"]).stdout for one in FILES]
        print(f"kernel, initrd, stage: {', '.join(f'{int(one) / 1e6:.1f} MB' for one in sizes)}")
        print(
            "clients web    tftp,s  http,s   MB/s  server  load   all waited failed ratio of http,s"
            f" (medians of {runs}; server, load, all: processors used)"
        )
        for clients in CLIENTS:
            took = {"ours": [], "plain": []}
            for _ in range(runs):
                took["ours"].append(measured(lab, server, clients))
                took["plain"].append(measured(lab, server, clients, port=PORT))
            row(clients, "ours", took["ours"], f"{web_s(took['plain']) / web_s(took['ours']):.2f}")
            row(clients, "plain", took["plain"])
        salt.write_pillar({"netboot": {**pillar, "http": {"clients_at_once": SLOTS}}})
        assert salt.apply(server).failed == {}
        row(CLIENTS[-1], "slots", [measured(lab, server, CLIENTS[-1], turns=True)])


if __name__ == "__main__":
    main()
