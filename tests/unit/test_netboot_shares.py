"""What file servers export, and what of an admin's own configuration stands in the way."""

import pytest

import netboot_shares

CONFIG = {
    "root": "/srv/export",
    "nfs": {"clients": ["192.0.2.0/24", "198.51.100.0/24"]},
    "smb": {"smb1": False},
}
INCLUDE = "/etc/samba/netboot.conf"


def test_nfs():
    mount = "/srv/export/tftp/netboot/x86_64/p11"
    lines = netboot_shares.nfs(CONFIG, [mount]).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["/srv/export/dist", "/srv/export/tftp", mount]
    for line in lines:
        _path, *clients = line.split()
        assert [one.partition("(")[0] for one in clients] == CONFIG["nfs"]["clients"]
        assert all("ro,all_squash,insecure,fsid=" in one for one in clients)
        rest = ",no_subtree_check,mountpoint)" if mount in line else ",subtree_check)"
        assert line.count(rest) == 2
    assert len({line.split("fsid=")[1][:36] for line in lines}) == 3


def test_nfs_numbers_are_the_same_each_time():
    assert netboot_shares.nfs(CONFIG, []) == netboot_shares.nfs(CONFIG, [])


@pytest.mark.parametrize("guests", [True, False])
@pytest.mark.parametrize("smb1", [True, False])
def test_smb(guests, smb1):
    text = netboot_shares.smb({**CONFIG, "smb": {"smb1": smb1}}, guests)
    assert ("map to guest = Bad User" in text) == guests
    assert ("server min protocol = NT1" in text) == smb1
    assert ("[global]" in text) == (guests or smb1)
    assert "[dist]\n    path = /srv/export/dist\n" in text
    assert "[tftp]\n    path = /srv/export/tftp\n" in text
    assert text.count("read only = yes") == text.count("guest only = yes") == 2
    assert text.count("guest ok = yes") == 2


@pytest.mark.parametrize("text", ["", "[global]\n", "[homes]\nbrowseable = no"])
def test_inclusion_comes_and_goes(text):
    included = netboot_shares.smb_included(text, INCLUDE)
    assert included.splitlines()[-2] == f"include = {INCLUDE}"
    assert netboot_shares.smb_included(included, INCLUDE) == included
    assert netboot_shares.smb_included(included, "").rstrip("\n") == text.rstrip("\n")


def test_what_is_behind_the_inclusion_stays():
    included = netboot_shares.smb_included("[a]\n", INCLUDE) + "[b]\npath = /b\n"
    assert netboot_shares.smb_included(included, "") == "[a]\n[b]\npath = /b\n"


@pytest.mark.parametrize(
    ("text", "effective", "said"),
    [
        ("[global]\n", {"map to guest": "Never"}, []),
        ("[global]\nmap to guest = bad user\n", {"map to guest": "Bad User"}, []),
        ("map to guest = never\n", {"map to guest": "Never"}, ["'map to guest' is 'never'"]),
        ("", {"server signing": "mandatory"}, ["'server signing' is 'mandatory'"]),
        ("", {"restrict anonymous": "2"}, ["'restrict anonymous' is '2'"]),
        ("", {"server smb encrypt": "required"}, ["'server smb encrypt' is 'required'"]),
        ("[homes]\n [ Dist ]\n", {}, []),
        ("[homes]\n [Dist]\n", {}, ["share [dist]"]),
    ],
)
def test_contradictions(text, effective, said):
    found = netboot_shares.smb_contradictions(text, effective)
    assert len(found) == len(said)
    assert all(words in one for words, one in zip(said, found))
