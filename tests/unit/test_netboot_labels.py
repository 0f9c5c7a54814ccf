"""Texts of the menu: in two languages, and in letters that firmware draws."""

import pytest

import netboot_labels
import netboot_names


def test_languages_have_the_same_labels():
    english, russian = (list(netboot_labels.LABELS[code]) for code in ("en", "ru"))
    assert english == russian


@pytest.mark.parametrize("code", netboot_labels.LABELS)
def test_labels_fit_the_menu(code):
    for text in netboot_labels.LABELS[code].values():
        assert netboot_labels.latin(text).isascii()
        assert len(netboot_labels.latin(text)) <= 70


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("ALT Server 11.1", "ALT Server 11.1"),
        ("Школа № 5", "Shkola No 5"),
        ("Щёлково", "Shchelkovo"),
        ("подъезд, семья", "podieezd, semia"),
        ("Ёлка «Юг» — Хабаровск", 'Elka "Iug" - Khabarovsk'),
        ("Київ, Мінск, Ґ, Ў", "Kiiv, Minsk, G, U"),
    ],
)
def test_latin_letters(text, latin):
    """Rows of ICAO Doc 9303, part 3, section 6.B."""
    assert netboot_labels.latin(text) == latin
    assert netboot_labels.latin(latin) == latin


def test_every_letter_that_texts_may_have_becomes_ascii():
    assert netboot_labels.latin(netboot_labels.LETTERS).isascii()


@pytest.mark.parametrize(
    ("locale", "code"), [("ru_RU", "ru"), ("ru_RU.UTF-8", "ru"), ("en_US", "en"), ("de_DE", "en")]
)
def test_language_of_a_locale(locale, code):
    assert netboot_labels.language(locale) == code


def test_directory_of_an_image():
    assert netboot_names.label("Альт Сервер 11") == "alt_server_11"
