"""Pages for people, all from local files: front page, Swagger UI, a plain reference, and what each problem means."""

from html import escape
from importlib import resources
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from moviehub import __version__
from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints.http.calls import Answer, call, named
from moviehub.entrypoints.http.openapi import ATTRIBUTION
from moviehub.entrypoints.http.problems import NOTHING, NoSuchPath, known_problems, status_of

_STYLE = """
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
a{color:#0b57a4}code,pre{font-family:ui-monospace,monospace;font-size:.92em;background:#f2f4f7;border-radius:4px}
code{padding:.1em .3em}pre{padding:.8rem;overflow:auto}h1{margin-bottom:.2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dde2e8}
.get{color:#0b6b3a}.post{color:#0b57a4}.put,.patch{color:#8a5a00}.delete{color:#a61b1b}
@media (prefers-color-scheme:dark){body{background:#12161c;color:#e4e8ee}a{color:#7db7f5}
code,pre{background:#1d242d}td,th{border-color:#2b343f}}
"""
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_SWAGGER_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
_ASSETS = {
    "swagger-ui-bundle.js": "application/javascript",
    "swagger-ui.css": "text/css",
}
_SWAGGER_START = """window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null});
});
"""
PAGE = call(auth="none", answers={200: "text/html"})
AnyRequest = Request[Any, Any, Any]


def page(title: str, body: str, *, policy: str = _PAGE_POLICY, head: str = f"<style>{_STYLE}</style>") -> Answer:
    """An HTML page of ours."""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}</head>'
        f"<body>{body}</body></html>"
    )
    headers = {"content-security-policy": policy, "cache-control": "public, max-age=60"}
    return Answer(html.encode(), 200, named({"content-type": "text/html; charset=utf-8", **headers}))


def _file(content: bytes, media_type: str) -> Answer:
    return Answer(content, 200, named({"content-type": media_type, "cache-control": "public, max-age=86400"}))


class DocsController(Controller):
    """Documentation and front page."""

    path = "/"
    tags = ["Documentation"]

    @get("/", opt=PAGE)
    async def front(self) -> Response[bytes]:
        """The front page."""
        return page(
            "moviehub",
            f"""<h1>moviehub</h1>
<p>A movie catalogue, accounts, favourites and ratings over HTTP. Version {__version__}.</p>
<ul><li><a href="/docs/">Try the API</a> in Swagger UI</li>
<li><a href="/docs/reference">Read the API</a> on one plain page</li>
<li><a href="/openapi.json">openapi.json</a>, for tools</li>
<li><a href="/api/movies/popular/">What is popular now</a></li>
<li><a href="/problems/">What errors mean</a></li>
<li><a href="/health/ready">Health</a></li></ul><p>{ATTRIBUTION}</p>""",
        )

    @get("/openapi.json", opt=call(auth="none", answers={200: "application/json"}))
    async def openapi(self, document: NamedDependency[bytes]) -> Response[bytes]:
        """The OpenAPI document."""
        return Answer(document, 200, named({"content-type": "application/json", "cache-control": "public, max-age=60"}))

    @get("/docs", opt=PAGE)
    async def swagger(self) -> Response[bytes]:
        """Swagger UI."""
        head = '<link rel="stylesheet" href="/docs/assets/swagger-ui.css">'
        head += '<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/assets/start.js"></script>'
        return page("moviehub API", '<div id="ui"></div>', policy=_SWAGGER_POLICY, head=head)

    @get("/docs/assets/{name:str}", opt=call(auth="none", answers={200: "*/*"}))
    async def asset(self, request: AnyRequest) -> Response[bytes]:
        """The files of Swagger UI, from the installed package."""
        name = request.path_params["name"]
        if name == "start.js":
            return _file(_SWAGGER_START.encode(), "application/javascript")
        if name not in _ASSETS:
            raise NoSuchPath(NOTHING)
        return _file((resources.files("litestar_offline_docs") / "static" / name).read_bytes(), _ASSETS[name])

    @get("/docs/reference", opt=PAGE)
    async def reference(self, document: NamedDependency[bytes]) -> Response[bytes]:
        """Every call on one page, without a script."""
        return page("moviehub API reference", _reference(msgspec.json.decode(document)))

    @get("/problems", opt=PAGE)
    async def problems(self) -> Response[bytes]:
        """Every problem type."""
        rows = "".join(
            f'<tr><td>{status_of(error)}</td><td><a href="/problems/{slug}">{slug}</a></td>'
            f"<td>{escape(error.title)}</td></tr>"
            for slug, error in known_problems().items()
        )
        return page(
            "Problems", f"<h1>Problems</h1><table><tr><th>status</th><th>type</th><th>title</th></tr>{rows}</table>"
        )

    @get("/problems/{slug:str}", opt=PAGE)
    async def problem(self, request: AnyRequest) -> Response[bytes]:
        """What one problem type means."""
        error = known_problems().get(request.path_params["slug"])
        if error is None:
            raise NoSuchPath(NOTHING)
        return page(error.title, _explained(error))


def _explained(error: type[MovieHubError]) -> str:
    text = escape(" ".join((error.__doc__ or "").split()))
    return (
        f"<h1>{escape(error.title)}</h1><p>Status {status_of(error)}, type <code>/problems/{error.slug}</code></p>"
        f'<p>{text}</p><p><a href="/problems/">All problems</a></p>'
    )


def _reference(document: dict[str, Any]) -> str:
    parts = ['<h1>moviehub API</h1><p>For machines: <a href="/openapi.json">openapi.json</a>. ', ATTRIBUTION, "</p>"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            rows = "".join(
                f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td>"
                f"<td><code>{escape(msgspec.json.encode(p['schema']).decode())}</code></td></tr>"
                for p in operation["parameters"]
            )
            answers = ", ".join(sorted(operation["responses"]))
            parts.append(
                f'<h2 id="{operation["operationId"]}"><span class="{method}">{method.upper()}</span> '
                f"<code>{escape(path)}</code></h2><p>{escape(operation['summary'])} "
                f"{escape(operation.get('description', ''))}</p>"
                + (f"<table>{rows}</table>" if rows else "")
                + (f"<p>Body: {_link(body)}</p>" if body else "")
                + f"<p>Answers: {answers}</p>"
            )
    parts.append("<h1>Shapes</h1>")
    for name, schema in document["components"]["schemas"].items():
        told = escape(msgspec.json.format(msgspec.json.encode(schema)).decode())
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2><pre>{told}</pre>')
    return "".join(parts)


def _link(schema: dict[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f'<a href="#{escape(name)}">{escape(name)}</a>'
