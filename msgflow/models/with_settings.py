"""Settings for every request to a model."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from msgflow._frozen import FrozenDict
from msgflow.messages import ModelEvent, Request, Response, as_settings
from msgflow.models.protocol import Model


class WithSettings:
    """A model whose requests have `defaults` under their own settings."""

    def __init__(self, model: Model, defaults: Mapping[str, Any]) -> None:
        self.model, self.settings = model, as_settings(defaults)
        self.spec, self.provider, self.name, self.profile = model.spec, model.provider, model.name, model.profile

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.settings!r})"

    async def complete(self, request: Request) -> Response:
        return await self.model.complete(self._with_settings(request))

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        async with aclosing(cast(Any, self.model.stream(self._with_settings(request)))) as events:
            async for event in events:
                yield event

    def _with_settings(self, request: Request) -> Request:
        merged = FrozenDict({**self.settings, **request.settings})
        return Request(request.messages, request.tools, request.output, merged)
