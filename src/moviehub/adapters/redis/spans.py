"""Which command Redis was asked to do, told to whoever traces: never with its keys and values."""

from typing import Any

from moviehub.application.tracing import Spans, untraced


def tell_commands(client: Any, spans: Spans) -> None:
    """Put a span around each command of this client; of a pipeline nothing is told."""
    if spans is untraced:
        return
    execute = client.execute_command

    async def told(*words: Any, **options: Any) -> Any:
        with spans("redis", words[0]):
            return await execute(*words, **options)

    client.execute_command = told
