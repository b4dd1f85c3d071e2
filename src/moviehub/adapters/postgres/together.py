"""One select that many ask for at once, each with values of their own: they share a statement, and hear only theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.application.batch import Batch
from moviehub.domain.errors import MovieHubError, Unavailable

MOST_TOGETHER = 50
"""So many askings one statement answers at most."""

Asking = tuple[Any, ...]


class Together:
    """Answers who asks while a statement is under way with the next one, which is `many`; who is alone gets `one`.

    `many` is what `of_many` makes of `one`. Without it each is alone.
    """

    def __init__(self, run: Runs, one: Statement, many: Statement | None) -> None:
        self._run = run
        self._one = one
        self._many = many
        self._names = many.names if many else ()
        self._batch: Batch[Asking, Sequence[Row] | MovieHubError] = Batch(self._answers)

    async def rows(self, **values: Any) -> Sequence[Row]:
        """What the select returns for these values, as of a moment after this call."""
        if self._many is None:
            return await self._run.rows(self._one, **values)
        found = await self._batch.find(tuple([values[name] for name in self._names]))
        if isinstance(found, MovieHubError):
            raise found
        return found or ()

    async def _answers(self, askings: Sequence[Asking]) -> Mapping[Asking, Sequence[Row] | MovieHubError]:
        answers: dict[Asking, Sequence[Row] | MovieHubError] = {}
        for start in range(0, len(askings), MOST_TOGETHER):
            some = askings[start : start + MOST_TOGETHER]
            try:
                answers |= await self._answered(some)
            except Unavailable:
                raise
            except MovieHubError as fault:
                if len(some) == 1:
                    answers[some[0]] = fault
                else:  # of one of them, which nobody else is to hear of
                    for asking in some:
                        answers |= await self._answers([asking])
        return answers

    async def _answered(self, askings: Sequence[Asking]) -> Mapping[Asking, Sequence[Row]]:
        names = self._names
        if self._many is None or len(askings) == 1:
            return {askings[0]: await self._run.rows(self._one, **dict(zip(names, askings[0], strict=True)))}
        lists = dict(zip(names, map(list, zip(*askings, strict=True)), strict=True))
        answers: dict[Asking, list[Row]] = {asking: [] for asking in askings}
        for row in await self._run.rows(self._many, **lists):
            answers[askings[row["asking"] - 1]].append(row)
        return answers
