"""Splitting calls between versions, stably by a key, and running some of them in the shadow."""

import asyncio
import logging
import threading

import pytest

import msgflow.nn as nn
from msgflow import versions
from msgflow.errors import StateDictError, VersionError, VersionNotFound
from msgflow.trace import names
from msgflow.versions import splitting
from tests.conftest import through_acall, through_call


class Greeter(nn.Module):
    def __init__(self):
        super().__init__()
        self.hello, self.end = nn.Parameter("own hello"), nn.Parameter("own end")

    def forward(self, user, between=lambda: None):
        said = str(self.hello)
        between()
        return said, str(self.end)


def said(name):
    return {"hello": f"{name} hello", "end": f"{name} end"}


STATES = {name: said(name) for name in ("v12", "v13")}
USERS = [f"user {number}" for number in range(1000)]


# A call inside another one is no root call, and never split.
root_doors = pytest.mark.parametrize("door", [through_call, through_acall], ids=["call", "acall"])


def by_user(user, *_, **__):
    return user


def counts(greeter, users=USERS):
    found = [greeter(user) for user in users]
    assert all(hello.split()[0] == end.split()[0] for hello, end in found)
    return {name: sum(hello.startswith(name) for hello, _ in found) for name in ("v12", "v13", "own")}


def test_each_version_gets_about_its_share_of_the_keys():
    greeter = Greeter()
    with versions.split(greeter, {"v12": 0.9, "v13": 0.1}, key=by_user, source=STATES):
        found = counts(greeter)
    # 1000 draws: five standard deviations of a share of 0.1 are 47.
    assert found["own"] == 0 and abs(found["v13"] - 100) < 47


@root_doors
async def test_equal_keys_get_the_same_version_through_every_door_and_in_another_split(door):
    greeters, found = [Greeter(), Greeter()], []
    for greeter in greeters:
        with versions.split(greeter, {"v12": 0.5, "v13": 0.5}, key=by_user, source=STATES):
            found.append([await door(greeter, user) for user in USERS[:40]])
            found.append([greeter(user) for user in USERS[:40]])
    assert all(each == found[0] for each in found)
    assert len(set(found[0])) == 2


def test_what_the_shares_leave_and_calls_without_a_key_run_on_the_modules_own_values():
    greeter = Greeter()
    with versions.split(greeter, {"v13": 0.25}, key=by_user, source=STATES):
        found = counts(greeter)
        assert greeter(None) == ("own hello", "own end")
    assert found["v12"] == 0 and abs(found["v13"] - 250) < 70 and found["own"] == 1000 - found["v13"]


def test_a_share_that_grows_keeps_the_keys_that_it_had():
    greeter = Greeter()
    with versions.split(greeter, {"v13": 0.1, "v12": 0.9}, key=by_user, source=STATES) as split:
        before = {user for user in USERS if greeter(user)[0].startswith("v13")}
        split.shares = {"v13": 0.3, "v12": 0.7}
        after = {user for user in USERS if greeter(user)[0].startswith("v13")}
    assert before < after


def test_it_is_switched_off_in_one_assignment_and_on_again():
    greeter = Greeter()
    split = versions.split(greeter, {"v13": 1}, key=by_user, source=STATES)
    assert greeter("x")[0] == "v13 hello"
    split.enabled = False
    assert greeter("x")[0] == "own hello"
    split.enabled = True
    split.shares = {}
    assert greeter("x")[0] == "own hello"
    split.stop()
    split.stop()
    assert greeter("x")[0] == "own hello"


@root_doors
async def test_a_call_stays_on_its_version_while_the_split_and_the_state_change(door):
    greeter = Greeter()
    split = versions.split(greeter, {"v12": 1}, key=by_user, source=STATES)

    def swap():
        split.shares = {"v13": 1}
        greeter.load_state_dict(said("new"))

    assert await door(greeter, "x", swap) == ("v12 hello", "v12 end")
    assert await door(greeter, "x") == ("v13 hello", "v13 end")


def test_only_root_calls_are_split_so_no_call_sees_two_versions():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.greeter = Greeter()

        def forward(self, user):
            return self.greeter(user)

    outer = Outer()
    with versions.split(outer.greeter, {"v13": 1}, key=by_user, source=STATES):
        assert outer("x")[0] == "own hello" and outer.greeter("x")[0] == "v13 hello"


def test_a_transaction_tries_out_its_own_values_and_not_the_splits():
    greeter = Greeter()
    with versions.split(greeter, {"v13": 1}, key=by_user, source=STATES), greeter.transaction():
        greeter.hello = "tried"
        assert greeter("x") == ("tried", "own end")


def test_versions_come_from_a_store_by_tag_or_id(tmp_path):
    greeter = Greeter()
    store = versions.Store(tmp_path / "prompts.db")
    first, second = (store.commit(said(name)) for name in ("v12", "v13"))
    store.tag("candidate", second)
    with versions.split(greeter, {first: 0.5, "candidate": 0.5}, key=by_user, source=store):
        found = counts(greeter)
        assert found["v12"] + found["v13"] == 1000 and found["v12"] and found["v13"]
    with pytest.raises(VersionNotFound, match="nowhere"):
        versions.split(greeter, {"nowhere": 0.5}, key=by_user, source=store)


def test_spans_say_the_version_its_digest_and_the_key(tracing):
    greeter = Greeter()
    with versions.split(greeter, {"v13": 1}, key=by_user, source=STATES):
        greeter("Ada")
    greeter.load_state_dict(said("v13"))
    (span,) = tracing.spans
    assert span.attributes[names.VERSION_NAME] == "v13" and span.attributes[names.SPLIT_KEY] == "Ada"
    assert span.attributes[names.STATE_DIGEST] == greeter.digest()


@pytest.mark.parametrize(
    ("shares", "error"),
    [
        ({"v12": 0.9, "v13": 0.2}, "add up to 1.1"),
        ({"v12": -0.1}, "'v12' is -0.1"),
        ({"v12": float("nan")}, "nan"),
        ({"v12": "half"}, "'half'"),
        ({"v12": True}, "True"),
    ],
)
def test_shares_that_are_none_are_refused(shares, error):
    greeter = Greeter()
    with pytest.raises(ValueError, match=error):
        versions.split(greeter, shares, key=by_user, source=STATES)
    assert greeter("x")[0] == "own hello"


def test_thirds_leave_nothing_over():
    greeter = Greeter()
    states = {**STATES, "own": said("own")}
    with versions.split(greeter, dict.fromkeys(states, 1 / 3), key=by_user, source=states) as split:
        assert split._ranges.ends[-1] == 1.0


def test_a_version_that_does_not_fit_is_refused_and_the_split_stays_as_it_was():
    greeter = Greeter()
    states = {**STATES, "bad": {"hello": 5}}
    with versions.split(greeter, {"v13": 1}, key=by_user, source=states) as split:
        with pytest.raises(StateDictError, match="hello"):
            split.shares = {"bad": 1}
        with pytest.raises(KeyError, match="unknown"):
            split.shares = {"unknown": 1}
        assert split.shares == {"v13": 1} and greeter("x")[0] == "v13 hello"


def test_a_module_is_split_once_at_a_time():
    greeter = Greeter()
    with versions.split(greeter, {"v13": 1}, key=by_user, source=STATES):
        with pytest.raises(VersionError, match="split already"):
            versions.split(greeter, {"v12": 1}, key=by_user, source=STATES)
        assert greeter("x")[0] == "v13 hello"
    with versions.split(greeter, {"v12": 1}, key=by_user, source=STATES):
        assert greeter("x")[0] == "v12 hello"


class Recorder(Greeter):
    """Keeps what each of its calls has read."""

    def __init__(self):
        super().__init__()
        self.seen, self.twice = [], threading.Event()

    def forward(self, user):
        self.seen.append((str(self.hello), str(self.end)))
        if len(self.seen) > 1:
            self.twice.set()
        if self.hello == "v13 hello" and user == "fails":
            raise ZeroDivisionError
        return self.seen[-1]


@root_doors
async def test_a_call_in_the_shadow_runs_on_the_other_version_and_its_answer_is_not_used(door, tracing):
    recorder = Recorder()
    with versions.split(recorder, {}, key=by_user, source=STATES, shadow={"v13": 1}) as split:
        assert await door(recorder, "Ada") == ("own hello", "own end")
        await asyncio.to_thread(recorder.twice.wait, 10)
        assert sorted(recorder.seen) == [("own hello", "own end"), ("v13 hello", "v13 end")]
        while split._running:  # noqa: ASYNC110  # its span ends just after its forward
            await asyncio.sleep(0.001)
    (shadow,) = [span for span in tracing.spans if span.name == "shadow v13"]
    assert shadow.attributes[names.SHADOW] is True and shadow.attributes[names.SPLIT_KEY] == "Ada"


async def test_a_failure_in_the_shadow_is_logged_and_disturbs_nobody(caplog):
    recorder = Recorder()
    split = versions.split(recorder, {}, key=by_user, source=STATES, shadow={"v13": 1})
    with split, caplog.at_level(logging.WARNING, "msgflow.versions"):
        assert await recorder.acall("fails") == ("own hello", "own end")
        while split._running:  # noqa: ASYNC110  # nobody can wait for a call in the shadow
            await asyncio.sleep(0.001)
    assert "on v13 failed" in caplog.text and "ZeroDivisionError" in caplog.text


async def test_a_share_of_the_calls_runs_in_the_shadow():
    recorder = Recorder()
    with versions.split(recorder, {}, key=by_user, source=STATES, shadow={"v13": 0.25}) as split:
        assert split.shadow == {"v13": 0.25}
        for user in USERS[:200]:
            await recorder.acall(user)
            while split._running:  # noqa: ASYNC110  # nobody can wait for a call in the shadow
                await asyncio.sleep(0)
    # 200 draws: five standard deviations of a share of 0.25 are 31.
    assert abs(len(recorder.seen) - 200 - 50) < 31


async def test_calls_in_the_shadow_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(splitting, "SHADOW_LIMIT", 2)
    greeter = Greeter()
    with versions.split(greeter, {}, key=by_user, source=STATES, shadow={"v13": 1}) as split:
        # None of them lets the loop run, so that no call in the shadow begins in between.
        for user in USERS[:5]:
            greeter.forward(user)
            split._choose((user,), {})
        assert split.skipped == 3
        while split._running:  # noqa: ASYNC110  # nobody can wait for a call in the shadow
            await asyncio.sleep(0.001)
