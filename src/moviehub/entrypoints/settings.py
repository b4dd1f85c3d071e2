"""What an operator can set: read once from `MOVIEHUB_…` variables, checked, frozen."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from moviehub.domain.limits import Limit

PREFIX = "MOVIEHUB_"
PRODUCTION_DRAIN = 3
TMDB_URL = "https://api.themoviedb.org/3"
CLUSTERS = ("redis+cluster", "rediss+cluster")
SHORTEST_SECRET = 32
FEWEST_CHARACTERS = 10
MAKE_ONE = "make one with: openssl rand -base64 48"
_WINDOWS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}

# What samples, tutorials and those in a hurry write; the last is the key of FastAPI's tutorial. Of five million random
# secrets of 64 characters, one holds such a word: shorter ones would be met too often.
_WELL_KNOWN = re.compile(
    "123456789|abcdefgh|at.?least|change.?(me|it|this)|correct.?horse|default|development|example|insecure|moviehub|openssl"
    "|pass.?(word|phrase)|placeholder|qwertyui|replace.?(me|this)|secret|signing.?key|this.?is.?a"
    "|(?<![a-z0-9])(test|your)[-_. ]|09d25e094faa6ca2"
)


class SettingsError(ValueError):
    """A setting that cannot be: one line that names the variable and says what to do."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected an integer from {least} to {most}")
        return int(text)

    return read


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


def _url(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            parts = urlsplit(text)
            at = parts.netloc.rpartition("@")[2]
            hosts = [urlsplit(f"//{host}") for host in (at.split(",") if parts.scheme in CLUSTERS else [at])]
            _ = [host.port for host in hosts]
        except ValueError:  # whose words may be a password that has a slash or the like in it
            raise ValueError("expected a URL; what is special in its password is written as %2F and the like") from None
        if parts.scheme not in schemes:
            raise ValueError(f"expected a URL that starts with {', '.join(s + '://' for s in schemes)}")
        if parts.scheme not in ("memory", "embedded", "demo") and not all(host.hostname for host in hosts):
            raise ValueError("expected a URL with a host")
        return text

    return read


def _flag(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("expected on or off")
    return text == "on"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _origins(text: str) -> tuple[str, ...]:
    for origin in _items(text):
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ValueError("expected origins such as https://app.example.org, separated by commas, or *")
    return _items(text)


def _networks(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    for item in _items(text) or (text,):
        try:
            ipaddress.ip_network(item)
        except ValueError:
            raise ValueError("expected networks such as 10.0.0.0/8, separated by commas, or none") from None
    return _items(text)


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return read


_language = _matching(r"[a-z]{2,3}(-[A-Z]{2})?", "a language such as en or en-US")
_region = _matching(r"([A-Z]{2})?", "a country of two capital letters, such as US")
_public_url = _matching(
    r"(https?://[^/\s?#]+)?", "a scheme and a host without a path, such as https://movies.example.org"
)


def _secret(text: str) -> str:
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"expected at least {SHORTEST_SECRET} bytes; {MAKE_ONE}")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    return tuple(_secret(item) for item in _items(text))


def _can_be_guessed(secret: str) -> bool:
    # What repeats a pattern ends as it begins.
    repeats = any(secret.startswith(secret[place:]) for place in range(1, len(secret) - FEWEST_CHARACTERS + 1))
    return repeats or len(set(secret)) < FEWEST_CHARACTERS or _WELL_KNOWN.search(secret.casefold()) is not None


def _limit(name: str) -> Callable[[str], Limit | None]:
    def read(text: str) -> Limit | None:
        if text == "off":
            return None
        parts = re.fullmatch(r"([1-9][0-9]{0,8})/(second|minute|hour|day)", text)
        if parts is None:
            raise ValueError("expected such as 300/minute, by second, minute, hour or day, or off")
        return Limit(name, int(parts[1]), _WINDOWS[parts[2]])

    return read


def _written(value: Any) -> str:
    """What is read as this value."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Limit):
        (window,) = [name for name, seconds in _WINDOWS.items() if seconds == value.seconds]
        return f"{value.quota}/{window}"
    if isinstance(value, tuple):
        return ",".join(value)
    return "off" if value is None else str(value)


def _setting(default: Any, read: Callable[[str], Any], *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"read": read})


def _rate_limit(name: str, default: str) -> Any:
    return _setting(_limit(name)(default), _limit(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default; `deploy/env.example` explains each. The scheme of a URL names the adapter."""

    env: Literal["development", "production"] = _setting("development", _choice("development", "production"))
    database_url: str = _setting("embedded://", _url("embedded", "memory", "postgresql", "postgres"), secret=True)
    database_replica_url: str = _setting("", _url("postgresql", "postgres"), secret=True)
    database_pool_size: int = _setting(10, _whole(1, 1000))
    database_statement_cache: bool = _setting(True, _flag)
    redis_url: str = _setting("memory://", _url("memory", "redis", "rediss", *CLUSTERS), secret=True)
    tmdb_url: str = _setting("", _url("demo", "http", "https"))
    tmdb_token: str = _setting("", str, secret=True)
    tmdb_rate: int = _setting(35, _whole(1, 1000))
    tmdb_connections: int = _setting(20, _whole(1, 1000))
    secret_key: str = _setting("", _secret, secret=True)
    previous_secret_keys: tuple[str, ...] = _setting((), _secrets, secret=True)
    language: str = _setting("en-US", _language)
    region: str = _setting("", _region)
    cache_ttl: int = _setting(900, _whole(1, 86_400))
    cache_stale: int = _setting(86_400, _whole(0, 2_592_000))
    public_max_age: int = _setting(60, _whole(0, 86_400))
    page_size: int = _setting(10, _whole(1, 100))
    access_token_ttl: int = _setting(300, _whole(10, 86_400))
    refresh_token_ttl: int = _setting(2_592_000, _whole(60, 31_536_000))
    session_ttl: int = _setting(7_776_000, _whole(60, 31_536_000))
    bcrypt_cost: int = _setting(12, _whole(4, 16))
    password_threads: int = _setting(2, _whole(1, 64))
    password_queue: int = _setting(64, _whole(0, 1000))
    rate_limit_anonymous: Limit | None = _rate_limit("anonymous", "300/minute")
    rate_limit_user: Limit | None = _rate_limit("user", "1200/minute")
    rate_limit_auth: Limit | None = _rate_limit("auth", "10/minute")
    rate_limit_auth_everyone: Limit | None = _rate_limit("auth-everyone", "1000/minute")
    public_url: str = _setting("", _public_url)
    trusted_proxies: tuple[str, ...] = _setting((), _networks)
    cors_origins: tuple[str, ...] = _setting((), _origins)
    workers: int = _setting(1, _whole(1, 256))
    concurrency: int = _setting(400, _whole(8, 100_000))
    drain_seconds: int = _setting(0, _whole(0, 5))
    data_dir: str = _setting("", str)
    access_log: Literal["off", "errors", "all"] = _setting("errors", _choice("off", "errors", "all"))
    slow_query_ms: int = _setting(500, _whole(0, 60_000))
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"))

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of this environment; an empty variable counts as not set. Raises SettingsError."""
        values: dict[str, Any] = {}
        for setting in fields(cls):
            name = PREFIX + setting.name.upper()
            if text := environ.get(name, "").strip():
                try:
                    text.encode()
                    values[setting.name] = setting.metadata["read"](text)
                except UnicodeError:
                    raise SettingsError(f"{name}: expected text in UTF-8") from None
                except ValueError as fault:
                    raise SettingsError(f"{name}: {fault}") from None
        if values.get("env") == "production":
            values.setdefault("drain_seconds", PRODUCTION_DRAIN)
        settings = cls(**values)
        settings._check(values)
        return settings

    def _check(self, given: Mapping[str, Any]) -> None:
        if self.tmdb_url.startswith("http") and not self.tmdb_token:
            raise SettingsError("MOVIEHUB_TMDB_TOKEN: expected a TMDb read token or key when MOVIEHUB_TMDB_URL is set")
        if self.previous_secret_keys and not self.secret_key:
            raise SettingsError("MOVIEHUB_PREVIOUS_SECRET_KEYS: expected MOVIEHUB_SECRET_KEY beside it, which signs")
        if self.env == "production":
            self._check_production(given)

    def _check_production(self, given: Mapping[str, Any]) -> None:
        if not self.secret_key:
            raise SettingsError(f"MOVIEHUB_SECRET_KEY: production needs one; {MAKE_ONE}")
        if weakness := self.weakness():
            raise SettingsError(weakness)
        if self.database_url.startswith(("memory:", "embedded:")):
            raise SettingsError("MOVIEHUB_DATABASE_URL: production needs a postgresql:// database")
        if self.redis_url.startswith("memory:"):
            raise SettingsError("MOVIEHUB_REDIS_URL: production needs a redis:// or rediss:// server")
        if "trusted_proxies" not in given or any(network.endswith("/0") for network in self.trusted_proxies):
            raise SettingsError("MOVIEHUB_TRUSTED_PROXIES: production needs the proxies' networks, or none without any")
        if "*" in self.cors_origins:
            raise SettingsError("MOVIEHUB_CORS_ORIGINS: production needs each origin by its name instead of *")

    def weakness(self) -> str:
        """Why production refuses the secrets; nothing if it takes them."""
        for name, secrets, advice in (
            ("SECRET_KEY", (self.secret_key,) if self.secret_key else (), MAKE_ONE),
            ("PREVIOUS_SECRET_KEYS", self.previous_secret_keys, "leave it out"),
        ):
            if any(map(_can_be_guessed, secrets)):
                why = "a well-known word, a repetition or few different characters"
                return f"{PREFIX}{name}: too easily guessed for production, with {why} in it; {advice}"
        return ""

    def variables(self) -> dict[str, str]:
        """The environment in which these same settings are read."""
        written = {PREFIX + setting.name.upper(): _written(getattr(self, setting.name)) for setting in fields(self)}
        return {**written, "MOVIEHUB_TRUSTED_PROXIES": ",".join(self.trusted_proxies) or "none"}

    @property
    def storage(self) -> str:
        """Which storage adapter: postgres or memory. A private Postgres is a Postgres once it runs."""
        return "memory" if self.database_url.startswith("memory:") else "postgres"

    @property
    def cache(self) -> str:
        """Which cache adapter: redis or memory."""
        return "memory" if self.redis_url.startswith("memory:") else "redis"

    @property
    def catalogue(self) -> str:
        """Which catalogue adapter: tmdb or demo. Without a token and a URL it is the demo."""
        return "tmdb" if self.catalogue_url.startswith("http") else "demo"

    @property
    def catalogue_url(self) -> str:
        """Where the catalogue is."""
        return self.tmdb_url or (TMDB_URL if self.tmdb_token else "demo://")

    @property
    def folder(self) -> Path | None:
        """Where the private Postgres keeps its data, if that is set."""
        return Path(self.data_dir).expanduser() if self.data_dir else None


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none: most likely typing errors."""
    known = {PREFIX + setting.name.upper() for setting in fields(Settings)}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known and "_TEST_" not in name)


UNLIMITED: Mapping[str, Any] = dict.fromkeys(
    setting.name for setting in fields(Settings) if setting.name.startswith("rate_limit_")
)
"""Every rate limit off, for tests of other things."""
