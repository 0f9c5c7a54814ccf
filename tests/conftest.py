"""Shared by all tests: Salt's own loader, with the checkout's modules and states."""

import logging
from pathlib import Path

import pytest
import salt.config  # its import installs log handlers that would write to closed streams

logging.root.setLevel(logging.WARNING)
for handler in logging.root.handlers[:]:
    logging.root.removeHandler(handler)
    handler.close()

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def salt_factories_config(tmp_path_factory):
    return {
        "code_dir": str(CHECKOUT),
        # Short, for the paths of Salt's sockets.
        "root_dir": str(tmp_path_factory.mktemp("sf")),
        "inject_sitecustomize": False,
        "start_timeout": 60,
    }
