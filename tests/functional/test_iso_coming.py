"""What people in front of a menu see of ISOs that are being fetched."""

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError

import iso_coming
from iso_coming import Coming
from iso_download import Fetches
from iso_part import Part
from tests.conftest import CHECKOUT
from tests.ipxe import Client

from .sources import BadWeb, serving

BODY = bytes(range(256)) * 20_000
SUM = {"sha256": hashlib.sha256(BODY).hexdigest()}
LINE = r"Alt 11: (\d+) % of 0\.0 GB at \d\d:\d\d"
# A run that is killed: the configuration and what to fetch are its arguments.
RUN = """import json, sys
import iso_coming
from iso_download import Fetches
iso_coming._EVERY_S = 0
Fetches.of(json.loads(sys.argv[1]), {}).fetch([sys.argv[2]], sys.argv[3], json.loads(sys.argv[4]))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A server whose pillar has one image, and the image's source."""
    monkeypatch.setattr(iso_coming, "_EVERY_S", 0)
    for name in ("staging", "tftp", "dist"):
        (tmp_path / name).mkdir()
    config = {
        "paths": {"coming": f"{tmp_path}/tftp/coming.ipxe", "staging": f"{tmp_path}/staging"},
        "images": [{"name": "Альт 11", "file": "a.iso"}],
        "fetch": {"attempts": 1, "stall_timeout_s": 60},
    }
    with serving(BadWeb()) as web:
        web.files["/a.iso"] = BODY
        yield SimpleNamespace(
            config=config,
            web=web,
            url=f"{web.url}/a.iso",
            iso=f"{tmp_path}/dist/a.iso",
            script=tmp_path / "tftp/coming.ipxe",
        )


def drawn(here, **settings):
    """What a menu shows of it: lines that nobody can choose, and what is printed."""
    settings |= {"nb-text-of": "of", "nb-text-at": "at"}
    client = Client({"coming": here.script.read_text()}, settings)
    assert client.run("coming")
    return client.gaps, client.said


def seen_while(here, ended):
    """The percents that clients are shown until something has ended."""
    shown = []
    while not ended():
        with contextlib.suppress(FileNotFoundError):
            ((line,), nothing) = drawn(here)
            shown.append(int(re.fullmatch(LINE, line)[1]))
            assert nothing == []
        time.sleep(0.01)
    return shown


@pytest.mark.parametrize(
    ("fault", "least", "fails"),
    [({"slow": 0.005}, 80, False), ({"slow": 0.005, "cut": len(BODY) // 2}, 40, True)],
)
def test_fetch_shows_how_far_it_is(here, fault, least, fails):
    here.web.faults = [fault]
    failed = []

    def fetch():
        try:
            Fetches.of(here.config, {}).fetch([here.url], here.iso, SUM)
        except CommandExecutionError as err:
            failed.append(err)

    thread = threading.Thread(target=fetch)
    thread.start()
    shown = seen_while(here, lambda: not thread.is_alive())
    assert shown == sorted(shown)
    assert (shown[0] <= 10, shown[-1] >= least, len(set(shown)) > 10) == (True, True, True)
    assert (bool(failed), here.script.exists()) == (fails, False)


def test_killed_fetch_leaves_only_what_was_true_at_that_time(here):
    """Until the next apply."""
    here.web.faults = [{"stall": len(BODY) // 2}]
    words = [json.dumps(here.config), here.url, here.iso, json.dumps(SUM)]
    environment = {"PYTHONPATH": str(CHECKOUT / "salt/_utils")}
    with subprocess.Popen([sys.executable, "-c", RUN, *words], env=environment) as run:
        while not here.script.exists():
            assert run.poll() is None
            time.sleep(0.02)
        Coming(here.config).show()  # another run: what is being fetched stays
        assert here.script.exists()
        run.kill()
    ((line,), _) = drawn(here)
    assert re.fullmatch(LINE, line)
    assert drawn(here, **{"nb-say": "echo"}) == ([], [line])
    Coming(here.config).show()
    assert not here.script.exists()


def test_fetch_goes_on_where_it_cannot_be_shown(here):
    here.config["paths"]["coming"] = "/nonexistent/coming.ipxe"
    Fetches.of(here.config, {}).fetch([here.url], here.iso, SUM)


def test_iso_that_waits_for_the_window_is_seen_too(here):
    """By the script other servers of a site see that its fetch goes on, see netboot_site."""
    part = Part(here.config["paths"]["staging"], "b.iso", SUM)
    with contextlib.closing(part):
        part.write_note(here.url, None, len(BODY))
        part.add(BODY[:100_000])
        (image,) = here.config["images"]
        image["held"] = {"pillar": {**image, "file": "b.iso"}}
        Coming(here.config).show()
        assert "1 %" in here.script.read_text()
