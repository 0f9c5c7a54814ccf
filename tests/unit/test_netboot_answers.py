"""Answers for ALT's installer: every call and key is one that public answer files have."""

import hashlib
import io
import tarfile

import pytest

import iso_facts
import netboot_answers
import netboot_installs
import netboot_scheme
import netboot_values
from tests.scheme import Malformed, Word, read
from tests.unit.test_netboot_pillar import HASH, INSTALL

OTHER_HASH = f"$y$j9T$abc${'b' * 43}"
PEM = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
PUB = "-----BEGIN PUBLIC KEY-----\npublic\n-----END PUBLIC KEY-----\n"
MINION = {
    "id": "pc1.example.org",
    "pem": PEM,
    "pub": PUB,
    "master": "salt.example.org",
    "master_finger": ":".join(["ab"] * 32),
}
MACHINE = {
    "host": "pc1",
    "hostname": "pc1",
    "token": "Zf3-k_9",
    "reports": "http://192.0.2.10/host/pc1.Zf3-k_9/did",
    "network": None,
    "minion": None,
}
STATIC = {
    "interface": "ens19",
    "address": "10.10.10.101/24",
    "gateway": "10.10.10.1",
    "dns": ["10.10.10.1", "10.10.10.2"],
}


def image(branch, built="2025-01-15", names=None, arch="x86_64", **more):
    """Facts of an image with an installer."""
    facts = {"branch": branch, "build_date": built, "arch": arch, "product": "ALT Server", **more}
    facts.setdefault("installer", {"stage": "altinst", "argument": ""})
    return {**facts, **({"installer_names": names} if names is not None else {})}


P8 = image("p8", "2018-03-01", ["pkg-init", "postinstall"])
P9 = image("p9", "2021-05-01")
OLD_P10 = image("p10", "2021-12-01")
P10 = image("p10.2", "2023-11-01")
P11 = image("p11", "2025-03-01")
REMOUNT = image("p11", "2025-03-01", [*iso_facts.INSTALLER_NAMES])
EARLY_P11 = image("p11", "2024-07-01", ["pkg-init", "postinstall"])


def install(**keys):
    """An install as the pillar's keys resolve to it."""
    pillar = {"installs": {"school": {**INSTALL, **keys}}}
    assert netboot_values.problems(pillar) == []
    done = netboot_values.completed({"images": {}, **pillar})["installs"]["school"]
    assert netboot_installs.problems({"school": done}) == []
    return netboot_installs.build(done)


OWN = """((mine (title . "Mine") (action . trivial) (actiondata
  ("/" (size 41943040 . #t) (fsim . "Ext2/3") (methods plain)))))  ; a comment"""
PUPIL = {"password": OTHER_HASH, "real_name": "Ученик \u2116 1"}
# The kinds of public answer files (facts/autoinstall.md, 2.1), and what is different besides.
CASES = {
    "p8 server": (P8, install(network="etcnet"), {}),
    "p9 server": (P9, install(grub_device="/dev/vda", users={"pupil": PUPIL}), {}),
    "p9 workstation": (P9, install(script="http://192.0.2.10/x.sh"), {}),
    "p10 before 10.1": (OLD_P10, install(home=True), {}),
    "p10 server": (
        P10,
        install(
            network="systemd-networkd",
            package_groups=["centaurus/zero", "centaurus/systemd-networkd"],
            layout="btrfs",
        ),
        {"minion": MINION},
    ),
    "static address": (P9, install(language="en_US", timezone="UTC"), {"network": STATIC}),
    "remount": (REMOUNT, install(grub_device="efiremovable"), {}),
    "p11 over NFS": (
        P11,
        install(
            keyboard="ctrl_shift_toggle",
            utc=False,
            disk="smallest",
            users={"pupil": {**PUPIL, "autologin": True}, "teacher": {**PUPIL, "admin": True}},
            commands=["echo 'a \"b\" \\c' >/tmp/x"],
        ),
        {"minion": MINION},
    ),
    "p11 btrfs with hashes": (
        P11,
        install(
            layout="btrfs", swap_mib=0, keyboard="alt_sh_toggle", users={"pupil": PUPIL}, disk="all"
        ),
        {},
    ),
    "early p11": (EARLY_P11, install(grub_device="efinonvram", finish="poweroff"), {}),
    "own": (P11, install(layout="own", vm_profile=OWN), {}),
}
PARAMETERS = [(name, platform) for name in CASES for platform in netboot_answers.PLATFORMS]


def made(name, platform="efi"):
    facts, profile, more = CASES[name]
    assert netboot_answers.why_not(facts, profile) == ""
    return netboot_answers.files(profile, facts, {**MACHINE, **more}, platform)


def calls(files):
    """The calls of ``autoinstall.scm``: name and a map of keys and values."""
    found = []
    for name, *words in read(files["autoinstall.scm"].decode()):
        keys, values = words[::2], words[1::2]
        assert len(set(keys)) == len(values), (name, words)
        assert all(isinstance(key, Word) for key in keys), (name, words)
        assert isinstance(name, str)
        assert not isinstance(name, Word)
        found.append((name, dict(zip(keys, values))))
    return found


def scripts(files):
    with tarfile.open(fileobj=io.BytesIO(files["install-scripts.tar"])) as tar:
        return {
            one.name: (one, tar.extractfile(one).read().decode())
            for one in tar.getmembers()
            if one.isfile()
        }


# -- the grammar, written from facts/autoinstall.md, 2.2, not from what writes it ------------------


def string(value):
    return isinstance(value, str) and not isinstance(value, Word)


def truth(value):
    return isinstance(value, bool)


def locales(value):
    return isinstance(value, list) and len(value) == 1 and string(value[0]) and "_" in value[0]


def among(*values):
    return lambda value: string(value) and value in values


def words(*values):
    return lambda value: isinstance(value, Word) and value in values


WRITE = {"action": among("write")}
PLAIN = {"passwd_1": string, "passwd_2": string}
HASHED = {"passwd_1": lambda value: string(value) and value.startswith("$"), "iscrypted": truth}
CARD = {
    **WRITE,
    "name": string,
    "ipv": among("4"),
    "ipv_enabled": truth,
    "configuration": among("dhcp", "static"),
    "default": string,
    "search": string,
    "dns": string,
    "computer_name": string,
    "controlled": among("etcnet", "NetworkManager", "systemd-networkd"),
}
USER = {"new_name": string, "allow_su": truth, "auto": truth}
# Each form of a call: the keys that it must have, and those that it may have.
GRAMMAR = {
    "/sysconfig-base/language": [({**WRITE, "lang": locales}, {})],
    "/sysconfig-base/kbd": [
        (
            {**WRITE, "layout": among("ctrl_shift_toggle", "alt_shift_toggle", "alt_sh_toggle")},
            {"language": locales},
        )
    ],
    "/datetime-installer": [
        (
            {**WRITE, "commit": truth, "name": string, "zone": string, "utc": truth},
            {"ctime": string, "language": locales},
        )
    ],
    "/evms/control": [
        ({**WRITE, "control": words("open"), "installer": truth}, {}),
        ({**WRITE, "control": words("update", "commit", "close")}, {}),
    ],
    "/evms/profiles/": [
        (
            {
                "action": words("apply"),
                "commit": lambda value: value is False,
                "clearall": lambda value: value is True,
                "exclude": lambda value: value == [],
            },
            {},
        )
    ],
    "pkg-init": [(WRITE, {})],
    "pkg-install-init": [(WRITE, {})],
    "/remount-destination": [(WRITE, {})],
    "/pkg-install": [({**WRITE, "lists": string}, {"auto": truth})],
    "/preinstall": [(WRITE, {})],
    "/grub": [
        (
            {
                **WRITE,
                "device": among("/dev/sda", "/dev/vda", "efi", "efiremovable", "efinonvram"),
                "passwd": truth,
                **PLAIN,
            },
            {},
        )
    ],
    "/net-eth": [
        ({**WRITE, "reset": truth}, {}),
        (CARD, {"onboot": truth}),
        (
            {
                "action": among("add_iface_address"),
                "name": string,
                "addip": string,
                "addmask": string,
                "ipv": among("4"),
            },
            {},
        ),
        ({**WRITE, "commit": truth}, {}),
    ],
    "/root/change_password": [(PLAIN, {}), (HASHED, {})],
    "/users/create_account": [
        ({**USER, **PLAIN, "gecos": string}, {}),
        ({**USER, **HASHED, "real_name": string}, {"autologin": truth}),
    ],
    "/postinstall/laststate": [({"run": string}, {}), ({"script": string}, {})],
    "/postinstall/firsttime": [({"run": string}, {}), ({"script": string}, {})],
}
# Optional in the files that have them, and of no use here.
NOT_MADE = {
    ("/datetime-installer", "ctime"),
    ("/datetime-installer", "language"),
    ("/postinstall/laststate", "script"),
}


def form(name, given):
    """The form of a call's grammar that fits; None if it is not known."""
    known = "/evms/profiles/" if name.startswith("/evms/profiles/") else name
    for number, (required, optional) in enumerate(GRAMMAR.get(known, [])):
        allowed = {**required, **optional}
        if required.keys() <= given.keys() <= allowed.keys():
            if all(allowed[key](value) for key, value in given.items()):
                return known, number
    return None


@pytest.mark.parametrize(("name", "platform"), PARAMETERS)
def test_each_call_is_one_that_public_answer_files_have(name, platform):
    for call, given in calls(made(name, platform)):
        assert form(call, given), (call, given)


def test_each_call_and_key_is_made_by_some_profile():
    keys, forms, values = set(), set(), set()
    for name, platform in PARAMETERS:
        for call, given in calls(made(name, platform)):
            known = form(call, given)
            forms.add(known)
            keys |= {(known[0], key) for key in given}
            values |= {(known[0], key, one) for key, one in given.items() if isinstance(one, str)}
    known_keys = {
        (call, key)
        for call, known in GRAMMAR.items()
        for required, optional in known
        for key in (*required, *optional)
    }
    assert known_keys - keys == NOT_MADE
    known_forms = {
        (call, number) for call, known in GRAMMAR.items() for number in range(len(known))
    }
    assert known_forms - forms == {("/postinstall/laststate", 1)}
    for call, key, those in (
        ("/grub", "device", {"/dev/sda", "/dev/vda", "efi", "efiremovable", "efinonvram"}),
        ("/net-eth", "controlled", {"etcnet", "NetworkManager", "systemd-networkd"}),
        ("/net-eth", "configuration", {"dhcp", "static"}),
        (
            "/sysconfig-base/kbd",
            "layout",
            {"ctrl_shift_toggle", "alt_shift_toggle", "alt_sh_toggle"},
        ),
    ):
        assert {one for of, at, one in values if (of, at) == (call, key)} == those


ORDER = """
/sysconfig-base/language /sysconfig-base/kbd /datetime-installer /evms/control /evms/control
/evms/profiles/ /evms/control /evms/control /remount-destination package-step /pkg-install
/preinstall /grub /net-eth /root/change_password /users/create_account /postinstall/laststate
/postinstall/firsttime
""".split()


@pytest.mark.parametrize(("name", "platform"), PARAMETERS)
def test_calls_come_in_the_order_of_public_answer_files(name, platform):
    found = calls(made(name, platform))
    steps = {"pkg-init": "package-step", "pkg-install-init": "package-step"}
    names = [steps.get(call, call) for call, _ in found]
    names = ["/evms/profiles/" if call.startswith("/evms/profiles/") else call for call in names]
    left = iter(ORDER)
    previous = None
    for call in names:
        if call != previous or call == "/evms/control":
            assert call in left, names
        previous = call
    controls = [given["control"] for call, given in found if call == "/evms/control"]
    assert controls == ["open", "update", "commit", "close"]
    # ALT's backend keeps one file for each.
    hooks = [(call, *given) for call, given in found if call.startswith("/postinstall/")]
    assert len(hooks) == len(set(hooks))


# -- what differs between releases -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "step", "remount", "hashes", "last", "folders"),
    [
        ("p8 server", "pkg-init", False, False, True, "pp"),
        ("p9 server", "pkg-init", False, False, True, "pp"),
        ("p10 before 10.1", "pkg-init", False, False, True, "pp"),
        ("p10 server", "pkg-init", False, False, True, "pp"),
        ("remount", "pkg-install-init", True, True, False, "ipp"),
        ("early p11", "pkg-init", False, True, False, "ipp"),
        ("p11 over NFS", "pkg-install-init", False, True, False, "ipp"),
    ],
)
def test_releases(name, step, remount, hashes, last, folders):
    files = made(name)
    found = calls(files)
    names = [call for call, _ in found]
    assert [one for one in names if one.startswith("pkg-")] == [step]
    assert ("/remount-destination" in names) == remount
    assert ("/postinstall/laststate" in names) == last
    (root,) = (given for call, given in found if call == "/root/change_password")
    assert ("iscrypted" in root) == hashes
    assert [one[0] for one in sorted(scripts(files))] == sorted(folders)
    assert "/postinstall/firsttime" in names


@pytest.mark.parametrize("name", CASES)
def test_wiping_steps_name_a_profile_of_this_arming(name):
    facts, profile, _ = CASES[name]
    files = made(name)
    (applied,) = (call for call, _ in calls(files) if call.startswith("/evms/profiles/"))
    assert applied == f"/evms/profiles/nb-{MACHINE['token']}"
    ((only,),) = read(files["vm-profile.scm"].decode())
    assert only[0] == f"nb-{MACHINE['token']}"
    assert isinstance(only[0], Word)
    other = netboot_answers.files(profile, facts, {**MACHINE, "token": "other"}, "efi")
    assert MACHINE["token"].encode() not in other["autoinstall.scm"] + other["vm-profile.scm"]


def partitions(name, platform="efi"):
    ((only,),) = read(made(name, platform)["vm-profile.scm"].decode())
    _, title, action, data = only
    assert title[0] == "title"
    assert string(title[1])
    assert action == ("action", "trivial")
    assert isinstance(action[1], Word)
    assert data[0] == "actiondata"
    return data[1:]


def size(least, most):
    return ("size", least, most)


PLAINLY = ["methods", "plain"]
SWAP = ["swap", size(4194304, 4194304), ("fsim", "SWAPFS"), PLAINLY]
SUBVOLUMES = ["subvols", ("@", "/"), ("@home", "/home")]


@pytest.mark.parametrize(
    ("name", "platform", "expected"),
    [
        ("p11 over NFS", "efi", [SWAP, ["/", size(41943040, True), ("fsim", "Ext4"), PLAINLY]]),
        ("p11 over NFS", "pcbios", [SWAP, ["/", size(41943040, True), ("fsim", "Ext4"), PLAINLY]]),
        (
            "p10 before 10.1",
            "pcbios",
            [
                ["", size(20480, 20480), PLAINLY],
                SWAP,
                ["/", size(41943040, 41943040), ("fsim", "Ext4"), PLAINLY],
                ["/home", size(2097152, True), ("fsim", "Ext4"), PLAINLY],
            ],
        ),
        (
            "early p11",
            "pcbios",
            [
                ["", size(20480, 20480), PLAINLY],
                SWAP,
                ["/", size(41943040, True), ("fsim", "Ext4"), PLAINLY],
            ],
        ),
        (
            "p11 btrfs with hashes",
            "efi",
            [["", size(41943040, True), ("fsim", "BtrFS"), PLAINLY, SUBVOLUMES]],
        ),
        ("own", "efi", [["/", size(41943040, True), ("fsim", "Ext2/3"), PLAINLY]]),
    ],
)
def test_partitions(name, platform, expected):
    assert partitions(name, platform) == expected


@pytest.mark.parametrize(("name", "platform"), PARAMETERS)
def test_partition_of_uefi_is_left_to_the_installer(name, platform):
    """Listed twice, the two conflict before alterator-vm 0.4.34."""
    points = [one[0] for one in partitions(name, platform)]
    assert "/boot/efi" not in points
    assert len([one for one in partitions(name, platform) if True in one[1]]) == 1


@pytest.mark.parametrize(
    ("name", "platform", "device"),
    [
        ("p11 over NFS", "efi", "efi"),
        ("p11 over NFS", "pcbios", "/dev/sda"),
        ("p9 server", "pcbios", "/dev/vda"),
        ("p9 server", "efi", "efi"),
        ("remount", "efi", "efiremovable"),
        ("remount", "pcbios", "/dev/sda"),
    ],
)
def test_boot_loader(name, platform, device):
    (grub,) = (given for call, given in calls(made(name, platform)) if call == "/grub")
    assert grub["device"] == device


def test_static_address():
    cards = [given for call, given in calls(made("static address")) if call == "/net-eth"]
    reset, card, address, commit = cards
    assert reset["reset"]
    assert commit["commit"]
    assert card["configuration"] == "static"
    assert (card["name"], card["default"]) == ("ens19", "10.10.10.1")
    assert card["dns"] == "10.10.10.1 10.10.10.2"
    assert (address["addip"], address["addmask"]) == ("10.10.10.101", "24")


def test_name_of_the_host_and_of_users():
    found = calls(made("p11 over NFS"))
    cards = [given for call, given in found if call == "/net-eth" and "computer_name" in given]
    assert {one["computer_name"] for one in cards} == {"pc1"}
    assert {one["configuration"] for one in cards} == {"dhcp"}
    users = {given["new_name"]: given for call, given in found if call == "/users/create_account"}
    assert users["pupil"]["real_name"] == "Ученик \u2116 1"
    assert users["pupil"]["autologin"]
    assert not users["teacher"]["autologin"]
    assert users["teacher"]["allow_su"]
    assert not users["pupil"]["allow_su"]


@pytest.mark.parametrize(
    ("finish", "words"), [("reboot", ["ai"]), ("poweroff", ["ai", "poweroff"])]
)
def test_words_for_the_kernel(finish, words):
    assert netboot_answers.kernel_words(install(finish=finish)) == words


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "platform"), PARAMETERS)
def test_secrets_lie_where_they_must_and_nowhere_else(name, platform):
    facts, _, more = CASES[name]
    files = made(name, platform)
    readable = files["autoinstall.scm"] + files["vm-profile.scm"]
    archive = files["install-scripts.tar"]
    for secret in (PEM, PUB, MINION["master_finger"]):
        assert secret.encode() not in readable
        assert (secret.encode() in archive) == bool(more.get("minion"))
    understands_hashes = facts["branch"] == "p11"
    assert (HASH.encode() in readable) == understands_hashes
    assert (HASH.encode() in archive) == (not understands_hashes)


def test_old_images_get_no_key():
    """They have no install-scripts.tar of their own: the admin accepts the fingerprint."""
    for facts in (P8, P9, OLD_P10):
        files = netboot_answers.files(install(), facts, {**MACHINE, "minion": MINION}, "efi")
        assert PEM.encode() not in b"".join(files.values())
        assert b"salt.example.org" in files["install-scripts.tar"]


def test_unknown_passwords_of_old_installers_differ():
    found = {
        given["passwd_1"]
        for call, given in calls(made("p9 server"))
        if call in ("/root/change_password", "/users/create_account")
    }
    assert len(found) == 2
    assert all(len(one) == 32 for one in found)


# -- the archive -----------------------------------------------------------------------------------


def test_archive_is_reproducible(monkeypatch):
    before = made("p11 over NFS")
    monkeypatch.setattr("time.time", lambda: 5.0)
    assert made("p11 over NFS") == before
    with tarfile.open(fileobj=io.BytesIO(before["install-scripts.tar"])) as tar:
        members = tar.getmembers()
    assert [(one.name, oct(one.mode)) for one in members] == [
        ("initinstall.d", "0o755"),
        ("initinstall.d/28-netboot.sh", "0o700"),
        ("postinstall.d", "0o755"),
        ("postinstall.d/98-netboot.sh", "0o700"),
        ("preinstall.d", "0o755"),
        ("preinstall.d/98-netboot.sh", "0o700"),
    ]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in members} == {
        (0, 0, 0, "", "")
    }


# -- images that cannot be installed so ------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "keys", "reason"),
    [
        (image("p11", installer=None), {}, "the image has no installer"),
        (image("p11", product="ALT p11 jeos OEM"), {}, "its OEM setup asks at the first boot"),
        (image("p7", "2014-01-01"), {}, "installers of p7 are too old: p8 is the first"),
        (image(""), {}, "its release is not known"),
        (image("sisyphus", "2023-01-01"), {}, "Sisyphus is installed unattended from images built"),
        (image("p11", arch="i586"), {}, "the first stage of p11 for i586 has no drivers"),
        (image("p8", "2018-01-01"), {}, "the installer of p8 lacks alterator-postinstall"),
        (image("c10f1", "2024-01-01"), {}, "the installer of c10f1 lacks alterator-postinstall"),
        (image("p9", "2019-07-01"), {}, "the installer of p9 lacks alterator-postinstall"),
        (image("p11", names=["pkg-install-init"]), {}, "the installer of p11 lacks alterator-"),
        (P10, {"disk": "smallest"}, "disk must be all: up to p10 an installer wipes every disk"),
        (P9, {"disk": [100, 600]}, "disk must be all"),
        (P9, {"layout": "btrfs"}, "layout must not be btrfs"),
        (OLD_P10, {"layout": "btrfs"}, "layout must not be btrfs"),
    ],
)
def test_why_not(facts, keys, reason):
    profile = install(**keys)
    assert netboot_answers.why_not(facts, profile).startswith(reason)
    with pytest.raises(ValueError, match=reason):
        netboot_answers.files(profile, facts, MACHINE, "efi")


@pytest.mark.parametrize(
    "facts",
    [
        P8,
        P9,
        P10,
        P11,
        image("p12"),
        image("c10f1", names=["pkg-init", "postinstall"]),
        image("sisyphus"),
        image("p10", arch="i586"),
    ],
)
def test_nothing_against_it(facts):
    assert netboot_answers.why_not(facts, install()) == ""


@pytest.mark.parametrize(("token", "platform"), [("a b", "efi"), ("", "efi"), ("a", "bios")])
def test_tokens_and_platforms(token, platform):
    with pytest.raises(ValueError, match="is not a platform, or the token"):
        netboot_answers.files(install(), P11, {**MACHINE, "token": token}, platform)


# -- the writer against the strict reader ----------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ['("a" b #t #f 12 ())', '(("a" . "b") (c 1 . #t))', '("a \\" \\\\ b")', "; c\n(a)", '("я№")'],
)
def test_what_is_read_is_written_again(text):
    (value,) = netboot_scheme.read(text)
    assert read(netboot_scheme.written(value)) == read(text)


@pytest.mark.parametrize("text", ["(", ")", "(a", '("a)', "(a . )", "(. a)", "(a . b c)", "(#x)"])
def test_malformed_text_is_refused_by_both(text):
    with pytest.raises(ValueError, match="line 1: "):
        netboot_scheme.read(text)
    with pytest.raises(Malformed):
        read(text)


def test_unknown_password_is_not_guessed_from_the_name():
    token = MACHINE["token"]
    (root,) = (given for call, given in calls(made("p9 server")) if call == "/root/change_password")
    assert root["passwd_1"] != hashlib.sha256(b"root").hexdigest()[:32]
    assert root["passwd_1"] == root["passwd_2"]
    assert token not in root["passwd_1"]
