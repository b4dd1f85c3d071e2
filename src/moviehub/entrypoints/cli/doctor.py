"""The command that examines a hub: a line for each part, as soon as that is known."""

import sys
from typing import TYPE_CHECKING

import click

from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints.cli.progress import Progress
from moviehub.entrypoints.cli.running import ConfigFault, ready, run
from moviehub.entrypoints.settings import Settings, SettingsError, unknown_variables

if TYPE_CHECKING:
    from moviehub.entrypoints.bootstrap import Container

STATES = {"ok": "ok", "degraded": "warning", "unavailable": "fault"}
"""What a finding is for an operator."""

WAITING = "examining"
"""Stands under the last line of a terminal while there is more to come."""


class Report:
    """Lines of a state, a part and what to do; it counts the faults."""

    def __init__(self, progress: Progress) -> None:
        self.faults = 0
        self._progress = progress
        progress.show(WAITING)

    def say(self, state: str, part: str, told: str) -> None:
        """One line; on a terminal it says that more is to come."""
        self.faults += state == "fault"
        self._progress.say(f"{state:8} {part:12} {told}")
        self._progress.show(WAITING)


@click.command()
def doctor() -> None:
    """Check settings, secrets, database, cache, clock and catalogue.

    Each line is ok, a warning or a fault, and says what to do. The exit code is 0 unless there is a fault.
    """
    with Progress() as progress:
        report = Report(progress)
        _examine(report)
    sys.exit(1 if report.faults else 0)


def _examine(report: Report) -> None:
    from moviehub.entrypoints.bootstrap import plugged_in
    from moviehub.entrypoints.bootstrap.database import StartError
    from moviehub.entrypoints.cli.examination import examination

    try:
        settings = Settings.read()
        plugged_in(settings)
    except SettingsError as fault:
        report.say("fault", "settings", str(fault))
        sys.exit(ConfigFault.exit_code)
    parts = f"{settings.storage} storage, {settings.cache} cache, {settings.catalogue} catalogue"
    report.say("ok", "settings", f"{settings.env}: {parts}")
    for name in unknown_variables():
        report.say("warning", "settings", f"{name} is no setting of moviehub: a typing error?")
    _judge_secret(report, settings)

    async def examine(container: "Container") -> None:
        async for finding in examination(container):
            report.say(STATES[finding.state], finding.part, finding.reason)

    try:
        with ready(settings) as started:
            run(started, examine)
    except (MovieHubError, StartError) as fault:
        report.say("fault", "database", str(fault))


def _judge_secret(report: Report, settings: Settings) -> None:
    if weakness := settings.weakness():
        report.say("warning", "secret", weakness)
    elif settings.secret_key:
        report.say("ok", "secret", "strong enough for production")
    elif settings.database_url.startswith("embedded:"):
        report.say("ok", "secret", "kept beside the private database")
    else:
        report.say("warning", "secret", "MOVIEHUB_SECRET_KEY is not set: sessions end when the server does")
