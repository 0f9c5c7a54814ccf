"""The pages: links, what is made from the table of keys, the Russian ones beside the English."""

import json
import re

import pytest

import netboot_labels
from docs import make
from tests.conftest import CHECKOUT

DOCS, RUSSIAN = CHECKOUT / "docs", CHECKOUT / "docs/ru"
DOCUMENTS = [page for folder in (CHECKOUT, DOCS, RUSSIAN) for page in sorted(folder.glob("*.md"))]
# The pages that people translate; pillar.md is made.
TRANSLATED = sorted({page.name for page in RUSSIAN.glob("*.md")} - {"pillar.md"})
TRACKED = sorted([*TRANSLATED, "README.md"])
CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


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
    """The anchors that GitHub gives the headings of a page, and its own."""
    words = [heading.lstrip("#").strip().lower() for heading in make.sections(page)]
    given = [re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in words]
    return given + re.findall(r'<a id="([^"]+)">', page.read_text())


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


@pytest.mark.parametrize("page", [CHECKOUT / "README.ru.md", *RUSSIAN.glob("*.md")], ids=str)
def test_russian_pages_link_to_russian_pages(page):
    for target, _ in links(page):
        if target.name != page.name and target.parent == DOCS:
            assert not (RUSSIAN / target.name).exists(), f"{target} exists in Russian"


@pytest.mark.parametrize("page", TRACKED)
def test_translation_is_of_the_english_page_as_it_is(page):
    then = json.loads(make.SOURCES.read_text()).get(page, {})
    now = make.digests(make.english(page))
    changed = [one for one in {**now, **then} if then.get(one) != now.get(one)]
    assert not changed, (
        f"{page} changed in {changed}: update the Russian page, then run "
        f"PYTHONPATH=salt/_utils .venv/bin/python docs/make.py --translated {page}"
    )


def test_no_translation_is_missed():
    assert sorted(json.loads(make.SOURCES.read_text())) == TRACKED


@pytest.mark.parametrize(("page", "language"), [(DOCS, "en"), (RUSSIAN, "en"), (RUSSIAN, "ru")])
def test_what_menus_say_is_explained(page, language):
    explained = (page / "troubleshooting.md").read_text()
    for label in ("none", "stranger", "missing"):
        assert netboot_labels.LABELS[language][label] in explained, label


def shape(page):
    """What translations share, by section: level, rows of tables, code without its comments."""
    for heading, lines in make.sections(page).items():
        text = "\n".join(lines)
        rows = len(re.findall(r"^ *\|", CODE.sub("", text), re.MULTILINE))
        level = len(heading) - len(heading.lstrip("#"))
        code = [re.sub(r"(?<!\S)# .*", "", block) for block in CODE.findall(text)]
        yield heading, level, rows, code


def compare(english, russian, parts):
    """Compare these parts of the shapes of two pages, from the level on."""
    made = [list(shape(page)) for page in (english, russian)]
    assert [one[1] for one in made[0]] == [one[1] for one in made[1]], "other headings"
    for there, here in zip(*made):
        assert there[2:parts] == here[2:parts], f"{there[0]} | {here[0]}"


@pytest.mark.parametrize("page", TRANSLATED)
def test_translation_has_the_shape_of_the_english_page(page):
    compare(DOCS / page, RUSSIAN / page, 4)


def test_both_readmes_have_the_same_headings_and_rows():
    compare(CHECKOUT / "README.md", CHECKOUT / "README.ru.md", 3)
