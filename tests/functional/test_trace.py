"""netboot.trace and netboot.clients of clients in a real log, with hosts that are on record."""

import json
import time

from netboot_host_scripts import listed

SEEN, MISTYPED = "52:54:00:4e:05:fe", "52:54:00:4e:05:ff"


def lines(mac, address):
    """As nginx writes them: a menu, from which the local disk was booted."""
    begun = time.time() - 600
    for number, step in enumerate(("script", "menu&e=local&w=5000", "chosen&e=local", "local")):
        facts = f"m={mac.replace(':', '')}&u=x-1&f=efi&a=x86_64&v=1.21&r=2048&p=Acer"
        request = {"t": begun + number, "a": address, "m": "GET", "u": "/seen", "s": 200}
        request |= {"g": f"{facts}&s={step}", "n": 0, "l": "0", "c": "OK", "d": 0.1, "r": ""}
        yield json.dumps({**request, "w": "iPXE/2", "i": f"{address}-{number}"}) + "\n"


def test_machine_whose_host_is_mistyped(modules, configured, records, tmp_path):
    log = tmp_path / "clients.jsonl"
    log.write_text("".join([*lines(SEEN, "192.0.2.7"), *lines("020000000009", "192.0.2.9")]))
    paths = {**configured()["paths"], "clients": str(tmp_path / "none")}
    configured(clients_log=str(log), paths=paths)
    records.write("applied", "hosts", listed({"pc7": {"mac": MISTYPED}, "pc8": {}}, {}))
    near = {"host": "pc7", "mac": MISTYPED, "address": "", "last": ""}
    for name in (SEEN, "192.0.2.7"):
        traced = modules.netboot.trace(name)
        assert [boot["state"] for boot in traced["boots"]] == ["local disk"]
        assert (traced["stranger"], traced["near"]) == (True, [near])
    other = modules.netboot.trace("192.0.2.9")
    assert (other["stranger"], other["near"]) == (True, [])
    host = modules.netboot.trace("pc7")
    assert (host["boots"], host["stranger"]) == ([], False)
    (seen,) = host["near"]
    assert (seen["host"], seen["mac"], seen["address"]) == ("pc7", SEEN, "192.0.2.7")
    clients = {one["address"]: one for one in modules.netboot.clients()}
    assert seen["last"] == clients["192.0.2.7"]["last"]
    records.write("applied", "hosts", listed({"pc7": {"mac": SEEN}}, {}))
    host = modules.netboot.trace("pc7")
    assert (len(host["boots"]), host["stranger"], host["near"]) == (1, False, [])
