"""autoinstall.scm as the stand-in for ALT's installer reads it: what it takes, what it refuses."""

import re

import pytest

from lab.iso.install2.features import features_of
from lab.iso.install2.grammar import check
from lab.iso.install2.scheme import Dotted, Refused, Symbol, read, same
from lab.iso.install2.scripts import check_archive
from tests import answers

#: The installers by their ISOs' dates, as in lab/iso/generations.py.
DATES = {
    "p8": "2018-03-05",
    "p9": "2020-07-20",
    "p9-server": "2021-10-28",
    "p10.0": "2021-12-23",
    "p10.1": "2022-10-05",
    "p10.4": "2024-11-05",
    "p11": "2025-06-02",
}
FEATURES = {name: features_of(name, date) for name, date in DATES.items()}
OLD = "pkg-init"
NEW = "pkg-install-init"
STATIC = answers.RESET + (
    answers.CARD.format(
        name="ens19", how="static", gateway="10.10.10.1", dns="10.10.10.1 8.8.8.8",
        host="node1", controlled="etcnet",
    )
    + answers.ADDRESS.format(name="ens19", address="10.10.10.101")
    + answers.COMMIT
)  # fmt: skip
PREPARE = "cd $(dirname $AUTOINSTALL); cp-metadata autoinstall.sh; bash ./autoinstall.sh; cd -"


def whole(
    step=OLD, profile="workstation", lists="", grub=None, network=None, accounts=None, end=""
):
    """A whole autoinstall.scm; what is not given is that of a p10 on a BIOS."""
    return (
        answers.BEGINNING
        + answers.DISK.format(profile=profile)
        + answers.PACKAGES.format(step=step, lists=lists)
        + (grub or answers.GRUB_BIOS.format("/dev/sda"))
        + (network or answers.network("newhost"))
        + (accounts or answers.PLAIN_ROOT + answers.PLAIN_USER)
        + end
    )


P10, P11 = whole(), whole(
    NEW, grub=answers.GRUB_EFI, accounts=answers.CRYPTED_ROOT + answers.CRYPTED_USER
)  # fmt: skip


def hook(name, **keys):
    ((key, value),) = keys.items()
    return answers.HOOK.format(hook=name, key=key, value=value)


#: The public examples by what they are for.
EXAMPLES = {
    "p8 server, DHCP": ("p8", whole(network=answers.network("h", cards=["eth0"]))),
    "p9 server": ("p9-server", whole(end=hook("laststate", run=PREPARE))),
    "p10 server": ("p10.1", whole(profile="server", end=hook("laststate", run=PREPARE))),
    "p9 by UEFI": (
        "p9",
        whole(grub=answers.GRUB_EFI, end=hook("laststate", script="http://192.0.2.1/post.sh")),
    ),
    "static address": ("p10.0", whole(lists="centaurus/10-server", network=STATIC)),
    "p11 with remount": (
        "p11",
        P11.replace(f'("{NEW}"', f'("/remount-destination" action "write")\n("{NEW}"'),
    ),
    "p11 over NFS": ("p11", P11.replace("workstation", "kworkstation")),
    "p11 btrfs with hashes": (
        "p11",
        P11.replace("workstation", "timeshiftstation").replace('name "RU"', 'name "Asia"')
        + hook("firsttime", run="until curl -s http://192.0.2.1/; do sleep 1; done"),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_public_examples(name):
    generation, text = EXAMPLES[name]
    calls = check(text, FEATURES[generation])
    assert [call.name for call in calls[:3]] == [
        "/sysconfig-base/language",
        "/sysconfig-base/kbd",
        "/datetime-installer",
    ]
    assert len(calls) == len(read(text))


def test_keys_and_values():
    calls = {call.name: call for call in check(P11, FEATURES["p11"])}
    assert calls["/sysconfig-base/language"].keys == {"action": "write", "lang": ["ru_RU"]}
    assert calls["/users/create_account"].keys["passwd_1"] == answers.HASH
    assert calls["/users/create_account"].line == 30
    profile = calls["/evms/profiles/workstation"].keys
    assert profile == {"action": "apply", "commit": False, "clearall": True, "exclude": []}
    assert isinstance(profile["action"], Symbol)


# (generation, what is replaced in its whole answers, by what, what is said)
WRONG = [
    # calls
    ("p10.1", '"/preinstall"', '"/preinstal"', "no public example of this generation"),
    ("p10.1", '"/grub"', '"/lilo"', "no public example"),
    ("p10.1", '("/grub"', '("/auth" action "write")\n("/grub"', "/auth: no public example"),
    ("p10.1", '"pkg-init"', '"pkg-install-init"', "this installer has pkg-init instead"),
    ("p11", '"pkg-install-init"', '"pkg-init"', "this installer has pkg-install-init instead"),
    ("p10.4", '("pkg-init"', '("/remount-destination" action "write")\n("pkg-init"', "no public"),
    ("p10.1", '("pkg-init" action "write")\n', "", "pkg-init is missing"),
    ("p10.1", '("/preinstall" action "write")\n', "", "/preinstall is missing"),
    ("p10.1", answers.GRUB_BIOS.format("/dev/sda"), "", "/grub is missing"),
    ("p10.1", 'control commit)', "control update)", "/evms/control update after /evms/profiles/"),
    ("p10.1", "control close)", "control commit)", "commit after /evms/control commit"),
    ("p10.1", "control open installer #t", "control open", "installer is missing"),
    ("p10.1", 'control open', '"control" "open"', '"control" stands where a key should'),
    ("p10.1", "control update", 'control "update"', 'control is "update", not update or commit'),
    ("p10.1", '("/preinstall" action "write")\n("/grub"', '("/grub"', "/preinstall is missing"),
    # the disk
    ("p10.1", "clearall #t", "clearall #f", "clearall is #f, not #t"),
    ("p10.1", "exclude ()", 'exclude ("sdb")', 'exclude is ("sdb"), not ()'),
    ("p10.1", " exclude ()", "", "exclude is missing"),
    ("p10.1", "action apply", 'action "apply"', 'action is "apply", not apply'),
    ("p10.1", "commit #f", "commit #t", "commit is #t, not #f"),
    ("p10.1", "/evms/profiles/workstation", "/evms/profiles/a b", "has this call"),
    ("p10.1", "/dev/sda", "sda", "not a disk, or efi"),
    # language, keyboard, time
    ("p10.1", 'lang ("ru_RU")', 'lang "ru_RU"', 'lang is "ru_RU", not a list of locales'),
    ("p10.1", "ru_RU", "ru_RU.UTF-8", "lang is"),
    ("p10.1", "ctrl_shift_toggle", "caps_toggle", 'layout is "caps_toggle"'),
    ("p10.1", "Europe/Moscow", "Moscow", "zone is"),
    ("p10.1", "utc #t", 'utc "yes"', "utc is"),
    # packages
    ("p10.1", 'lists ""', 'lists "base"', 'lists is "base", not paths of lists'),
    ("p10.1", 'lists ""', "lists ()", "lists is ()"),
    # networks
    ("p10.1", answers.RESET, "", "/net-eth: the first of its calls is reset"),
    ("p10.1", answers.COMMIT, "", "the last commit"),
    ("p10.1", 'configuration "dhcp"', 'configuration "auto"', "configuration is"),
    ("p10.1", 'configuration "dhcp"', 'configuration "static"', "an add_iface_address for each"),
    ("p10.1", answers.COMMIT, answers.ADDRESS.format(name="eth9", address="10.0.0.1")
     + answers.COMMIT, "eth9"),
    ("p10.1", 'ipv "4"', "ipv 4", 'ipv is 4, not "4"'),
    ("p10.1", 'ipv_enabled #t', "ipv_enabled #f", "ipv_enabled is #f"),
    ("p10.1", 'computer_name "newhost"', 'computer_name "new_host"', "computer_name is"),
    ("p10.1", 'dns ""', 'dns "example.org"', "dns is"),
    ("p10.1", '"etcnet"', '"ifupdown"', "controlled is"),
    ("p9", '"etcnet"', '"systemd-networkd"', "controlled is"),
    ("p8", '"etcnet"', '"NetworkManager"', "controlled is"),
    # passwords and people
    ("p10.4", answers.PLAIN_ROOT, answers.CRYPTED_ROOT, "no public example has the key iscrypted"),
    ("p11", f'iscrypted #t passwd_1 "{answers.HASH}")', f'passwd_1 "{answers.HASH}")', "passwd_2"),
    ("p11", answers.HASH, "pw", 'passwd_1 is "pw", not a password\'s hash'),
    ("p11", "iscrypted #t", 'passwd_2 "x" iscrypted #t', "no public example has the key passwd_2"),
    ("p11", "iscrypted #t", "iscrypted #f", "iscrypted is #f, not #t"),
    ("p10.1", 'passwd_2 "pw")', 'passwd_2 "other")', 'passwd_2 is "other", not the same'),
    ("p10.1", 'gecos "Pupil"', 'real_name "Pupil"', "no public example has the key real_name"),
    ("p11", 'real_name "Pupil"', 'gecos "Pupil"', "no public example has the key gecos"),
    ("p10.1", "auto #f", "auto #f autologin #f", "the key autologin"),
    ("p11", "autologin #f", "autologin #t", "autologin is #t, not #f"),
    ("p11", '"pupil"', '"Pupil 1"', "new_name is"),
    ("p11", "auto #f", "auto #t", "auto is #t, not #f"),
    ("p10.1", answers.PLAIN_USER, answers.PLAIN_USER * 2, "makes pupil twice"),
    ("p10.1", answers.PLAIN_ROOT, answers.PLAIN_ROOT * 2, "/root/change_password is there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("generation", "old", "new", "said"), WRONG)
def test_refused(generation, old, new, said):
    text = P11 if generation == "p11" else P10
    if generation == "p8":
        text = EXAMPLES["p8 server, DHCP"][1]
    check(text, FEATURES[generation])
    assert old in text
    with pytest.raises(Refused, match=re.escape(said)):
        check(text.replace(old, new), FEATURES[generation])


@pytest.mark.parametrize(
    ("generation", "end", "said"),
    [
        ("p8", hook("firsttime", run="true"), "/postinstall/firsttime: no public example"),
        ("p10.1", hook("firsttime", url="http://a/b"), "has the key url here"),
        ("p10.1", hook("firsttime", script="/tmp/a"), "not an http, https or ftp URL"),
        ("p10.1", hook("firsttime", run=""), "run is"),
        ("p10.1", hook("laststate", run="a") * 2, "/postinstall/laststate run is there twice"),
        ("p10.1", '("/postinstall/laststate" run "a" script "http://a/b")', "has the key script"),
        ("p10.1", '("/preinstall" action "write")', "/preinstall after /grub"),
    ],
)
def test_refused_at_the_end(generation, end, said):
    with pytest.raises(Refused, match=re.escape(said)):
        check(whole(network=answers.network("h", cards=["eth0"]), end=end), FEATURES[generation])


def test_accounts_before_the_system_is_there():
    text = answers.PLAIN_ROOT + P10.replace(answers.PLAIN_ROOT, "")
    with pytest.raises(Refused, match=r"line 1: /root/change_password before /preinstall"):
        check(text, FEATURES["p10.1"])


# S-expressions


def test_expressions():
    text = '; first\n("a" b ("c" . #t)\n  (1 "x;y(" . -2)) ()\n"say \\"hi\\" \\\\"'
    (_, one), (line, two), (_, three) = read(text)
    assert same(one, ["a", Symbol("b"), Dotted(["c"], True), Dotted([1, "x;y("], -2)])
    assert not same(one, ["a", "b", Dotted(["c"], True), Dotted([1, "x;y("], -2)])
    assert (line, two, three) == (3, [], 'say "hi" \\')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('("a"', "line 1: ( without )"),
        ('\n("a"))', "line 2: ) without ("),
        ('("a', 'line 1: "a is no string that ends'),
        (r'("a\n")', "is no string that ends"),
        ("(a . )", "a dot must have one value after it"),
        ("(a . b c)", "a dot must have one value after it"),
        ("( . b)", "a dot must have one value after it"),
        (".", "a dot outside of a list"),
        ("'(a)", "' is no string, number, symbol"),
        ("(#true)", "#true is no string, number"),
        ("(1.5)", "1.5 is no string, number"),
    ],
)
def test_no_expressions(text, said):
    with pytest.raises(Refused, match=re.escape(said)):
        read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("write", "line 1: write is no call"),
        ('(pkg-init action "write")', 'line 1: (pkg-init action "write") is no call'),
        ('("/preinstall" action)', "action has no value after it"),
        ('("/preinstall" action "write" action "write")', "action is there twice"),
        ('("/preinstall" . action)', "is no call"),
    ],
)
def test_no_calls(text, said):
    with pytest.raises(Refused, match=re.escape(said)):
        check(text, FEATURES["p11"])


# install-scripts.tar


def members(name, mode=0o755, kind=None):
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(answers.scripts_tar({name: ""}, mode))) as tar:
        (member,) = tar.getmembers()
    if kind:
        member.type = kind
    return [member]


@pytest.mark.parametrize("name", ["initinstall.d/30-a", "preinstall.d/1", "./postinstall.d/99-z"])
def test_scripts(name):
    ((_, folder, script),) = check_archive(members(name), FEATURES["p11"])
    assert f"{folder}/{script}" == name.removeprefix("./")


@pytest.mark.parametrize(
    ("generation", "name", "mode", "kind", "said"),
    [
        ("p10.1", "initinstall.d/30-a", 0o755, None, "runs none of initinstall.d from there"),
        ("p11", "initinstall.d/20-a", 0o755, None, "comes before 27-metadata-install-scripts.sh"),
        ("p11", "postinstall.d/30-a", 0o644, None, "is no executable file"),
        ("p11", "postinstall.d/30-a", 0o755, b"2", "is no executable file"),
        ("p11", "postinstall/30-a", 0o755, None, "is not a file in initinstall.d, preinstall.d"),
        ("p11", "postinstall.d/a/b", 0o755, None, "is not a file in"),
        ("p11", "../postinstall.d/b", 0o755, None, "is not a file in"),
        ("p11", "30-a", 0o755, None, "is not a file in"),
    ],
)
def test_scripts_refused(generation, name, mode, kind, said):
    with pytest.raises(Refused, match=re.escape(said)):
        check_archive(members(name, mode, kind), FEATURES[generation])


@pytest.mark.parametrize(
    ("generation", "has_archive", "has_early"),
    [("p8", 0, 0), ("p9-server", 0, 0), ("p10.0", 0, 0), ("p10.1", 1, 0), ("p11", 1, 1)],
)
def test_which_installer_has_scripts(generation, has_archive, has_early):
    features = FEATURES[generation]
    assert (features.scripts_tar, features.initinstall) == (bool(has_archive), bool(has_early))
