"""Control files of zsync: what is read, what is refused, what is written."""

import pytest

import iso_zsync

HEAD = (
    "zsync: 0.6.2\nFilename: ../../x\nMTime: Fri, 27 Nov 2026 14:55:06 +0000\nBlocksize: 2048\n"
    "Length: 5000\nHash-Lengths: 2,2,5\nURL: http://192.0.2.1/x\nSHA-1: 0\n\n"
)
SUMS = bytes(range(21))
GOOD = HEAD.encode() + SUMS


def test_read_and_written_again():
    control = iso_zsync.parsed(GOOD, 5000)
    assert control == (2048, 5000, (2, 2, 5), SUMS)
    again = iso_zsync.written(control, "http://192.0.2.9/dist/a.iso")
    assert again == (
        b"zsync: 0.6.2\nBlocksize: 2048\nLength: 5000\nHash-Lengths: 2,2,5\n"
        b"URL: http://192.0.2.9/dist/a.iso\n\n" + SUMS
    )
    assert iso_zsync.parsed(again, 5000) == control


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Length: 5000", "Length: 5001", "it is for a file of 5001 bytes, not of 5000"),
        ("Length: 5000", "Length: 5e3", "its Length is not a number"),
        ("Length: 5000", "Length: 5000\nLength: 5000", "it has Length twice"),
        ("Length: 5000\n", "", "its Length is not a number"),
        ("Blocksize: 2048", "Blocksize: 512", "its Blocksize is 512"),
        ("Blocksize: 2048", "Blocksize: 131072", "its Blocksize is 131072"),
        ("Blocksize: 2048", "Blocksize: 4096", "it has 21 bytes of checksums, not 14"),
        ("Blocksize: 2048", "Blocksize: ²", "its Blocksize is not a number"),
        ("2,2,5", "3,2,5", "its Hash-Lengths are not those of zsync"),
        ("2,2,5", "2,5,2", "its Hash-Lengths are not those of zsync"),
        ("2,2,5", "2,2", "its Hash-Lengths are not those of zsync"),
        ("2,2,5", "2,4,16", "it has 21 bytes of checksums, not 60"),
        ("zsync: 0.6.2", "x: y", "it is not a control file of zsync"),
        ("MTime", "\n" * 40 + "MTime", "its Blocksize is not a number"),
        ("MTime", "X: y\n" * 40 + "MTime", "it has more than 32 lines"),
        ("MTime", "X: " + "y" * 5000 + "\nMTime", "it has more than 4146 bytes"),
    ],
)
def test_refused(old, new, said):
    with pytest.raises(ValueError, match="^it") as raised:
        iso_zsync.parsed(GOOD.replace(old.encode(), new.encode()), 5000)
    assert str(raised.value) == said


@pytest.mark.parametrize("cut", [0, 10, len(HEAD) - 1, len(GOOD) - 1])
def test_truncated(cut):
    with pytest.raises(ValueError, match="^it"):
        iso_zsync.parsed(GOOD[:cut], 5000)


def test_no_size_makes_it_too_large_for_the_memory():
    assert iso_zsync.most(16 << 30) == 128 << 20
    assert iso_zsync.most(1 << 60) == 128 << 20
