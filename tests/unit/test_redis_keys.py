"""Which keys a Redis Cluster keeps together."""

from moviehub.adapters.redis import budget, counters
from moviehub.adapters.redis.cluster import slot_of


def test_the_keys_of_each_script_are_on_one_node() -> None:
    assert len({slot_of(key) for key in budget.KEYS}) == 1
    names = ("a", "last:b", "user:60:1", "auth:60:name:{x}", "夜 *", "}{")
    assert len({slot_of(counters.PREFIX + name) for name in names}) == 1


def test_what_is_cached_is_spread() -> None:
    assert len({slot_of(f"moviehub:3:tmdb:en-US::popular_movies_page_{number}") for number in range(100)}) > 90
