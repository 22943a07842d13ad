"""Errors travel between processes with their facts."""

import copy
import pickle

import pytest

from msgflow import errors

EXAMPLES = [
    errors.NotJson("no JSON"),
    errors.StateDictError("Workflow", ["a"], ["b"], ["c: expected text"]),
    errors.StateFileMissing("gone"),
    errors.UnknownModel("x/y", ["openai"]),
    errors.MissingKey("openai/x", "OPENAI_API_KEY"),
    errors.ModelTimeout("late", model="openai/x"),
    errors.ModelOverloaded("busy", status=429, model="openai/x", retry_after_s=1.5),
    errors.ToolArgumentsError("wrong", tool="add", arguments={"a": 1}),
    errors.MaxTurnsError("agent", 3),
    errors.GuardRefused("Upper", "pre", "not that"),
    errors.VersionStoreError("locked"),
    errors.ShapeError("matmul", [(2, 3), (4, 5)]),
    errors.RegistryLookupError("the registry has no 'x'", wanted="x", known=["y"]),
]


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_with_its_message_and_facts(error, again):
    error.add_note("in second.right")
    twin = again(error)
    assert type(twin) is type(error) and str(twin) == str(error) and vars(twin) == vars(error)


def test_a_pickle_names_nothing_but_the_package_so_that_it_outlives_a_change_of_files():
    pickled = pickle.dumps(errors.ShapeError("matmul", [(2, 3), (4, 5)]), protocol=0)
    assert b"cmsgflow.errors\n_rebuilt\n" in pickled and b"msgflow.errors." not in pickled


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.ShapeError("matmul", [(2, 3), (4, 5)]), "matmul: shapes (2, 3) and (4, 5) do not go together"),
        (errors.ShapeError("item", [(2,)], "only one number is one"), "item: shape (2,): only one number is one"),
        (errors.ShapeError("w", [(2,), (3,)], "expected (3,), got (2,)"), "w: expected (3,), got (2,)"),
        (errors.ShapeError("tensor", [], "lists of unequal lengths"), "tensor: lists of unequal lengths"),
    ],
)
def test_a_wrong_shape_is_said_once(error, said):
    assert str(error) == said
