"""Salt's real loader without daemons, and a web server on loopback."""

import functools
import http.server
import threading

import pytest
from saltfactories.utils.functional import Loaders

from lab.host import require
from netboot_records import Records
from tests.conftest import CHECKOUT
from tests.unit.test_netboot_pillar import resolve


@pytest.fixture(scope="session", autouse=True)
def _programs():
    require("git", "xorriso")


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory):
    """Where the records go that are in /var/lib/netboot on a real machine."""
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="session")
def minion_opts(salt_factories, tmp_path_factory, state_dir):
    factory = salt_factories.salt_minion_daemon(
        "netboot-functional",
        overrides={
            "file_client": "local",
            "file_roots": {"base": [str(CHECKOUT / "salt")]},
            "pillar_roots": {"base": [str(tmp_path_factory.mktemp("pillar"))]},
            "module_dirs": [str(CHECKOUT / "salt")],
            "netboot.state_dir": str(state_dir),
        },
    )
    return factory.config.copy()


@pytest.fixture(scope="session")
def loaders(minion_opts):
    return Loaders(minion_opts, loaded_base_name=f"{__name__}.loaded")


@pytest.fixture(autouse=True)
def _reset_loaders(loaders, state_dir):
    yield
    loaders.reset_state()
    for record in state_dir.glob("*/*.json"):
        record.unlink()


@pytest.fixture
def records(state_dir):
    return Records(str(state_dir))


@pytest.fixture
def configured(records, tmp_path):
    """Put on record what a pillar resolves to, for a root below the test's own directory."""

    def _configured(pillar=None, **changed):
        pillar = {"root": str(tmp_path / "export"), **(pillar or {})}
        resolved = resolve(pillar, state_dir=records.directory)
        assert resolved["problems"] == []
        config = {**resolved["config"], **changed}
        records.write("applied", "config", config)
        return config

    return _configured


@pytest.fixture
def modules(loaders):
    return loaders.modules


@pytest.fixture
def states(loaders):
    return loaders.states


@pytest.fixture
def web(tmp_path):
    """
    A web server on loopback for a folder of its own; `requests` has what was asked.

    A barrier as `hold` is waited for before each answer.
    """
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if server.hold:
                server.hold.wait()
            super().do_GET()

        def log_request(self, code="-", size="-"):
            unchanged = ": 304" if code == 304 else ""
            server.requests.append(f"{self.command} {self.path}{unchanged}")

        def log_message(self, *args):
            """Nothing: log_request has it all."""

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        server.hold = None
        server.folder = folder
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
