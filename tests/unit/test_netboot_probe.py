"""The client in Python: what it says when something does not come, on files of a test."""

import contextlib
import hashlib
import time

import pytest

import netboot_bootable
import netboot_menus
import netboot_probe
import netboot_pxe
from netboot_names import PROBE
from netboot_pxe import Identity, Offer
from probe_wire import Unreachable
from tests.unit.test_netboot_entries import P11, PROPAGATOR
from tests.unit.test_netboot_menus import TEMPLATE, USERS, made

SERVER = "192.0.2.10"
URL = f"http://{SERVER}"
LOADERS = {"bios": "undionly.kpxe", "efi-x86_64": "snponly-x86_64.efi"}


class Served:
    """What a server has for the plan of a pillar, and what a test breaks of it.

    files: bytes by path; broken: causes by how an address begins.
    """

    def __init__(self, without=("rescue",), facts=P11, **pillar):
        config, entries = made(facts={**facts, **dict.fromkeys(without)}, **pillar)
        self.files = {
            f"/tftp/{name}": text.encode()
            for name, text in netboot_menus.render(TEMPLATE, config, entries).items()
        }
        self.files.update({f"/tftp/{name}": name.encode() for name in LOADERS.values()})
        listed = []
        for entry in entries:
            loads = {what: f"/tftp{entry[what]}" for what in ("kernel", "initrd")}
            loads["stage"] = entry["stage"]["path"]
            self.files.update({path: path.encode() * 9 for path in loads.values()})
            kept = {key: entry[key] for key in ("id", "image", "arch", "method", "form")}
            listed.append({**kept, **loads})
        self.plan = {
            "server": SERVER,
            "url": URL,
            "dhcp": "proxy",
            "root": "/srv/export",
            "interfaces": [{"name": "eth0", "address": SERVER, "url": URL}],
            "firmware": [row for row in config["firmware"] if row["kind"] in LOADERS],
            "entries": listed,
            "files": {
                path: {
                    "bytes": len(data),
                    "samples": [[0, len(data), hashlib.sha256(data).hexdigest()]],
                }
                for path, data in self.files.items()
            },
        }
        self.broken = {}
        self.agents = set()

    def read(self, url, ranges, _timeout, agent):
        self.agents.add(agent)
        plain = url.replace("/./", "/")
        for start, cause in self.broken.items():
            if plain.startswith(start):
                raise Unreachable(cause)
        scheme, _, rest = plain.partition("://")
        path = rest.partition("/")[2].replace("!", "").removeprefix("srv/export/")
        data = self.files.get(f"/tftp/{path}" if scheme == "tftp" else f"/{path}")
        if data is None:
            raise Unreachable("there is no such file", missing=True)
        return len(data), [data[offset : offset + length] for offset, length in ranges]

    def probe(self, monkeypatch):
        monkeypatch.setattr(netboot_probe.probe_reach, "read", self.read)
        return netboot_probe.probe(self.plan, network=False)


def lines(found):
    return [text for _key, severity, text in netboot_bootable.findings(found)]


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("methods", [["http"], ["cifs", "nfs", "ftp", "http"]])
def test_healthy(monkeypatch, count, methods):
    served = Served(count=count, methods=methods)
    found = served.probe(monkeypatch)
    assert found["wrong"] == []
    wanted = {(kind, one["id"]) for kind in LOADERS for one in served.plan["entries"]}
    assert {tuple(pair) for pair in found["good"]} == wanted
    assert len(served.plan["entries"]) == count * len(methods) * 2
    assert all(agent.startswith(PROBE) for agent in served.agents)


@pytest.mark.parametrize("cause", ["", "the server answers 403 Forbidden"])
def test_entry_behind_a_password(monkeypatch, cause):
    served = Served(menu={"password": {**USERS, "variants": ["install"]}})
    asked = []
    monkeypatch.setattr(
        netboot_probe.probe_http, "guarded", lambda *words: (asked.append(words[:2]), cause)[1]
    )
    found = served.probe(monkeypatch)
    assert asked == [(SERVER, "/private/granted")]
    assert ["bios", "alt_0-livecd"] in found["good"]
    assert (["bios", "alt_0-install"] in found["good"]) != bool(cause)
    told = f"{BOTH} cannot boot alt_0-install: password: {URL}/private/granted: {cause}"
    assert lines(found) == ([f"{told} (netboot:menu:password)."] if cause else [])


BOTH = "bios, efi-x86_64"
TREE = "/tftp/netboot/x86_64/alt_0"
BREAKAGES = {
    "no web server": (
        {"broken": {"http://": "no answer on TCP 80"}},
        [
            f"{BOTH} cannot boot: menu: {URL}/tftp/config-x86_64.ipxe: no answer on TCP 80",
            f"efi-x86_64 cannot boot: boot loader: {URL}/tftp/snponly-x86_64.efi: no answer",
        ],
    ),
    "no TFTP": (
        {"broken": {"tftp://": "no answer on UDP 69"}},
        [
            f"bios cannot boot: boot loader: tftp://{SERVER}/undionly.kpxe: no answer on UDP 69",
            f"{BOTH} cannot boot: menu: tftp://{SERVER}/config-x86_64.ipxe: no answer on UDP 69",
            "efi-x86_64 cannot boot: boot loader: tftp",
        ],
    ),
    "a loader is gone": (
        {"gone": ["/tftp/undionly.kpxe"]},
        [f"bios cannot boot: boot loader: tftp://{SERVER}/undionly.kpxe: there is no such file"],
    ),
    "another loader": (
        {"files": {"/tftp/undionly.kpxe": b"undionly.kpxE"}},
        [f"bios cannot boot: boot loader: tftp://{SERVER}/undionly.kpxe: other bytes come"],
    ),
    "no menu": (
        {"gone": ["/tftp/config-x86_64.ipxe"]},
        [f"{BOTH} cannot boot: menu: the script tftp://{SERVER}/config-x86_64.ipxe is missing"],
    ),
    "half a kernel": (
        {"files": {f"{TREE}/boot/vmlinuz": b"half"}},
        [f"{BOTH} cannot boot alt_0-livecd, alt_0-install: kernel: {URL}{TREE}/boot/vmlinuz: it"],
    ),
    "no initrd": (
        {"gone": [f"{TREE}/boot/initrd.img"]},
        [f"{BOTH} cannot boot alt_0-livecd, alt_0-install: initrd: {URL}{TREE}/boot/initrd.img"],
    ),
    "the stage may not be read": (
        {"broken": {f"{URL}{TREE}/live": "403"}},
        [f"{BOTH} cannot boot alt_0-livecd: stage: {URL}{TREE}/live: 403 (netboot:http)."],
    ),
    "the ISO is gone": (
        {"unplanned": ["/dist/0.iso"], "gone": ["/dist/0.iso"]},
        [f"{BOTH} cannot boot alt_0-install: ISO: {URL}/dist/0.iso: it is not on the disk"],
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage(monkeypatch, name):
    does, told = BREAKAGES[name]
    served = Served()
    served.files.update(does.get("files", {}))
    served.broken = does.get("broken", {})
    for path in does.get("gone", ()):
        del served.files[path]
    served.plan["files"].update(dict.fromkeys(does.get("unplanned", ())))
    said = lines(served.probe(monkeypatch))
    assert [line[: len(start)] for line, start in zip(said, told, strict=True)] == told


def test_old_failure_says_when(monkeypatch):
    served = Served()
    served.broken = {"tftp://": "no answer on UDP 69"}
    found = {**served.probe(monkeypatch), "at": 1_795_000_000}
    assert all(
        line.endswith(" Tried 2026-11-18 11:06 UTC; ./netboot check --probe tries again.")
        for line in lines(found)
    )


def test_method_that_does_not_work(monkeypatch):
    served = Served(methods=["cifs"])
    served.broken = {"smb://": "no answer on TCP 445"}
    assert lines(served.probe(monkeypatch)) == [
        f"{BOTH} cannot boot {entry}: ISO: smb://{SERVER}/dist/0.iso: no answer on TCP 445 "
        "(netboot:smb)."
        for entry in ["alt_0-livecd, alt_0-install"]
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("method:http", "method:nfs", "stage: the command line has method nfs instead of http"),
        (
            "directory:${nb-via}/tftp/netboot",
            "directory:/tftp/nowhere",
            "stage: the command line n",
        ),
        (":alt_0-livecd\n", ":alt_0-livecd\nexit 1\n", "menu: the menu does not boot it (exit 1)"),
        (":alt_0-livecd\n", ":alt_0-livecd\ngoto nowhere\n", "menu: the script "),
        (":alt_0-livecd\n", ":alt_0-livecd\nmagic\n", "menu: magic is a command that this reader"),
        ("item --key 1 alt_0-livecd", "item --key 1 other", "menu: it is not in the menu"),
        ("/boot/vmlinuz", "/boot/vmlinux", "kernel: http://192.0.2.10/tftp/netboot/x86_64/alt_0/b"),
    ],
)
def test_fault_in_a_menu(monkeypatch, old, new, told):
    served = Served(without=("rescue", "installer"))
    name = "/tftp/config-x86_64.ipxe"
    text = served.files[name].decode()
    assert old in text
    served.files[name] = text.replace(old, new).encode()
    (line,) = lines(served.probe(monkeypatch))
    assert line.startswith(f"{BOTH} cannot boot alt_0-livecd: {told}")


GETS_IN = f"#!ipxe\nchain {URL}/tftp/config-x86_64.ipxe\n"
HOSTILE = {
    "endless settings": ("#!ipxe\nset s a b\nset ${s} ${a b}\necho ${${s}}\n", "grow without end"),
    "doubled settings": ("#!ipxe\nset a xxxx\n" + "set a ${a}${a}\n" * 99, "grow without end"),
    "a huge number": (f"#!ipxe\nset a {'f' * 9999}\necho ${{a:int32}}\n", "without a menu"),
    "scripts in scripts": (GETS_IN, "is chained without end"),
    "far labels": ("#!ipxe\n:a\ngoto z ||\n" + "\n" * 400_000 + ":z\ngoto a\n", "endless loop"),
    "nothing to choose": ("#!ipxe\nmenu\nchoose\n", "it is not in the menu"),
    "no arguments": ("#!ipxe\nset ||\nitem ||\ninitrd ||\ninc a x ||\n", "without a menu"),
    "no script": ("<html>", "does not begin with #!ipxe. (netboot:menu)"),
    "what terminals act on": ("#!ipxe\n\x1b]0;title\x07 " + "x" * 9999, " is a command"),
    "pages without labels": (
        "#!ipxe\nmenu\n"
        + "".join(f"item @{n} page\n" for n in range(50))
        + "choose a\ngoto ${a}\n",
        "it is not in the menu",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_script(monkeypatch, name):
    text, told = HOSTILE[name]
    served = Served()
    served.files["/tftp/config-x86_64.ipxe"] = text.encode()
    began = time.monotonic()
    (line,) = lines(served.probe(monkeypatch))
    assert told in line
    assert line.isprintable()
    assert len(line) < 600
    assert time.monotonic() - began < 10


def test_line_that_prints_a_title_of_the_network(monkeypatch):
    served = Served()
    change(served, ":alt_0-livecd\n", ":alt_0-livecd\nexit \x1b[2J\n")
    (line,) = lines(served.probe(monkeypatch))
    assert "the menu does not boot it (exit  [2J)" in line


def change(served, old, new):
    text = served.files["/tftp/config-x86_64.ipxe"].decode()
    assert old in text
    served.files["/tftp/config-x86_64.ipxe"] = text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    "words", ["console --x 1024", "sleep 1", "ntp pool.example", "inc new", "set a b # c || goto d"]
)
def test_commands_of_the_pillar(monkeypatch, words):
    """extra_ipxe_conf may use what our menus do not."""
    served = Served()
    change(served, ":alt_0-livecd\n", f":alt_0-livecd\n{words}\n")
    assert lines(served.probe(monkeypatch)) == []


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("", ""),
        ("set nb-initrd-sum ", "it comes back after it says: full.cz: "),
        (" hash=", "it has the digest "),
    ],
)
def test_menu_of_another_image(monkeypatch, old, told):
    """An iPXE that can compares what it loads with the menu, and a first stage what it loads."""
    loads = [PROPAGATOR["kernel"], PROPAGATOR["initrd"], "live"]
    sums = {name: f"{number}{'a' * 63}" for number, name in enumerate(loads)}
    without = ("rescue", "installer")
    served = Served(without=without, facts={**PROPAGATOR, "sha256": sums})
    (entry,) = served.plan["entries"]
    for name, what in zip(loads, ("kernel", "initrd", "stage")):
        served.plan["files"][entry[what]]["sha256"] = sums[name]
    if old:
        digest = sums["live" if "hash" in old else PROPAGATOR["initrd"]]
        change(served, old + digest, old + "f" * 64)
    wanted = [f"{BOTH} cannot boot alt_0-livecd: menu: {told}"] if old else []
    found = lines(served.probe(monkeypatch))
    assert [line[: len(one)] for line, one in zip(found, wanted)] == wanted
    assert len(found) == len(wanted)


def test_comment_cuts_a_command_line(monkeypatch):
    served = Served()
    change(served, " automatic=", " #automatic=")
    (line,) = lines(served.probe(monkeypatch))
    assert "the command line has method none instead of http" in line


def test_server_that_stops_in_the_middle_is_waited_for_once(monkeypatch):
    served = Served(count=5)
    now = [0.0]
    monkeypatch.setattr(netboot_probe.time, "monotonic", lambda: now[0])
    stops = f"{URL}/tftp/netboot/"
    read = served.read

    def slowly(url, *words, **more):
        if url.startswith(stops):
            now[0] += 10
            raise Unreachable("TCP 80 stopped answering after 1 bytes")
        return read(url, *words, **more)

    served.read = slowly
    assert served.probe(monkeypatch)["good"] == []
    assert now[0] == 10


def test_endless_script(monkeypatch):
    served = Served()
    served.files["/tftp/config-x86_64.ipxe"] = b"#!ipxe\n:a\ngoto a\n"
    (line,) = lines(served.probe(monkeypatch))
    assert line.startswith(
        f"{BOTH} cannot boot: menu: tftp://{SERVER}/config-x86_64.ipxe is an end"
    )


SECOND = {"name": "eth1", "address": "198.18.1.10", "url": "http://198.18.1.10"}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("", []),
        (
            "tftp://198.18.1.10/",
            [
                f"{kind} cannot boot: {step}: tftp://198.18.1.10/{file}: refused"
                for kind, step, file in (
                    ("bios", "boot loader", "undionly.kpxe"),
                    (BOTH, "menu", "config-x86_64.ipxe"),
                    ("efi-x86_64", "boot loader", "snponly-x86_64.efi"),
                )
            ],
        ),
        (
            "http://198.18.1.10/",
            [
                "efi-x86_64 cannot boot: boot loader: http://198.18.1.10/tftp/snponly-x86_64.efi: "
                "refused"
            ],
        ),
    ],
)
def test_clients_of_a_second_interface(monkeypatch, broken, told):
    served = Served()
    served.plan["interfaces"].append(SECOND)
    served.broken = {broken: "refused"} if broken else {}
    found = lines(served.probe(monkeypatch))
    assert [line[: len(wanted)] for line, wanted in zip(found, told)] == told
    assert len(found) == len(told)


def test_what_a_shim_starts(monkeypatch):
    served = Served()
    for row in served.plan["firmware"]:
        row["starts"] = "ipxe.efi" if row["kind"] == "efi-x86_64" else ""
    served.plan["files"]["/tftp/ipxe.efi"] = None
    tftp, http = lines(served.probe(monkeypatch))
    start = "efi-x86_64 cannot boot: boot loader:"
    assert tftp.startswith(f"{start} tftp://{SERVER}/ipxe.efi: it is not on the disk")
    assert http.startswith(f"{start} {URL}/tftp/ipxe.efi: it is not on the disk")


def test_menu_of_an_old_cpu(monkeypatch):
    """A BIOS sends it to another script."""
    served = Served(facts=PROPAGATOR, arch="i586")
    found = served.probe(monkeypatch)
    assert (lines(found), found["good"][0]) == ([], ["bios", "alt_0-livecd"])
    del served.files["/tftp/config-i586.ipxe"]
    found = served.probe(monkeypatch)
    assert found["good"] == []
    assert lines(found)[0].startswith(
        "bios cannot boot alt_0-livecd, alt_0-install: menu of a CPU without 64 bits: "
    )


def samples(data, *places):
    return {
        "bytes": len(data),
        "samples": [
            [at, length, hashlib.sha256(data[at : at + length]).hexdigest()]
            for at, length in places
        ],
    }


@pytest.mark.parametrize(("size", "seen"), [(1 << 20, True), (17 << 20, False)])
def test_kernel_by_tftp(monkeypatch, size, seen):
    """Its middle, too; else it is said that this was not seen."""
    served = Served(without=("rescue", "installer"), kernel_over={"x86_64": "tftp"})
    kernel = f"{TREE}/boot/vmlinuz"
    data = bytes(size)
    served.plan["files"][kernel] = samples(data, (0, 65536), (size // 2, 65536))
    served.files[kernel] = data[: size // 2] + b"x" + data[size // 2 + 1 :]
    found = served.probe(monkeypatch)
    assert [line.partition("kernel: ")[2] for line in lines(found)] == (
        [
            f"tftp://{SERVER}{kernel[5:]}: other bytes come than are on record "
            "(netboot:images:ALT 0)."
        ]
        if seen
        else []
    )
    assert any("by TFTP after the first 64 KiB" in text for text in found["unseen"]) != seen


# -- DHCP -----------------------------------------------------------------------------------------


def served_by_dhcp(**changed):
    """What netboot_pxe.ask returns on a healthy network, with other offers by identity."""
    offers = {}
    for one in netboot_probe.identities(Served().plan["firmware"], True):
        file = f"{URL}{one.file}" if one.file.startswith("/") else one.file
        vendor = "" if file else b"Raspberry Pi Boot".hex()
        own = [Offer(SERVER, "", file, SERVER, vendor=vendor)] if one.kind else []
        offers[one.identity.name] = changed.get(one.identity.name, own)
    return offers


def asked(monkeypatch, offers, taken="", **plan):
    served = Served()
    served.plan.update(plan)
    monkeypatch.setattr(netboot_probe.probe_reach, "read", served.read)
    monkeypatch.setattr(netboot_probe.netboot_pxe, "ask", lambda _name, _asks: offers)
    monkeypatch.setattr(netboot_probe.netboot_pxe, "taken", lambda *_: taken)
    return netboot_probe.probe(served.plan, network=True)


def test_healthy_network(monkeypatch):
    router = Offer("192.0.2.1", "52:54:00:00:00:09", "", "192.0.2.1", "192.0.2.77", boots=False)
    offers = {name: [*own, router] for name, own in served_by_dhcp().items()}
    found = asked(monkeypatch, offers)
    assert (lines(found), found["others"]) == ([], [])
    assert found["unseen"] == [netboot_probe.UNSEEN_FROM_HERE]


OTHER = Offer("192.0.2.3", "52:54:00:00:00:03", "pxelinux.0", "192.0.2.3")


@pytest.mark.parametrize(
    ("offers", "told"),
    [
        (
            {"bios (0)": []},
            "bios (0) cannot boot: DHCP: this server offers nothing (netboot:dhcp).",
        ),
        (
            {"bios (0)": [Offer(SERVER, "", "other.0", SERVER)]},
            "bios (0) cannot boot: DHCP: it is offered other.0 instead of undionly.kpxe",
        ),
        (
            {"bios (0)": [Offer(SERVER, "", "undionly.kpxe", "192.0.2.1")]},
            "bios (0) cannot boot: DHCP: it is sent to 192.0.2.1 for undionly.kpxe",
        ),
        (
            {"Raspberry Pi": [Offer(SERVER, "", "", SERVER)]},
            "Raspberry Pi cannot boot: DHCP: option 43 lacks Raspberry Pi Boot",
        ),
        (
            {"no boot ROM": [OTHER]},
            "192.0.2.3 (52:54:00:00:00:03) on eth0 also offers a boot (pxelinux.0): clients",
        ),
    ],
)
def test_fault_of_dhcp(monkeypatch, offers, told):
    found = asked(monkeypatch, served_by_dhcp(**offers))
    assert [line[: len(told)] for line in lines(found)] == [told]
    stuck = any(one["firmware"] == "bios" for one in found["wrong"])
    assert (["bios", "alt_0-livecd"] in found["good"]) == (not stuck)
    assert ["efi-x86_64", "alt_0-livecd"] in found["good"]


def test_address_taken_and_a_second_server(monkeypatch):
    router = Offer("192.0.2.1", "52:54:00:00:00:09", "", "192.0.2.1", "192.0.2.77", boots=False)
    offers = {name: [*own, router] for name, own in served_by_dhcp().items()}
    found = asked(monkeypatch, offers, taken="52:54:00:00:00:07", dhcp="server")
    assert found["wrong"] == []
    assert lines(found) == [
        f"52:54:00:00:00:07 on eth0 also has the address {SERVER}.",
        "192.0.2.1 (52:54:00:00:00:09) on eth0 also gives addresses: switch it off, or set "
        "netboot:dhcp:mode to proxy.",
    ]


def test_address_of_a_nat_in_front(monkeypatch):
    """dnsmasq names its own address as the server's; files are read by that one."""
    behind = Offer("10.0.0.5", "", "undionly.kpxe", SERVER)
    served = Served()
    served.plan["at"] = {SERVER: "10.0.0.5"}
    asked_of = []
    monkeypatch.setattr(
        netboot_probe.probe_reach,
        "read",
        lambda url, *words, **more: (
            asked_of.append(url.split("/")[2]),
            served.read(url, *words, **more),
        )[1],
    )
    monkeypatch.setattr(
        netboot_probe.netboot_pxe,
        "ask",
        lambda _name, _asks: {
            name: [one._replace(server="10.0.0.5") for one in offers]
            for name, offers in served_by_dhcp(**{"bios (0)": [behind]}).items()
        },
    )
    # The NAT's own.
    monkeypatch.setattr(netboot_probe.netboot_pxe, "taken", lambda *_: "52:54:00:00:00:07")
    found = netboot_probe.probe(served.plan, network=True)
    assert (lines(found), set(asked_of)) == ([], {"10.0.0.5"})


def test_nobody_may_ask(monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(netboot_probe.netboot_pxe, "ask", refused)
    served = Served()
    monkeypatch.setattr(netboot_probe.probe_reach, "read", served.read)
    found = netboot_probe.probe(served.plan, network=True)
    refusal = "DHCP on eth0: [Errno 1] Operation not permitted"
    assert refusal in found["unseen"]
    said = netboot_bootable.summary({**found, "fresh": True})
    assert said == f"{BOTH} can load all of 2 entries. Not seen: {refusal}."


# -- packets --------------------------------------------------------------------------------------

MAC = bytes.fromhex("525400000001")


def answer(question, kind=2, server=SERVER, file="", **fields):
    """A server's answer to a question of netboot_pxe."""
    told = bytes((53, 1, kind, 54, 4)) + netboot_pxe.socket.inet_aton(server)
    for code, value in fields.pop("options", {}).items():
        told += bytes((code, len(value))) + value
    head = bytearray(question[:236])
    head[0] = 2
    head[108 : 108 + len(file)] = file.encode()
    return bytes(head) + b"\x63\x82\x53\x63" + told + b"\xff"


def test_offer_that_comes_by_both_sockets(monkeypatch):
    """In whatever order: it is not this machine's own."""
    raw, plain = OTHER, OTHER._replace(mac="")
    for order in ([raw, plain], [plain, raw]):
        monkeypatch.setattr(
            netboot_pxe,
            "_answers",
            lambda _socks, numbers, _end, order=order: [(*numbers, one) for one in order],
        )
        for name in ("_raw", "_socket"):
            monkeypatch.setattr(netboot_pxe, name, lambda _interface: StandInForASocket())
        assert netboot_pxe.ask("eth0", [Identity("bios", 0)]) == {"bios": [raw]}


def heard(monkeypatch, said, names=("bios",)):
    """What ask() returns when this is said to each question; and whom it asked on port 4011."""
    monkeypatch.setattr(
        netboot_pxe, "_answers", lambda _socks, numbers, _end: [(max(numbers), one) for one in said]
    )
    numbers = iter(range(1, 99))
    monkeypatch.setattr(netboot_pxe.os, "urandom", lambda _length: next(numbers).to_bytes(4, "big"))
    for name in ("_raw", "_socket"):
        monkeypatch.setattr(netboot_pxe, name, lambda _interface: StandInForASocket())
    return netboot_pxe.ask("lo", [Identity(name, 0) for name in names])


@pytest.mark.parametrize("server", ["255.255.255.255", "0.0.0.0", "224.0.0.1", "203.0.113.9"])  # noqa: S104
def test_server_that_calls_itself_by_no_address(monkeypatch, server):
    """What it says is told, and what others say, too."""
    nowhere = Offer(server, "52:54:00:00:00:03", "", server)
    monkeypatch.setattr(netboot_pxe, "PAUSE_S", 0.1)
    assert heard(monkeypatch, [nowhere, OTHER]) == {"bios": sorted([nowhere, OTHER])}


def test_machine_that_answers_as_many_servers(monkeypatch):
    many = [Offer(f"198.18.0.{n}", "52:54:00:00:00:03", "", "") for n in range(200)]
    waited = []
    monkeypatch.setattr(
        netboot_pxe, "_completed", lambda *words: (waited.append(words[-1].server), words[-1])[1]
    )
    found = heard(monkeypatch, many, names=[str(n) for n in range(20)])
    assert (len(found), {len(offers) for offers in found.values()}) == (20, {16})
    assert len(waited) == 32
    assert len(netboot_pxe.others("lo", 0)) == 16


class StandInForASocket(contextlib.nullcontext):
    def __enter__(self):
        return self

    def getsockname(self):
        return ("eth0", 0, 0, 0, MAC)

    def sendto(self, *_):
        pass

    def send(self, *_):
        pass


@pytest.mark.parametrize(
    ("options", "file", "boots"),
    [
        ({60: b"PXEClient"}, "", True),
        ({60: b"PXEClient", 67: b"other.0\0"}, "other.0", True),
        ({67: b"a.efi\xff"}, "a.efi", True),
        ({}, "", False),
        ({52: b""}, "", False),
        ({60: b"MSFT 5.0"}, "", False),
    ],
)
def test_offers_are_read(options, file, boots):
    question = netboot_pxe.discover(MAC, 7, Identity("", 7))
    number, offer = netboot_pxe.packet(answer(question, options=options), {7}, 2, "192.0.2.9", "")
    assert (number, offer.server, offer.file, offer.boots) == (7, SERVER, file, boots)


def test_what_is_no_answer():
    question = netboot_pxe.discover(MAC, 7, Identity("", 7))
    right = answer(question, file="a.0")
    assert netboot_pxe.packet(right, {7}, 2, "", "")
    assert netboot_pxe.packet(right, {8}, 2, "", "") is None
    assert netboot_pxe.packet(right, {7}, 5, "", "") is None
    assert netboot_pxe.packet(question, {7}, 2, "", "") is None
    for length in range(len(right)):
        netboot_pxe.packet(right[:length], {7}, 2, "", "")
        netboot_pxe.read(right[:length], {7})


def test_a_question_says_who_asks():
    words = netboot_pxe.discover(MAC, 7, Identity("", 11, "HTTP", (19, 39), b"RPi4"))
    assert f"HTTPClient:Arch:00011:UNDI:002001:{PROBE}".encode() in words
    assert bytes((93, 2, 0, 11)) in words
    assert bytes((77, 4)) + b"iPXE" + bytes((175, 6, 19, 1, 1, 39, 1, 1)) in words
    assert bytes((97, 17, 0)) + b"RPi4" in words
    assert b"Client" not in netboot_pxe.discover(MAC, 7, Identity("", None))
