"""Predictor: one typed call, of a model by a signature or of an estimator by its `predict`."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from msgflow._leaf import call_leaf
from msgflow.errors import OutputError
from msgflow.messages import ChatMessage, Request, assistant, system, user
from msgflow.models import Model
from msgflow.nn.asking import as_text, ask, output_schema
from msgflow.nn.model_buffer import ModelBuffer
from msgflow.nn.module import Module
from msgflow.nn.on_message import Reads, declare
from msgflow.nn.parameter import Parameter
from msgflow.schema import OutputType, Signature, SignatureSpec, signature_of


class Predictor(Module):
    """`Predictor("question -> answer: float", model)`, or `Predictor(estimator)` for anything with `predict`.

    With a signature it is called with the inputs, by name or in order, and returns an object with the outputs as
    attributes. With an estimator it is called with what `predict` takes, and returns what that returns.
    """

    def __new__(cls, what: Any = None, *args: Any, **kwargs: Any) -> Self:
        if cls is not Predictor:
            return super().__new__(cls)
        typed = isinstance(what, str | SignatureSpec) or (isinstance(what, type) and issubclass(what, Signature))
        kind: Any = SignaturePredictor if typed else EstimatorPredictor
        made: Self = kind.__new__(kind)
        return made

    def __init__(self, what: Any, model: "str | Model | None" = None, **options: Any) -> None:
        super().__init__()


class SignaturePredictor(ModelBuffer, Predictor):
    """One question to a model, with named inputs and typed outputs, and no loop.

    State: `instructions` (from the signature's docstring), `examples` (a list of dicts with all inputs and outputs,
    shown to the model as earlier turns), `model` and `settings`. An answer that does not fit is shown to the model
    with what is wrong, `output_retries` times; then it is an OutputError.
    """

    instructions: str
    examples: list[dict[str, Any]]

    def __init__(
        self,
        signature: str | type[Signature] | SignatureSpec,
        model: str | Model | None = None,
        *,
        name: str | None = None,
        instructions: str | None = None,
        examples: list[dict[str, Any]] | None = None,
        output_retries: int = 1,
        settings: Mapping[str, Any] | None = None,
        reads: Reads = None,
        writes: str | None = None,
    ) -> None:
        super().__init__(signature)
        declare(self, reads, writes)
        if model is None:
            raise TypeError(
                "a signature needs a model that answers it: Predictor('question -> answer', 'provider/model')"
            )
        self.signature = signature_of(signature)
        self.name = name or self.signature.name
        self.output_retries = output_retries
        self._output = OutputType(self.signature)
        wording = self.signature.instructions or _instructions(self.signature)
        wording = wording if instructions is None else instructions
        self.register_parameter("instructions", Parameter(wording, "system_prompt"))
        self.register_parameter("examples", Examples(examples or [], "few_shot_examples", signature=self.signature))
        self.register_buffer("model", model)
        self.register_buffer("settings", settings or {})

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        inputs = self._inputs(args, kwargs)
        said = (*self._opening(), *self._turns(), user(_fields(inputs)))
        model, retries = self.resolve_model(), self.output_retries
        while True:
            request = Request(said, (), output_schema(self._output), self.settings)
            response = await ask(model, request, f"{self.name}.instructions", str(self.instructions))
            try:
                return self._output.parse(response.text)
            except OutputError as error:
                retries -= 1
                if retries < 0:
                    raise
                said += (response.message, user(f"That was not a valid answer: {error}"))

    def _inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = [field.name for field in self.signature.inputs]
        if len(args) > len(names):
            raise TypeError(f"{self.name} takes {len(names)} inputs ({', '.join(names)}), got {len(args)}")
        given = dict(zip(names, args, strict=False))
        twice = given.keys() & kwargs.keys()
        inputs = {**given, **kwargs}
        wrong = [f"{name} given twice" for name in sorted(twice)]
        wrong += [f"{name} missing" for name in names if name not in inputs]
        wrong += [f"{name} unexpected" for name in inputs if name not in names]
        if wrong:
            raise TypeError(f"{self.name} takes the inputs {', '.join(names) or '(none)'}: {'; '.join(wrong)}")
        return {name: inputs[name] for name in names}

    def _opening(self) -> list[ChatMessage]:
        described = [
            f"- {field.name}: {field.description}"
            for field in (*self.signature.inputs, *self.signature.outputs)
            if field.description
        ]
        text = "\n".join([self.instructions, *(["", "Fields:", *described] if described else [])]).strip()
        return [system(text)] if text else []

    def _turns(self) -> list[ChatMessage]:
        turns = []
        for example in self.examples:
            turns.append(user(_fields({field.name: example[field.name] for field in self.signature.inputs})))
            outputs = {field.name: example[field.name] for field in self.signature.outputs}
            turns.append(assistant(json.dumps(outputs, ensure_ascii=False)))
        return turns

    def _tool_function(self) -> Callable[..., Any]:
        # Only its signature is used.
        def predict(**inputs: Any) -> Any: ...

        fields = [f":param {field.name}: {field.description}" for field in self.signature.inputs]
        predict.__doc__ = "\n".join([self.instructions, "", *fields])
        predict.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=field.type)
                for field in self.signature.inputs
            ]
        )
        return predict

    def extra_repr(self) -> str:
        return f"{_shown(self.signature)!r}, model={self.model!r}"


class EstimatorPredictor(Predictor):
    """A trained estimator (anything with `predict`) as a step; `predict` runs in a worker thread under `acall`."""

    def __init__(self, estimator: Any, model: None = None, *, reads: Reads = None, writes: str | None = None) -> None:
        super().__init__(estimator)
        declare(self, reads, writes)
        if not callable(getattr(estimator, "predict", None)):
            raise TypeError(
                "a Predictor takes a signature and a model, or an object with `predict`, "
                f"not {type(estimator).__name__}"
            )
        if model is not None:
            raise TypeError("an estimator predicts by itself; a model goes with a signature")
        self.estimator = estimator

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        return await call_leaf(self.estimator.predict, *args, **kwargs)

    def _tool_function(self) -> Callable[..., Any]:
        predict: Callable[..., Any] = self.estimator.predict
        return predict

    def extra_repr(self) -> str:
        return type(self.estimator).__name__


class Examples(Parameter):
    """Few-shot examples: a list of dicts, each with all inputs and outputs of a signature.

    Raises ValueError for others, when they are given and when they are swapped in.
    """

    __slots__ = ("signature",)

    def __init__(self, data: Any, spec: str | None = None, *, signature: SignatureSpec, **options: Any) -> None:
        self.signature = signature
        super().__init__(data, spec, **options)

    def kept(self, examples: Any) -> Any:
        names = [field.name for field in (*self.signature.inputs, *self.signature.outputs)]
        if not isinstance(examples, list) or not all(isinstance(example, dict) for example in examples):
            raise TypeError("examples are a list of dicts")
        for number, example in enumerate(examples):
            missing = [name for name in names if name not in example]
            if missing:
                raise ValueError(f"example {number} lacks {', '.join(missing)}; each has all inputs and outputs")
        return examples

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"signature": self.signature, "requires_grad": self.requires_grad}
        return _rebuild_examples, (self.data, self.spec, options, self.grad)


def _rebuild_examples(data: Any, spec: str | None, options: dict[str, Any], grad: Any) -> Examples:
    examples = Examples(data, spec, **options)
    examples.grad = grad
    return examples


def _instructions(signature: SignatureSpec) -> str:
    inputs = ", ".join(field.name for field in signature.inputs)
    outputs = ", ".join(field.name for field in signature.outputs)
    return f"Given {inputs}, answer with {outputs}." if inputs else f"Answer with {outputs}."


def _fields(values: Mapping[str, Any]) -> str:
    return "\n\n".join(f"{name}: {as_text(value)}" for name, value in values.items())


def _shown(signature: SignatureSpec) -> str:
    sides = [", ".join(field.name for field in side) for side in (signature.inputs, signature.outputs)]
    return " -> ".join(sides).strip()
