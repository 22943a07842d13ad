"""A running module goes wherever its tag goes, in every process, and keeps the last good version."""

import asyncio
import gc
import logging
import sqlite3
import subprocess
import sys
import time
import weakref
from contextlib import closing

import pytest

import msgflow.nn as nn
from msgflow.errors import StateDictError, TagNameError, VersionDamaged, VersionNotFound
from msgflow.versions import Store
from tests import version_places
from tests.eventually import eventually
from tests.in_python import run_script
from tests.postgres import require_postgres
from tests.version_places import Prompts

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

POLL_S = 0.02


def publish(store, prompt, **others):
    """A new version of Prompts, in production."""
    return store.tag("production", store.commit({"prompt": prompt, "limit": 1, **others}))


@pytest.fixture
def sqlite(tmp_path):
    return Store(tmp_path / "prompts.db")


@pytest.fixture
def warnings_(caplog):
    caplog.set_level(logging.INFO, "msgflow.versions")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "msgflow.versions"]


def test_it_loads_what_the_tag_points_at_now_and_later(store):
    module = Prompts()
    first = publish(store, "one")
    with store.follow(module, "production", poll_s=POLL_S) as follower:
        assert (module("hi"), follower.version) == ("one hi", first)
        second = publish(store, "two")
        eventually(lambda: module("hi") == "two hi")
        assert follower.version == second == module.digest()
        store.rollback("production")
        eventually(lambda: module("hi") == "one hi")
        assert follower.version == first and follower.refused is None


def test_a_swap_takes_less_than_a_second_with_the_poll_of_its_own_choice(store):
    module = Prompts()
    publish(store, "one")
    with store.follow(module, "production"):
        time.sleep(0.1)
        publish(store, "two")
        assert eventually(lambda: module.prompt == "two") < 1.0


FOLLOWER = """
import sys, time
from msgflow.versions import Store
from tests.version_places import Prompts

module = Prompts()
follower = Store(sys.argv[1]).follow(module, "production")
while module.prompt != "two":
    print(module.prompt, flush=True)
    time.sleep(0.05)
print(module.prompt, flush=True)
"""


def test_every_process_that_follows_swaps(sqlite, tmp_path):
    publish(sqlite, "one")
    command = [sys.executable, "-W", "error", "-c", FOLLOWER, str(tmp_path / "prompts.db")]
    followers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for follower in followers:
        assert follower.stdout.readline() == "one\n", follower.stderr.read()
    publish(sqlite, "two")
    for follower in followers:
        printed, problems = follower.communicate(timeout=10)
        assert (printed.split()[-1], follower.returncode, problems) == ("two", 0, "")


# --- the first one ---------------------------------------------------------------------------------------------------


def test_a_tag_that_is_not_there_is_an_error(store):
    with pytest.raises(VersionNotFound, match="no version or tag 'production'"):
        store.follow(Prompts(), "production")


def test_a_first_version_that_does_not_fit_is_an_error_and_changes_nothing(sqlite, tracing):
    module = Prompts()
    id_ = publish(sqlite, 5, tone="warm")
    with pytest.raises(StateDictError, match="tone: unexpected"):
        sqlite.follow(module, "production")
    assert module.prompt == "Be helpful."
    (span,) = tracing.spans
    assert span.attributes["msgflow.version.result"] == "refused" and span.attributes["msgflow.state.digest"] == id_


@pytest.mark.parametrize("poll_s", [0, -1, float("inf"), float("nan"), "1", None])
def test_a_poll_that_is_no_time_is_refused(sqlite, poll_s):
    publish(sqlite, "one")
    with pytest.raises(ValueError, match="poll_s is the pause"):
        sqlite.follow(Prompts(), "production", poll_s=poll_s)


def test_only_modules_and_tags_can_be_followed(sqlite):
    id_ = publish(sqlite, "one")
    with pytest.raises(TypeError, match="only a Module has a state that can be swapped, not dict"):
        sqlite.follow({}, "production")
    with pytest.raises(TagNameError, match="looks like an id"):
        sqlite.follow(Prompts(), id_)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_version_that_does_not_fit_is_refused_once_and_the_next_one_is_loaded(sqlite, warnings_, tracing):
    module = Prompts()
    first = publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S) as follower:
        bad = publish(sqlite, 5, tone="warm")
        eventually(lambda: follower.refused)
        time.sleep(5 * POLL_S)
        assert (module("hi"), follower.version) == ("one hi", first)
        assert follower.refused.id == bad and isinstance(follower.refused.error, StateDictError)
        (warning,) = warnings_()
        assert f"tag 'production': version {bad} was refused, {first} goes on" in warning
        assert "prompt: expected text, got a number (5)" in warning and "tone: unexpected" in warning
        publish(sqlite, "three")
        eventually(lambda: module.prompt == "three")
        assert follower.refused.id == bad
    spans = [span for span in tracing.spans if span.name == "apply version"]
    assert [span.attributes["msgflow.version.result"] for span in spans] == ["applied", "refused", "applied"]
    refused = spans[1]
    assert refused.attributes["msgflow.version.source"] == "tag 'production'"
    assert refused.attributes["msgflow.state.digest"] == bad and not refused.status.is_ok
    (event,) = refused.events
    assert "tone: unexpected" in event.attributes["exception.message"]


def test_a_version_that_comes_back_is_refused_again(sqlite, warnings_):
    module = Prompts()
    publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S):
        publish(sqlite, 5)
        eventually(lambda: len(warnings_()) == 1)
        sqlite.rollback("production")
        time.sleep(5 * POLL_S)
        publish(sqlite, 5)
        eventually(lambda: len(warnings_()) == 2)
        assert module.prompt == "one"


class Fussy(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", 1)

    def _buffer_value(self, name, value):
        if value == 13:
            raise RuntimeError("unlucky")
        return value


def test_whatever_a_module_raises_is_a_refusal(sqlite):
    module = Fussy()
    sqlite.tag("production", sqlite.commit({"n": 1}))
    with sqlite.follow(module, "production", poll_s=POLL_S) as follower:
        sqlite.tag("production", sqlite.commit({"n": 13}))
        eventually(lambda: follower.refused)
        assert isinstance(follower.refused.error, RuntimeError) and module.n == 1
        sqlite.tag("production", sqlite.commit({"n": 14}))
        eventually(lambda: module.n == 14)


def test_a_version_that_was_tampered_with_is_refused(sqlite, tmp_path):
    module = Prompts()
    publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S) as follower:
        bad = sqlite.commit({"prompt": "two", "limit": 1})
        with closing(sqlite3.connect(tmp_path / "prompts.db")) as connection:
            connection.execute("UPDATE msgflow_states SET state = '{}' WHERE id = ?", (bad,))
            connection.commit()
        sqlite.tag("production", bad)
        eventually(lambda: follower.refused)
        assert isinstance(follower.refused.error, VersionDamaged) and follower.refused.id == bad
        assert module.prompt == "one"


def test_a_value_that_is_changed_by_hand_stays_until_the_tag_moves(sqlite):
    module = Prompts()
    publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S):
        module.prompt = "by hand"
        time.sleep(5 * POLL_S)
        assert module.prompt == "by hand"
        publish(sqlite, "two")
        eventually(lambda: module.prompt == "two")


# --- outages ---------------------------------------------------------------------------------------------------------


def test_a_database_that_goes_away_is_reported_once_and_followed_again(sqlite, tmp_path, warnings_):
    module = Prompts()
    publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S):
        (tmp_path / "prompts.db").rename(tmp_path / "away.db")
        eventually(warnings_)
        time.sleep(10 * POLL_S)
        (warning,) = warnings_()
        assert "looking at tag 'production' failed and will be tried again" in warning and "is gone" in warning
        assert module("hi") == "one hi"
        publish(Store(tmp_path / "away.db"), "two")
        (tmp_path / "away.db").rename(tmp_path / "prompts.db")
        eventually(lambda: module.prompt == "two" and len(warnings_()) > 1)
        assert warnings_()[1:] == ["looking at tag 'production' works again"]


def test_a_server_that_is_restarted_is_followed_again(warnings_):
    server = require_postgres()
    store, module = Store(server.new_schema()), Prompts()
    publish(store, "one")
    with store.follow(module, "production", poll_s=POLL_S):
        server.stop()
        eventually(warnings_)
        server.start()
        publish(store, "two")
        eventually(lambda: module.prompt == "two" and len(warnings_()) > 1)
    assert len(warnings_()) == 2
    store.close()


def test_a_tag_that_disappears_is_an_outage(sqlite, tmp_path, warnings_):
    module = Prompts()
    publish(sqlite, "one")
    with sqlite.follow(module, "production", poll_s=POLL_S):
        (tmp_path / "prompts.db").unlink()
        Store(tmp_path / "other.db").log()
        (tmp_path / "other.db").rename(tmp_path / "prompts.db")
        eventually(warnings_)
        publish(sqlite, "two")
        eventually(lambda: module.prompt == "two")


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_after_stop_nothing_is_loaded(sqlite, door):
    module = Prompts()

    class Stopper(nn.Module):
        def forward(self):
            publish(sqlite, "one")
            follower = sqlite.follow(module, "production", poll_s=0.001)
            publish(sqlite, "two")
            follower.stop()
            follower.stop()
            return follower

    follower = await door(Stopper())
    seen = module.prompt
    publish(sqlite, "three")
    await asyncio.sleep(0.05)
    assert module.prompt == seen in ("one", "two") and repr(follower).startswith("Follower(tag 'production', version=")


class Counting(Store):
    looks = 0

    def resolve(self, ref):
        self.looks += 1
        return super().resolve(ref)


def test_a_module_that_is_dropped_is_not_followed_any_longer(tmp_path):
    store = Counting(tmp_path / "prompts.db")
    publish(store, "one")
    module = Prompts()
    store.follow(module, "production", poll_s=POLL_S)
    eventually(lambda: store.looks > 3)
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None
    time.sleep(5 * POLL_S)
    looks = store.looks
    time.sleep(5 * POLL_S)
    assert store.looks == looks


def test_nor_does_a_refusal_keep_a_module_alive(sqlite):
    def refuse():
        module = Fussy()
        sqlite.tag("production", sqlite.commit({"n": 1}))
        follower = sqlite.follow(module, "production", poll_s=POLL_S)
        sqlite.tag("production", sqlite.commit({"n": 13}))
        eventually(lambda: follower.refused)
        return follower, weakref.ref(module)

    follower, gone = refuse()
    gc.collect()
    assert gone() is None and "unlucky" in str(follower.refused.error)


def test_it_follows_without_being_kept(sqlite):
    def follow_and_swap():
        module = Prompts()
        sqlite.follow(module, "production", poll_s=POLL_S)
        gc.collect()
        publish(sqlite, "two")
        eventually(lambda: module.prompt == "two")

    publish(sqlite, "one")
    follow_and_swap()
    gc.collect()
    time.sleep(5 * POLL_S)  # until the follower has seen that the module is gone


def test_a_program_ends_while_it_follows(tmp_path):
    script = """
        import sys
        from msgflow.versions import Store
        from tests.version_places import Prompts
        store, module = Store(sys.argv[1]), Prompts()
        store.tag("production", store.commit({"prompt": "one", "limit": 1}))
        follower = store.follow(module, "production", poll_s=0.001)
        print(module.prompt)
        """
    assert run_script(script, str(tmp_path / "prompts.db")) == "one"


def test_a_forked_child_does_not_wait_for_the_follower_of_its_parent(tmp_path):
    script = """
        import os, sys
        from msgflow.versions import Store
        from tests.version_places import Prompts
        store, module = Store(sys.argv[1]), Prompts()
        store.tag("production", store.commit({"prompt": "one", "limit": 1}))
        with store.follow(module, "production", poll_s=0.001) as follower:
            if os.fork() == 0:
                follower.stop()
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.wait()[1]))
        """
    assert run_script(script, str(tmp_path / "prompts.db")) == "7"


async def test_what_the_caller_is_in_the_middle_of_does_not_matter(sqlite, tracing, door):
    """A span, a call that reads one version to its end, an event loop: the follower outlives them all."""
    module = Prompts()

    class Begin(nn.Module):
        def forward(self):
            return sqlite.follow(module, "production", poll_s=POLL_S)

    publish(sqlite, "one")
    follower = await door(Begin())
    publish(sqlite, "two")
    eventually(lambda: module.prompt == "two")
    follower.stop()
    last = [span for span in tracing.spans if span.name == "apply version"][-1]
    assert last.parent is None
