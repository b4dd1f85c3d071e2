"""What news owe; a subclass has a fixture `two`: a pair that shares them, which may be one and the same."""

import asyncio

from moviehub.application.ports import News


async def until_heard(news: News, heard: list[str | None], count: int) -> None:
    """Wait until the news are heard, and so much was."""
    async with asyncio.timeout(5):
        while not news.are_heard() or len(heard) < count:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)


class NewsContract:
    async def test_what_one_tells_all_hear_in_order(self, two: tuple[News, News]) -> None:
        teller, hearer = two
        here: list[str | None] = []
        there: list[str | None] = []
        teller.listen(here.append)
        hearer.listen(there.append)
        await until_heard(hearer, there, 0)
        del there[:]
        await teller.tell("a film", "a person")
        await teller.tell("another film")
        await until_heard(hearer, there, 3)
        assert here[-3:] == there == ["a film", "a person", "another film"]

    async def test_what_was_told_is_there_to_be_heard_when_tell_returns(self, two: tuple[News, News]) -> None:
        teller, hearer = two
        heard: list[str | None] = []
        hearer.listen(heard.append)
        await until_heard(hearer, heard, 0)
        del heard[:]
        late = 0
        for number in range(1_000):
            await teller.tell(f"film {number}")
            hearer.are_heard()
            late += len(heard) <= number
        assert late == 0

    async def test_many_may_tell_at_once(self, two: tuple[News, News]) -> None:
        teller, hearer = two
        heard: list[str | None] = []
        hearer.listen(heard.append)
        await until_heard(hearer, heard, 0)
        del heard[:]
        await asyncio.gather(*(teller.tell(f"film {number}") for number in range(50)))
        await until_heard(hearer, heard, 50)
        assert sorted(filter(None, heard)) == sorted(f"film {number}" for number in range(50))

    async def test_several_may_listen(self, two: tuple[News, News]) -> None:
        teller, hearer = two
        first: list[str | None] = []
        second: list[str | None] = []
        hearer.listen(first.append)
        hearer.listen(second.append)
        await until_heard(hearer, first, 0)
        del first[:], second[:]
        await teller.tell("a film")
        await until_heard(hearer, first, 1)
        assert first == second == ["a film"]
