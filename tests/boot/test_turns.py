"""A client that comes while others load waits in its iPXE, and boots when it is its turn."""

import time

import pytest

TURN = ["curl", "-s", "--max-time", "5"]


@pytest.mark.long
@pytest.mark.parametrize("firmware", ["bios", "efi-x86_64"])
def test_late_client_waits_and_boots(lan, firmware):
    lan.salt.write_pillar({"netboot": {**lan.pillar, "http": {"clients_at_once": 1}}})
    assert lan.salt.apply(lan.server).failed == {}
    url = f"http://{lan.server.address}/turn"
    with lan.lab.client(firmware) as client:
        # Somebody takes the turn of this minute while it starts.
        deadline = time.monotonic() + 61
        while "nb-turn" not in lan.lab.run([*TURN, url], capture_output=True).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        taken = time.monotonic()
        client.booted(timeout=240)
        # A turn comes once a minute, and it asks every 5 s.
        assert time.monotonic() - taken > 50
    boots = lan.salt.call(lan.server, "netboot.trace", client.mac)["boots"]
    assert "turn" in [step["step"] for step in boots[0]["steps"]]
