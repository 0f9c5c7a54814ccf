"""MAC addresses that are nearly the same."""

import time

import pytest

import netboot_near

MAC = "5254004e05fe"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (MAC, 0),
        ("5254004e05ff", 2),  # a digit
        ("5254004e05ef", 2),  # two beside each other, swapped
        ("52540e4005fe", 2),  # two of different bytes
        ("5254004e50fe", 2),
        ("5254004e0511", 1),  # both digits of a byte
        ("5254004e1511", 0),
        ("5254004f05ff", 0),  # two digits of different bytes
        ("5254004f04fe", 0),
        ("020000000001", 0),
        ("5254004e05f", 0),
    ],
)
def test_likeness(other, expected):
    assert netboot_near.likeness(MAC, other) == expected
    assert netboot_near.likeness(other, MAC) == expected


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], []),
        (["020000000001"], []),
        (["5254004e0511", "5254004e05ff"], ["5254004e05ff"]),  # the nearest alone
        (["5254004e0511"], ["5254004e0511"]),
        ([f"5254004e05f{last}" for last in "012"], [f"5254004e05f{last}" for last in "012"]),
        ([f"5254004e05f{last}" for last in "0123"], []),
    ],
)
def test_nearest(others, expected):
    assert netboot_near.nearest(["029999999999", MAC], others) == expected


def test_5000_hosts_are_cheap():
    others = [f"52540000{number:04x}" for number in range(5000)]
    begun = time.process_time()
    assert netboot_near.nearest(["5254000f0012"], others) == ["525400000012", "525400000f12"]
    assert time.process_time() - begun < 0.5
