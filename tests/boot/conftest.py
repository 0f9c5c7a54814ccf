"""A table of all boots at the end of a run: how long each took, what it fetched."""

import pytest


@pytest.fixture(autouse=True)
def boots_on_record(record_property):
    from lab.client import BOOTS

    BOOTS.clear()
    yield
    for firmware, marker, seconds, received in BOOTS:
        keys = ("ipxe", "dialect", "method", "form", "variant", "lockdown")
        how = [marker.get(key) or "-" for key in keys]
        record_property("boot", [firmware, *how, f"{seconds:.0f}", f"{received / 2**20:.1f}"])


def pytest_terminal_summary(terminalreporter):
    rows = [
        [*value, report.nodeid.rpartition("::")[2]]
        for report in terminalreporter.stats.get("", [])
        for name, value in report.user_properties
        if name == "boot" and report.when == "teardown"
    ]
    if rows:
        head = ["firmware", "iPXE", "dialect", "method", "form", "variant", "lockdown", "seconds"]
        table = [[*head, "MiB", "test"], *rows]
        widths = [max(len(row[at]) for row in table) + 1 for at in range(len(head) + 1)]
        terminalreporter.section("boots")
        for row in table:
            columns = zip(row, widths)
            terminalreporter.line("".join(f"{text:{width}}" for text, width in columns) + row[-1])
