"""Firewalls written by hand: which chains keep clients out, and what to add to them."""

import pytest

import netboot_rules

WANTED = {"tcp": ["80"], "udp": ["67", "69", "61000-65535"]}

CLOSED = """
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
table ip6 filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
}
"""
# as iptables-nft writes it
REJECTS = """
table ip filter {
	chain own {
		counter packets 0 bytes 0 drop
	}

	chain INPUT {
		type filter hook input priority filter; policy accept;
		tcp dport 22 counter packets 0 bytes 0 accept
		counter packets 12 bytes 345 reject with icmp port-unreachable
	}
}
"""
# an empty chain, as Docker leaves some; a chain with a remark; the last rule logs
REMARKED = """
table inet filter {
	chain own {
	}

	chain input {
		comment "mine"
		type filter hook input priority filter; policy accept;
		log prefix "no: " level warn drop
	}
}
"""
OPEN = """
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state invalid drop
		ip saddr 192.0.2.7 counter packets 1 bytes 2 reject
	}

	chain output {
		type filter hook output priority filter; policy drop;
	}
}
"""
TCP = """iifname "eth0" tcp dport 80 accept comment "netboot-alt\""""
UDP = """iifname "eth0" udp dport { 67, 69, 61000-65535 } accept comment "netboot-alt\""""


@pytest.mark.parametrize(
    ("listing", "commands"),
    [
        ("", []),
        (OPEN, []),
        (REMARKED, [f"nft insert rule inet filter input '{rule}'" for rule in (TCP, UDP)]),
        (CLOSED, [f"nft insert rule inet filter input '{rule}'" for rule in (TCP, UDP)]),
        (REJECTS, [f"nft insert rule ip filter INPUT '{rule}'" for rule in (TCP, UDP)]),
        (
            CLOSED.replace('iif "lo" accept', UDP),
            [f"nft insert rule inet filter input '{TCP}'"],
        ),
    ],
)
def test_nft_rules(listing, commands):
    assert netboot_rules.nft_rules(WANTED, ["eth0"], listing) == commands


def test_each_interface_has_rules():
    commands = netboot_rules.nft_rules(WANTED, ["eth0", "eth1"], REJECTS)
    assert [command.split('"')[1] for command in commands] == ["eth0", "eth0", "eth1", "eth1"]


@pytest.mark.parametrize(
    ("listing", "count"),
    [
        ("-P INPUT ACCEPT", 0),
        ("-P INPUT ACCEPT\n-A INPUT -s 192.0.2.7/32 -j DROP", 0),
        ("-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", 2),
        ("-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable", 2),
    ],
)
def test_iptables_rules(listing, count):
    commands = netboot_rules.iptables_rules(WANTED, ["eth0"], listing)
    assert len(commands) == count
    for command in commands:
        assert command.startswith("iptables -I INPUT -i eth0 -p ")
    if commands:
        added = [command.replace("iptables -I", "-A") for command in commands]
        listing += "\n" + "\n".join(added)
        listing += "\n-A INPUT -j DROP"
        assert netboot_rules.iptables_rules(WANTED, ["eth0"], listing) == []
