"""Settings: read once, checked, never telling a secret."""

import base64
import random
import re
from pathlib import Path

import pytest

from moviehub.entrypoints.settings import UNLIMITED, Settings, SettingsError, unknown_variables
from tests import promises

ROOT = Path(__file__).parents[2]
SECRET = "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei"
ANOTHER = "hT6wZr1QoB4xUe7MvCk0SjPn9DgLy3Fi"
PRODUCTION = {
    "MOVIEHUB_ENV": "production",
    "MOVIEHUB_SECRET_KEY": SECRET,
    "MOVIEHUB_DATABASE_URL": "postgresql://h/d",
    "MOVIEHUB_REDIS_URL": "rediss://h",
    "MOVIEHUB_TRUSTED_PROXIES": "10.0.0.0/8",
}


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
    assert Settings.read({"MOVIEHUB_REDIS_URL": "rediss+cluster://hub:a,b@[::1]:6379,other"}).cache == "redis"


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
        ("MOVIEHUB_REDIS_URL", "redis://one:6379,other:6379"),
        ("MOVIEHUB_REDIS_URL", "redis+cluster://"),
        ("MOVIEHUB_REDIS_URL", "redis+cluster://one:6379,:6379"),
        ("MOVIEHUB_REDIS_URL", "redis+cluster://one:6379,other:notaport"),
        ("MOVIEHUB_REDIS_URL", "redis+cluster://hub:marked/word@one,other"),
        ("MOVIEHUB_REDIS_URL", "redis+sentinel://one:26379"),
        ("MOVIEHUB_DATABASE_URL", "postgresql://hub:marked/word@h/d"),
        ("MOVIEHUB_DATABASE_URL", "postgresql://hub:mar[ked@h/d"),
        ("MOVIEHUB_REDIS_URL", "redis://hub:marked℀@h/0"),
        ("MOVIEHUB_SECRET_KEY", "marked"),
        ("MOVIEHUB_TMDB_TOKEN", "marked\udcff"),
        ("MOVIEHUB_PREVIOUS_SECRET_KEYS", f"{SECRET},marked"),
        ("MOVIEHUB_PREVIOUS_SECRET_KEYS", SECRET),
        ("MOVIEHUB_RATE_LIMIT_ANONYMOUS", "300"),
        ("MOVIEHUB_RATE_LIMIT_USER", "0/minute"),
        ("MOVIEHUB_RATE_LIMIT_AUTH", "10/fortnight"),
        ("MOVIEHUB_ENV", "staging"),
        ("MOVIEHUB_LANGUAGE", "english"),
        ("MOVIEHUB_REGION", "usa"),
        ("MOVIEHUB_CORS_ORIGINS", "app.example.org"),
        ("MOVIEHUB_TRUSTED_PROXIES", "nginx"),
        ("MOVIEHUB_TRUSTED_PROXIES", ","),
        ("MOVIEHUB_TRUSTED_PROXIES", "none,10.0.0.0/8"),
        ("MOVIEHUB_PUBLIC_URL", "https://example.org/path"),
        ("MOVIEHUB_DATABASE_STATEMENT_CACHE", "yes"),
        ("MOVIEHUB_DRAIN_SECONDS", "6"),
        ("MOVIEHUB_ACCESS_LOG", "on"),
        ("MOVIEHUB_SLOW_QUERY_MS", "0.5"),
        ("MOVIEHUB_TMDB_URL", "https://tmdb.example.org/3"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({name: value})
    message = str(caught.value)
    assert message.startswith("MOVIEHUB_TMDB_TOKEN: " if name == "MOVIEHUB_TMDB_URL" else f"{name}: ")
    assert "\n" not in message
    assert "marked" not in message
    assert SECRET not in message


def refusal(**chosen: str) -> str:
    """Why production does not start with these settings in place of good ones."""
    given = {f"MOVIEHUB_{name}": value for name, value in chosen.items()}
    with pytest.raises(SettingsError) as caught:
        Settings.read({**PRODUCTION, **given})
    message = str(caught.value)
    assert "\n" not in message
    assert not [value for value in given.values() if len(value) > 20 and value in message]
    return message


def test_production_starts_with_all_it_needs() -> None:
    assert Settings.read(PRODUCTION).env == "production"
    unlimited = {f"MOVIEHUB_{name.upper()}": "off" for name in UNLIMITED}
    given = {"MOVIEHUB_PREVIOUS_SECRET_KEYS": ANOTHER, "MOVIEHUB_CORS_ORIGINS": "https://app.example.org"}
    assert Settings.read({**PRODUCTION, **given, **unlimited}).previous_secret_keys == (ANOTHER,)


def test_production_drains_unless_told_otherwise() -> None:
    assert Settings.read({}).drain_seconds == 0
    assert Settings.read(PRODUCTION).drain_seconds == 3
    assert Settings.read({**PRODUCTION, "MOVIEHUB_DRAIN_SECONDS": "0"}).drain_seconds == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "0" * 64),
        ("PREVIOUS_SECRET_KEYS", f"{ANOTHER},{'0' * 64}"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "embedded://"),
        ("DATABASE_URL", "memory://"),
        ("REDIS_URL", ""),
        ("REDIS_URL", "memory://"),
        ("TRUSTED_PROXIES", ""),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://app.example.org, *"),
    ],
)
def test_production_refuses_what_is_not_fit_for_it(name: str, value: str) -> None:
    assert refusal(**{name: value}).startswith(f"MOVIEHUB_{name}: ")
    if name != "PREVIOUS_SECRET_KEYS":
        assert Settings.read({f"MOVIEHUB_{name}": value}).env == "development"


def test_of_several_things_that_production_refuses_the_same_is_always_told_first() -> None:
    unfit = {"CORS_ORIGINS": "*", "TRUSTED_PROXIES": "", "REDIS_URL": "", "DATABASE_URL": "", "SECRET_KEY": ""}
    while unfit:
        first = [*unfit][-1]
        assert refusal(**unfit).startswith(f"MOVIEHUB_{first}: ")
        del unfit[first]


@promises.secrets_weak
@pytest.mark.parametrize(
    "secret",
    [
        "changeme-changeme-changeme-changeme",
        "please_CHANGE_ME_in_production_4711",
        "Change this to something long & random!",
        "django-insecure-" + ANOTHER,
        "your-256-bit-secret-your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "thisisaverylongkeythatnobodyknows4711",
        "YOUR-key-goes-here-0815-4711-and-so-on",
        "test-signing-key-of-the-staging-hub-42",
        "correct-horse-battery-staple-of-the-hub",
        "ThisIsMyJwtSigningKeyForTheApi2024!",
        "MovieHub-2030-hub-of-films-and-opinions",
        "placeholder" + ANOTHER,
        "a-default-key-for-every-installation-1",
        "key.example.org/0815/4711/0816/4712/xyz",
        "0123456789abcdef0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz!?.:;+*#-_",
        "qwertyuiopasdfghjklzxcvbnm.-1470258x",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "k" * 32,
        "deadbeef" * 8,
        "aaaabbbbccccddddeeeeffffgggghhhhiiii",
        "Vq3LhX0bTz7m" * 3,
        "Vq3LhX0bTz7mKc9RfWu2Vq3LhX0bTz7mKc9RfW",
        "<openssl rand -base64 48 goes in here>",
    ],
)
def test_production_refuses_a_secret_that_others_may_guess(secret: str) -> None:
    for name in ("SECRET_KEY", "PREVIOUS_SECRET_KEYS"):
        assert refusal(**{name: secret}).startswith(f"MOVIEHUB_{name}: too easily guessed")
    assert Settings.read({"MOVIEHUB_SECRET_KEY": secret}).secret_key == secret


@promises.secrets_weak
def test_production_refuses_every_secret_that_the_documents_show() -> None:
    documents = [*ROOT.glob("*.md"), *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    shown = {
        sample.strip()
        for document in documents
        for sample in re.findall(r"MOVIEHUB_(?:PREVIOUS_)?SECRET_KEYS?[=:]([^`\"\n]*)", document.read_text())
    }
    assert "$(openssl rand -base64 48)" in shown
    for sample in shown:
        assert refusal(SECRET_KEY=sample).startswith("MOVIEHUB_SECRET_KEY: ")


def test_a_random_secret_is_never_refused() -> None:
    dice = random.Random(3)  # the same ones each time: by chance, a few of ten million do hold a word
    for _ in range(2_000):
        long = dice.randbytes(48)
        for secret in (
            base64.b64encode(long).decode(),
            base64.urlsafe_b64encode(long).decode(),
            base64.b64encode(long[:24]).decode(),
            base64.urlsafe_b64encode(long[:32]).decode().rstrip("="),
            long[:32].hex(),
            long[:32].hex().upper(),
        ):
            environ = {**PRODUCTION, "MOVIEHUB_SECRET_KEY": secret, "MOVIEHUB_PREVIOUS_SECRET_KEYS": secret}
            assert Settings.read(environ).secret_key == secret


def test_a_key_that_is_listed_again_is_harmless() -> None:
    environ = {**PRODUCTION, "MOVIEHUB_PREVIOUS_SECRET_KEYS": f"{ANOTHER}, {SECRET},{ANOTHER},"}
    assert Settings.read(environ).previous_secret_keys == (ANOTHER, SECRET, ANOTHER)


def test_a_server_that_clients_reach_directly_says_so() -> None:
    assert Settings.read({**PRODUCTION, "MOVIEHUB_TRUSTED_PROXIES": "none"}).trusted_proxies == ()
    assert Settings.read({}).trusted_proxies == ()


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/0"])
def test_whoever_believes_everybody_has_no_list_of_proxies(everybody: str) -> None:
    assert refusal(TRUSTED_PROXIES=everybody).startswith(
        "MOVIEHUB_TRUSTED_PROXIES: production needs the proxies' networks"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        PRODUCTION,
        {**PRODUCTION, "MOVIEHUB_TRUSTED_PROXIES": "none"},
        {f"MOVIEHUB_{name.upper()}": "off" for name in UNLIMITED},
        {"MOVIEHUB_RATE_LIMIT_USER": "7/second", "MOVIEHUB_RATE_LIMIT_AUTH": "9/day"},
        {"MOVIEHUB_DATABASE_STATEMENT_CACHE": "off", "MOVIEHUB_TRUSTED_PROXIES": "10.0.0.1,fd00::/8"},
        {"MOVIEHUB_SECRET_KEY": SECRET, "MOVIEHUB_PREVIOUS_SECRET_KEYS": f"{ANOTHER},{SECRET}"},
    ],
    ids=str,
)
def test_workers_read_the_settings_of_their_parent(environ: dict[str, str]) -> None:
    settings = Settings.read(environ)
    assert Settings.read(settings.variables()) == settings


def test_secrets_are_not_in_the_settings_text() -> None:
    environ = {
        "MOVIEHUB_SECRET_KEY": SECRET,
        "MOVIEHUB_PREVIOUS_SECRET_KEYS": ANOTHER,
        "MOVIEHUB_TMDB_TOKEN": "t" * 32,
        "MOVIEHUB_DATABASE_URL": "postgresql://user:marked@h/d",
        "MOVIEHUB_REDIS_URL": "redis://:marked@h",
    }
    text = repr(Settings.read(environ))
    assert SECRET not in text
    assert ANOTHER not in text
    assert "t" * 32 not in text
    assert "marked" not in text


def test_a_typing_error_in_a_name_is_noticed() -> None:
    assert unknown_variables({"MOVIEHUB_PAGESIZE": "5", "MOVIEHUB_PAGE_SIZE": "5"}) == ["MOVIEHUB_PAGESIZE"]
