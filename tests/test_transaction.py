"""Transactions: several assignments, one publish."""

import asyncio
import contextvars
import threading
from contextlib import suppress

import pytest

from msgflow.errors import StateDictError
from tests.swapping import NEW, Pair


def test_a_transaction_publishes_all_at_once_at_its_end():
    pair, seen = Pair(), []

    def from_outside():
        thread = threading.Thread(target=lambda: seen.append(pair()))
        thread.start()
        thread.join()

    with pair.transaction():
        pair.a = "a2"
        from_outside()
        pair.b = "b2"
        pair.n = 2
        assert (pair.a, pair.b, pair.n) == ("a2", "b2", 2), "the block reads what it has assigned"
        from_outside()
    from_outside()
    assert seen == [("a1", "a1", "b1", 1)] * 2 + [("a2", "a2", "b2", 2)]


def test_a_transaction_that_raises_publishes_nothing():
    pair = Pair()

    def fail():
        with pair.transaction():
            pair.a = "a2"
            pair.n = 1 // 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert pair() == ("a1", "a1", "b1", 1)


def test_a_transaction_in_a_transaction_is_part_of_it():
    pair = Pair()
    with pair.transaction():
        pair.a = "a2"
        with pair.transaction():
            pair.b = "b2"
            assert pair.a == "a2"
        with suppress(KeyError), pair.transaction():
            pair.a = "a3"
            raise KeyError
        assert (pair.a, pair.b) == ("a2", "b2")
        seen = contextvars.Context().run(lambda: (str(pair.a), str(pair.b)))
    assert seen == ("a1", "b1") and pair() == ("a2", "a2", "b2", 1)


def test_a_transaction_reads_one_version_whatever_others_publish_meanwhile():
    pair = Pair()
    with pair.transaction():
        contextvars.Context().run(lambda: pair.load_state_dict(NEW))
        assert (pair.a, pair.b, pair.n) == ("a1", "b1", 1)
        pair.b = pair.b + "!"
    assert (pair.a, pair.b, pair.n) == ("a2", "b1!", 2)


async def test_a_call_in_a_transaction_tries_out_what_is_not_published_yet(door):
    pair = Pair()
    with pair.transaction():
        pair.a = "a2"
        assert await door(pair) == ("a2", "a2", "b1", 1)
        published, tried = contextvars.Context().run(pair.digest), pair.digest()
        assert published != tried
    assert pair.digest() == tried


async def test_a_transaction_in_a_call_is_for_the_calls_after_it(door):
    pair = Pair()

    def swap():
        with pair.transaction():
            pair.a = "a2"
            assert pair.a == "a2"
        assert pair.a == "a1"

    assert await door(pair, swap) == ("a1", "a1", "b1", 1)
    assert pair.a == "a2"


def test_loading_in_a_transaction_joins_it_and_a_refused_load_changes_nothing_of_it():
    pair = Pair()
    with pair.transaction():
        pair.load_state_dict({"a": "a2"}, strict=False)
        with pytest.raises(StateDictError):
            pair.load_state_dict({"a": 5, "b": "b2", "n": 3})
        assert contextvars.Context().run(lambda: pair.a) == "a1"
    assert pair() == ("a2", "a2", "b1", 1)


async def test_work_that_outlives_its_transaction_assigns_directly():
    pair, go = Pair(), asyncio.Event()

    async def later():
        await go.wait()
        pair.a = "late"
        return await asyncio.to_thread(lambda: str(pair.a))

    with pair.transaction():
        pair.b = "b2"
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    assert await task == "late" and pair() == ("late", "late", "b2", 1)
