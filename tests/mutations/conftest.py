"""At the end of a run: which fault was seen by whom."""


def pytest_terminal_summary(terminalreporter):
    rows = [
        dict(report.user_properties)
        for report in terminalreporter.getreports("passed")
        if "fault" in dict(report.user_properties)
    ]
    if rows:
        terminalreporter.section("faults and the tests that see them")
    width = max((len(row["fault"]) for row in rows), default=0)
    for row in sorted(rows, key=lambda row: row["seen_by"]):
        terminalreporter.line(f"{row['fault']:{width}}  {row['seen_by'].removeprefix('tests/')}")
