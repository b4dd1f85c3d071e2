"""What is kept for a moment is forgotten when it changed, and never kept when it changed while it was read."""

from datetime import timedelta

import pytest

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.news import MemoryNews
from moviehub.application import kept as module
from moviehub.application.kept import Kept
from moviehub.application.ports import News
from tests.contracts.news import NewsContract


class TestMemoryNews(NewsContract):
    @pytest.fixture
    def two(self) -> tuple[News, News]:
        news = MemoryNews()
        return news, news


class Deaf(MemoryNews):
    """News that are heard or not, as the test has it."""

    hears = True

    def are_heard(self) -> bool:
        return self.hears


@pytest.fixture
def news() -> Deaf:
    return Deaf()


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
def kept(news: Deaf, clock: MemoryClock) -> Kept[str, int]:
    return Kept(news, clock)


async def test_what_is_kept_is_found_until_one_of_its_topics_changes(kept: Kept[str, int], news: Deaf) -> None:
    kept.keep("a", 1, ("x", "y"), moment=kept.moment)
    kept.keep("b", 2, ("y",), moment=kept.moment)
    await news.tell("z")
    assert (kept.find("a"), kept.find("b")) == (1, 2)
    await news.tell("x")
    assert (kept.find("a"), kept.find("b")) == (None, 2)
    await news.tell("y")
    assert kept.find("b") is None


async def test_what_changed_while_it_was_read_is_not_kept(kept: Kept[str, int], news: Deaf) -> None:
    moment = kept.moment
    await news.tell("x")
    kept.keep("a", 1, ("x",), moment=moment)
    assert kept.find("a") is None
    kept.keep("a", 2, ("x",), moment=kept.moment)
    assert kept.find("a") == 2


async def test_after_news_may_have_been_missed_nothing_older_is_found_or_kept(kept: Kept[str, int], news: Deaf) -> None:
    moment = kept.moment
    kept.keep("a", 1, ("x",), moment=moment)
    kept.keep("b", 2)
    for listener in news._listeners:
        listener(None)
    assert kept.find("a") is None
    assert kept.find("b") == 2  # which no news can end
    kept.keep("a", 1, ("x",), moment=moment)
    assert kept.find("a") is None


async def test_while_news_are_not_heard_only_what_needs_none_is_kept(kept: Kept[str, int], news: Deaf) -> None:
    kept.keep("a", 1, ("x",), moment=kept.moment)
    news.hears = False
    assert kept.find("a") is None
    kept.keep("b", 2, ("x",), moment=kept.moment)
    kept.keep("c", 3)
    news.hears = True
    assert (kept.find("b"), kept.find("c")) == (None, 3)


async def test_the_moment_ends_by_itself(kept: Kept[str, int], clock: MemoryClock) -> None:
    kept.keep("short", 1, life=timedelta(seconds=0.5))
    kept.keep("long", 2, ("x",), moment=kept.moment, life=timedelta(seconds=60))
    clock.advance(seconds=0.4)
    assert (kept.find("short"), kept.find("long")) == (1, 2)
    clock.advance(seconds=0.2)
    assert (kept.find("short"), kept.find("long")) == (None, 2)
    clock.advance(seconds=0.5)
    assert kept.find("long") is None


async def test_a_clock_that_is_set_back_makes_no_moment_longer(kept: Kept[str, int], clock: MemoryClock) -> None:
    kept.keep("a", 1)
    clock.advance(seconds=-60)
    assert kept.find("a") is None


async def test_it_holds_so_many_and_forgets_the_oldest(news: Deaf) -> None:
    kept: Kept[int, int] = Kept(news, MemoryClock(), most=3)
    for number in range(5):
        kept.keep(number, number, ("x", f"y{number}"), moment=kept.moment)
    assert [kept.find(number) for number in range(5)] == [None, None, 2, 3, 4]
    await news.tell("x")
    assert [kept.find(number) for number in range(5)] == [None] * 5
    assert not kept._values
    assert not kept._keys


async def test_of_very_many_changes_it_knows_the_newest_and_is_careful_about_the_others(
    kept: Kept[str, int], news: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CHANGES", 2)
    moment = kept.moment
    await news.tell("x", "y", "z")
    kept.keep("a", 1, ("w",), moment=moment)  # perhaps "w" was among those that are forgotten
    assert kept.find("a") is None
    kept.keep("a", 1, ("w",), moment=kept.moment)
    assert kept.find("a") == 1
