"""Every use case, found by looking and made from the ports that its fields name."""

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from moviehub.application import audit, cache, favorites, limits, listings, marks, movies, ratings, sessions, users

if TYPE_CHECKING:
    from moviehub.entrypoints.bootstrap import Container


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


USE_CASES: dict[str, type[Any]] = {
    _snake(name): thing
    for noun in (audit, cache, favorites, limits, listings, marks, movies, ratings, sessions, users)
    for name, thing in vars(noun).items()
    if isinstance(thing, type) and thing.__module__ == noun.__name__ and "__call__" in vars(thing)
}
"""Every use case under the name that handlers, commands and tests know it by."""


def use_cases(container: "Container") -> dict[str, Any]:
    """Every use case, made once: each field is the port, value or use case of the same name."""
    made: dict[str, Any] = {}

    def make(name: str) -> Any:
        if name in USE_CASES:
            if name not in made:
                case = USE_CASES[name]
                made[name] = case(**{field.name: make(field.name) for field in fields(case)})
            return made[name]
        return container.providers[name]()

    return {name: make(name) for name in USE_CASES}
