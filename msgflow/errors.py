"""Every exception of msgflow.

    MsgflowError
    ├── StateError
    │   ├── NotJson (TypeError)              a value that no state file can hold
    │   ├── StateDictError (ValueError)      a state that does not fit its module
    │   └── StateFileError (ValueError)      a file or value that cannot be saved or loaded exactly
    │       └── StateFileMissing (FileNotFoundError)
    ├── SchemaError (TypeError)              a signature, tool or type that has no JSON Schema
    ├── ModelError                           .model, .retryable, .retry_after_s
    │   ├── UnknownModel (LookupError)       no such provider or embedded model
    │   ├── MissingKey                       the API key's variable is not set
    │   ├── ModelUnreachable (ConnectionError)
    │   ├── ModelTimeout (TimeoutError)
    │   ├── ModelRefused                     .status: 4xx, the request is at fault
    │   ├── ModelOverloaded                  .status: 429 or 5xx, worth another try
    │   ├── BadModelResponse (ValueError)    not the protocol: malformed JSON, a truncated stream
    │   ├── ModelFileError (OSError)         weights that are missing or damaged
    │   └── ScriptError (AssertionError)     a scripted model ran dry or was not used up
    ├── AgentError
    │   ├── OutputError (ValueError)         .text: what the model wrote does not fit the output type
    │   ├── ToolArgumentsError (TypeError)   .tool, .arguments
    │   ├── ToolError                        .tool, .arguments; __cause__ is what the tool raised
    │   └── MaxTurnsError                    .turns
    ├── FlowError                            a flow that cannot be run
    │   ├── FlowStructureError (ValueError)  a cycle, a name that is taken or unknown, a step that is none
    │   ├── InputMismatch (ValueError)       .inputs, .branches
    │   ├── NoMatch (LookupError)            .value: no case of a Switch fits it
    │   ├── LoopLimit (RuntimeError)         .steps
    │   ├── RefError (LookupError)           .name: no result of that name
    │   ├── BarrierTimeout (TimeoutError)    .arrived, .expected
    │   └── ExpressionError (ValueError)     .expression, .line, .column
    ├── GuardRefused (ValueError)            .module, .on, .message; __cause__ is what its check raised
    ├── MessageError (ValueError)            .key: the path in a Message; no path, or a value that cannot be there
    │   ├── MessageKeyError (KeyError)       nothing is there
    │   ├── MessageFrozen (TypeError)        a change of what cannot be changed
    │   └── MessageConflict                  .branches: they changed the same, differently
    ├── DataError (ValueError)               a document folder or index that holds nothing usable
    ├── VersionError                         something about the version store
    │   ├── VersionNotFound (LookupError)    .ref, .near: no version or tag of that name
    │   ├── AmbiguousVersion (LookupError)   .ref, .candidates: several ids begin so
    │   ├── NothingToRollBack (LookupError)  .tag: it pointed at nothing before
    │   ├── TagNameError (ValueError)        .name
    │   ├── VersionDamaged (ValueError)      .id: another state is stored under it
    │   └── VersionStoreError (OSError)      no database of ours, out of reach, or locked for long
    ├── RegistryError                        a name that is taken, or that nothing can be registered under
    │   └── RegistryLookupError (AttributeError)  .wanted, .known: no group or thing of that name
    ├── DrawingError                         what cannot be found or drawn, or a picture that cannot be written
    └── BridgeError (RuntimeError)           blocking where nothing could ever wake the caller

Each message says what came, what was expected and what to do next; the facts are attributes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgflow._printable import with_caret


class MsgflowError(Exception):
    """Root of all errors raised by msgflow on purpose. They can be pickled, with their facts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[MsgflowError], args: tuple[Any, ...], facts: dict[str, Any]) -> MsgflowError:
    # Without __init__, whose arguments are not known any more. An OSError is made otherwise, and leaves args to it.
    error = (OSError if issubclass(kind, OSError) else Exception).__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class StateError(MsgflowError):
    """Something about a module's state."""


class NotJson(StateError, TypeError):
    """A value that no state file can hold; the message names its place and its type."""


class StateDictError(StateError, ValueError):
    """A state dict that does not fit: every problem at once, and nothing was changed."""

    def __init__(
        self, module: str, missing: Sequence[str], unexpected: Sequence[str], mismatched: Sequence[str]
    ) -> None:
        self.missing, self.unexpected, self.mismatched = list(missing), list(unexpected), list(mismatched)
        lines = [f"the state does not fit {module}; nothing was changed:"]
        lines += [f"  {key}: missing" for key in missing]
        lines += [f"  {key}: unexpected, {module} has no such key" for key in unexpected]
        lines += [f"  {problem}" for problem in mismatched]
        super().__init__("\n".join([*lines, "Give a value for every key, or load what fits with strict=False."]))


class StateFileError(StateError, ValueError):
    """A state that cannot be written to, or read from, a file exactly."""


class StateFileMissing(StateFileError, FileNotFoundError):
    """No state file at a path."""


class SchemaError(MsgflowError, TypeError):
    """A signature, a tool or a type that cannot be described by a JSON Schema."""


class ModelError(MsgflowError):
    """A model that did not answer.

    `retryable` says whether the same request may succeed later; `retry_after_s` is what the server asked
    for, in seconds.
    """

    retryable = False

    def __init__(self, message: str, *, model: str = "", retry_after_s: float | None = None) -> None:
        self.model, self.retry_after_s = model, retry_after_s
        super().__init__(message)


class UnknownModel(ModelError, LookupError):
    """A model string that names no provider."""

    def __init__(self, spec: str, known: Iterable[str]) -> None:
        self.spec, self.known = spec, sorted(known)
        super().__init__(
            f"no provider for {spec!r}; known: {', '.join(self.known)}. Write 'provider/model'.", model=spec
        )


class MissingKey(ModelError):
    """A provider whose API key is not in the environment."""

    def __init__(self, spec: str, variable: str) -> None:
        self.variable = variable
        super().__init__(
            f"{spec} needs an API key: set the environment variable {variable}, or give api_key=.", model=spec
        )


class ModelUnreachable(ModelError, ConnectionError):
    """No connection, or one that broke before the answer was complete."""

    retryable = True


class ModelTimeout(ModelError, TimeoutError):
    """No complete answer within the timeout."""

    retryable = True


class ModelRefused(ModelError):
    """The server refused the request itself (4xx); trying again would not help."""

    def __init__(self, message: str, *, status: int, model: str = "") -> None:
        self.status = status
        super().__init__(message, model=model)


class ModelOverloaded(ModelError):
    """The server was too busy or failed (408, 409, 429, 5xx); the same request may succeed later."""

    retryable = True

    def __init__(self, message: str, *, status: int, model: str = "", retry_after_s: float | None = None) -> None:
        self.status = status
        super().__init__(message, model=model, retry_after_s=retry_after_s)


class BadModelResponse(ModelError, ValueError):
    """The server answered, but not in the protocol: malformed JSON, missing fields, a truncated stream."""


class ModelFileError(ModelError, OSError):
    """Weights that could not be fetched, or are not the bytes they should be."""


class ScriptError(ModelError, AssertionError):
    """A scripted model that was asked for more, or for less, than its script holds."""


class AgentError(MsgflowError):
    """An agent or predictor that could not finish its task."""


class OutputError(AgentError, ValueError):
    """What the model wrote does not fit the output type."""

    def __init__(self, message: str, *, text: str) -> None:
        self.text = text
        super().__init__(message)


class ToolArgumentsError(AgentError, TypeError):
    """Arguments that do not fit a tool's schema."""

    def __init__(self, message: str, *, tool: str, arguments: object) -> None:
        self.tool, self.arguments = tool, arguments
        super().__init__(message)


class ToolError(AgentError):
    """A tool that raised; `__cause__` is its own exception."""

    def __init__(self, message: str, *, tool: str, arguments: object) -> None:
        self.tool, self.arguments = tool, arguments
        super().__init__(message)


class MaxTurnsError(AgentError):
    """An agent that asked for tools to the last turn it was allowed."""

    def __init__(self, agent: str, turns: int) -> None:
        self.turns = turns
        super().__init__(
            f"agent {agent!r} still asked for tools after {turns} turns. "
            "Raise max_turns, or tell it in its instructions when to answer."
        )


class FlowError(MsgflowError):
    """A flow that cannot be run."""


class FlowStructureError(FlowError, ValueError):
    """Steps that make no flow: a cycle, a name that is taken or unknown, a step that is none."""


class InputMismatch(FlowError, ValueError):
    """Another number of inputs, or other names, than a Diverter has branches for."""

    def __init__(self, message: str, *, inputs: int, branches: int) -> None:
        self.inputs, self.branches = inputs, branches
        super().__init__(message)


class NoMatch(FlowError, LookupError):
    """A value that fits no case of a Switch that has no default."""

    def __init__(self, value: object, cases: Sequence[str]) -> None:
        self.value, self.cases = value, list(cases)
        super().__init__(
            f"no case fits {value!r:.80}; there are: {', '.join(self.cases) or 'none'}. "
            "Add the case, or give default= for all others."
        )


class LoopLimit(FlowError, RuntimeError):
    """A loop whose condition to stop was not met in as many rounds as it may take."""

    def __init__(self, steps: int, hint: str) -> None:
        self.steps = steps
        super().__init__(f"the loop was not done after {steps} rounds, the most that it may take. {hint}")


class RefError(FlowError, LookupError):
    """A reference to a result that is not there."""

    def __init__(self, message: str, *, name: str) -> None:
        self.name = name
        super().__init__(message)


class BarrierTimeout(FlowError, TimeoutError):
    """A barrier that not all branches have reached in time."""

    def __init__(self, seconds: float, arrived: int, expected: int) -> None:
        self.arrived, self.expected = arrived, expected
        super().__init__(
            f"{arrived} of {expected} branches reached the barrier within {seconds:g} s; "
            "give it more time, or look at what the others are waiting for"
        )


class ExpressionError(FlowError, ValueError):
    """A flow expression that cannot be read, or a condition of it that has no answer; shows the place."""

    def __init__(self, problem: str, *, expression: str, line: int, column: int) -> None:
        self.expression, self.line, self.column = expression, line, column
        super().__init__(f"line {line}, column {column}: {problem}\n{with_caret(expression, line, column)}")


class GuardRefused(MsgflowError, ValueError):
    """An input (`on` is "pre") or an output ("post") that a guard did not let pass.

    The text is `message` where the guard has one; `module` is the name of the guarded module's class.
    """

    def __init__(self, module: str, on: str, message: str | None = None, cause: Exception | None = None) -> None:
        self.module, self.on, self.message = module, on, message
        if message is None:
            message = f"a guard refused the {'input' if on == 'pre' else 'output'} of {module}"
            if cause is not None:
                message += f", because its check raised {type(cause).__name__}: {cause}"
        super().__init__(message)


class MessageError(MsgflowError, ValueError):
    """A Message that cannot do what was asked of it; `key` is the dotted path, `branches` who is at odds there."""

    def __init__(self, message: str, *, key: str = "", branches: Sequence[int] = ()) -> None:
        self.key, self.branches = key, tuple(branches)
        super().__init__(message)

    __str__ = Exception.__str__  # a KeyError would show the repr of its text


class MessageKeyError(MessageError, KeyError):
    """A path at which there is nothing."""


class MessageFrozen(MessageError, TypeError):
    """A change of a frozen Message, or of a dict or list that a Message holds."""


class MessageConflict(MessageError):
    """Branches, numbered from 0, that gave one path different values."""


class DataError(MsgflowError, ValueError):
    """Documents, a folder or an index that hold nothing usable."""


class VersionError(MsgflowError):
    """Something about the version store."""


class VersionNotFound(VersionError, LookupError):
    """A ref that is no id, no beginning of one and no tag."""

    def __init__(self, ref: str, near: Sequence[str], hint: str = "") -> None:
        self.ref, self.near = ref, list(near)
        meant = f"; near it: {', '.join(self.near)}" if near else ""
        super().__init__(
            f"there is no version or tag {ref!r:.120}{meant}. {hint or 'log() lists the versions, tags() the tags.'}"
        )


class AmbiguousVersion(VersionError, LookupError):
    """The beginning of an id that several versions share."""

    def __init__(self, ref: str, candidates: Sequence[str]) -> None:
        self.ref, self.candidates = ref, list(candidates)
        super().__init__(f"{ref!r} begins several ids: {', '.join(self.candidates)}. Give more digits.")


class NothingToRollBack(VersionError, LookupError):
    """A tag that pointed at nothing before."""

    def __init__(self, tag: str, version: str) -> None:
        self.tag = tag
        super().__init__(
            f"the tag {tag!r} points at {version} and at nothing before it, so it stays there; "
            f"tag({tag!r}, id) moves it, tag_log({tag!r}) shows where it was"
        )


class TagNameError(VersionError, ValueError):
    """A name that no tag can have."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"a tag cannot be named {name!r:.120}: {reason}. Take a name such as 'production'.")


class VersionDamaged(VersionError, ValueError):
    """What is stored under an id is another state than the one that has this id."""

    def __init__(self, version: str, reason: str) -> None:
        self.id = version
        super().__init__(f"the version {version} {reason}")


class VersionStoreError(VersionError, OSError):
    """A database that is no version store, is out of reach, or was locked for too long."""


class RegistryError(MsgflowError):
    """A name that is taken, or that nothing can be registered under."""


class RegistryLookupError(RegistryError, AttributeError):
    """A group, or a thing in a group, that is not there."""

    def __init__(self, message: str, *, wanted: str, known: Sequence[str]) -> None:
        self.wanted, self.known = wanted, list(known)
        super().__init__(message)


class DrawingError(MsgflowError):
    """Something that cannot be found or drawn, or a picture that cannot be written."""


class BridgeError(MsgflowError, RuntimeError):
    """A blocking call at a place where nothing could ever wake the caller."""
