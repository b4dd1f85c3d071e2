"""Which form of an answer a client gets: compressed or not, or none because it has it already."""

import gzip
import hashlib
from functools import lru_cache

Headers = list[tuple[bytes, bytes]]
LEAST_COMPRESSED = 500
_COMPRESSIBLE = (b"application/json", b"application/problem+json", b"text/", b"application/javascript")


@lru_cache(1024)
def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether gzip may be sent: named, or covered by `*`, with a weight above 0 (RFC 9110 section 12.5.3)."""
    weights: dict[str, float] = {}
    for item in accept_encoding.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[name] = weight
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def etag_of(body: bytes) -> bytes:
    """The entity tag of an answer as it is before it is compressed."""
    return b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()


def etag_matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether one of the client's entity tags is ours, in either encoding (RFC 9110 section 13.1.2)."""
    if if_none_match.strip() == b"*":
        return True
    bare = etag.strip(b'"')
    tags = {tag.strip().removeprefix(b"W/").strip(b'"').removesuffix(b"-gzip") for tag in if_none_match.split(b",")}
    return bare in tags


def encoded(body: bytes, headers: Headers, gzipped: bool, etag: bytes | None = None) -> tuple[bytes, Headers]:
    """The body in the encoding that the client takes, with the headers that tell of it."""
    headers = list(headers)
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if gzipped and len(body) > LEAST_COMPRESSED and kind.startswith(_COMPRESSIBLE):
        body = gzip.compress(body, 4, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
        etag = etag and etag[:-1] + b'-gzip"'
    if etag:
        headers.append((b"etag", etag))
    headers.append((b"content-length", b"%d" % len(body)))
    return body, headers
