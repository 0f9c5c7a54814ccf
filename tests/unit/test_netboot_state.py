"""The frame of states: what their comments say."""

import pytest

from netboot_state import State


@pytest.mark.parametrize(
    ("number", "test", "said"),
    [
        (0, False, "0 menus were written."),
        (1, False, "1 menu was written."),
        (2, False, "2 menus were written."),
        (1, True, "1 menu would be written."),
        (2, True, "2 menus would be written."),
    ],
)
def test_counted(number, test, said):
    assert State("name", "", test).counted(number, "menu", "written") == said
