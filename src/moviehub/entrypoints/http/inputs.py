"""What comes in by request: bodies, query parameters and ids, read strictly, every fault named at once."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from moviehub.domain.errors import FieldError, Invalid, NotFound
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.problems import TooLarge, UnsupportedMediaType

S = TypeVar("S", bound=msgspec.Struct)
Rules = Mapping[str, Callable[[Any], object]]
Check = Callable[[Mapping[str, Any]], Iterable[FieldError]]
AnyRequest = Request[Any, Any, Any]

LARGEST_BODY = 64 * 1024
LARGEST_ID = 2**63 - 1
LARGEST_NUMBER = 10**18 - 1
LONGEST_REMEMBERED = 200
MOST_NAMED = 20
"""At most so many faults are told of one request."""

# What OpenAPI tells of texts; the rules themselves are the domain's.
LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control character."""
WORDS = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""No control character, and something that is no space."""
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
"""No control character but tabs and line breaks."""

_ID = re.compile(r"[1-9][0-9]{0,18}")
_JSON = re.compile(r"application/[\w.-]+\+json")
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w-]+)")

_KINDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


class NoSuchId(NotFound):
    """An id in a path that nothing can have; `errors` names it."""

    slug = "not-found"
    title = "Not found"

    def __init__(self, name: str) -> None:
        self.errors = (FieldError(name, "format", "expected an id: decimal digits from 1"),)
        super().__init__(f"{name}: expected an id: decimal digits from 1")


def path_id(request: AnyRequest, name: str) -> int:
    """The id in the path: ASCII digits only, from 1 to 2^63 - 1, without a zero in front. NoSuchId otherwise."""
    text = request.path_params[name]
    if _ID.fullmatch(text) and (number := int(text)) <= LARGEST_ID:
        return number
    raise NoSuchId(name)


class Body(Generic[S]):
    """A JSON body of one shape. `rules` are the domain's, one a field, so that all faults are told at once.

    `check` is for rules that span fields; it is asked about the fields that are there and of the right type. `least`
    fields must be there at all. With `form`, the same fields are accepted as application/x-www-form-urlencoded.
    """

    def __init__(
        self,
        shape: type[S],
        rules: Rules | None = None,
        *,
        check: Check | None = None,
        least: int = 0,
        form: bool = False,
    ) -> None:
        self.shape = shape
        self.rules = rules or {}
        self.check = check
        self.least = least
        self.form = form

    @cached_property
    def _fields(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        return msgspec.structs.fields(self.shape)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(field.name for field in self._fields)

    async def read(self, request: AnyRequest) -> S:
        """The body, or Invalid naming every field at fault, or UnsupportedMediaType."""
        media, charset = _kind_of_body(exchange_of(request.scope).content_type)
        if charset not in ("", "utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType("Send the body in UTF-8.")
        raw = await _whole_body(request)
        pairs: Sequence[tuple[str, Any]]
        if self.form and media == "application/x-www-form-urlencoded":
            pairs = _pairs(raw)
            return self._convert(dict(pairs), _repeated(pairs))
        if media != "application/json" and not _JSON.fullmatch(media):
            raise UnsupportedMediaType("Send the body as application/json.")
        try:
            value = msgspec.json.decode(raw)
            if not isinstance(value, dict):
                raise Invalid(detail="The body is not a JSON object.")
            # Without a colon more than there are fields, none can be there twice.
            pairs = () if raw.count(b":") == len(value) else json.loads(raw, object_pairs_hook=tuple)
        except RecursionError:
            raise Invalid(detail="The body is nested too deeply.") from None
        except (msgspec.MsgspecError, ValueError):
            raise Invalid(detail="The body is not JSON in UTF-8.") from None
        return (None if pairs else self._whole(value)) or self._convert(value, _repeated(pairs))

    def _whole(self, values: dict[str, Any]) -> S | None:
        """What the body says if it is good, as most are; None tells to look closer."""
        if self.check is not None or len(values) < self.least or not values.keys() <= self._names:
            return None
        try:
            said = msgspec.convert(values, self.shape)
            for name in values.keys() & self.rules.keys():
                if values[name] is not None:
                    self.rules[name](getattr(said, name))
        except (msgspec.ValidationError, Invalid):
            return None
        return said

    def _convert(self, values: dict[str, Any], repeated: set[str]) -> S:
        faults = [
            FieldError(_cut(name), "unknown", "there is no such field here")
            for name in sorted(values.keys() - {field.name for field in self._fields})
        ]
        if len(values) < self.least:
            message = f"expected at least {self.least} of the fields"
            faults += [FieldError(field.name, "required", message) for field in self._fields]
        good: dict[str, Any] = {}
        for field in self._fields:
            if field.name not in values:
                if field.required:
                    faults.append(FieldError(field.name, "required", "this field is required"))
                continue
            if field.name in repeated:  # of two readers each could believe another one
                faults.append(FieldError(field.name, "repeated", "this field is given more than once"))
                continue
            try:
                good[field.name] = msgspec.convert(values[field.name], field.type)
                if field.name in self.rules and good[field.name] is not None:
                    self.rules[field.name](good[field.name])
            except msgspec.ValidationError:
                faults.append(FieldError(field.name, "type", f"expected {_kind(field.type)}"))
            except Invalid as fault:
                faults.extend(fault.errors)
        if self.check is not None:
            faults.extend(self.check(good))
        if faults:
            raise Invalid(faults[:MOST_NAMED])
        return self.shape(**good)


class Query(Generic[S]):
    """Query parameters of one shape: unknown ones are ignored, a known one with a bad value is Invalid.

    A parameter of a tuple type may be given more than once; of any other, the last counts.
    """

    def __init__(self, shape: type[S], rules: Rules | None = None, aliases: Mapping[str, str] | None = None) -> None:
        self.shape = shape
        self.rules = rules or {}
        self.aliases = aliases or {}
        self.fields = {field.name: field for field in msgspec.structs.fields(shape)}
        self._kinds = {name: _bare(field.type) for name, field in self.fields.items()}
        self._parsed = lru_cache(1024)(self._parse)  # the same few are asked again and again

    def read(self, request: AnyRequest) -> S:
        """The parameters, or Invalid naming every one at fault."""
        query = request.scope["query_string"]
        return self._parsed(query) if len(query) <= LONGEST_REMEMBERED else self._parse(query)

    def _parse(self, query: bytes) -> S:
        given: dict[str, Any] = {}
        faults: dict[str, FieldError] = {}
        for name, text in _pairs(query) if query else ():
            name = self.aliases.get(name, name)
            field = self.fields.get(name)
            if field is None:
                continue
            try:
                value = _parsed(text, self._kinds[name])
                if name in self.rules:
                    self.rules[name](value)
            except ValueError:
                faults[name] = FieldError(name, "type", f"expected {_KINDS[self._kinds[name]]}")
            except Invalid as fault:
                faults.update((error.field, error) for error in fault.errors)
            else:
                if get_origin(field.type) is tuple:
                    given[name] = (*given.get(name, ()), value)
                else:
                    given[name] = value
        for field in self.fields.values():
            if field.required and field.name not in given:
                faults.setdefault(field.name, FieldError(field.name, "required", "this parameter is required"))
        if faults:
            raise Invalid(faults.values())
        return self.shape(**given)


async def _whole_body(request: AnyRequest) -> bytes:
    """All of the body. The framework's own way costs as much as all the rest of a small request."""
    parts: list[bytes] = []
    left = LARGEST_BODY
    while True:
        message = await request.receive()
        if message["type"] != "http.request":  # the client is gone, or has sent a bad chunk
            raise Invalid(detail="The body breaks off.")
        part = message.get("body", b"")
        left -= len(part)
        if left < 0:
            raise TooLarge("The body is larger than 64 KiB.")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


@lru_cache(64)
def _kind_of_body(content_type: str) -> tuple[str, str]:
    """The media type and the charset, empty if it is not told."""
    media, _, parameters = content_type.partition(";")
    charset = _CHARSET.search(parameters)
    return media.strip().lower(), charset[1].lower() if charset else ""


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        text = raw.decode("ascii") if raw.isascii() else raw.decode("utf-8")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=200)
    except UnicodeDecodeError:
        raise Invalid(detail="The parameters are not UTF-8.") from None
    except ValueError:
        raise Invalid(detail="There are too many parameters.") from None


def _repeated(pairs: Sequence[tuple[str, Any]]) -> set[str]:
    """The names that come more than once."""
    if not pairs:
        return set()
    counted = Counter(name for name, _ in pairs)
    return {name for name, times in counted.items() if times > 1}


def _cut(name: str) -> str:
    """A name that somebody made up, as far as it is worth showing."""
    return name.encode()[:64].decode(errors="ignore")


def _bare(kind: Any) -> Any:
    """The type of one value: of `tuple[int, ...]`, `int | None` and an annotated int it is int."""
    while parts := get_args(kind):
        if get_origin(kind) is Literal:
            return str
        kind = next(part for part in parts if part is not type(None))
    return kind


def _parsed(text: str, kind: Any) -> Any:
    if kind is int and not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        raise ValueError(text)
    if kind is float and not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,30})?", text):
        raise ValueError(text)
    return kind(text)


def _kind(kind: Any) -> str:
    """A type in words: `int | None` is "an integer or null"."""
    if kind in _KINDS:
        return _KINDS[kind]
    parts = [part for part in get_args(kind) if part is not msgspec.UNSET and part is not msgspec.UnsetType]
    if hasattr(kind, "__metadata__"):
        return _kind(parts[0])
    return " or ".join(_kind(part) for part in parts) or "another value"
