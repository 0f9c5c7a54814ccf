"""The pages: links, what is made from the table of keys, the Russian ones beside the English."""

import re

import pytest

from docs import make
from tests.conftest import CHECKOUT

DOCS, RUSSIAN = CHECKOUT / "docs", CHECKOUT / "docs/ru"
DOCUMENTS = [page for folder in (CHECKOUT, DOCS, RUSSIAN) for page in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("path", make.files())
def test_documents_are_made_from_the_table(path):
    assert (DOCS / path).read_text() == make.files()[path], "run docs/make.py"


def test_reference_is_translated():
    assert make.untranslated() == ""


def links(page):
    """The links of a page to files of the project: path and anchor."""
    for link in re.findall(r"\]\(([^)\s]+)", page.read_text()):
        if ":" not in link:
            path, _, anchor = link.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    words = [heading.lstrip("#").strip().lower() for heading in make.sections(page)]
    return [re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in words]


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"
