"""A rehearsal's table, JSON and JUnit XML."""

import json
from xml.etree import ElementTree

from lab.results import FAILED, Result, as_json, junit, line, matrix, passed, summary, table, widths

GOOD = Result("bios", "p11-kworkstation/install/http", "booted", 34.2)
BAD = Result(
    *("efi-x86_64", "p11/livecd/http", FAILED, 60.0),
    cause="not-found",
    text="The kernel was not found: <kernel>\x1b[1m",
    advice="./netboot apply brings it.",
    picture="002.png",
)
LEFT = Result("bios", "p11/rescue/http", text="interrupted")


def test_line_of_progress():
    assert line(GOOD, 12, 40) == "12/40  bios  p11-kworkstation/install/http  booted  34 s"
    assert line(BAD, 3, 40).startswith(" 3/40  efi-x86_64  p11/livecd/http  FAILED  not-found: The")


def test_columns_are_aligned():
    wide = widths([GOOD, BAD])
    assert line(GOOD, 1, 2, wide).index("booted") == line(BAD, 2, 2, wide).index("FAILED")


def test_table_says_what_to_do_about_failures():
    lines = table([GOOD, BAD, LEFT]).splitlines()
    assert "    ./netboot apply brings it." in lines
    assert "    002.png" in lines
    assert lines[-1] == "1 of 3 booted, 1 failed, 1 not tried."


def test_matrix_has_each_result_once():
    lines = matrix([GOOD, BAD, LEFT, Result("efi-x86_64", GOOD.what, "booted", 41.0)]).splitlines()
    assert lines[:4] == [
        "                               bios       efi-x86_64",
        "p11-kworkstation/install/http  34 s       41 s",
        "p11/livecd/http                -          FAILED",
        "p11/rescue/http                not tried  -",
    ]
    assert "    ./netboot apply brings it." in lines
    assert lines[-1] == "2 of 4 booted, 1 failed, 1 not tried."
    assert matrix([]) == "\n\n0 of 0 booted."


def test_passed():
    assert passed([GOOD])
    assert not passed([GOOD, BAD])
    assert not passed([GOOD, LEFT])
    assert not passed([]), "nothing was booted"
    assert summary([GOOD]) == "1 of 1 booted."


def test_json():
    found = json.loads(json.dumps(as_json([GOOD, BAD], ["netboot:interface: x"], {"p11": "made"})))
    assert (found["passed"], found["images"]) == (False, {"p11": "made"})
    assert found["results"][1]["cause"] == "not-found"


def test_junit():
    suite = ElementTree.fromstring(junit([GOOD, BAD, LEFT]))[0]  # noqa: S314
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    good, bad, left = suite
    assert (good.get("classname"), good.get("name")) == ("bios", GOOD.what)
    assert not len(good)
    assert bad.find("failure").get("type") == "not-found"
    # A terminal's escapes are no XML.
    assert bad.find("failure").get("message") == "The kernel was not found: <kernel>?[1m"
    assert left.find("skipped").get("message") == "interrupted"
