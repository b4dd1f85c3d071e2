"""Settings: read once, checked, never telling a secret."""

import pytest

from moviehub.entrypoints.settings import Settings, SettingsError, unknown_variables

SECRET = "s" * 40


def test_nothing_set_means_a_private_postgres_and_the_demo_catalogue() -> None:
    settings = Settings.read({})
    assert (settings.storage, settings.cache, settings.catalogue) == ("postgres", "memory", "demo")


def test_a_token_alone_means_tmdb() -> None:
    settings = Settings.read({"MOVIEHUB_TMDB_TOKEN": "a" * 32})
    assert settings.catalogue == "tmdb"
    assert settings.catalogue_url.startswith("https://")


def test_the_scheme_of_a_url_names_the_adapter() -> None:
    environ = {"MOVIEHUB_DATABASE_URL": "memory://", "MOVIEHUB_REDIS_URL": "redis://127.0.0.1:6379/0"}
    settings = Settings.read(environ)
    assert (settings.storage, settings.cache) == ("memory", "redis")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.read({"MOVIEHUB_PAGE_SIZE": " "}).page_size == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOVIEHUB_PAGE_SIZE", "0"),
        ("MOVIEHUB_PAGE_SIZE", "ten"),
        ("MOVIEHUB_PAGE_SIZE", "١٠"),
        ("MOVIEHUB_CACHE_TTL", "-1"),
        ("MOVIEHUB_DATABASE_URL", "mysql://localhost/x"),
        ("MOVIEHUB_DATABASE_URL", "postgresql:///nohost"),
        ("MOVIEHUB_REDIS_URL", "redis://host:notaport"),
        ("MOVIEHUB_SECRET_KEY", "short"),
        ("MOVIEHUB_ENV", "staging"),
        ("MOVIEHUB_LANGUAGE", "english"),
        ("MOVIEHUB_REGION", "usa"),
        ("MOVIEHUB_CORS_ORIGINS", "app.example.org"),
        ("MOVIEHUB_TRUSTED_PROXIES", "nginx"),
        ("MOVIEHUB_PUBLIC_URL", "https://example.org/path"),
        ("MOVIEHUB_DATABASE_STATEMENT_CACHE", "yes"),
        ("MOVIEHUB_TMDB_URL", "https://tmdb.example.org/3"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({name: value})
    message = str(caught.value)
    assert message.startswith("MOVIEHUB_")
    assert "\n" not in message
    if name == "MOVIEHUB_SECRET_KEY":
        assert value not in message


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MOVIEHUB_SECRET_KEY": SECRET},
        {"MOVIEHUB_SECRET_KEY": SECRET, "MOVIEHUB_DATABASE_URL": "postgresql://h/d"},
        {"MOVIEHUB_DATABASE_URL": "postgresql://h/d", "MOVIEHUB_REDIS_URL": "redis://h"},
    ],
)
def test_production_refuses_memory_and_a_missing_secret(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="production needs"):
        Settings.read({"MOVIEHUB_ENV": "production", **environ})


def test_production_starts_with_all_it_needs() -> None:
    environ = {
        "MOVIEHUB_ENV": "production",
        "MOVIEHUB_SECRET_KEY": SECRET,
        "MOVIEHUB_DATABASE_URL": "postgresql://h/d",
        "MOVIEHUB_REDIS_URL": "rediss://h",
    }
    assert Settings.read(environ).env == "production"


def test_secrets_are_not_in_the_settings_text() -> None:
    environ = {
        "MOVIEHUB_SECRET_KEY": SECRET,
        "MOVIEHUB_TMDB_TOKEN": "t" * 32,
        "MOVIEHUB_DATABASE_URL": "postgresql://user:marked@h/d",
        "MOVIEHUB_REDIS_URL": "redis://:marked@h",
    }
    text = repr(Settings.read(environ))
    assert SECRET not in text
    assert "t" * 32 not in text
    assert "marked" not in text


def test_a_typing_error_in_a_name_is_noticed() -> None:
    assert unknown_variables({"MOVIEHUB_PAGESIZE": "5", "MOVIEHUB_PAGE_SIZE": "5"}) == ["MOVIEHUB_PAGESIZE"]
