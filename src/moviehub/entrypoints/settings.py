"""What an operator can set: read once from `MOVIEHUB_…` variables, checked, frozen."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

PREFIX = "MOVIEHUB_"
TMDB_URL = "https://api.themoviedb.org/3"
SHORTEST_SECRET = 32


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
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError(f"expected a URL that starts with {', '.join(s + '://' for s in schemes)}")
        if parts.scheme not in ("memory", "embedded", "demo") and not parts.hostname:
            raise ValueError("expected a URL with a host")
        _ = parts.port  # raises ValueError when it is no port
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
    for item in _items(text):
        try:
            ipaddress.ip_network(item)
        except ValueError:
            raise ValueError("expected addresses or networks such as 10.0.0.0/8, separated by commas") from None
    return _items(text)


def _language(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Z]{2})?", text):
        raise ValueError("expected a language such as en or en-US")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"([A-Z]{2})?", text):
        raise ValueError("expected a country of two capital letters, such as US")
    return text


def _secret(text: str) -> str:
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"expected at least {SHORTEST_SECRET} bytes; make one with: openssl rand -base64 48")
    return text


def _public_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^/\s?#]+", text):
        raise ValueError("expected a scheme and a host without a path, such as https://movies.example.org")
    return text


def _setting(default: Any, read: Callable[[str], Any], *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"read": read})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default; `deploy/env.example` explains each. The scheme of a URL names the adapter."""

    env: Literal["development", "production"] = _setting("development", _choice("development", "production"))
    database_url: str = _setting("embedded://", _url("embedded", "memory", "postgresql", "postgres"), secret=True)
    database_pool_size: int = _setting(10, _whole(1, 1000))
    database_statement_cache: bool = _setting(True, _flag)
    redis_url: str = _setting("memory://", _url("memory", "redis", "rediss"), secret=True)
    tmdb_url: str = _setting("", _url("demo", "http", "https"))
    tmdb_token: str = _setting("", str, secret=True)
    secret_key: str = _setting("", _secret, secret=True)
    language: str = _setting("en-US", _language)
    region: str = _setting("", _region)
    cache_ttl: int = _setting(900, _whole(1, 86_400))
    public_max_age: int = _setting(60, _whole(0, 86_400))
    page_size: int = _setting(10, _whole(1, 100))
    access_token_ttl: int = _setting(300, _whole(10, 86_400))
    refresh_token_ttl: int = _setting(2_592_000, _whole(60, 31_536_000))
    session_ttl: int = _setting(7_776_000, _whole(60, 31_536_000))
    bcrypt_cost: int = _setting(12, _whole(4, 16))
    password_threads: int = _setting(2, _whole(1, 64))
    password_queue: int = _setting(64, _whole(0, 1000))
    public_url: str = _setting("", _public_url)
    trusted_proxies: tuple[str, ...] = _setting((), _networks)
    cors_origins: tuple[str, ...] = _setting((), _origins)
    data_dir: str = _setting("", str)
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"))

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of this environment; an empty variable counts as not set. Raises SettingsError."""
        values: dict[str, Any] = {}
        for setting in fields(cls):
            name = PREFIX + setting.name.upper()
            if text := environ.get(name, "").strip():
                try:
                    values[setting.name] = setting.metadata["read"](text)
                except ValueError as fault:
                    raise SettingsError(f"{name}: {fault}") from None
        settings = cls(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        if self.tmdb_url.startswith("http") and not self.tmdb_token:
            raise SettingsError("MOVIEHUB_TMDB_TOKEN: expected a TMDb read token or key when MOVIEHUB_TMDB_URL is set")
        if self.env == "production":
            if not self.secret_key:
                raise SettingsError("MOVIEHUB_SECRET_KEY: production needs one; make it with: openssl rand -base64 48")
            if self.database_url.startswith(("memory:", "embedded:")):
                raise SettingsError("MOVIEHUB_DATABASE_URL: production needs a postgresql:// database")
            if self.redis_url.startswith("memory:"):
                raise SettingsError("MOVIEHUB_REDIS_URL: production needs a redis:// or rediss:// server")

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
