"""How a script is run on whichever server has its keys."""

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """A script in Lua that is sent to a server once, and then called by its digest."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Redis, keys: Sequence[str], values: Sequence[str | int]) -> Any:
        """What it returns. In a cluster all its keys have one hash tag."""
        try:
            return await client.evalsha(self._digest, len(keys), *keys, *values)
        except NoScriptError:
            # Not EVAL: where a slot is on its way, this alone would be sent elsewhere, and never be known there.
            await client.script_load(self._text)
            return await client.evalsha(self._digest, len(keys), *keys, *values)
