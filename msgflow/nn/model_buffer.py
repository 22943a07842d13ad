"""A module that has a model: the model's name is state, so the model can be swapped like a prompt."""

from collections.abc import Mapping
from typing import Any, Self

from msgflow import models
from msgflow.messages import as_settings
from msgflow.models import Model
from msgflow.nn.module import Module


class _Models(dict[str, Model]):
    """Models by name. Copies of a module share them; a pickled one finds its models by name again."""

    def __deepcopy__(self, memo: object) -> "_Models":
        return _Models(self)

    def __reduce__(self) -> tuple[type["_Models"], tuple[()]]:
        return _Models, ()


class ModelBuffer(Module):
    """Keeps "provider/model" in the buffer `model`, and the objects that such names stand for beside it.

    The buffer `settings` holds what goes with each request to it.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_models"] = _Models()
        return self

    def _buffer_value(self, name: str, value: Any) -> Any:
        """A model object is known by its name from here on; a name must be one that can be resolved."""
        if name == "settings":
            if not isinstance(value, Mapping):
                raise TypeError(f"settings are a dict such as {{'temperature': 0}}, not {value!r:.80}")
            return as_settings(value)
        if name != "model":
            return super()._buffer_value(name, value)
        if isinstance(value, str):
            self._model(str(value))
            return str(value)
        model = models.chat(value)
        self._models[model.spec] = model
        return model.spec

    def resolve_model(self) -> Model:
        """The model that the buffer names now."""
        return self._model(self.model)

    def _model(self, spec: str) -> Model:
        known: _Models = self._models
        if spec not in known:
            known[spec] = models.chat(spec)
        return known[spec]
