"""Sources of an ISO that the host of salt-ssh may send."""

import pytest
from salt.exceptions import CommandExecutionError

import netboot_controller

FAR = "https://far/a.iso"


@pytest.mark.parametrize(
    ("controller", "sources", "url", "others", "found"),
    [
        ([FAR], [FAR], "http://127.0.0.1:2", False, ["http://127.0.0.1:2/a.iso", FAR]),
        ([FAR], [], "http://127.0.0.1:2", False, ["http://127.0.0.1:2/a.iso"]),
        ([], [FAR], "http://127.0.0.1:2", False, [FAR]),
        ([FAR], [FAR], None, False, [FAR]),
        ([FAR], [], None, True, []),
    ],
)
def test_sources(controller, sources, url, others, found):
    image = {"file": "a.iso", "controller": controller, "sources": sources}
    assert netboot_controller.sources(image, url, others) == found


def test_nobody_else_is_asked():
    image = {"file": "a.iso", "controller": [FAR], "sources": []}
    with pytest.raises(CommandExecutionError, match="apply with ./netboot ssh there"):
        netboot_controller.sources(image, None, False)
