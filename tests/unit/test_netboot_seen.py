"""The web server's log put together to boots, and what each came to."""

import json
import re
import tracemalloc

import pytest

import netboot_clients
import netboot_seen
import netboot_verdicts
from netboot_journal import Asked
from tests.conftest import CHECKOUT

PC, OTHER = "525400000001", "525400000002"
NOW = 1_795_680_000.0
TREE = "/tftp/netboot/x86_64/alt_p11"
ENTRY = {
    "id": "alt_p11-livecd",
    "stage": {"path": f"{TREE}/live", "bytes": 1000},
    "method": "http",
    "memory_mib": 4096,
}
NFS = {**ENTRY, "id": "alt_p11-livecd-nfs", "method": "nfs"}
ARMED = {"pc1": {"armed": None}, "pc2": {"armed": "2026-11-26T18:00:00Z"}}


class Log:
    """Lines as nginx writes them, of clients that ask for this and that."""

    def __init__(self):
        self.lines, self._number = [], 0

    def ask(self, at, uri, args="", address="192.0.2.7", **more):
        self._number += 1
        request = {
            **{"t": NOW + at, "a": address, "m": "GET", "u": uri, "g": args, "s": 200},
            **{
                "n": 0,
                "l": "0",
                "c": "OK",
                "d": 0.1,
                "r": "",
                "w": "iPXE/2",
                "i": str(self._number),
            },
        }
        self.lines.append(json.dumps({**request, **more}).encode() + b"\n")
        return self

    def step(self, at, step, mac=PC, **more):
        facts = f"m={mac}&u=x-1&f=efi&a=x86_64&v=1.21&b=&r=2048&p=Acer%20Veriton"
        return self.ask(at, "/seen", f"{facts}&s={step}", **more)

    def boot(self, begin=0, **more):
        """To the kernel's start."""
        self.step(begin, "script", **more)
        self.step(begin + 1, "menu&e=local&w=30000", **more)
        self.step(begin + 9, "chosen&e=alt_p11-livecd", **more)
        for second, name in ((10, "kernel"), (11, "initrd"), (12, "boot")):
            self.step(begin + second, f"{name}&e=alt_p11-livecd", **more)
        return self

    def stage(self, at, sent=1000, **more):
        return self.ask(at, f"{TREE}/live", n=sent, l="1000", **more)

    def boots(self):
        return netboot_seen.put_together(self.lines, ["192.0.2.1"])


def verdict(log, later=600, host=""):
    """How the last boot ended, as seen so many seconds after its last request."""
    boot = log.boots()[-1]
    entries = {one["id"]: one for one in (ENTRY, NFS)}
    return netboot_verdicts.verdict(
        boot, netboot_verdicts.Context(entries, ARMED, boot.last + later), host
    )


def test_one_boot():
    (boot,) = Log().boot().stage(20).boots()
    assert [step.kind for step in boot.steps] == [
        *("script", "menu", "chosen", "kernel", "initrd", "boot")
    ]
    assert (boot.mac, boot.entry, boot.bytes) == (PC, "alt_p11-livecd", 1000)
    assert boot.facts["model"] == "Acer Veriton"
    assert (boot.started, boot.last) == (NOW, NOW + 20)


CAUSES = [
    (Log().boot().stage(20), "running", ""),
    (Log().step(0, "script").step(1, "local"), "local disk", ""),
    (Log().boot().stage(20, sent=400), "failed", "cut-off"),
    (Log().boot().stage(20, c=""), "failed", "cut-off"),
    (Log().boot().stage(20, m="HEAD", sent=0), "gone silent", "stage-not-fetched"),
    (Log().boot().stage(20, m="HEAD", s=404), "failed", "not-sent"),
    (Log().boot(), "gone silent", "stage-not-asked"),
    (Log().step(0, "script"), "gone silent", "script-without-menu"),
    (Log().step(0, "script").step(1, "menu&e=local&w=0"), "in menu", ""),
    (Log().step(0, "script").step(1, "menu&e=local&w=5000"), "gone silent", "left-in-menu"),
    (Log().step(0, "script").step(1, "refused&e=x"), "failed", "wrong-password"),
    (
        Log().step(0, "script").step(1, "missing&e=x").step(2, "failed&x=&n=").step(12, "local"),
        *("failed", "entry-not-ready"),
    ),
    (
        Log().ask(0, f"{TREE}/boot/vmlinuz", s=403).step(1, "failed&x=02&n=kernel&e=x"),
        *("failed", "not-sent"),
    ),
    (
        Log().step(0, "failed&x=4c0a6035&n=initrd&e=x").step(10, "local"),
        *("failed", "not-loaded"),
    ),
    (
        Log().step(0, "script").step(1, "host&e=alt_p11-livecd").step(2, "kernel&e=alt_p11-livecd"),
        *("gone silent", "stopped-loading"),
    ),
]


@pytest.mark.parametrize(("log", "state", "cause"), CAUSES, ids=[cause for _, _, cause in CAUSES])
def test_what_a_boot_came_to(log, state, cause):
    how = verdict(log)
    assert (how.state, how.cause) == (state, cause)
    assert bool(how.text) == bool(how.advice) == bool(cause)


@pytest.mark.parametrize("page", ["docs/troubleshooting.md", "docs/ru/troubleshooting.md"])
def test_every_cause_is_explained(page):
    source = (CHECKOUT / "salt/_utils/netboot_verdicts.py").read_text()
    causes = {cause for _, _, cause in CAUSES if cause} | {"not-armed", "no-menu"}
    assert causes <= set(re.findall('"([a-z-]+)",$', source, re.MULTILINE))
    explained = re.findall('<a id="([a-z-]+)">', (CHECKOUT / page).read_text())
    assert set(explained) == causes


def test_nothing_is_said_too_early():
    assert verdict(Log().boot(), later=20) == netboot_verdicts.Verdict("loading")
    menu = Log().step(0, "script").step(1, "menu&e=local&w=30000")
    assert verdict(menu, later=60).state == "in menu"


def test_words_of_causes():
    how = verdict(Log().boot().stage(20, sent=400))
    assert how.text == f"The stage was cut off at byte 400 of 1000: {TREE}/live."
    how = verdict(Log().boot())
    assert "the entry needs 4096 MiB, the machine has 2048 MiB." in how.advice
    how = verdict(Log().step(0, "failed&x=4c0a6035&n=kernel&e=x"))
    assert how.text == "The kernel could not be loaded: the server did not answer in time."


@pytest.mark.parametrize("file", ["undionly.kpxe", ""])
def test_firmware_that_came_to_no_menu(file):
    boot = netboot_seen.Boot(NOW, "")
    boot.before([Asked(NOW - 1, "dhcp", file), Asked(NOW - 500, "dhcp", "another boot's")])
    assert boot.steps == [netboot_seen.Step(NOW - 1, "dhcp", file)]
    how = netboot_verdicts.verdict(boot, netboot_verdicts.Context({}, {}, NOW + 600))
    assert how.cause == "no-menu"
    assert ("was offered undionly.kpxe" in how.text) == bool(file)


def test_host_that_is_not_armed():
    log = Log().step(0, "script").step(1, "host&e=local").step(2, "local")
    assert verdict(log, host="pc1").cause == "not-armed"
    assert verdict(log, host="pc1").advice == "./netboot arm pc1"
    assert verdict(log, host="pc2").cause == ""


@pytest.mark.parametrize("waits", ["abc", "1e9", "-5", "9" * 5000, "９"])
def test_numbers_that_anybody_can_send(waits):
    log = Log().step(0, "script").step(1, f"menu&e=local&w={waits}")
    assert verdict(log, later=60).state == "in menu"


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (["chosen&e=reboot", "reboot"], "gone silent"),
        (["chosen&e=firmware"], "gone silent"),
        (["chosen&e=shell"], "gone silent"),
        (["chosen&e=+1"], "running"),
        (["chosen&e=@alt_p11"], "in menu"),
        (["chosen&e=!alt_p11-install"], "in menu"),
    ],
)
def test_lines_of_the_menu_that_are_no_entries(steps, state):
    log = Log().step(0, "script").step(1, "menu&e=local&w=0")
    for number, step in enumerate(steps, 2):
        log.step(number, step)
    how = verdict(log)
    assert (how.state, how.cause) == (state, "")


def test_download_that_lasts():
    """nginx logs a request when it ends."""
    boot = Log().boot().boots()[-1]
    context = netboot_verdicts.Context({ENTRY["id"]: ENTRY}, {}, boot.last + 600, {"192.0.2.7"})
    assert netboot_verdicts.verdict(boot, context).state == "loading"
    assert netboot_verdicts.verdict(boot, context._replace(connected=set())).cause == (
        "stage-not-asked"
    )


def test_second_failure_of_a_boot_is_told_by_its_own_cause():
    log = Log().step(0, "script").step(1, "menu&e=local&w=0").step(2, "chosen&e=a")
    log.ask(3, f"{TREE}/boot/vmlinuz", s=404).step(4, "failed&x=2d&n=kernel&e=a")
    log.step(20, "menu&e=local&w=0").step(21, "chosen&e=b").step(25, "failed&x=4c&n=initrd&e=b")
    assert verdict(log).text == "The initrd could not be loaded: the server did not answer in time."


def test_machines_behind_one_address():
    log = Log().step(0, "script").step(1, "menu&e=local&w=0")
    log.step(2, "script", mac=OTHER).step(3, "menu&e=local&w=0", mac=OTHER)
    log.step(4, "chosen&e=a").step(5, "kernel&e=a")
    first, second = log.boots()
    assert (first.mac, [step.kind for step in first.steps][-1]) == (PC, "kernel")
    assert (second.mac, [step.kind for step in second.steps][-1]) == (OTHER, "menu")


@pytest.mark.parametrize("name", ["pc7", "pc7.example.org"])
def test_host_that_its_name_identifies(name):
    log = Log().step(0, "script").ask(1, f"/tftp/config-host-{name}.ipxe")
    (boot,) = log.boots()
    assert netboot_clients._name(boot, {"pc7": "PC 7"}) == "PC 7"


def test_paths_are_cleaned_for_terminals():
    (boot,) = Log().ask(0, "/dist/\x9b31m", s=404).boots()
    assert boot.fetches[0].path == "/dist/31m"


def test_stage_that_comes_by_another_method():
    log = Log().step(0, "script").step(1, "boot&e=alt_p11-livecd-nfs")
    log.step(1, "kernel&e=alt_p11-livecd-nfs").step(2, "boot&e=alt_p11-livecd-nfs")
    assert verdict(log).state == "running"


def test_next_boot_of_the_same_machine():
    log = Log().boot().stage(20).boot(300).stage(330, sent=5)
    assert [boot.bytes for boot in log.boots()] == [1000, 5]


def test_menus_that_report_nothing():
    """Of an earlier version, or of an iPXE whose reports fail."""
    log = Log().ask(0, "/tftp/config-x86_64.ipxe").ask(1, f"/tftp/config-mac-{PC}.ipxe", s=404)
    log.ask(1, "/tftp/config-product-Veriton%20N2.ipxe", s=404).stage(9)
    log.ask(100, "/tftp/config-x86_64.ipxe").ask(101, f"/tftp/config-mac-{PC}.ipxe")
    first, second = log.boots()
    assert (first.mac, first.facts["product"], first.bytes) == (PC, "Veriton N2", 1000)
    assert [(step.kind, step.what) for step in second.steps] == [
        ("script", ""),
        ("settings", f"mac {PC}"),
    ]


def test_boot_that_reports_nothing_runs_once_it_has_its_stage():
    log = Log().ask(0, "/tftp/config-x86_64.ipxe").ask(1, f"/tftp/config-mac-{PC}.ipxe")
    assert verdict(log).cause == "script-without-menu"
    assert verdict(log.stage(20)) == netboot_verdicts.Verdict("running")


def test_lines_are_read_where_they_move_from_first(tmp_path):
    """From nginx's log to the one that is being read, and into the store."""
    store, log = tmp_path / "store", tmp_path / "clients.jsonl"
    found = netboot_seen._files(str(store), str(log))
    assert [next(found), next(found)] == [str(log), f"{log}.read"]
    store.mkdir()  # meanwhile
    (store / "192.0.2.7.jsonl").touch()
    assert list(found) == [f"{store}/192.0.2.7.jsonl"]


def test_machines_that_boot_at_once_and_an_address_that_another_has_later():
    log = Log()
    for at, mac, address, model in (
        (0, PC, "11", "N2"),
        (1, OTHER, "12", "NUC"),
        (300, OTHER, "11", ""),
    ):
        log.ask(at, "/tftp/config-x86_64.ipxe", address=f"192.0.2.{address}")
        log.ask(at + 2, f"/tftp/config-uuid-{mac}-x.ipxe", s=404, address=f"192.0.2.{address}")
        log.ask(at + 4, f"/tftp/config-mac-{mac}.ipxe", s=404, address=f"192.0.2.{address}")
        log.ask(at + 6, f"/tftp/config-product-{model}.ipxe", s=404, address=f"192.0.2.{address}")
    told = [(boot.mac, boot.facts["uuid"], boot.facts.get("product")) for boot in log.boots()]
    assert told == [
        (PC, f"{PC}-x", "N2"),
        (OTHER, f"{OTHER}-x", "NUC"),
        (OTHER, f"{OTHER}-x", None),
    ]


def test_lines_count_once_whatever_their_order():
    """A run of netboot-clients that was killed leaves lines twice; files are read one by one."""
    log = Log().boot().stage(20)
    log.lines = [*reversed(log.lines), *log.lines, b'{"t":1', b"x\n", b"[]\n", b"{}\n"]
    (boot,) = log.boots()
    assert (len(boot.steps), len(boot.fetches)) == (6, 1)


def test_this_machine_is_no_client():
    assert Log().ask(0, f"{TREE}/live", address="192.0.2.1").boots() == []


@pytest.mark.parametrize("address", ["192.0.2.7", "192.0.2.8"])
def test_texts_cannot_become_another_boot(address):
    """Names with quotes, line ends, escapes and parameters, as anybody can send them."""
    evil = "x%22,%22a%22:%22192.0.2.9%22%0a{%22&m=525400000009%1b[31m"
    log = Log().boot(address="192.0.2.7", mac=PC)
    log.step(30, f"chosen&e={evil}", mac=OTHER, address=address)
    assert {boot.address for boot in log.boots()} == {"192.0.2.7", address}
    for boot in log.boots():
        assert all(text.isprintable() and len(text) <= 80 for text in boot.facts.values())
        assert all(step.what.isprintable() for step in boot.steps)


def test_many_boots_take_little_memory():
    """20 kB a boot at most, as 10,000 are to fit into 200 MB."""
    log = Log()
    for number in range(500):
        address = f"10.0.{number // 250}.{number % 250 + 1}"
        log.boot(number % 600, address=address, mac=f"5254{number:08x}")
        log.stage(number % 600 + 20, address=address)
    tracemalloc.start()
    assert len(log.boots()) == 500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 20_000
