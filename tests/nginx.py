"""The nginx of Debian, with the configuration that is shipped except for addresses and places."""

import itertools
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from tests.conftest import make_server_folder
from tests.proxy import Proxy
from tests.servers import ROOT, Server, eventually, free_port, serving

DEPLOY = ROOT / "deploy"
NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
"""Where it is installed; it is no package of Python, so where it is not, there are no tests of it."""

SERVER = "    server {\n        listen"
# So that clients can say who they are, for all of them have one address here.
TOLD = {SERVER: f"    set_real_ip_from 127.0.0.1;\n    real_ip_header X-Me;\n{SERVER}"}

_addresses = itertools.count()


class Nginx:
    """An nginx that answers at `url`, and at `tls_port` where there is a certificate; `folder` has its logs."""

    def __init__(self, folder: Path, port: int, tls_port: int) -> None:
        self.folder, self.port, self.tls_port = folder, port, tls_port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, target: str, method: str = "GET", **more: object) -> httpx.Response:
        """An answer, over a connection of its own."""
        with httpx.Client(verify=False, trust_env=False, timeout=20.0) as client:
            return client.request(method, f"{self.url}{target}", **more)  # type: ignore[arg-type]


def configuration(folder: Path, port: int, tls_port: int, servers: list[int], changes: Mapping[str, str]) -> str:
    """The text of nginx.conf for this place, with tls.conf beside it for a version that has no `http2 on`."""
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (DEPLOY / "nginx.conf").read_text()
    [upstream] = re.findall(r"^ *server api:8000[^;]*;$", text, re.MULTILINE)
    here = {
        "worker_processes auto;": "worker_processes 1;",
        "http {\n": f"http {{\n{temporary}",
        "/tmp/nginx.pid": f"{folder}/pid",
        "/dev/stdout": f"{folder}/access",
        "listen 80 default_server;": f"listen 127.0.0.1:{port};",
        "/var/cache/nginx/public": f"{folder}/cache",
        "/etc/nginx/tls/*.conf": f"{folder}/tls/*.conf",
        upstream: "\n".join(upstream.replace("api:8000", f"127.0.0.1:{one}") for one in servers),
    }
    for shipped, wanted in {**here, **changes}.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, wanted)
    if (folder / "tls").is_dir():
        tls = (DEPLOY / "tls.conf").read_text()
        for shipped, wanted in (
            ("listen 443 ssl default_server;\nhttp2 on;", f"listen 127.0.0.1:{tls_port} ssl http2;"),
            ("/etc/nginx/tls/", f"{folder}/tls/"),
        ):
            assert shipped in tls
            tls = tls.replace(shipped, wanted)
        (folder / "tls/tls.conf").write_text(tls)
    return text.replace("/dev/stderr", f"{folder}/errors")


@contextmanager
def nginx_before(servers: list[int], folder: Path, changes: Mapping[str, str] | None = None) -> Iterator[Nginx]:
    """An nginx that leads to the servers at these ports. `changes` are other lines in place of those shipped."""
    assert NGINX is not None
    nginx = Nginx(folder, free_port(), free_port())
    written = folder / "nginx.conf"
    written.write_text(configuration(folder, nginx.port, nginx.tls_port, servers, changes or {}))
    command = [NGINX, "-p", str(folder), "-e", f"{folder}/errors", "-c", str(written), "-g", "daemon off;"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:

            def answers() -> bool:
                assert process.poll() is None, (folder / "errors").read_text()
                with suppress(httpx.TransportError):
                    return nginx.get("/health/live").status_code == 200
                return False

            eventually(answers)
            yield nginx
        finally:
            process.terminate()


def certify(folder: Path) -> None:
    """Make a certificate for this machine in this new folder, as docs/nginx.md does."""
    folder.mkdir()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)


class Hub:
    """Two servers on one database, each behind a proxy that can fail, and nginx in front of both."""

    def __init__(self, nginx: Nginx, servers: list[Server], proxies: list[Proxy]) -> None:
        self.nginx, self.servers, self.proxies = nginx, servers, proxies
        self.get = nginx.get

    def hold(self, target: str, method: str, head: str = "") -> socket.socket:
        """Somebody whose request has a place for as long as its body does not come."""
        link = socket.create_connection(("127.0.0.1", self.nginx.port))
        address = next(_addresses)
        head += f"Host: hub\r\nX-Me: 10.1.{address // 256}.{address % 256}\r\nContent-Length: 5\r\n\r\n"
        link.sendall(f"{method} {target} HTTP/1.1\r\n{head}".encode())
        return link


@contextmanager
def behind_nginx(database: str, **settings: str) -> Iterator[Hub]:
    """A hub that is reached through nginx."""
    folder = make_server_folder()
    shared = {"DATABASE_URL": database, "SECRET_KEY": "k" * 32, "TRUSTED_PROXIES": "127.0.0.1", **settings}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = [stack.enter_context(serving(**shared)) for _ in range(2)]
        proxies = [stack.enter_context(Proxy(server.url)) for server in servers]
        nginx = stack.enter_context(nginx_before([proxy.port for proxy in proxies], folder, TOLD))
        yield Hub(nginx, servers, proxies)
