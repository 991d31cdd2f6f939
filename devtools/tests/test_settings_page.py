"""The page of settings is what the services say of themselves."""

from devtools import settings_page


def test_the_page_is_what_make_settings_writes() -> None:
    assert settings_page.PAGE.read_text() == settings_page.render(), "run make settings"
