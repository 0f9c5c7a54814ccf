"""What the demo says when a step fails."""

import subprocess

import pytest

from lab import LabError, demo


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LabError("the log is in X:\n    its end"), "its end"),
        (OSError(28, "No space left on device"), "No space left"),
        (subprocess.CalledProcessError(5, ["xorriso"]), "xorriso"),
        (KeyboardInterrupt(), "Interrupted"),
    ],
)
def test_failed_step(monkeypatch, capsys, tmp_path, error, said):
    def run(steps):
        with steps.step("first") as notes:
            notes.append("3 MiB")
        with steps.step("second"):
            raise error

    monkeypatch.setattr(demo, "RESULTS", tmp_path)
    monkeypatch.setattr(demo, "_run", run)
    assert demo.demo() == 1
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["step", "result", "seconds"]
    assert table[3].startswith("first   3 MiB")
    assert table[4].startswith("second  FAILED")
    assert said in "\n".join(table[5:])
    assert str(tmp_path) in "\n".join(table[5:])
