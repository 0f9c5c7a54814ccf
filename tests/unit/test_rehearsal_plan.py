"""What a rehearsal boots, and the keys that lead there."""

import pytest

import netboot_menus
from lab.personas import Persona, load
from lab.rehearsal_plan import Chosen, identity_of, keys_to, plan
from tests.unit.test_netboot_menus import USERS, made

BIOS = load()["bios"]
EFI = load()["efi-x86_64"]
MAC = "52:54:00:aa:00:01"


def pressed(made):
    """A plan without the rows in which nobody presses a key in the menu."""
    return made._replace(rows=[row for row in made.rows if row.keys != ()])


def planned(*personas, count=1, hosts=None, groups=None, chosen=None, **pillar):
    config, entries = made(count, **pillar)
    people = personas or (BIOS,)
    return pressed(plan(people, config, entries, hosts or {}, groups or {}, chosen or Chosen()))


def keys(count, **pillar):
    return [row.keys for row in planned(count=count, **pillar).rows]


def test_each_line_of_the_menu_on_each_firmware():
    rows = planned(BIOS, EFI).rows
    assert [(row.persona.name, row.what, row.keys) for row in rows] == [
        (name, f"alt_0/{variant}/http", (digit,))
        for name in ("bios", "efi-x86_64")
        for variant, digit in (("livecd", "1"), ("install", "2"), ("rescue", "3"))
    ]


def test_lines_without_a_digit_by_arrows():
    found = keys(4)
    assert found[8] == ("9",)
    assert found[9] == ("home", *["down"] * 10, "ret")


def test_pages():
    """More than 12 lines: a page for each image, and on it digits again."""
    assert keys(5)[:4] == [("1", "pause", "1"), ("1", "pause", "2"), ("1", "pause", "3")] + [
        ("2", "pause", "1")
    ]


def test_pages_without_a_digit():
    """The first line is the local disk; with a default a second one boots that."""
    assert keys(10)[-1] == ("home", *["down"] * 10, "ret", "pause", "3")
    found = keys(10, default_image={"x86_64": "ALT 0"})
    assert found[-1] == ("home", *["down"] * 11, "ret", "pause", "3")


def test_lines_that_uefi_does_not_show_have_digits():
    """The menu numbers the i586 image's lines too, and hides them from UEFI."""
    config, entries = made(2)
    entries = [{**one, "arch": "i586"} if one["image"] == "ALT 0" else one for one in entries]
    rows = pressed(plan([EFI], config, entries, {}, {}, Chosen())).rows
    assert [(row.what, row.keys) for row in rows] == [
        ("alt_1/livecd/http", ("4",)),
        ("alt_1/install/http", ("5",)),
        ("alt_1/rescue/http", ("6",)),
    ]


def test_lines_that_uefi_does_not_show_are_not_counted_by_arrows():
    config, entries = made(4)
    entries = [{**one, "arch": "i586"} if one["image"] == "ALT 0" else one for one in entries]
    rows = pressed(plan([EFI], config, entries, {}, {}, Chosen())).rows
    assert rows[-1].keys == ("home", *["down"] * 9, "ret")


def test_password():
    rows = planned(menu={"password": USERS}).rows
    assert [row.password for row in rows] == [False, True, False]


def test_processor_of_32_bits_has_the_other_menu():
    found = planned(load()["old-bios-pc"])
    assert found.rows == []
    assert found.notes == ["old-bios-pc: no image is for its menu, that of i586"]


def test_forms_of_the_same_variant_are_told_apart():
    config, entries = made(1)
    entries = [entries[0], {**entries[0], "id": "alt_0-livecd-http-iso", "form": "iso"}]
    rows = pressed(plan([BIOS], config, entries, {}, {}, Chosen())).rows
    assert [row.what for row in rows] == ["alt_0/livecd/http/tree", "alt_0/livecd/http/iso"]


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (Chosen(images=("ALT 1",)), 3),
        (Chosen(images=("alt_*",)), 6),
        (Chosen(images=("other",)), 0),
        (Chosen(without=("ALT 1",)), 3),
        (Chosen(methods=("http",)), 6),
        (Chosen(methods=("nfs",)), 0),
    ],
)
def test_choice(chosen, count):
    assert len(planned(count=2, chosen=chosen).rows) == count


def test_disks():
    rows = planned(load()["disk-first"], load()["network-first-bios"]).rows
    assert (rows[0].what, rows[0].entry, rows[0].keys) == ("its own disk", None, None)
    assert (rows[-1].what, rows[-1].entry, rows[-1].keys) == ("local", None, ("l",))


def timed_out(*personas, chosen, **pillar):
    config, entries = made(2, **pillar)
    rows = plan(personas, config, entries, {}, {}, chosen).rows
    return [
        (row.persona.name, row.what, row.persona.disk, row.entry and row.entry["id"])
        for row in rows
        if row.keys == ()
    ]


DEFAULT = {"default_image": {"x86_64": "ALT 1"}}
OWN = "time-out: its own disk"
STARTS = ("bios", "time-out: alt_1/livecd/http", "none", "alt_1-livecd")


@pytest.mark.parametrize(
    ("chosen", "pillar", "found"),
    [
        (Chosen(), {}, [("bios", OWN, "installed", None)]),
        (Chosen(images=("ALT*",)), {}, []),
        (Chosen(), DEFAULT, [STARTS]),
        (Chosen(images=("ALT 1",)), DEFAULT, [STARTS]),
        (Chosen(images=("ALT 0",)), DEFAULT, []),
        (Chosen(without=("ALT 1",)), DEFAULT, []),
        # Not started without its password.
        (
            Chosen(),
            {**DEFAULT, "menu": {"password": {**USERS, "variants": ["livecd"]}}},
            [("bios", OWN, "installed", None)],
        ),
    ],
)
def test_menu_that_times_out(chosen, pillar, found):
    assert timed_out(BIOS, chosen=chosen, **pillar) == found


def test_who_waits_for_the_menu_to_time_out():
    people = load()
    names = ("network-first", "disk-first", "hyper-v", "efi-aarch64", "efi-x86_64")
    found = timed_out(*(people[name] for name in names), chosen=Chosen())
    assert [name for name, *_ in found] == ["network-first", "efi-x86_64"]


def test_extra_lines_are_not_tried():
    extra = {"extra": {"Memtest": {"kernel": "http://192.0.2.1/memtest"}}}
    assert planned(menu=extra).notes == ["netboot:menu:extra: not tried: Memtest"]
    assert len(planned(menu=extra).rows) == 3


def of_hosts(hosts, *personas, patterns=("*",), groups=None, **pillar):
    chosen = Chosen(hosts=patterns)
    return planned(*personas, hosts=hosts, groups=groups, chosen=chosen, **pillar)


def test_host_boots_its_entry_by_itself():
    host = {"mac": MAC, "image": "ALT 0", "variant": "install", "once": True}
    (row,) = of_hosts({"pc1": host, "pc2": {**host, "mac": MAC[:-1] + "2"}}, patterns=("PC1",)).rows
    assert (row.host, row.mac, row.smbios, row.once) == ("pc1", MAC, (), True)
    assert (row.entry["id"], row.keys) == ("alt_0-install", None)


def test_host_with_a_menu():
    host = {"serial": "ABX42", "image": "ALT 0", "variant": "livecd", "menu": True}
    (row,) = of_hosts({"pc1": host}).rows
    assert (row.keys, row.smbios) == (("ret",), (("serial", "ABX42"),))


def test_host_with_its_own_disk_gets_one():
    (row,) = of_hosts({"pc1": {"mac": MAC, "entry": "local"}}).rows
    assert (row.entry, row.keys, row.persona.disk) == (None, None, "installed")


def test_settings_of_a_group():
    groups = {"class": {"image": "ALT 0", "variant": "rescue"}}
    (row,) = of_hosts({"pc1": {"mac": MAC, "group": "class"}}, groups=groups).rows
    assert row.entry["id"] == "alt_0-rescue"


def test_hosts_that_are_not_tried_are_named():
    found = of_hosts(
        {"by-name": {"image": "ALT 0", "variant": "livecd"}, "gone": {"mac": MAC, **GONE}}
    )
    assert found.rows == []
    assert found.notes == [
        "by-name: not tried, the lab's router assigns no host names",
        "gone: not tried, no persona's menu has alt_9-livecd",
    ]


GONE = {"image": "ALT 9", "variant": "livecd"}


def test_identities():
    assert identity_of([["mac", "525400aa0001"], ["mac", "525400aa0002"]])["mac"] == MAC
    both = identity_of([["uuid", "first"], ["uuid", "second"]])
    assert both == {"mac": None, "smbios": (("uuid", "first"),)}
    assert identity_of([["hostname", "pc1"]]) is None


def test_keys_are_those_of_the_menu_that_is_shown():
    """Every line's keys, one by one, lead to that line."""
    config, entries = made(2)
    rows = pressed(plan([BIOS], config, entries, {}, {}, Chosen())).rows
    lines = netboot_menus.view(config, "x86_64", entries)["lines"]
    for row in rows:
        (digit,) = keys_to(row.entry["id"], lines, config, "x86_64", entries)
        (line,) = (one for one in lines if one["title"].startswith(f"{digit}  "))
        assert line["id"] == row.entry["id"]


def test_persona_of_a_user_is_tried_alike():
    mine = Persona(name="mine", title="Mine", firmware="efi-x86_64", memory_mib=4096)
    assert len(planned(mine).rows) == 3
