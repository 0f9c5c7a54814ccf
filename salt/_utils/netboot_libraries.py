"""
Libraries of this project as programs without Salt use them: copies beside the program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_IMPORT = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)


def sources(names: Iterable[str]) -> dict[str, str]:
    """
    Return the texts of libraries, and of those that they import, by file name.

    names
        The libraries. They lie beside this one: on a minion where Salt copied them.
    """
    found: dict[str, str] = {}
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        path = os.path.join(os.path.dirname(__file__), f"{name}.py")
        if f"{name}.py" not in found and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[f"{name}.py"] = file.read()
            wanted += _IMPORT.findall(found[f"{name}.py"])
    return found
