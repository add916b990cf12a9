"""The cache evicts what was used least recently, and keeps its bound."""

from homolog.utils.lru_cache import LRUCache


def test_values_are_made_once():
    made = []
    cache = LRUCache(max_bytes=100, sizeof=len)
    for _ in range(3):
        assert cache.get("a", lambda: made.append("a") or "value") == "value"
    assert made == ["a"]


def test_the_least_recently_used_is_evicted():
    made = []

    def get(key):
        return cache.get(key, lambda: made.append(key) or 10 * key)

    cache = LRUCache(max_bytes=30, sizeof=len)
    for key in "abc" + "a" + "d":  # b was used least recently
        get(key)
    assert made == ["a", "b", "c", "d"]
    get("a"), get("c"), get("d")
    assert made == ["a", "b", "c", "d"]
    get("b")
    assert made[-1] == "b"


def test_some_are_kept_however_large():
    made = []
    cache = LRUCache(max_bytes=1, sizeof=len, min_items=2)
    for key in "abab":
        cache.get(key, lambda key=key: made.append(key) or 1000 * key)
    assert made == ["a", "b"]
    cache.get("c", lambda: "c")
    cache.get("a", lambda: made.append("again") or "a")
    assert made == ["a", "b", "again"]
