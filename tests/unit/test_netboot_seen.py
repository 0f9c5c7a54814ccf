"""The web server's log put together to boots, and what each came to."""

import json
import re
import tracemalloc

import pytest

import netboot_boots
import netboot_causes
import netboot_clients
import netboot_journal
import netboot_seen
import netboot_verdicts
from netboot_journal import Asked
from tests.conftest import CHECKOUT

PC, OTHER = "525400000001", "525400000002"
NOW = 1_795_680_000.0
TREE = "/tftp/netboot/x86_64/alt_p11"
ENTRY = {
    "id": "alt_p11-livecd",
    "arch": "x86_64",
    "stage": {"path": f"{TREE}/live", "bytes": 1000},
    "method": "http",
    "memory_mib": 4096,
    "image": "ALT p11",
    "kernel": "/netboot/x86_64/alt_p11/boot/vmlinuz",
    "initrd": "/netboot/x86_64/alt_p11/boot/full.cz",
    "secure_lacks": "no-shim",
}
KERNEL, INITRD = ENTRY["kernel"], ENTRY["initrd"]
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

    def step(self, at, step, mac=PC, secure="", **more):
        facts = f"m={mac}&u=x-1&f=efi&a=x86_64&v=1.21&b={secure}&r=2048&p=Acer%20Veriton"
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


def test_one_boot():
    (boot,) = Log().boot().stage(20).boots()
    assert [step.kind for step in boot.steps] == [
        *("script", "menu", "chosen", "kernel", "initrd", "boot")
    ]
    assert (boot.mac, boot.entry, boot.bytes) == (PC, "alt_p11-livecd", 1000)
    assert boot.facts["model"] == "Acer Veriton"
    assert (boot.started, boot.last) == (NOW, NOW + 20)


FETCHED = f"{TREE}/boot/vmlinuz"
MENU = Log().step(0, "script").step(1, "menu&e=local&w=5000")
HOST = "e=alt_p11-livecd"
OWN = f"/host/pc1.{'0a' * 16}"


def log(*steps, **more):
    """A boot with its script, and these steps."""
    found = Log().step(0, "script", **more)
    for number, step in enumerate(steps, 1):
        found.step(number, step, **more)
    return found


# What was seen; what else is known; the cause.
MENUS = [
    (log("menu&e=local&w=5000", "refused&e=x"), {}, "wrong-password"),
    (MENU, {}, "left-in-menu"),
    (MENU, {"entries": {}}, "no-image-for-arch"),
    (MENU, {"hosts": 3}, "not-in-pillar"),
    (log("missing&e=x", "failed&x=&n=", "local"), {}, "entry-not-ready"),
    (log("missing&e=x", "failed&x=&n=", "local"), {"host": "pc2"}, "armed-not-ready"),
    (log("host&e=local", "local"), {"host": "pc1"}, "not-armed"),
    (Log().step(0, "script"), {}, "script-without-menu"),
    (log("failed&x=2d12603b&n=kernel&e=x").ask(0, FETCHED, s=404), {}, "not-found"),
    (log("failed&x=410c613c&n=kernel&e=x").ask(0, FETCHED, s=403), {}, "forbidden"),
    (log("failed&x=4c0a6035&n=initrd&e=x", "local"), {}, "unreachable"),
    (log("failed&x=2e852001&n=boot&e=x"), {}, "not-bootable"),
    (log("failed&x=1c25e02f&n=boot&e=x"), {}, "not-loaded"),
    (log("failed&x=sum&n=kernel&e=x"), {}, "wrong-digest"),
    (log(f"host&{HOST}", f"kernel&{HOST}"), {}, "stopped-loading"),
    (log(f"host&{HOST}", f"kernel&{HOST}"), {"outage": (NOW + 9, NOW + 99)}, "web-server-down"),
    (Log().boot(), {"needs": 1024}, "stage-not-asked"),
    (Log().boot(), {}, "too-little-memory"),
    (Log().boot().stage(20, m="HEAD", sent=0), {"needs": 1024}, "stage-not-fetched"),
    (Log().boot().stage(20, m="HEAD", s=404), {}, "not-found"),
    (Log().boot().stage(20, sent=400), {}, "cut-off"),
    (Log().boot().stage(20, c=""), {}, "cut-off"),
    (Log().boot().stage(200, sent=400), {"lease_s": 120}, "lease-too-short"),
    (Log().boot().stage(20), {"changed": {f"{TREE}/live": NOW}}, "wrong-digest"),
    (
        Log().boot().stage(20).ask(30, f"{OWN}/answers/efi/autoinstall.scm", s=404),
        {},
        "answers-missing",
    ),
    (log("failed&x=secure&n=kernel&e=alt_p11-livecd"), {}, "image-not-signed"),
    (log("boot&e=alt_p11-livecd", "failed&x=7f04818f&n=boot", secure="01"), {}, "kernel-refused"),
    (log(f"host&{HOST}", "failed&x=2d0c618e&n=answers&e=x", "local"), {}, "answers-missing"),
    (Log().boot().stage(20).ask(30, f"{OWN}/did/failed-disk", "y=no+disk"), {}, "install-failed"),
    (Log().boot().ask(13, FETCHED, n=5 << 20, l=str(5 << 20), d=20.0).stage(40), {}, "slow"),
]
OPTIONAL = [
    ("tftp missing", f"/srv/{name}")
    for name in ("revocations_sku.efi", "revocations_sbat.efi", "shim_certificate_0.efi")
]
SHIM = [("dhcp", "ipxe-shimx64.efi"), ("tftp", "/srv/ipxe-shimx64.efi"), *OPTIONAL]
GRUB = [("dhcp", "grub/shimx64.efi"), ("tftp", "/srv/grub/shimx64.efi"), *OPTIONAL]
CFG = [
    *(("tftp", "/srv/grub/grubx64.efi"), ("tftp missing", "/srv/grub/x86_64-efi/command.lst")),
    *(("tftp missing", "/srv/grub/grub.cfg-01-52-54-00-00-00-01"), ("tftp", "/srv/grub/grub.cfg")),
]
FIRMWARE = [
    ([("ignored", "", "10")], {}, "unknown-firmware"),
    ([("dhcp", "")], {}, "offer-not-taken"),
    ([("dhcp", "")], {"others": ["192.0.2.9 offers x"]}, "other-server"),
    ([("dhcp", "undionly.kpxe")], {}, "file-not-asked"),
    ([("dhcp", "http://192.0.2.1/tftp/snponly.efi")], {}, "web-server-not-reached"),
    ([("dhcp", "x.efi"), ("tftp cut off", "/srv/x.efi")], {}, "tftp-cut-off"),
    ([("dhcp", "x.efi"), ("tftp missing", "/srv/x.efi")], {}, "loader-missing"),
    ([("dhcp", "x.efi"), ("tftp", "/srv/x.efi")], {}, "secure-boot"),
    ([("dhcp", "x.kpxe"), ("tftp", "/srv/x.kpxe")], {}, "loader-not-started"),
    ([("dhcp", "ipxe-shimx64.efi"), ("tftp", "/srv/ipxe-shimx64.efi")], {}, "shim-refused"),
    ([*SHIM, ("tftp", "/srv/ipxe.efi")], {}, "second-stage-refused"),
    ([*SHIM, ("tftp missing", "/srv/grubx64.efi")], {}, "loader-missing"),
    ([*GRUB, ("tftp", "/srv/grub/grubx64.efi")], {}, "second-stage-refused"),
    ([*GRUB, *CFG, ("tftp", f"/srv{KERNEL}")], {}, "kernel-refused"),
    ([*GRUB, *CFG, ("tftp", f"/srv{KERNEL}"), ("tftp", f"/srv{INITRD}")], {}, "stage-not-asked"),
    ([("ipxe", "x.efi"), ("tftp", "/x.efi"), ("ipxe", "x.efi")], {}, "ipxe-lacks-feature"),
    ([("dhcp", "x.efi"), ("tftp", "/x.efi"), ("ipxe", "x.efi")], {}, "ipxe-lacks-feature"),
    # Of the network card's own iPXE that is right.
    ([("ipxe", "x.efi"), ("tftp", "/x.efi")], {}, "secure-boot"),
    ([("ipxe", "config-x86_64.ipxe"), ("tftp missing", "/c.ipxe")], {}, "script-missing"),
    ([("ipxe", "config-x86_64.ipxe"), ("tftp", "/srv/c.ipxe")], {}, "web-server-not-reached"),
    (
        [("ipxe", "config-x86_64.ipxe"), ("tftp", "/c.ipxe")],
        {"outage": (NOW, NOW + 9999)},
        "web-server-down",
    ),
]


def verdict(log, **told):
    """How the last boot of a log ended."""
    return known(log.boots()[-1], **told)


def known(boot, host="", later=600, needs=4096, **more):
    entry = {**ENTRY, "memory_mib": needs}
    told = {"entries": {one["id"]: one for one in (entry, NFS)}, "armed": ARMED, **more}
    context = netboot_verdicts.Context(now=boot.last + later, **told)
    return netboot_verdicts.verdict(boot, context, host)


@pytest.mark.parametrize("status", [200, 404])
def test_boot_loader_whose_name_is_no_text(status):
    """Anybody can ask for it, and the name is shown in terminals."""
    how = verdict(Log().ask(0, "/tftp/\x1b[31mx.efi", s=status))
    assert how.text.isprintable()


def firmwares(asked):
    boot = netboot_seen.Boot(NOW, "")
    boot.before(
        Asked(NOW - 19 + number, kind, file, arch=arch[0] if arch else "7")
        for number, (kind, file, *arch) in enumerate(asked)
    )
    return boot


STOPPED = [(seen.boots()[-1], told, cause) for seen, told, cause in MENUS]
STOPPED += [(firmwares(asked), told, cause) for asked, told, cause in FIRMWARE]


@pytest.mark.parametrize(("boot", "told", "cause"), STOPPED, ids=[one[2] for one in STOPPED])
def test_why_a_boot_stopped(boot, told, cause):
    how = known(boot, **told)
    assert how.cause == cause
    assert how.state in netboot_causes.STATES
    assert how.text.endswith(".")
    assert how.advice
    assert "{" not in how.text + how.advice


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (Log().boot().stage(20), "running"),
        (log("local"), "local disk"),
        (log("menu&e=local&w=0"), "in menu"),
    ],
)
def test_boot_that_did_not_stop(seen, state):
    how = verdict(seen)
    assert (how.state, how.cause) == (state, "")


@pytest.mark.parametrize(
    ("steps", "every_s", "cause"),
    [
        (["local"], 100, "local-disk"),
        (["local"], 700, ""),  # somebody switches it on and off
        ([f"host&{HOST}", f"kernel&{HOST}", f"initrd&{HOST}", f"boot&{HOST}"], 100, "loop"),
    ],
)
def test_boots_that_begin_again_and_again(steps, every_s, cause):
    seen = Log()
    for begin in (0, every_s, 2 * every_s):
        for number, step in enumerate(["script", *steps]):
            seen.step(begin + number, step)
        if len(steps) > 1:
            seen.stage(begin + 10)
    *earlier, boot = seen.boots()
    context = netboot_verdicts.Context({ENTRY["id"]: ENTRY}, {}, boot.last + 600)
    assert netboot_verdicts.verdict(boot, context, "", earlier).cause == cause
    assert netboot_verdicts.verdict(boot, context, "", earlier[1:]).cause == ""


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        # The entry went, or has another stage now: what was sent whole was sent.
        (Log().boot().stage(20), {"entries": {}}),
        (Log().boot().ask(20, f"{TREE}/old", n=9, l="9"), {}),
        # The file was changed after this boot.
        (Log().boot().stage(20), {"changed": {f"{TREE}/live": NOW + 99}}),
        # The rest came by its range.
        (
            Log().boot().stage(20, sent=600).ask(30, f"{TREE}/live", n=400, l="400", s=206),
            {},
        ),
    ],
)
def test_healthy_boot_stays_healthy(seen, told):
    assert (verdict(seen, **told).state, verdict(seen, **told).cause) == ("running", "")


def test_what_an_outage_does_not_explain():
    stopped = log(f"host&{HOST}", f"kernel&{HOST}")
    for outage in ((NOW + 5000, NOW + 5009), (NOW - 99, NOW - 9)):
        assert verdict(stopped, outage=outage).cause == "stopped-loading"


def test_entry_that_is_gone_and_was_not_seen_to_load():
    how = verdict(Log().boot(), entries={})
    assert (how.cause, how.text) == ("", "alt_p11-livecd is no longer in the menu.")


def test_menu_that_was_asked_for_again_is_the_same_boot():
    seen = log("menu&e=local&w=0", "chosen&e=again").step(9, "script").step(10, "menu&e=local&w=0")
    assert len(seen.boots()) == 1
    assert verdict(seen, later=60).state == "in menu"


def test_uefi_that_boots_over_http_is_one_boot():
    seen = Log().ask(0, "/tftp/snponly-x86_64.efi", n=9, l="9").ask(4, "/tftp/config-x86_64.ipxe")
    (boot,) = seen.step(5, "script").step(6, "menu&e=local&w=0").boots()
    assert [step.kind for step in boot.steps] == ["loader", "script", "script", "menu"]


def test_kernel_that_comes_by_tftp_takes_its_time():
    seen = log(f"host&{HOST}", f"kernel&{HOST}")
    assert verdict(seen, later=60).state == "loading"
    assert verdict(seen, later=130).cause == "stopped-loading"


def test_machine_that_goes_on_to_the_server_that_armed_it():
    assert verdict(log("handed")) == netboot_verdicts.Verdict(
        "gone silent", text="It went on to the server that has armed it."
    )


@pytest.mark.parametrize("step", ["chosen&e=!shell", "chosen&e=!+x", "host&e=+memtest"])
def test_lines_behind_a_password_and_own_lines(step):
    assert verdict(log("menu&e=local&w=0", step)).cause == ""


def test_one_address_that_tells_of_many_machines():
    """Those that it told of first stay; nobody is pushed out."""
    seen = Log().step(0, "script", mac=PC)
    for number in range(500):
        seen.step(number, "script", mac=f"5254{number:08x}")
    assert len(seen.boots()) <= 17
    assert PC in {boot.mac for boot in seen.boots()}


def test_tftp_that_another_machine_asked_for_later():
    """It has the address now that this one had."""
    asked = netboot_journal.Journal(
        {PC: [Asked(NOW, "dhcp", "x.efi", "192.0.2.7", "7")]},
        {"192.0.2.7": [Asked(NOW + 300_000, "tftp cut off", "/srv/x.efi", "192.0.2.7")]},
    )
    (boot,) = netboot_boots.by_mac([], asked, {})[PC]
    assert [step.kind for step in boot.steps] == ["dhcp"]


def test_firmware_that_another_server_gives_its_address():
    asked = netboot_journal.Journal({}, {"192.0.2.7": [Asked(NOW, "tftp", "/srv/x.efi")]})
    (boot,) = netboot_boots.by_mac([], asked, {PC: "192.0.2.7", OTHER: "192.0.2.8"})[PC]
    assert known(boot).cause == "secure-boot"


@pytest.mark.parametrize(
    ("number", "platform"),
    [("0", "pcbios"), ("7", "efi"), ("16", "efi"), ("11", "efi"), ("10", ""), ("", ""), ("x", "")],
)
def test_firmware_that_only_dhcp_saw(number, platform):
    asked = netboot_journal.Journal({PC: [Asked(NOW, "dhcp", "", "192.0.2.7", number)]}, {})
    (boot,) = netboot_boots.by_mac([], asked, {})[PC]
    assert boot.facts.get("firmware", "") == platform
    context = netboot_verdicts.Context({}, {}, NOW)
    shown = netboot_boots.shown(boot, context, "", netboot_verdicts.Verdict("failed"))
    assert shown["firmware"] == platform


@pytest.mark.parametrize(
    ("state", "up_s", "down_s", "expected"),
    [
        ("active", 100, 0, (0, 100)),
        ("active", 900, 890, (890, 900)),
        ("reloading", 900, 890, (890, 900)),
        ("inactive", 100, 500, (500, 1000)),
    ],
)
def test_when_a_service_did_not_run(monkeypatch, state, up_s, down_s, expected):
    """Seconds after the machine's start, which is 1000 s ago."""
    monkeypatch.setattr(netboot_boots.time, "monotonic", lambda: 1000)
    said = (
        f"ActiveState={state}\nActiveEnterTimestampMonotonic={up_s}000000\n"
        f"InactiveEnterTimestampMonotonic={down_s}000000\n"
    )
    found = netboot_boots.outage(said, NOW)
    assert [round(at - NOW + 1000) for at in found] == list(expected)
    assert netboot_boots.outage("", NOW) is None


def test_all_causes_are_seen_here():
    seen = {cause for _, _, cause in STOPPED} | {"local-disk", "loop"}
    assert seen == set(netboot_causes.CAUSES)


@pytest.mark.parametrize("page", ["docs/troubleshooting.md", "docs/ru/troubleshooting.md"])
def test_every_cause_is_explained(page):
    explained = re.findall('<a id="([a-z-]+)">', (CHECKOUT / page).read_text())
    assert explained == list(netboot_causes.CAUSES)


def test_nothing_is_said_too_early():
    assert verdict(Log().boot(), later=20) == netboot_verdicts.Verdict("loading")
    menu = Log().step(0, "script").step(1, "menu&e=local&w=30000")
    assert verdict(menu, later=60).state == "in menu"


def test_words_of_causes():
    how = verdict(Log().boot().stage(20, sent=400))
    assert how.text == f"The stage was cut off at byte 400 of 1000: {TREE}/live."
    how = verdict(Log().boot())
    assert how.text == "It has 2048 MiB of memory, and alt_p11-livecd needs 4096 MiB."
    how = verdict(Log().step(0, "failed&x=4c0a6035&n=kernel&e=x"))
    assert how.text == "The kernel could not be loaded: the server did not answer in time."


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ([("dhcp", "http://192.0.2.1/tftp/x.efi")], "http://192.0.2.1/tftp/x.efi"),
        ([("ipxe", "c.ipxe"), ("tftp", "/srv/c.ipxe")], "the menu from http://192.0.2.1"),
    ],
)
def test_what_was_not_asked_of_the_web_server(asked, what):
    how = known(firmwares(asked), url="http://192.0.2.1")
    assert how.text == f"It was told to load {what}, and no request arrived."
    assert how.advice.startswith("TCP port 80 is closed here or on the way, ")


@pytest.mark.parametrize("cause", ["offer-not-taken", "file-not-asked", "web-server-not-reached"])
def test_advice_to_check_says_what_to_do_when_that_finds_nothing(cause):
    advice = netboot_causes.CAUSES[cause].advice
    assert advice.endswith(
        "./netboot check. If that finds nothing, it is over, or lies on the way: ./netboot check "
        "--from MACHINE."
    )


def test_stranger_is_adopted_by_the_command_as_it_is():
    how = verdict(MENU, hosts=3)
    assert how.advice.startswith("./netboot hosts adopt 52:54:00:00:00:01 as NAME, ")


def test_install_step_by_step():
    log = Log().boot().stage(20)
    for at, path, args in (
        (21, "answers/efi/autoinstall.scm", ""),
        (22, "did/disk", ""),
        (23, "did/nonsense", ""),
    ):
        log.ask(at, f"{OWN}/{path}", args)
    (boot,) = log.boots()
    assert [step[1:] for step in boot.steps[-2:]] == [
        ("answers", "efi/autoinstall.scm"),
        ("installer", "disk"),
    ]
    assert verdict(log) == ("running", "", "Its installer's last word: disk.", "")
    log.ask(24, f"{OWN}/did/failed-packages", "y=no+system+in+%1b%5b2J/mnt")
    how = verdict(log, host="pc1")
    assert how.text == "Its installation stopped at packages: no system in [2J/mnt."
    assert how.advice == "Mend that, then ./netboot arm pc1."


def test_firmware_that_asked_before_another_boot():
    boot = netboot_seen.Boot(NOW, "")
    boot.before([Asked(NOW - 1, "dhcp", "x.efi"), Asked(NOW - 500, "dhcp", "another boot's")])
    assert boot.steps == [netboot_seen.Step(NOW - 1, "dhcp", "x.efi")]


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


@pytest.mark.parametrize(("later", "state"), [(1800, "loading"), (4000, "gone silent")])
def test_who_waits_for_a_turn_is_not_silent(later, state):
    """Only the first question is reported, so half an hour without a word is nothing."""
    how = verdict(log(f"chosen&{HOST}", f"turn&{HOST}"), later=later)
    assert (how.state, how.cause) == (state, "")
    assert how.text == "It waits for its turn to load: netboot:http:clients_at_once."


def test_how_far_an_installer_came():
    """Its packages are a line each directory, not each file."""
    seen = Log().boot().stage(20)
    (boot,) = seen.boots()
    context = netboot_verdicts.Context({ENTRY["id"]: ENTRY}, {}, NOW)
    assert netboot_boots._reached(boot, context) == "stage"
    for number in range(900):
        seen.ask(30 + number, f"{TREE}/ALTLinux/RPMS.main/p{number}.rpm", n=10, l="10")
    (boot,) = seen.boots()
    assert netboot_boots._reached(boot, context) == "packages"
    told = [netboot_clients._fetched(one) for one in netboot_clients._together(boot.fetches)]
    assert told == [
        f"GET {TREE}/live 200, 1000 bytes, 0.1 s",
        f"900 files of {TREE}/ALTLinux/RPMS.main 200, 9000 bytes",
    ]


def test_download_that_lasts():
    """nginx logs a request when it ends."""
    boot = Log().boot().boots()[-1]
    context = netboot_verdicts.Context({ENTRY["id"]: ENTRY}, {}, boot.last + 600, {"192.0.2.7"})
    assert netboot_verdicts.verdict(boot, context).state == "loading"
    assert netboot_verdicts.verdict(boot, context._replace(connected=set())).cause == (
        "too-little-memory"
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
    assert netboot_boots.name(boot, {"pc7": "PC 7"}) == "PC 7"


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


def test_little_memory_of_what_was_sent_everything():
    """It may run: what it needs is an estimate."""
    boot = Log().boot().stage(20)
    assert verdict(boot, needs=256).text == ""
    how = verdict(boot, needs=99_999)
    assert (how.state, how.cause) == ("running", "")
    assert how.text.endswith("needs 99999.")


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


def test_requests_that_came_too_fast_belong_to_their_boot():
    seen = Log().step(0, "script")
    line = {"t": NOW + 1, "a": "192.0.2.7", "unlogged": 300, "i": "9.9"}
    seen.lines.append(json.dumps(line).encode())
    (boot,) = seen.boots()
    assert (boot.unlogged, len(boot.steps)) == (300, 1)


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
