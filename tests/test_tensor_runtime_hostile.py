"""Plans from anywhere: what is no plan is told so, what would give wrong numbers is refused."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import RecordError


def forward(x, w):
    hidden = mt.relu(x @ w + w[0])
    return mt.layernorm(hidden @ w + x).T * 2.0


def recorded():
    x, w = mt.zeros((4, 4), mt.float16), mt.zeros((4, 4), mt.float16)
    runtime = mt.Runtime()
    with runtime:
        out = forward(x, w)
    runtime.launch()
    return runtime, (x, w, out)


@pytest.fixture(scope="module")
def made():
    runtime, held = recorded()
    data = json.loads(runtime.plan.to_json())
    runtime.stop()
    return runtime, data, held


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"msgflow plan": 1}',
        "{" * 5,
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        "\ud800",
        None,
        3,
        b"\xff",
    ],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_plan_is_told_so(text):
    with pytest.raises(RecordError, match="this is no plan: "):
        mt.Plan.from_json(text)


def test_a_file_that_is_no_plan_is_told_so(tmp_path):
    (tmp_path / "plan.json").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(RecordError, match="this is no plan"):
        mt.Plan.load(tmp_path / "plan.json")
    with pytest.raises(FileNotFoundError):
        mt.Plan.load(tmp_path / "missing.json")


def test_a_plan_of_another_version_says_what_to_do(made):
    _, data, _ = made
    with pytest.raises(RecordError, match=r"msgflow plan is 2; this version of msgflow reads plans of version 1"):
        mt.Plan.from_json(json.dumps({**data, "msgflow plan": 2}))


# Where in the plan, what comes there, and what the error says of it.
WRONG = [
    (["library"], "os; rm", "library is 'os; rm'"),
    (["device"], "\x1b[2J", "device is "),
    (["sources"], {}, "sources is {}; it should be a list"),
    (["sources", 0, "kind"], "secret", r"sources\[0\].kind is 'secret'; it should be one of placeholder, state"),
    (["sources", 0, "shape"], [-1, 4], r"sources\[0\].shape\[0\] is -1; it should be a whole number"),
    (["sources", 0, "shape"], [1 << 70], r"sources\[0\].shape\[0\]"),
    (["sources", 0, "shape"], [True], r"sources\[0\].shape\[0\] is True"),
    (["sources", 0, "dtype"], "float128", r"sources\[0\].dtype"),
    (["sources", 0, "value"], "%1", r"sources\[0\].value is '%1'; it should be one of %0"),
    (["recorded", 0, "operation"], "__import__", r"recorded\[0\].operation"),
    (["recorded", 0, "inputs"], ["%99"], r"recorded\[0\].inputs\[0\] is '%99'; .* %0 to %1"),
    (["recorded", 0, "inputs"], ["%2"], r"recorded\[0\].inputs\[0\]"),
    (["recorded", 0, "inputs"], [None], r"recorded\[0\].inputs\[0\] is None; it should be a value"),
    (["recorded", 0, "inputs"], [[]], r"recorded\[0\].inputs\[0\]"),
    (["recorded", 0, "settings"], [], r"recorded\[0\].settings"),
    (["recorded", 0, "settings"], {"\x1b[2J": 1}, r"a name in recorded\[0\].settings is '\\x1b\[2J'"),
    (["recorded", 0, "extra"], 1, r"recorded\[0\] is .*; it should have exactly value, operation"),
    (["outputs", 0], "%0:float32", r"outputs\[0\]"),
    (["steps", 0, "fuses"], [1000], r"steps\[0\].fuses\[0\] is 1000"),
    (["steps", 0, "when"], "never", r"steps\[0\].when"),
    (["steps", 0, "place"], 1000, r"steps\[0\].place is 1000"),
    (["steps", 0, "place"], "old", r"steps\[0\].place is 'old'; it should be one of view, new"),
    (["steps", 0, "place"], 1.0, r"steps\[0\].place is 1.0"),
    (["steps", 0, "scratch"], "x", r"steps\[0\].scratch"),
    (["buffers", 0], -1, r"buffers\[0\] is -1"),
]


def changed(data, path, value):
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=lambda given: str(given)[:40])
def test_a_wrong_part_is_named_with_what_should_be_there(made, path, value, says):
    _, data, _ = made
    with pytest.raises(RecordError, match=f"this is no plan: {says}"):
        mt.Plan.from_json(changed(data, path, value))


def test_numbers_that_json_has_not_are_refused_wherever_they_come(made):
    _, data, _ = made
    settings = json.dumps(data).replace('"eps": 1e-05', '"eps": 1e999')
    with pytest.raises(RecordError, match="finite"):
        mt.Plan.from_json(settings)
    with pytest.raises(RecordError, match="it should be a value, such as %0, or a number"):
        mt.Plan.from_json(json.dumps(data).replace("2.0]", "1e999]"))


def steps(data, number, **fields):
    data = copy.deepcopy(data)
    data["steps"][number] |= fields
    return data


def position(data, operation):
    return [step["operation"] for step in data["steps"]].index(operation)


def refused(made, data, says):
    runtime, _, _ = made
    plan = mt.Plan.from_json(json.dumps(data))
    assert isinstance(str(plan), str)  # what is read can be shown
    with pytest.raises(RecordError, match=f"the plan does not fit what was recorded: {says}"):
        runtime.launch(plan=plan)


def test_a_plan_for_another_library_or_device_is_refused(made):
    _, data, _ = made
    refused(made, {**data, "library": "cupy", "device": "cuda:0"}, "it is for cupy on cuda:0, not numpy on cpu")


def test_a_plan_with_other_numbers_is_refused_though_they_are_equal(made):
    _, data, _ = made
    refused(made, json.loads(json.dumps(data).replace("2.0]", "2]")), "operation 8 is multiply")


def test_steps_that_leave_out_repeat_or_mix_up_operations_are_refused(made):
    _, data, _ = made
    product = position(data, "matmul")
    without = {**data, "steps": [step for number, step in enumerate(data["steps"]) if number != product]}
    refused(made, without, "it carries out the operations")
    refused(made, {**data, "steps": [*data["steps"], data["steps"][product]]}, "an operation is carried out twice")
    refused(made, {**data, "steps": data["steps"][::-1]}, "step 0 is")
    refused(made, steps(data, product, inputs=["%0", "%1"]), "step . is .*, and should be")
    refused(made, steps(data, product, when="change"), "step . is .*, and should be")
    refused(made, steps(data, product, shape=[4, 5]), "step . is .*, and should be")
    again = data["steps"][position(data, "widen")]
    refused(made, {**data, "steps": [*data["steps"], again]}, "step .* is .*, and should be 'nothing'")


def test_operations_that_do_not_follow_each_other_are_not_fused(made):
    _, data, _ = made
    product, index = position(data, "matmul"), position(data, "index")
    both = sorted([*data["steps"][product]["fuses"], *data["steps"][index]["fuses"]])
    data = steps(data, product, fuses=both)
    data["steps"].pop(index)
    refused(made, data, "operation . cannot be fused to the end of")


def test_a_step_before_what_it_reads_is_refused():
    x, runtime = mt.zeros((2, 3)), mt.Runtime()
    with runtime:
        out = mt.exp(x).sum(axis=0)
    runtime.launch()
    data = json.loads(runtime.plan.to_json())
    runtime.stop()
    refused(
        (runtime, data, out), {**data, "steps": data["steps"][::-1]}, "step 0 reads what is not there yet: '%2 = sum"
    )


def test_results_in_places_that_they_cannot_have_are_refused(made):
    _, data, _ = made
    product, last = position(data, "matmul"), len(data["steps"]) - 1
    refused(made, steps(data, product, place="view"), "the result of step . cannot be in view")
    refused(made, steps(data, last, place="new", scratch=None), "the result of step .* cannot be in new")
    refused(made, steps(data, last, scratch=None), "a result of 16 bits has a scratch buffer")
    refused(made, steps(data, position(data, "widen"), scratch=0), "a result of 16 bits has a scratch buffer")


def test_an_output_that_is_a_view_of_what_comes_from_outside_is_refused():
    x, runtime = mt.zeros((2, 3)), mt.Runtime()
    with runtime:
        out = x.T
    runtime.launch()
    data = json.loads(runtime.plan.to_json())
    runtime.stop()
    data["steps"][0]["place"], data["buffers"] = "view", []
    refused((runtime, data, out), data, "the output %1 is a view of what is not in a buffer")


def test_a_result_over_another_that_is_still_needed_is_refused(made):
    """Every way to put two results into one buffer is refused, or gives the same numbers."""
    runtime, data, (x, w, out) = made
    rng = np.random.default_rng(0)
    x.from_numpy(rng.standard_normal((4, 4)))
    w.from_numpy(rng.standard_normal((4, 4)))
    runtime.launch()
    runtime.run()
    expected, outcomes = out.to_numpy(), []
    runtime.stop()
    for number, step in enumerate(data["steps"]):
        for field in ("place", "scratch"):
            for buffer in range(len(data["buffers"])):
                if not isinstance(step[field], int) or step[field] == buffer:
                    continue
                plan = mt.Plan.from_json(json.dumps(steps(data, number, **{field: buffer})))
                try:
                    runtime.launch(plan=plan)
                except RecordError as error:
                    outcomes.append("overwrite" if "would overwrite" in str(error) else "size")
                else:
                    runtime.run()
                    runtime.stop()
                    np.testing.assert_array_equal(out.to_numpy(), expected)
                    outcomes.append("fits")
    assert outcomes.count("overwrite") > 20


def test_what_is_no_plan_at_all_cannot_be_launched(made):
    runtime, data, _ = made
    for wrong in (data, json.dumps(data), "reranker.plan.json", 3):
        with pytest.raises(RecordError, match=r"takes an mt.Plan; mt.Plan.load\(path\) reads one"):
            runtime.launch(plan=wrong)


def test_a_plan_that_was_changed_in_memory_is_checked_as_well(made):
    runtime, data, _ = made
    plan = mt.Plan.from_json(json.dumps(data))
    with pytest.raises(RecordError, match="its buffers have"):
        runtime.launch(plan=replace(plan, buffers=()))


def test_text_in_settings_cannot_forge_lines(made):
    _, data, _ = made
    data = copy.deepcopy(data)
    data["recorded"][0]["settings"] = {"axes": "\x1b[2J\nno error at all"}
    runtime, _, _ = made
    with pytest.raises(RecordError) as caught:
        runtime.launch(plan=mt.Plan.from_json(json.dumps(data)))
    assert str(caught.value).isprintable()


def test_buffers_of_another_size_are_refused(made):
    """Neither too small for what is in them, nor so large that nobody could have them."""
    _, data, _ = made
    for sizes in ([size * 1_000_000_000 for size in data["buffers"]], [0] * len(data["buffers"])):
        refused(made, {**data, "buffers": sizes}, "its buffers have")
    refused(made, {**data, "buffers": [*data["buffers"], 1]}, "its buffers have")
