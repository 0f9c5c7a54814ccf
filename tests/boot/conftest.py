"""A table of all boots at the end of a run: how long each took, what it fetched."""

import pytest


@pytest.fixture(autouse=True)
def boots_on_record(record_property):
    from lab.client import BOOTS

    BOOTS.clear()
    yield
    for firmware, marker, seconds, received in BOOTS:
        how = [marker.get(key, "?") for key in ("dialect", "method", "form", "variant")]
        record_property("boot", [firmware, *how, f"{seconds:.0f}", f"{received / 2**20:.1f}"])


def pytest_terminal_summary(terminalreporter):
    rows = [
        [*value, report.nodeid.rpartition("::")[2]]
        for report in terminalreporter.stats.get("", [])
        for name, value in report.user_properties
        if name == "boot" and report.when == "teardown"
    ]
    if rows:
        head = ["firmware", "dialect", "method", "form", "variant", "seconds", "MiB", "test"]
        terminalreporter.section("boots")
        for row in [head, *rows]:
            columns = zip(row, (16, 11, 7, 5, 8, 8, 8))
            terminalreporter.line("".join(f"{text:{width}}" for text, width in columns) + row[-1])
