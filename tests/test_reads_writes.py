"""Modules that are declared against a Message: what they read from it, and where in a copy of it their output goes."""

import copy
import pickle

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.data import BM25, Document
from msgflow.errors import GuardRefused, MessageError, MessageKeyError
from msgflow.models import ScriptedModel


class Upper(nn.Module):
    reads = "user.text"
    writes = "answers.first"

    def forward(self, text, suffix=""):
        return text.upper() + suffix


class AsyncUpper(Upper):
    async def aforward(self, text, suffix=""):
        return text.upper() + suffix


class BlockingUpper(Upper):
    blocking = True


class Echo(nn.Module):
    """Gives back what it was called with."""

    def forward(self, *args, **kwargs):
        return args, kwargs


def echo(reads=None, writes=None):
    module = Echo()
    module.reads, module.writes = reads, writes
    return module


@pytest.mark.parametrize("kind", [Upper, AsyncUpper, BlockingUpper])
async def test_a_module_reads_from_a_message_and_writes_into_a_copy_of_it(door, kind):
    message = mf.Message({"user.text": "hi", "n": 1})
    answered = await door(kind(), message)
    assert answered == {"user": {"text": "hi"}, "n": 1, "answers": {"first": "HI"}} and not answered.frozen
    assert message == {"user": {"text": "hi"}, "n": 1}


async def test_a_frozen_message_gives_a_frozen_one(door):
    answered = await door(Upper(), mf.Message({"user.text": "hi"}, frozen=True))
    assert answered["answers.first"] == "HI" and answered.frozen


async def test_without_writes_a_call_returns_the_output(door):
    upper = Upper()
    upper.writes = None
    assert await door(upper, mf.Message({"user.text": "hi"})) == "HI"


async def test_without_reads_forward_gets_the_message_itself(door):
    message = mf.Message(n=1)
    answered = await door(echo(writes="seen"), message)
    assert answered["seen"] == (({"n": 1},), {}) and message == {"n": 1}


async def test_several_paths_are_several_arguments_and_a_mapping_names_them(door):
    message = mf.Message({"user.text": "hi", "items": [1, 2]})
    assert await door(echo(("user.text", "items.-1")), message) == (("hi", 2), {})
    assert await door(echo(["user"]), message) == (({"text": "hi"},), {})
    assert await door(echo({"task": "user.text", "last": "items.1"}), message) == ((), {"task": "hi", "last": 2})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("hi",), {}),
        ((), {"text": "hi"}),
        ((mf.Message(a=1), "more"), {}),
        ((mf.Message(a=1),), {"suffix": "!"}),
        (({"user": {"text": "hi"}},), {}),
        ((), {"message": mf.Message(a=1)}),
        ((), {}),
    ],
)
async def test_called_with_anything_but_a_single_message_it_is_a_module_as_any_other(door, args, kwargs):
    assert await door(echo("user.text", "answer"), *args, **kwargs) == (args, kwargs)
    assert await door(echo(), mf.Message(a=1)) == ((mf.Message(a=1),), {})


async def test_a_function_as_a_module_is_declared_as_any_other(door):
    words = nn.Function(str.split)
    words.reads, words.writes = "user.text", "words"
    assert (await door(words, mf.Message({"user.text": "a b"})))["words"] == ["a", "b"] and words("c d") == ["c", "d"]


async def test_hooks_and_guards_see_the_message(door):
    upper, seen = Upper(), []
    upper.register_forward_pre_hook(lambda module, args, kwargs: seen.append(args[0].to_dict()))
    upper.register_forward_hook(lambda module, args, kwargs, output: seen.append(output["answers.first"]))
    nn.Guard(lambda message: message["user.text"] != "no").register(upper)
    await door(upper, mf.Message({"user.text": "hi"}))
    assert seen == [{"user": {"text": "hi"}}, "HI"]
    with pytest.raises(GuardRefused):
        await door(upper, mf.Message({"user.text": "no"}))


async def test_a_pre_hook_may_put_a_message_in_place_of_the_input(door):
    upper = Upper()
    upper.register_forward_pre_hook(lambda module, args, kwargs: ((mf.Message({"user.text": args[0]}),), {}))
    assert (await door(upper, "hi"))["answers.first"] == "HI"


async def test_a_path_that_is_not_there_is_an_error_that_names_the_module(door):
    with pytest.raises(MessageKeyError, match=r"there is nothing at 'user\.text': the message has 'n'") as caught:
        await door(Upper(), mf.Message(n=1))
    assert caught.value.key == "user.text"
    assert caught.value.__notes__ == ["Upper reads 'user.text' of the Message that it is called with"]


async def test_a_path_that_cannot_be_written_is_an_error_that_names_the_module(door):
    with pytest.raises(MessageError, match="'answers' is of type str") as caught:
        await door(Upper(), mf.Message({"user.text": "hi", "answers": "none"}))
    assert caught.value.__notes__ == ["Upper writes 'answers.first' of the Message that it is called with"]


@pytest.mark.parametrize(("reads", "writes"), [("a..b", None), (5, None), ([1], None), (None, ("a", "b")), (None, ".")])
async def test_what_is_no_path_is_refused_when_it_is_used(door, reads, writes):
    with pytest.raises((MessageError, TypeError)) as caught:
        await door(echo(reads, writes), mf.Message(a=1))
    assert caught.value.__notes__[0].startswith("Echo ")


async def test_an_error_of_the_module_itself_gets_no_such_note(door):
    with pytest.raises(AttributeError, match="'int' object has no attribute 'upper'") as caught:
        await door(Upper(), mf.Message({"user.text": 5}))
    assert not hasattr(caught.value, "__notes__")


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Upper(), Upper()
        self.second.reads, self.second.writes = ("answers.first", "mark"), "answers.second"

    def forward(self, message):
        return self.second(self.first(message))


async def test_declared_modules_compose_and_a_declared_module_may_hold_them(door):
    flow = Flow()
    answered = await door(flow, mf.Message({"user.text": "hi", "mark": "!"}))
    assert answered["answers"] == {"first": "HI", "second": "HI!"}
    flow.writes = "inner"
    nested = await door(flow, mf.Message({"user.text": "hi", "mark": "?"}))
    assert nested["inner.answers.second"] == "HI?" and "answers" not in nested


async def test_declared_branches_merge_even_where_a_branch_has_several_steps(door):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow, self.other = Flow(), Upper()
            self.other.writes = "other"

        def forward(self, message):
            return mf.Message.merge([self.flow(message), self.other(message), message])

    answered = await door(Branches(), mf.Message({"user.text": "hi", "mark": "!"}, frozen=True))
    assert answered["answers"] == {"first": "HI", "second": "HI!"} and answered["other"] == "HI"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
async def test_copies_of_a_module_are_declared_as_it_is_and_no_state_has_it(door, again):
    upper = Upper()
    upper.reads = {"text": "n"}
    twin = again(upper)
    assert (await door(twin, mf.Message(n="x")))["answers.first"] == "X" and twin.state_dict() == {}


# --- Agent, Predictor, Retriever -------------------------------------------------------------------------------------


def scripted():
    return ScriptedModel(lambda request: f"{request.messages[0].text}:{request.messages[-1].text}", loop=True)


async def test_an_agent_is_declared_by_keywords(door):
    agent = nn.Agent("helper", scripted(), "Be kind", reads="user.text", writes="answers.first")
    answered = await door(agent, mf.Message({"user.text": "hi"}))
    assert answered["answers.first"] == "Be kind:hi" and await door(agent, "hello") == "Be kind:hello"


async def test_an_agent_reads_its_vars_and_messages_by_name():
    agent = nn.Agent(
        "helper", scripted(), "Be {{ tone }}", reads={"task": "user.text", "vars": "settings"}, writes="answer"
    )
    message = mf.Message({"user.text": "hi", "settings": {"tone": "brief"}})
    assert agent(message)["answer"] == "Be brief:hi" == agent.run(message).output
    assert (await agent.arun(message)).output == "Be brief:hi"


async def test_run_and_stream_read_from_a_message_and_write_to_none():
    agent = nn.Agent("helper", scripted(), "Be {{ tone }}", reads="user.text", writes="answer")
    message = mf.Message({"user.text": "hi"})
    result = agent.run(message, vars={"tone": "kind"})
    assert (result.output, result.messages[1].text) == ("Be kind:hi", "hi")
    assert [*agent.stream(message, vars={"tone": "kind"})][-1] == result and message == {"user": {"text": "hi"}}


def test_an_undeclared_agent_says_that_a_message_is_no_task():
    with pytest.raises(TypeError, match="a task is text"):
        nn.Agent("helper", scripted())(mf.Message(a=1))


async def test_a_predictor_reads_its_inputs_by_name(door):
    predictor = nn.Predictor(
        "question, context -> answer: float",
        ScriptedModel('{"answer": 0.5}', loop=True),
        reads={"question": "user.text", "context": "hits.0"},
        writes="answers.first",
    )
    answered = await door(predictor, mf.Message({"user.text": "how?", "hits": ["so"]}))
    assert answered["answers.first.answer"] == 0.5 and answered["answers.first"].answer == 0.5


async def test_a_predictor_of_an_estimator_is_declared_too(door):
    class Mean:
        def predict(self, rows):
            return sum(rows) / len(rows)

    assert (await door(nn.Predictor(Mean(), reads="rows", writes="mean"), mf.Message(rows=[1, 3])))["mean"] == 2


async def test_a_retriever_reads_its_query_and_writes_its_hits(door):
    index = BM25([Document("a", "red apples"), Document("b", "green leaves")])
    retriever = nn.Retriever(index, 1, reads="user.text", writes="hits")
    answered = await door(retriever, mf.Message({"user.text": "leaves"}))
    assert answered["hits.0.id"] == "b" and answered["hits.0.text"] == "green leaves"
    both = await door(retriever, mf.Message({"user.text": ["red", "green"]}))
    assert [both["hits.0.0.id"], both["hits.1.0.id"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("reads", "writes"), [("a..b", None), (5, None), (["a", ""], None), ({"text": 1}, None), (None, ""), (None, ["a"])]
)
def test_what_is_no_path_is_refused_when_it_is_given_as_a_keyword(reads, writes):
    for make in (
        lambda **declared: nn.Agent("helper", scripted(), **declared),
        lambda **declared: nn.Predictor("a -> b", scripted(), **declared),
        lambda **declared: nn.Retriever(BM25([Document("a", "text")]), **declared),
    ):
        with pytest.raises((MessageError, TypeError)):
            make(reads=reads, writes=writes)


def test_a_class_may_be_declared_and_an_instance_may_change_that():
    class Helper(nn.Agent):
        reads = "user.text"
        writes = "answer"

    message = mf.Message({"user.text": "hi", "text": "other"})
    assert Helper("helper", scripted())(message)["answer"] == "hi:hi"
    assert Helper("helper", scripted(), reads="text")(message)["answer"] == "other:other"


def test_a_submodule_cannot_take_the_names_but_one_of_a_container_can():
    with pytest.raises(KeyError, match="'reads' is an attribute of the class"):
        nn.Module().reads = nn.Module()
    assert nn.ModuleDict({"reads": Upper(), "writes": Upper()})["reads"].training
