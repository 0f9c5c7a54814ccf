"""Shared by all tests: what Salt's loader needs, and one lab for the tests of a file."""

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import salt.config  # noqa: F401 (installs log handlers that would write to closed streams)

import netboot_fresh
from tests.checkout import SOURCE as CHECKOUT
from tests.checkout import FreshCheckout

# Now, so that Salt's loader forgets none of the libraries that tests have imported.
netboot_fresh.forget_old()

logging.root.setLevel(logging.WARNING)
for handler in logging.root.handlers[:]:
    logging.root.removeHandler(handler)
    handler.close()


# The files that take the most time (--durations=0 says), the longest first: begun last, one of them
# would keep one processor busy while the others have nothing left to do.
LONGEST = """
boot/test_methods boot/test_master integration/test_platforms integration/test_firewall
boot/test_altlike boot/test_firmware boot/test_stage1 boot/test_boot integration/test_versions
integration/test_admins integration/test_exports integration/test_apply integration/test_hosts
boot/test_secure_boot integration/test_dhcp integration/test_http boot/test_generations
integration/test_upgrading integration/test_clean mutations/test_faults integration/test_probe
""".split()


def pytest_collection_modifyitems(items):
    def place(item):
        name = str(item.path.relative_to(CHECKOUT / "tests").with_suffix(""))
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def what_the_lab_measures(request):
    """Coverage of what salt-call runs on machines; that of the lab's programs would take time."""
    measure = "COVERAGE_PROCESS_CONFIG"  # by which coverage reaches processes that a test starts
    with pytest.MonkeyPatch.context() as patched:
        if measure in os.environ and request.path.parent.name in ("integration", "boot"):
            from lab.salt import SaltCall  # here: unit tests need nothing of the lab

            patched.delenv(measure)
            patched.setattr(SaltCall, "coverage", CHECKOUT / ".cache")
        yield


@pytest.fixture(scope="session")
def salt_factories_config(tmp_path_factory):
    return {
        "code_dir": str(CHECKOUT),
        # Short, for the paths of Salt's sockets.
        "root_dir": str(tmp_path_factory.mktemp("sf")),
        "inject_sitecustomize": False,
        "start_timeout": 60,
    }


@pytest.fixture(scope="module")
def checkout():
    # Not below pytest's folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="netboot-fresh.") as base:
        os.chmod(base, 0o755)  # noqa: S103
        yield FreshCheckout(Path(base))


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A lab, a machine with the packages of a netboot server, an ISO on a web server, salt-call."""
    # here: unit tests need nothing of the lab
    from lab.salt import SaltCall
    from tests.servers import INSTALLED

    with made_lan(tmp_path_factory, installed=INSTALLED, binds=[CHECKOUT]) as found:
        found.salt = SaltCall(found.server, {"netboot": found.pillar})
        yield found


@contextlib.contextmanager
def made_lan(tmp_path_factory, **server_arguments):
    """The same without Salt, and with another machine (the arguments of lab.server)."""
    from lab import Lab
    from lab.iso import make_iso

    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", **server_arguments)
        web = lab.web(iso.path.parent)
        pillar = {
            "interface": "eth0",
            "images": {
                "ALT p11": {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
            },
            "default_image": {"x86_64": "ALT p11"},
            "menu": {"timeout_s": 2},
        }
        yield SimpleNamespace(lab=lab, server=server, iso=iso, web=web, pillar=pillar)
