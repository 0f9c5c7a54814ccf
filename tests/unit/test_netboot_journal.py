"""What firmware asked dnsmasq for, from lines of its log."""

import netboot_journal

PC, OTHER = "525400000001", "525400000002"


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
            "bootfile name: snponly-x86_64.efi",
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
    found = netboot_journal.put_together(lines).dhcp
    assert set(found) == {PC, OTHER}
    assert {(one.kind, one.file) for one in found[PC]} == {("dhcp", "snponly-x86_64.efi")}
    assert found[PC][0].at == 1795676400.250421


def test_what_tftp_sent():
    head = "1795676400.5 server dnsmasq-tftp[113]: "
    lines = [
        f"{head}sent /srv/export/tftp/undionly.kpxe to 192.0.2.7",
        f"{head}failed sending /srv/export/tftp/snponly.efi to 192.0.2.7",
        f"{head}file /srv/export/tftp/x not found for 192.0.2.8",
        f"{head}error 8 User aborted the transfer received from 192.0.2.9",
    ]
    found = netboot_journal.put_together(lines).tftp
    assert {address: [(one.kind, one.file) for one in all_] for address, all_ in found.items()} == {
        "192.0.2.7": [
            ("tftp", "/srv/export/tftp/undionly.kpxe"),
            ("tftp cut off", "/srv/export/tftp/snponly.efi"),
        ],
        "192.0.2.8": [("tftp missing", "/srv/export/tftp/x")],
    }


def test_transfer_that_the_client_ended():
    """UEFI asks for the size first, and dnsmasq calls that sent; the next time it is whole."""
    file = "/srv/export/tftp/snponly.efi"
    head = "dnsmasq-tftp[108]:"
    lines = [
        f"1795676400.084142 s {head} error 8 User aborted the transfer received from 192.0.2.7",
        f"1795676400.084156 s {head} sent {file} to 192.0.2.7",
    ]
    assert netboot_journal.put_together(lines).tftp == {}
    lines.append(f"1795676400.117540 s {head} sent {file} to 192.0.2.7")
    assert [one.kind for one in netboot_journal.put_together(lines).tftp["192.0.2.7"]] == ["tftp"]


def test_who_asks():
    """iPXE on a BIOS; a kind of firmware that is left to other servers."""
    lines = [
        *dhcp(
            1,
            "vendor class: PXEClient:Arch:00000:UNDI:002001",
            "user class: iPXE",
            "PXE(eth0) 52:54:00:00:00:01 proxy",
            "bootfile name: config-x86_64.ipxe",
            # It takes the address that another server gives.
            "vendor class: PXEClient:Arch:00000:UNDI:002001",
        ),
        *dhcp(
            2,
            "vendor class: PXEClient:Arch:00010:UNDI:002001",
            "PXE(eth0) 52:54:00:00:00:02 proxy-ignored",
        ),
        *dhcp(
            3,
            "vendor class: PXEClient:Arch:00007:UNDI:003000",
            "DHCPREQUEST(eth0) 192.0.2.100 52:54:00:00:00:03",
        ),
    ]
    found = netboot_journal.put_together(lines).dhcp
    told = {
        mac[-1]: [(one.kind, one.file, one.arch, one.address) for one in asked]
        for mac, asked in found.items()
    }
    assert told == {
        "1": [("ipxe", "config-x86_64.ipxe", "0", "")],
        "2": [("ignored", "", "10", "")],
        "3": [("dhcp", "", "7", "192.0.2.100")],
    }


def test_names_of_files_that_look_like_messages():
    """The address of who asked is the last one."""
    head = "1795676400.5 server dnsmasq-tftp[113]:"
    lines = [
        f"{head} file /srv/x not found for 192.0.2.8 z not found for 192.0.2.7",
        f"{head} sent /srv/y to 192.0.2.8 to 192.0.2.7",
        f"{head} failed sending /srv/y to 192.0.2.8 to 192.0.2.7",
        f"{head} sent /srv/y to 192.0.2.8 and more",
    ]
    assert set(netboot_journal.put_together(lines).tftp) == {"192.0.2.7"}
