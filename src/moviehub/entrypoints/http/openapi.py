"""The OpenAPI 3.1 document, made from what each call declares, so that it says what the code does."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from moviehub import __version__
from moviehub.domain.pages import MOST_PER_PAGE
from moviehub.entrypoints.http.calls import Call
from moviehub.entrypoints.http.inputs import LARGEST_ID, LARGEST_NUMBER
from moviehub.entrypoints.http.limits import UNLIMITED
from moviehub.entrypoints.http.problems import MEDIA_TYPE, ProblemOut

ATTRIBUTION = "This product uses the TMDB API but is not endorsed or certified by TMDB."
_TAGS = (
    *("Discovery", "Movies", "Favourites", "Ratings"),
    *("Accounts", "Tokens", "Sessions", "Administration", "Operation", "Documentation"),
)
"""The groups of calls, in the order in which people read of them."""
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "optional": [{"bearer": []}, {}],
    "required": [{"bearer": []}],
    "staff": [{"bearer": ["staff"]}],
}
"""By the `auth` of a call; of a bearer token, OpenAPI 3.1 may name the role that is needed."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_DESCRIPTION = f"""A movie catalogue backed by TMDb, with accounts, favourites, ratings and reviews.

Every path answers with and without its trailing slash, and under `/api/v1` as under `/api`. Every `GET` answers `HEAD`
too, with the same headers and no body. Numbers in a query are written plainly, without exponents; a parameter that is
not known is ignored, a field of a body that is not known is refused.

Errors are problem documents (RFC 9457); their `type` leads to an explanation. Besides those that each call lists, any
call may answer 405 with `Allow`, 414 to a target over 8 KiB, and 400 or 431 to headers that are malformed or over
32 KiB. {ATTRIBUTION}"""

_REFUSALS = {
    400: "Something in the request is not acceptable; `errors` names every field at fault",
    401: "No token where one is needed, or a token or credentials that are not good",
    403: "The caller may not do this",
    404: "There is no such thing or page, or it is somebody else's",
    413: "The body is larger than 64 KiB",
    414: "The path with its query is longer than 8 KiB",
    415: "The body is of a kind that is not read here",
    429: "Too many requests; try again after `Retry-After` seconds",
    503: "Nothing true can be said now; try again after `Retry-After` seconds",
}


def _header(description: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema or {"type": "string"}}


_HEADERS = {
    "Age": _header("How old the answer is, in seconds.", type="integer", minimum=0),
    "Cache-Control": _header("Who may keep the answer, and for how long (RFC 9111)."),
    "Cache-Status": _header("Where the list came from (RFC 9211); a negative `ttl` is that of a stale answer."),
    "ETag": _header("What `If-None-Match` takes.", type="string", pattern='^"[0-9a-f]{32}(-gzip)?"$'),
    "RateLimit": _header(
        "For each limit that counts here: requests that remain, and in how many seconds it begins again.",
        required=False,
        type="string",
        pattern=r'^"[a-z-]+";r=[0-9]+;t=[0-9]+(, "[a-z-]+";r=[0-9]+;t=[0-9]+)*$',
    ),
    "RateLimit-Policy": _header(
        "Each of these limits: how many requests in how many seconds (draft-ietf-httpapi-ratelimit-headers).",
        required=False,
        type="string",
        pattern=r'^"[a-z-]+";q=[0-9]+;w=[0-9]+(, "[a-z-]+";q=[0-9]+;w=[0-9]+)*$',
    ),
    "Retry-After": _header("After how many seconds to try again.", type="integer", minimum=1),
    "Vary": _header("What the answer depends on besides the target."),
    "WWW-Authenticate": _header("`Bearer`, and what is wrong with the token if there is one (RFC 6750)."),
    "X-Request-ID": _header(
        "The request's own id if it has a sane one, else a new one; logs and problems name it.",
        type="string",
        pattern="^[A-Za-z0-9._-]{1,128}$",
    ),
}
_TOLD_IDS = {
    "UserMessageOut": ("user_id", "/user/id"),
    "SignInOut": ("user_id", "/user/id"),
    "PageOut_GovernedUserOut_": ("user_id", "/results/0/id"),
    "PageOut_SessionOut_": ("session_id", "/results/0/id"),
    "PageOut_MovieOut_": ("movie_id", "/results/0/id"),
    "ListedMoviesOut": ("movie_id", "/results/0/id"),
    "MovieDetailOut": ("movie_id", "/id"),
    "RatingOut": ("movie_id", "/movie/id"),
}
"""By the name of a shape, an id in it and where: such answers link to every call whose path takes that id."""
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag` that the caller has: answered with 304 while it is still good.",
    "schema": {"type": "string"},
}


def build(app: Litestar) -> dict[str, Any]:
    """The document for every route of `app` that declares a call."""
    # In an order of its own: the router's is another one in each process, and all should serve the same bytes.
    operations = sorted(_operations(app), key=lambda operation: (operation[0], _METHODS.index(operation[1])))
    shapes: dict[Any, None] = {ProblemOut: None}
    bodies = set()
    for _, _, _, call in operations:
        shapes.update((shape, None) for shape in call.answers.values() if not isinstance(shape, str | None))
        if call.body:
            shapes[call.body.shape] = None
            bodies.add(call.body)
    refs, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    names = dict(zip(shapes, refs, strict=True))
    links = {f"#/components/schemas/{name}": _links(*told, operations) for name, told in _TOLD_IDS.items()}
    for body in bodies:
        components[body.shape.__name__]["additionalProperties"] = False
        if body.least:
            components[body.shape.__name__]["minProperties"] = body.least
    components["ProblemOut"]["properties"]["type"]["format"] = "uri-reference"
    components["ProblemOut"]["properties"]["instance"]["format"] = "uri-reference"
    paths: dict[str, dict[str, Any]] = {}
    for path, method, handler, call in operations:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, handler, call, names, links)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "moviehub",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in _TAGS],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "headers": _HEADERS,
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


def _operation(
    path: str, method: str, handler: Any, call: Call, names: dict[Any, Any], links: dict[str, Any]
) -> dict[str, Any]:
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
        operation["security"] = _SECURITY[call.auth]
    if call.body:
        content = {"application/json": {"schema": names[call.body.shape]}}
        if call.body.form:
            content["application/x-www-form-urlencoded"] = content["application/json"]
        operation["requestBody"] = {"required": True, "content": content}
    responses = operation["responses"]
    limits = set() if path in UNLIMITED else {"RateLimit", "RateLimit-Policy"}
    for status, shape in call.answers.items():
        headers = _caching_headers(path, method, call, shape) | limits
        responses[str(status)] = _response(status, HTTPStatus(status).phrase, _content(shape, names), *headers)
        if found := links.get(names.get(shape, {}).get("$ref")):
            responses[str(status)]["links"] = found
        if "ETag" in headers:
            operation["parameters"].append(_IF_NONE_MATCH)
            responses["304"] = _response(304, "What the caller has is still good", {}, *headers)
    for status in sorted(_refusals(path, call) - call.answers.keys()):
        problem = {MEDIA_TYPE: {"schema": names[ProblemOut]}}
        responses[str(status)] = _response(status, _REFUSALS[status], problem, *limits)
    return operation


def _links(name: str, pointer: str, operations: list[tuple[str, str, Any, Call]]) -> dict[str, Any]:
    """Links from an answer that tells an id to the calls that take it."""
    takers = [_name(path, method) for path, method, _, _ in operations if f"{{{name}}}" in path]
    return {taker: {"operationId": taker, "parameters": {name: f"$response.body#{pointer}"}} for taker in takers}


def _content(shape: Any, names: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(shape, str):
        return {shape: {"schema": {}}}
    return {} if shape is None else {"application/json": {"schema": names[shape]}}


def _caching_headers(path: str, method: str, call: Call, shape: Any) -> set[str]:
    headers = set()
    if method == "GET" and call.tagged:
        headers.add("ETag")
        if path.startswith("/api"):
            headers.add("Age")
        if "source" in getattr(shape, "__struct_fields__", ()):
            headers.add("Cache-Status")
    return headers


def _response(status: int, description: str, content: dict[str, Any], *more: str) -> dict[str, Any]:
    headers = {"Cache-Control", "Vary", "X-Request-ID", *more}
    if status == 401:
        headers.add("WWW-Authenticate")
    if status in (429, 503):
        headers.add("Retry-After")
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(headers)},
        **({"content": content} if content else {}),
    }


def _name(path: str, method: str) -> str:
    """An id of the operation made of its method and path, so that it stays when the code moves."""
    return "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix("/api/"))])


def _refusals(path: str, call: Call) -> set[int]:
    """The statuses that follow from what a call takes, and its own."""
    found = set(call.refusals)
    if path.startswith("/api"):
        found.add(503)
    if call.body or call.query:
        found.add(400)
    if call.query:
        found.add(414)
    if path not in UNLIMITED:
        found.add(429)
    if call.auth != "none":
        found.add(401)
    if call.auth == "staff":
        found.add(403)
    if call.body:
        found |= {413, 415}
    if "{" in path:
        found.add(404)
    return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    number = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
    return [
        {"name": name, "in": "path", "required": True, "schema": number if name.endswith("_id") else {"type": "string"}}
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
        each = schema.get("items", schema)
        if each.get("type") == "integer":
            each.setdefault("maximum", MOST_PER_PAGE if field.name == "page_size" else LARGEST_NUMBER)
            each.setdefault("minimum", 1 if field.name.startswith("page") else -LARGEST_NUMBER)
        if not field.required and isinstance(field.default, int | str) and field.default:
            schema["default"] = field.default
        parameter = {"name": field.name, "in": "query", "required": field.required, "schema": schema}
        if schema.get("type") == "array":  # given once for each
            parameter |= {"style": "form", "explode": True}
        if others := [alias for alias, name in call.query.aliases.items() if name == field.name]:
            parameter["description"] = f"Also taken under the name `{'`, `'.join(others)}`."
        parameters.append(parameter)
    return parameters
