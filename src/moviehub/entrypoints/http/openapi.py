"""The OpenAPI 3.1 document, made from what each call declares, so that it says what the code does."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from moviehub import __version__
from moviehub.entrypoints.http.calls import Call
from moviehub.entrypoints.http.problems import MEDIA_TYPE, ProblemOut

ATTRIBUTION = "This product uses the TMDB API but is not endorsed or certified by TMDB."
_REF = "#/components/schemas/{name}"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_DESCRIPTION = f"""A movie catalogue backed by TMDb, with accounts, favourites, ratings and reviews.

Every path answers with and without its trailing slash, and under `/api/v1` as under `/api`. Every `GET` answers `HEAD`.
Errors are problem documents (RFC 9457); their `type` leads to an explanation. {ATTRIBUTION}"""

_REFUSALS = {
    400: "Something in the request is not acceptable; `errors` names every field at fault",
    401: "No token where one is needed, or a token or credentials that are not good",
    403: "The caller may not do this",
    404: "There is no such thing or page, or it is somebody else's",
    413: "The body is larger than 64 KiB",
    415: "The body is of a kind that is not read here",
    503: "Nothing true can be said now; try again after `Retry-After` seconds",
}
_WWW_AUTHENTICATE = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "string"}, "required": True}}


def build(app: Litestar) -> dict[str, Any]:
    """The document for every route of `app` that declares a call."""
    operations = list(_operations(app))
    shapes: dict[Any, None] = {ProblemOut: None}
    bodies = set()
    for _, _, _, call in operations:
        shapes.update((shape, None) for shape in call.answers.values() if shape is not None)
        if call.body:
            shapes[call.body.shape] = None
            bodies.add(call.body.shape.__name__)
    refs, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    names = dict(zip(shapes, refs, strict=True))
    for name in bodies:
        components[name]["additionalProperties"] = False
    components["ProblemOut"]["properties"]["type"]["format"] = "uri-reference"
    paths: dict[str, dict[str, Any]] = {}
    for path, method, handler, call in operations:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, handler, call, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "moviehub",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operations(app: Litestar) -> Iterator[tuple[str, str, Any, Call]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r":\w+}", "}", route.path)
            slashed = path if path == "/" or "." in path or not path.startswith("/api") else path + "/"
            for handler in route.route_handlers:
                if "call" in handler.opt:
                    for method in _METHODS:
                        if method in handler.http_methods:
                            yield slashed, method, handler, handler.opt["call"]


def _operation(path: str, method: str, handler: Any, call: Call, names: dict[Any, Any]) -> dict[str, Any]:
    first, _, rest = (handler.fn.__doc__ or "").strip().partition("\n")
    operation: dict[str, Any] = {
        "operationId": _name(path, method),
        "summary": first,
        "tags": sorted(handler.resolve_tags() if hasattr(handler, "resolve_tags") else handler.tags or ()),
        "parameters": [*_path_parameters(path), *_query_parameters(call)],
        "responses": {},
    }
    if rest.strip():
        operation["description"] = " ".join(rest.split())
    if call.auth != "none":
        operation["security"] = [{"bearer": []}] if call.auth == "required" else [{"bearer": []}, {}]
    if call.body:
        content = {"application/json": {"schema": names[call.body.shape]}}
        if call.body.form:
            content["application/x-www-form-urlencoded"] = content["application/json"]
        operation["requestBody"] = {"required": True, "content": content}
    for status, shape in call.answers.items():
        told: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if shape is not None:
            told["content"] = {"application/json": {"schema": names[shape]}}
        operation["responses"][str(status)] = told
    for status in sorted(_refusals(path, call)):
        operation["responses"][str(status)] = {
            "description": _REFUSALS[status],
            "content": {MEDIA_TYPE: {"schema": names[ProblemOut]}},
            **({"headers": _WWW_AUTHENTICATE} if status == 401 else {}),
            **({"headers": _RETRY_AFTER} if status == 503 else {}),
        }
    return operation


def _name(path: str, method: str) -> str:
    """An id of the operation made of its method and path, so that it stays when the code moves."""
    return "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix("/api/"))])


def _refusals(path: str, call: Call) -> set[int]:
    """The statuses that follow from what a call takes, and its own."""
    found = {*call.refusals, 400, 503}
    if call.auth != "none":
        found.add(401)
    if call.body:
        found |= {413, 415}
    if "{" in path:
        found.add(404)
    return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(call: Call) -> list[dict[str, Any]]:
    if call.query is None:
        return []
    parameters = []
    for field in call.query.fields.values():
        schema = msgspec.json.schema(field.type)
        if "anyOf" in schema:  # a parameter cannot be null, it can only be missing
            schema = next(choice for choice in schema["anyOf"] if choice.get("type") != "null")
        if schema.get("enum"):
            schema["enum"] = [choice for choice in schema["enum"] if choice is not None]
        if field.name in ("page", "page_size"):
            schema = {"type": "integer", "minimum": 1, "maximum": 100 if field.name == "page_size" else 2**31}
        if not field.required and isinstance(field.default, int | str) and field.default:
            schema["default"] = field.default
        parameters.append({"name": field.name, "in": "query", "required": field.required, "schema": schema})
    return parameters
