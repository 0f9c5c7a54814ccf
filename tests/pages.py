"""Servers as netboot-status finds them: an empty one, one at work, a broken one."""

import json

import netboot_live

NOW = 1_795_716_000  # 2026-11-26 18:00 UTC
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u202egnirts\u202c",
    "\U0001f4a5 \U0001d573",
    "\ud800 alone",
    "{name} %s ${x}",
]
MODELS = ["Acer Veriton N4660G", "HP ProDesk 400 G6", "Aquarius Pro P30", "Lenovo ThinkCentre M70q"]
UNITS = "netboot-clients.timer netboot-dnsmasq netboot-once netboot-vsftpd nginx nfs-server smbd"
IMAGES = [
    ("ALT Education p11", "x86_64", 5_214_965_760),
    ("ALT Workstation 11.1", "x86_64", 7_341_146_112),
    ("ALT Server 11", "aarch64", 4_012_572_672),
]


class Services:
    """Stand-in for systemctl and journalctl: units that do not run, lines of dnsmasq."""

    def __init__(self, monkeypatch):
        self.states, self.journal = {}, []
        monkeypatch.setattr(netboot_live, "said_by", self._said_by)

    def _said_by(self, program, command, *words):
        if program == "journalctl":
            return "".join(f"{line}\n" for line in self.journal)
        if command == "show":
            state = self.states.get(words[0], "active")
            return f"ActiveState={state}\nActiveEnterTimestampMonotonic=0\n"
        return "".join(f"{self.states.get(unit, 'active')}\n" for unit in words)


def written(name):
    return name.lower().replace(" ", "_").replace(".", "_")


class Server:
    """Records and logs below a directory, as an apply and the web server leave them."""

    def __init__(self, base):
        self.base, self._number = base, 0
        for name in ("records/applied", "records/owned", "records/once", "store", "staging"):
            (base / name).mkdir(parents=True)
        self.log = base / "clients.jsonl"
        self.log.touch()
        self.snapshot = {
            "at": NOW - 1800,
            "version": "0.1.0",
            "changed_at": NOW - 90000,
            "failed": {},
            "out_of_service": None,
            "every_s": 0,
            "serves": [{"interface": "eth0", "address": "192.0.2.10"}],
            "url": "http://192.0.2.10",
            "dhcp": "proxy",
            "services": [],
            "images": [],
            "entries": [],
            "menus": [],
            "boot_files": {"undionly.kpxe": "bios", "snponly-x86_64.efi": "efi-x86_64"},
            "findings": [],
            "root": str(base),
            "applied": str(base / "applied"),
            "staging": str(base / "staging"),
            "clients": str(base / "store"),
            "log": str(self.log),
            "port": 1,
            "service": "nginx",
            "lease_s": 0,
            "files": {},
            "own": ["192.0.2.10"],
        }
        self.hosts, self.once, self.booted = {}, {}, {}

    def image(self, name, arch="x86_64", size=5_000_000_000, **more):
        label = written(name)
        variants = {"livecd": 4096, "install": 3072}
        for variant, memory in variants.items():
            stage = {"path": f"/tftp/netboot/{arch}/{label}/{variant}", "bytes": size // 2}
            entry = {"id": f"{label}-{variant}", "image": name, "arch": arch, "variant": variant}
            self.snapshot["entries"].append(
                {**entry, "method": "http", "memory_mib": memory, "stage": stage}
            )
        self.snapshot["images"].append(
            {
                **{"name": name, "arch": arch, "file": f"{label}.iso", "bytes": size},
                **{"sha256": "3f9d1c27a0b45e68" * 4, "verified_at": NOW - 400_000},
                **{"in_pillar": True, "elsewhere": False, "ready": True},
                "entries": [f"{label}-{variant}" for variant in variants],
                **more,
            }
        )

    def menu(self, arch, firmware, default="local"):
        lines = [("local", "l  Boot from the local disk")]
        for number, entry in enumerate(self.snapshot["entries"], 1):
            if entry["arch"] == arch:
                title = f"{number}  {entry['image']}: {entry['variant']}, 4 GiB of memory"
                lines.append((entry["id"], title))
        shown = [
            {
                "id": one,
                "title": title,
                "password": "install" in one,
                "bios_only": False,
                "page": "",
            }
            for one, title in lines
        ]
        made = {"arch": arch, "firmware": firmware, "title": "ALT Linux network boot"}
        self.snapshot["menus"].append({**made, "default": default, "timeout_s": 30, "lines": shown})

    def ask(self, at, uri, args="", address="192.0.2.100", **more):
        self._number += 1
        line = {
            **{"t": at + 0.25, "a": address, "m": "GET", "u": uri, "g": args, "s": 200, "n": 0},
            **{"l": "0", "c": "OK", "d": 0.1, "w": "iPXE/2", "i": f"{self._number}", **more},
        }
        with self.log.open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def boot(self, number, at, entry="", until="stage", model=MODELS[0], firmware="efi"):
        """A boot of the client with this number, to a step."""
        mac, address = f"525400{number:06x}", f"192.0.2.{100 + number % 150}"
        facts = f"m={mac}&u=&f={firmware}&a=x86_64&v=1.21.1&b=&r=8192&p={model.replace(' ', '%20')}"
        steps = [("script", 0), ("menu&e=local&w=30000", 1)]
        if until == "local":
            steps.append(("local", 31))
        elif until != "menu":
            steps += [(f"chosen&e={entry}", 9), (f"kernel&e={entry}", 12)]
            steps += [(f"initrd&e={entry}", 13), (f"boot&e={entry}", 15)]
        for step, after in steps:
            self.ask(at + after, "/seen", f"{facts}&s={step}", address)
        stage = next((one for one in self.snapshot["entries"] if one["id"] == entry), None)
        if until in ("stage", "cut") and stage:
            size = stage["stage"]["bytes"]
            sent = size if until == "stage" else size // 3
            path = stage["stage"]["path"]
            self.ask(at + 60, path, "", address, n=sent, l=str(size), d=41.5)
        return mac

    def host(self, name, mac, entry):
        self.hosts[name] = {"identities": [["mac", mac]], "entry": entry, "once": True}

    def arm(self, name, entry, armed_at=NOW - 7200):
        self.once[name] = {
            **{"arming": "0123456789abcdef", "host": name, "entry": entry},
            **{"armed_at": armed_at, "dropped": False},
        }

    def write(self):
        records = self.base / "records"
        (records / "applied/snapshot.json").write_text(json.dumps(self.snapshot))
        (records / "applied/hosts.json").write_text(json.dumps(self.hosts))
        (records / "owned/once.json").write_text(json.dumps(self.once))
        return str(records)


def empty(base):
    """An apply without images ended just now."""
    server = Server(base)
    server.snapshot["services"] = ["netboot-clients.timer", "netboot-dnsmasq", "nginx"]
    server.menu("x86_64", ["bios", "efi-x86_64"])
    return server


def at_work(base):
    """Three images, a classroom of 30 hosts, of which two are armed."""
    server = Server(base)
    server.snapshot["services"] = UNITS.split()
    for name, arch, size in IMAGES:
        server.image(name, arch, size)
    server.menu("x86_64", ["bios", "efi-x86_64"])
    server.menu("aarch64", ["efi-aarch64"])
    entry = "alt_education_p11-install"
    for number in range(1, 31):
        name = f"class{1 + number // 16}-pc{number:02}"
        until = {7: "menu", 12: "local", 21: "local"}.get(number, "stage")
        at = NOW - 45 if number == 7 else NOW - 4000 - 190 * number
        firmware = "bios" if number % 5 == 0 else "efi"
        mac = server.boot(number, at, entry, until, MODELS[number % 4], firmware)
        server.host(name, mac, entry)
    for number in (12, 21):
        server.arm(f"class{1 + number // 16}-pc{number:02}", entry)
    return server


def broken(base):
    """Half of it does not work, and names are hostile."""
    server = at_work(base)
    server.image(
        "ALT Virtualization Server 11.0", "x86_64", 3_000_000_000, ready=False, sha256=None
    )
    server.snapshot["images"][-1].update(bytes=None, verified_at=None, entries=[])
    server.image("ALT p10 <latest>", "i586", 2_000_000_000, in_pillar=False)
    part = server.base / "staging/alt_virtualization_server_11_0.iso.part"
    part.write_bytes(b"\0" * 420_000)
    note = {"total": 1_000_000, "from": 0, "started": NOW - 60}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    server.part = part
    server.snapshot["every_s"] = 6 * 3600
    server.snapshot["at"] = NOW - 3 * 86400
    server.snapshot["failed"] = {"netboot-image-alt_p11-fetched": "cannot be fetched"}
    server.snapshot["findings"] = [
        {
            "key": "apply.failed",
            "severity": "error",
            "text": "The last apply failed: https://user:s3cr3t@example.org/p11/alt.iso?token=abc"
            " cannot be fetched: the server answered 503 (5 attempts).",
        },
        {
            "key": "firewall.closed",
            "severity": "warning",
            "text": "A firewall may keep clients out; add: nft add rule inet filter input iifname"
            " eth0 udp dport { 67, 69, 4011 } accept",
        },
        {
            "key": "network.spanning_tree",
            "severity": "info",
            "text": "After its kernel has started, altboot asks for an address three times, 5 s"
            " apart: set switch ports of clients with spanning tree to edge (PortFast).",
        },
    ]
    for number in range(31, 36):
        until = "cut" if number % 2 else "boot"
        server.boot(number, NOW - 300 * (number - 29), "alt_workstation_11_1-livecd", until)
    for number, name in enumerate(HOSTILE, 40):
        server.host(name, f"525400{number:06x}", "local")
        model = name.encode("utf-8", "replace").decode().replace("%", "%25").replace("&", "%26")
        server.boot(number, NOW - 3000, "alt_education_p11-livecd", "cut", model)
        server.image(f"ALT {name}", "x86_64")
        server.arm(name, f"{name}-livecd")
    server.menu("i586", HOSTILE[:1])
    return server
