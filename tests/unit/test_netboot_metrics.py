"""Metrics as Prometheus' own parser reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

import netboot_live
import netboot_metrics
from tests import pages


@pytest.fixture
def services(monkeypatch):
    made = pages.Services(monkeypatch)
    made.states["netboot-dnsmasq"] = "failed"
    return made


@pytest.fixture
def metrics(tmp_path, services):
    """The values of a server of one of these kinds, by name and labels."""

    def _metrics(kind, change=lambda server: None):
        server = getattr(pages, kind)(tmp_path)
        change(server)
        live = netboot_live.look(server.write(), pages.NOW)
        text = netboot_metrics.text(live, pages.NOW)
        found = {}
        for family in text_string_to_metric_families(text):
            assert (family.type, bool(family.documentation)) == ("gauge", True)
            for sample in family.samples:
                key = (sample.name, *sample.labels.values())
                assert key not in found
                found[key] = sample.value
        return found

    return _metrics


def test_values(metrics):
    found = metrics("at_work")
    entry = "alt_education_p11-install"
    assert found["netboot_boots_last_24h", "efi", entry, "running"] == 21
    assert found["netboot_boots_last_24h", "bios", entry, "running"] == 6
    assert found["netboot_boots_last_24h", "efi", "local", "local disk"] == 2
    assert found["netboot_boots_last_24h", "efi", "none", "in menu"] == 1
    assert found["netboot_step_seconds_last_24h", "menu", "median"] == 8
    assert found["netboot_step_seconds_last_24h", "menu", "max"] == 30
    assert found["netboot_step_seconds_last_24h", "stage", "median"] == 41.5
    assert found["netboot_sent_bytes_last_24h",] == 27 * 5_214_965_760 // 2
    assert found["netboot_clients", "running"] == 27
    assert found["netboot_clients", "failed"] == 0
    assert found["netboot_images", "ready"] == 3
    assert found["netboot_image_verified_age_seconds", "ALT Education p11"] == 400_000
    assert found["netboot_hosts", "armed"] == 2
    assert found["netboot_service_up", "netboot-clients.timer"] == 1
    assert found["netboot_service_up", "netboot-dnsmasq"] == 0
    assert found["netboot_findings", "error"] == 0
    assert found["netboot_last_apply_timestamp_seconds",] == pages.NOW - 1800
    assert found["netboot_timestamp_seconds",] == pages.NOW
    assert found["netboot_info", "0.1.0"] == 1


def test_empty_server(metrics):
    found = metrics("empty")
    assert found["netboot_images", "ready"] == found["netboot_clients", "running"] == 0
    assert not [key for key in found if key[0] == "netboot_boots_last_24h"]


def test_hostile_names(metrics):
    found = metrics("broken")
    images = {key[1] for key in found if key[0] == "netboot_image_verified_age_seconds"}
    assert {"ALT <script>alert(1)</script>", "ALT \"'><img src=x onerror=alert(1)>"} <= images
    assert found["netboot_stopped_last_24h", "cut-off"] == 9
    assert found["netboot_findings", "error"] == 1
    assert found["netboot_last_apply_failed_states",] == 1


def test_back_slashes_and_line_ends(metrics):
    found = metrics("empty", lambda server: server.image('a\\"b\nc{d="e"}'))
    assert ("netboot_image_verified_age_seconds", 'a\\"b\ufffdc{d="e"}') in found


def test_labels_are_bounded(metrics):
    """Whatever clients say of themselves, and of what they boot."""

    def change(server):
        for number in range(100, 400):
            server.boot(
                number, pages.NOW - 20 * number, f"x{number}", "boot", firmware=f"f{number}"
            )
        for number in range(300):
            server.image(f"image {number}")

    found = metrics("empty", change)
    assert found["netboot_boots_last_24h", "other", "other", "gone silent"] == 300
    assert len(found) < 300


def test_older_boots_do_not_count(metrics):
    found = metrics("empty", lambda server: server.boot(1, pages.NOW - 90_000, until="local"))
    assert found["netboot_sent_bytes_last_24h",] == 0
    assert found["netboot_clients", "local disk"] == 1
    assert not [key for key in found if key[0] == "netboot_boots_last_24h"]


def test_nobody_was_asked_for_other_servers(metrics):
    assert not [key for key in metrics("empty") if key[0].startswith("netboot_other_servers")]


def test_other_servers(metrics):
    def asked(server):
        others = {"at": pages.NOW - 60, "servers": ["192.0.2.3", "192.0.2.4"]}
        server.snapshot["others"] = others

    found = metrics("empty", asked)
    assert found["netboot_other_servers",] == 2
    assert found["netboot_other_servers_age_seconds",] == 60


def test_offers(metrics, services):
    lines = [
        "{at} netboot1 dnsmasq-dhcp[7]: {number} vendor class: PXEClient:Arch:00007:UNDI:003016",
        "{at} netboot1 dnsmasq-dhcp[7]: {number} PXE(eth0) 52:54:00:00:00:0{number} proxy",
        "{at} netboot1 dnsmasq-dhcp[7]: {number} bootfile name: {file}",
    ]
    offers = [(1, "snponly-x86_64.efi"), (2, "snponly-x86_64.efi"), (3, "undionly.kpxe"), (4, "x")]
    services.journal = [
        line.format(at=f"{pages.NOW - 60}.5", number=number, file=file)
        for number, file in offers
        for line in lines
    ]
    found = metrics("empty")
    offered = {key[1]: value for key, value in found.items() if key[0] == "netboot_offers_last_24h"}
    assert offered == {"bios": 1, "efi-x86_64": 2, "other": 1}
    assert found["netboot_clients", "gone silent"] == 4
