"""What a machine says of itself, in a network namespace of its own."""

import json
import subprocess
import sys

from tests.conftest import CHECKOUT

ASK = """
import json, netboot_machine
print(json.dumps(netboot_machine.target("/var/lib/netboot")))
"""


def test_all_addresses_of_an_interface_in_their_order():
    """Two networks on one card, two addresses in one network, a peer, an alias, none."""
    added = (
        "link add d0 type veth peer name d1",
        "link add d2 type veth peer name d3",
        "address add 192.0.2.10/24 dev d0",
        "address add 203.0.113.5/25 dev d0",
        "address add 192.0.2.11/24 dev d0 label d0:1",
        "address add 198.51.100.1 peer 198.51.100.2/32 dev d1",
    )
    lines = [f"ip {one}" for one in added]
    script = "\n".join(["set -e", *lines, 'exec "$0" -c "$1"'])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, sys.executable, ASK],
        env={"PYTHONPATH": str(CHECKOUT / "salt/_utils"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    target = json.loads(done.stdout)
    assert target["interfaces"] == {
        "lo": [],
        "d0": ["192.0.2.10/24", "203.0.113.5/25", "192.0.2.11/24"],
        "d1": ["198.51.100.1/32"],
        "d2": [],
        "d3": [],
    }
