"""Machines that asked and are not in the pillar, from lines of logs."""

import netboot_unknown

UUID = "4c4c4544-0035-3010-8052-b4c04f4d3132"
PC, OTHER = "525400000001", "525400000002"


def request(path, status=404, address="192.0.2.7", clock="10:00:00", zone="+0300"):
    return (
        f'{address} - - [26/Nov/2026:{clock} {zone}] "GET /tftp/config-{path}.ipxe HTTP/1.1" '
        f'{status} 153 "-" "iPXE/1.21.1"\n'
    )


def boot(mac, *before, status=404, model="Veriton%20N2", **more):
    asked = [*before, f"mac-{mac}"]
    lines = [request(path, status if path == asked[-1] else 404, **more) for path in asked]
    return [*lines, request(f"product-{model}", **more), request("manufacturer-Acer", **more)]


def test_what_a_menu_asks_for():
    (one,) = netboot_unknown._by_web(boot(PC, "host-pc1", f"uuid-{UUID}", "serial-1%2F2")).values()
    assert one == {
        "mac": PC,
        "address": "192.0.2.7",
        "hostname": "pc1",
        "uuid": UUID,
        "serial": "1/2",
        "manufacturer": "Acer",
        "product": "Veriton N2",
        "last": 1795676400,  # 2026-11-26 07:00 UTC
    }


def test_machines_that_boot_at_once_are_told_apart_by_address():
    lines = zip(
        boot(PC, f"uuid-{UUID}"), boot(OTHER, "uuid-x", address="192.0.2.8", model="%20NUC")
    )
    found = netboot_unknown._by_web(line for both in lines for line in both)
    assert {mac: (one["uuid"], one["product"]) for mac, one in found.items()} == {
        PC: (UUID, "Veriton N2"),
        OTHER: ("x", "NUC"),
    }


def test_address_that_another_machine_has_later():
    lines = [*boot(PC, f"uuid-{UUID}"), *boot(OTHER, clock="10:00:30", model="NUC")]
    found = netboot_unknown._by_web(lines)
    assert (found[OTHER]["uuid"], found[OTHER]["product"]) == ("", "NUC")
    assert (found[PC]["uuid"], found[PC]["product"]) == (UUID, "Veriton N2")


def test_machine_that_was_put_into_the_pillar_since():
    lines = [*boot(PC), *boot(PC, status=200, clock="11:00:00")]
    assert netboot_unknown._by_web(lines) == {}


def test_lines_that_anybody_can_have_written():
    nonsense = [
        "",
        "GET /tftp/config-mac-525400000009.ipxe",
        request("mac-nonsense"),
        request("x86_64"),
        request(f"mac-{PC}").replace("26/Nov", "99/Xyz"),
        *boot(PC, f"uuid-{'%0a' * 3}{'x' * 500}", model="%1b[31m%F0%9F%F0"),
    ]
    (one,) = netboot_unknown._by_web(nonsense).values()
    assert one["uuid"] == "x" * 60
    assert one["product"].startswith("[31m")


def dhcp(number, *texts):
    head = f"1795676400.250421 server dnsmasq-dhcp[113]: {number} "
    return [head + text for text in texts]


def test_what_firmware_asks_for():
    """Lines of dnsmasq 2.90 as a proxy, and as the DHCP server; a telephone; a system that runs."""
    lines = [
        *dhcp(
            1,
            "available DHCP subnet: 192.0.2.0/255.255.255.0",
            "vendor class: PXEClient:Arch:00007:UNDI:003001",
            "PXE(eth0) 52:54:00:00:00:01 proxy",
        ),
        *dhcp(
            2,
            "vendor class: HTTPClient:Arch:00016:UNDI:003001",
            "DHCPDISCOVER(eth0) 52:54:00:00:00:02",
            "DHCPREQUEST(eth0) 192.0.2.100 52:54:00:00:00:02",
        ),
        *dhcp(3, "vendor class: android-dhcp-14", "DHCPDISCOVER(eth0) 52:54:00:00:00:03"),
        *dhcp(4, "DHCPDISCOVER(eth0) 52:54:00:00:00:04"),
        "1795676400.1 server systemd[1]: Started netboot-dnsmasq.service.",
    ]
    found = netboot_unknown._by_dhcp(lines)
    assert {mac: one["last"] for mac, one in found.items()} == {PC: 1795676400, OTHER: 1795676400}
