"""The Postgres that tests run against: one private server a run, shared by its workers, or the one you name."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from moviehub.adapters.embedded import EmbeddedError, PrivatePostgres

pytest_plugins = ["tests.reliability"]

_URL = pytest.StashKey[str]()
_MEMORY = Path("/dev/shm")  # a database is cloned there in a hundredth of a second; on a slow disk, in a quarter
_MEMORY_WANTED = 1 << 30
_UNIT = Path(__file__).parent / "unit"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is imported or collected is garbage, so it is not looked through, now or while the tests run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With xdist, its controller owns the server, because a worker may end while others still run."""
    config: pytest.Config = node.config
    places = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    if not all(place.resolve().is_relative_to(_UNIT) for place in places):
        node.workerinput["postgres_url"] = _postgres_url(config)


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The server's URL, of a database that tests leave alone."""
    given: dict[str, str] | None = getattr(pytestconfig, "workerinput", None)
    return given["postgres_url"] if given else _postgres_url(pytestconfig)


def _postgres_url(config: pytest.Config) -> str:
    if _URL not in config.stash:
        config.stash[_URL] = os.environ.get("MOVIEHUB_TEST_DATABASE_URL") or _start_postgres(config)
    return config.stash[_URL]


def _start_postgres(config: pytest.Config) -> str:
    folder = make_server_folder()
    config.add_cleanup(lambda: shutil.rmtree(folder))
    server = PrivatePostgres(folder, durable=False)
    config.add_cleanup(server.stop)
    try:
        return server.start()
    except EmbeddedError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for the data of a private server that a test runs for itself; pytest's own are closed to `nobody`."""
    folder = make_server_folder()
    yield folder
    shutil.rmtree(folder)


def make_server_folder() -> Path:
    """Such a folder for those who remove it themselves."""
    base = Path(tempfile.gettempdir())
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_WANTED:
        base = _MEMORY
        for left in base.glob("moviehub-tests-*"):  # by a run that was killed
            if not Path("/proc", left.name.split("-")[2]).exists():
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"moviehub-tests-{os.getpid()}-", dir=base))
    folder.chmod(0o711)
    return folder
