"""Pictures of flows in flows, in modules, in agents and in themselves."""

import pytest

import msgflow.nn as nn
from msgflow import flow
from msgflow.models import ScriptedModel
from msgflow.nn.sketch import Sketch, draw
from tests.flowcharts import read
from tests.in_python import run_script


def clean(x):
    return x


def draft(x):
    return x


def is_long(x):
    return True


class Step(nn.Module):
    def forward(self, x):
        return x


class Holder(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Report(flow.Pipeline):
    def extra_repr(self):
        return "weekly"


# --- when there is a box ---------------------------------------------------------------------------------------------


def test_a_nested_flow_without_a_name_has_no_box():
    picture = read(flow.Pipeline(flow.Pipeline(clean, flow.IfElse(is_long, draft)), flow.Diverter(clean), clean))
    assert picture.boxes == {}


def test_a_name_is_a_box():
    picture = read(flow.Pipeline(outer=flow.Pipeline(flow.Parallel(left=flow.Pipeline(clean)), draft), last=clean))
    assert picture.boxes == {
        "outer: Pipeline": ["Parallel", "clean", "*", "draft"],
        "left: Pipeline": ["clean"],
    }


def test_a_class_of_ones_own_is_a_box():
    assert read(Report(clean)).boxes == {"Report(weekly)": ["clean"]}
    assert read(flow.Pipeline(second=Report(clean, draft))).boxes == {"second: Report(weekly)": ["clean", "draft"]}


def test_arguments_are_written_on_the_box():
    pipeline = flow.Pipeline(a=clean).add("b", flow.Pipeline(draft), flow.input)
    assert read(pipeline).boxes == {"b: Pipeline(flow.input)": ["draft"]}


# --- modules that hold flows -----------------------------------------------------------------------------------------


def test_a_module_that_is_one_flow_is_a_box_around_it():
    picture = read(flow.Pipeline(clean, holder=Holder(flow=flow.Pipeline(draft, clean))))
    assert picture.boxes == {"holder: Holder": ["draft", "clean"]}
    assert picture.arrows == ["draft -> clean", "clean -> draft", "input -> clean", "clean -> output"]
    alone = read(Holder(flow=flow.Pipeline(draft)))
    assert alone.boxes == {"Holder": ["draft"]} and alone.arrows == ["input -> draft", "draft -> output"]


def test_a_module_with_a_flow_and_more_is_a_box_with_its_tree():
    picture = read(flow.Pipeline(clean, Holder(check=flow.IfElse(is_long, draft), step=Step())))
    assert picture.boxes == {
        "Holder": ["Holder", "is_long", "draft", "*", "Step"],
        "IfElse(is_long)": ["is_long", "draft", "*"],
    }
    assert picture.arrows == [
        "is_long -[yes]-> draft",
        "draft -> *",
        "is_long -[no]-> *",
        "Holder ~[check]~> is_long",
        "Holder ~[step]~> Step",
        "clean -> Holder",
        "input -> clean",
        "Holder -> output",
    ]


def test_the_tree_of_a_module_has_its_flows_in_boxes():
    picture = read(Holder(steps=[flow.Pipeline(clean), flow.Pipeline(clean), Step()], last=Holder(a=Report(draft))))
    assert picture.boxes == {"2 x Pipeline": ["clean"], "Report(weekly)": ["draft"]}
    assert picture.arrows == [
        "Holder ~[steps.0-1]~> clean",
        "Holder ~[steps.2]~> Step",
        "Holder ~[last]~> Holder",
        "Holder ~[a]~> draft",
    ]


def test_an_agent_with_a_flow_as_a_tool_is_drawn_with_its_tools():
    class Research(Holder):
        """Look a word up."""

        def forward(self, word: str) -> str:
            return self.steps(word)

    agent = nn.Agent("writer", ScriptedModel("x"), tools=[nn.Tool(Research(steps=flow.Pipeline(draft)), name="look")])
    picture = read(flow.Pipeline(clean, agent))
    writer = "Agent('writer', model='test/scripted')"
    assert picture.boxes == {writer: [writer, "Tool(look)", "Research", "draft"], "Pipeline": ["draft"]}
    assert picture.arrows[:3] == [
        f"{writer} ~[tools.look]~> Tool(look)",
        "Tool(look) ~[function]~> Research",
        "Research ~[steps]~> draft",
    ]


def test_a_sequential_with_flows_is_one_after_the_other():
    assert read(nn.Sequential(flow.Parallel(clean), Step())).arrows == [
        "Parallel -> clean",
        "clean -> *",
        "* -> Step",
        "input -> Parallel",
        "Step -> output",
    ]
    assert "Sequential -[0]-> Step" in read(nn.Sequential(Step())).arrows


# --- what is there more than once ------------------------------------------------------------------------------------


def test_a_step_is_drawn_wherever_it_is_taken():
    step = Step()
    assert read(flow.Pipeline(step, clean, step)).nodes == ["input", "Step", "clean", "Step", "output"]


def test_a_flow_is_drawn_once_and_is_then_a_node():
    shared = flow.Pipeline(clean, draft)
    picture = read(flow.Pipeline(first=shared, second=shared))
    assert picture.boxes == {"first: Pipeline": ["clean", "draft"]}
    assert picture.shapes["second: Pipeline"] == "again"
    assert picture.arrows[1] == "draft -> second: Pipeline"


def test_a_flow_that_a_tree_has_twice_is_drawn_once():
    shared = flow.Pipeline(clean)
    picture = read(Holder(a=shared, b=Holder(c=shared, d=Step()), e=flow.Pipeline(shared, draft)))
    assert picture.nodes.count("clean") == 1
    assert picture.arrows[:2] == ["Holder ~[a]~> clean", "Holder ~[b]~> Holder"]
    assert "Pipeline -> draft" in picture.arrows and picture.shapes["Pipeline"] == "again"


def test_a_flow_drawn_in_a_step_is_a_node_in_the_tree_around_it():
    shared = flow.Pipeline(clean)
    assert read(Holder(e=flow.Pipeline(shared, draft), a=shared)).arrows[-1] == "Holder ~[a]~> Pipeline"


def test_many_flows_that_share_each_other_make_a_small_picture():
    nested = flow.Pipeline(clean, draft)
    for _ in range(30):
        nested = flow.Pipeline(nested, nested)
    assert len(read(nested).nodes) == 34


def test_a_flow_inside_of_itself_ends():
    within = flow.Pipeline(clean)
    within.add("again", within)
    assert read(within).arrows == ["clean -> again: Pipeline", "input -> clean", "again: Pipeline -> output"]
    holder = Holder(step=Step())
    holder.flow = flow.Pipeline(draft, holder)
    assert read(flow.Pipeline(holder)).nodes == ["input", "Holder", "Step", "draft", "Holder", "output"]
    assert read(holder).nodes == ["Holder", "Step", "draft", "Holder", "Step", "Pipeline"]


def test_equal_flows_have_equal_pictures():
    def build():
        return flow.Pipeline(clean, a=flow.Loop(draft, until=is_long), b=flow.Map(Holder(flow=flow.Pipeline(clean))))

    assert nn.diagram(build()) == nn.diagram(build())


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in flow.__all__ if name[0].isupper() and name not in ("Flow", "Barrier")]
)
def test_every_flow_has_a_drawing(name):
    nn.diagram(flow.Pipeline())
    assert draw.dispatch(getattr(flow, name)) is not draw.dispatch(nn.Module)


def test_what_draws_flows_is_loaded_with_the_first_picture():
    script = """
    import sys
    import msgflow.nn as nn
    from msgflow import flow
    print("msgflow.flow.drawing" in sys.modules, "msgflow.flow.graph" in sys.modules)
    nn.diagram(flow.Pipeline())
    print("msgflow.flow.drawing" in sys.modules)
    """
    assert run_script(script) == "False False\nTrue"


def test_only_modules_are_drawn():
    with pytest.raises(NotImplementedError, match="int has no drawing"):
        draw(5, Sketch())
