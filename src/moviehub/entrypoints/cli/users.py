"""Commands that make and mend accounts."""

import sys
from typing import TYPE_CHECKING

import click

from moviehub.entrypoints.cli.running import command, lasting_settings, ready, run

if TYPE_CHECKING:
    from moviehub.entrypoints.bootstrap import Container


def _new_password() -> str:
    """A password asked for twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@click.group()
def user() -> None:
    """Make and mend accounts."""


@user.command("create-admin")
@click.option("--username", required=True, help="Name of the new superuser.")
@click.option("--email", required=True, help="E-mail address of the new superuser.")
@command
def create_admin(username: str, email: str) -> None:
    """Make a superuser. The password is asked for, or read from standard input."""
    from moviehub.entrypoints.use_cases import use_cases

    settings = lasting_settings()
    password = _new_password()

    async def act(container: "Container") -> None:
        made = await use_cases(container)["register"](
            username=username, email=email, password=password, is_superuser=True
        )
        click.echo(f"Made superuser {made.username} with id {made.id}.")

    with ready(settings) as started:
        run(started, act)


@user.command("set-password")
@click.option("--username", help="Name of the account.")
@click.option("--email", help="E-mail address of the account, instead of its name.")
@command
def set_password(username: str | None, email: str | None) -> None:
    """Set an account's password and end its sessions. The password is asked for, or read from standard input."""
    login = username or email
    if login is None or (username and email):
        raise click.UsageError("Name the account with --username or with --email.")
    from moviehub.entrypoints.use_cases import use_cases

    settings = lasting_settings()
    password = _new_password()

    async def act(container: "Container") -> None:
        await use_cases(container)["set_password"](login=login, password=password)
        click.echo(f"The password of {login} is set, and its sessions are ended.")

    with ready(settings) as started:
        run(started, act)
