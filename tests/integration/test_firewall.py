"""Real firewalls on the way: packets of clients get through what is enabled, and nothing else."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.pxe import ask
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

# What somebody else has opened stays open: 8888 and 9999.
START = {
    "firewalld": "systemctl start firewalld && firewall-cmd -q --permanent --add-port=8888/tcp"
    " && firewall-cmd -q --add-port=9999/tcp",
    "ufw": "ufw allow 22/tcp && ufw allow 9999/tcp comment mine && ufw --force enable",
}
STOP = {"firewalld": "systemctl stop firewalld", "ufw": "ufw disable && nft flush ruleset"}
LOOK = {
    "firewalld": "firewall-cmd --list-all && firewall-cmd --permanent --list-all",
    "ufw": "ufw status verbose && cat /etc/ufw/user*.rules && ls /etc/ufw/applications.d",
}
# As at the next start; what firewalld was told for this run only is told again.
RELOAD = {
    "firewalld": "firewall-cmd -q --reload"
    " && firewall-cmd -q --add-port=9999/tcp && firewall-cmd -q --remove-port=8888/tcp",
    "ufw": "ufw reload",
}

# Prints which services answer.
REACH = """
import concurrent.futures, ftplib, socket, sys
server = sys.argv[1]
def http():
    socket.create_connection((server, 80), 5).close()
def smb():
    socket.create_connection((server, 445), 5).close()
def ftp():
    with ftplib.FTP(server, timeout=5) as client:
        client.login()
        client.nlst("tftp")  # over a connection of its own
def tftp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"\\0\\1undionly.kpxe\\0octet\\0", (server, 69))
        block, sender = client.recvfrom(600)
        assert 61000 <= sender[1] <= 65535
def reach(protocol):
    try:
        protocol()
        return protocol.__name__
    except OSError:
        return ""
with concurrent.futures.ThreadPoolExecutor() as side_by_side:
    print(*side_by_side.map(reach, (http, smb, ftp, tftp)))
"""
ALL = {"dhcp", "ftp", "http", "smb", "tftp"}
METHODS = ["http", "cifs", "ftp"]
# So that all of them are served; it is never fetched.
IMAGE = {
    "skip_iso_deploy": True,
    "alt_arch": "x86_64",
    "kernel_url": "http://192.0.2.1/vmlinuz",
    "initrd_url": "http://192.0.2.1/full.cz",
    "stage2_http_url": "http://192.0.2.1/tree",
    "live_size": 1,
}


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A server with every firewall installed and none running, all services behind them."""
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        firewalls = ["firewalld", "iptables", "nftables", "ufw"]
        server = lab.server(
            "netboot1", packages=["vsftpd", *firewalls], installed=WITH_CLIENTS, binds=[CHECKOUT]
        )
        server.run(["apt-get", "-qq", "update"])
        server.run(["apt-get", "-qq", "-y", "install", *firewalls])
        # Stopped while it starts, it leaves its rules, on a busy machine some of them late.
        gone = "for again in 1 2 3; do nft flush ruleset; sleep 1; done"
        server.run(["sh", "-c", f"systemctl disable --now firewalld && {gone}"])
        salt = SaltCall(server, {})

        def apply(*arguments, **netboot):
            salt.write_pillar(
                {"netboot": {"images": {"p10": IMAGE}, "methods": METHODS, **netboot}}
            )
            done = salt.apply(server, *arguments)
            assert done.failed == {}
            return done

        def shell(command):
            return server.run(["sh", "-c", command]).stdout

        # YAML's off
        apply(firewall=False)
        yield SimpleNamespace(lab=lab, server=server, salt=salt, apply=apply, shell=shell)


def reached(lan):
    """The services that a client of the network reaches."""
    argv = [sys.executable, "-c", REACH, lan.server.address]
    with ThreadPoolExecutor() as side_by_side:
        dhcp = side_by_side.submit(ask, lan.lab, arch=0, seconds=4)
        found = set(lan.lab.run(argv, capture_output=True).stdout.split())
    return found | ({"dhcp"} if dhcp.result() else set())


@pytest.fixture(params=sorted(START))
def guarded(lan, request):
    """The server while somebody's firewall runs; look() says all that it is told."""
    assert reached(lan) == ALL
    lan.shell(START[request.param])
    yield SimpleNamespace(
        look=lambda: lan.shell(LOOK[request.param]),
        reload=lambda: lan.shell(RELOAD[request.param]),
    )
    lan.shell(STOP[request.param])
    lan.apply(firewall="off")


@pytest.mark.parametrize(
    "guarded", ["firewalld", pytest.param("ufw", marks=pytest.mark.long)], indirect=True
)
def test_firewall_is_opened_and_closed_again(lan, guarded):
    before = guarded.look()
    assert reached(lan) == set()
    assert "netboot-firewall" in lan.apply("test=True").changed
    assert guarded.look() == before
    assert set(lan.apply().changed) == {"netboot-config-applied", "netboot-firewall"}
    assert reached(lan) == ALL
    assert "9999" in guarded.look()
    for arguments in ((), ("test=True",)):
        assert lan.apply(*arguments).changed == {}
    guarded.reload()
    assert reached(lan) == ALL
    assert lan.apply().changed == {}

    assert "445" in guarded.look()
    assert "netboot-firewall" in lan.apply(methods=["http", "ftp"]).changed
    assert "445" not in guarded.look()
    assert reached(lan) == ALL - {"smb"}

    opened = guarded.look()
    assert "netboot-clean-firewall" in lan.apply("netboot.clean", "test=True").changed
    assert guarded.look() == opened
    lan.apply("netboot.clean")
    assert guarded.look() == before
    # nginx still serves the site that came with it.
    assert reached(lan) == set()
    assert lan.apply("netboot.clean").changed == {}


def test_off_takes_back_what_was_opened(lan, guarded):
    before = guarded.look()
    lan.apply("netboot.firewall")
    assert guarded.look() != before
    lan.apply("netboot.firewall", firewall=False)
    assert guarded.look() == before


@pytest.mark.long
def test_rule_that_somebody_else_has_too_is_not_taken_back(lan):
    """With firewalld; ufw's are known by their profile."""
    rule = 'rule family="ipv4" port port="80" protocol="tcp" accept'
    add = f"firewall-cmd -q --add-rich-rule='{rule}'"
    lan.shell(f"{START['firewalld']} && {add} && {add} --permanent")
    before = lan.shell(LOOK["firewalld"])
    lan.apply("netboot.firewall")
    lan.apply("netboot.firewall", firewall="off")
    after = lan.shell(LOOK["firewalld"])
    lan.shell(STOP["firewalld"])
    assert after == before


@pytest.mark.long
def test_firewall_that_is_stopped_when_its_rules_are_taken_back(lan):
    lan.shell(START["firewalld"])
    before = lan.shell("firewall-cmd --permanent --list-all")
    lan.apply("netboot.firewall")
    opened = lan.shell("cat /etc/firewalld/zones/public.xml")
    lan.shell("systemctl stop firewalld")
    # It may be started again.
    assert lan.apply("netboot.firewall").changed == {}
    assert lan.shell("cat /etc/firewalld/zones/public.xml") == opened
    assert lan.apply("netboot.firewall", firewall="off").changed
    assert lan.apply("netboot.firewall", firewall="off").changed == {}
    lan.shell("systemctl start firewalld")
    assert lan.shell("firewall-cmd --permanent --list-all") == before
    lan.shell(STOP["firewalld"])


@pytest.mark.long
def test_zone_that_nobody_else_has_changed_is_left_as_it_came(lan):
    lan.shell("rm -f /etc/firewalld/zones/*; systemctl start firewalld")
    lan.apply("netboot.firewall")
    assert lan.shell("ls /etc/firewalld/zones").split()[0] == "public.xml"
    lan.apply("netboot.firewall", firewall="off")
    assert lan.shell("ls /etc/firewalld/zones") == ""
    lan.shell(f"firewall-cmd --reload; {STOP['firewalld']}")


NFT = """
table inet own {
    chain incoming {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport 22 accept
    }
}
"""
IPTABLES = "iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; "
IPTABLES += "iptables-legacy -A INPUT -m state --state ESTABLISHED -j ACCEPT; "


@pytest.mark.parametrize(
    ("start", "look", "stop"),
    [
        (f"printf '{NFT}' | nft -f -", "nft list ruleset", "nft flush ruleset"),
        pytest.param(
            f"{IPTABLES} iptables-legacy -A INPUT -j REJECT",
            "iptables-legacy -S",
            "iptables-legacy -F",
            marks=pytest.mark.long,
        ),
    ],
    ids=["nftables", "iptables"],
)
def test_rules_written_by_hand_are_told_and_not_touched(lan, start, look, stop):
    lan.apply()
    assert lan.salt.call(lan.server, "netboot.firewall_rules") == []
    lan.shell(start)
    before = lan.shell(look)
    assert reached(lan) == set()
    done = lan.apply("netboot.firewall")
    assert done.changed == {}
    assert lan.shell(look) == before
    rules = lan.salt.call(lan.server, "netboot.firewall_rules")
    (warning,) = done.states["netboot-firewall"]["warnings"]
    assert warning.endswith("\n".join(rules))
    lan.shell("\n".join(rules))
    assert reached(lan) == ALL
    again = lan.apply("netboot.firewall")
    assert "warnings" not in again.states["netboot-firewall"]
    lan.shell(stop)


def doctored(lan):
    return {one["key"] for one in lan.salt.call(lan.server, "netboot.doctor")}


@pytest.mark.long
def test_doctor_names_rules_written_by_hand(lan):
    lan.apply()
    assert not {key for key in doctored(lan) if key.startswith("firewall.")}
    lan.shell(f"printf '{NFT}' | nft -f -")
    closed = doctored(lan)
    lan.shell("\n".join(lan.salt.call(lan.server, "netboot.firewall_rules")))
    opened = doctored(lan)
    lan.shell("nft flush ruleset")
    assert "firewall.closed" in closed
    assert "firewall.closed" not in opened


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(START))
def test_doctor_names_a_firewall_that_was_started_later(lan, name):
    lan.apply()
    lan.shell(START[name])
    found = [doctored(lan)]
    lan.apply()
    found.append(doctored(lan))
    lan.apply(firewall="off")
    found.append(doctored(lan))
    lan.shell(STOP[name])
    found.append(doctored(lan))
    firewall = [sorted(key for key in keys if key.startswith("firewall.")) for keys in found]
    assert firewall == [["firewall.closed"], [], ["firewall.unmanaged"], []]
