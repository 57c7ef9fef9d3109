"""End a stream whose model has gone silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import TypeVar

from genai_pipeline.agent.models.completion_failures import Stalled

T = TypeVar("T")


async def paced(
    items: AsyncIterable[T], silence_s: float, says_something: Callable[[T], bool] = lambda item: True
) -> AsyncGenerator[T, None]:
    """Yield the items as long as one with content comes every `silence_s`.

    Args:
        says_something: whether an item has content; others do not count as a sign of life.
    Raises: Stalled.
    """
    iterator = aiter(items)
    clock = asyncio.get_running_loop().time
    heard = clock()
    while True:
        try:
            async with asyncio.timeout_at(heard + silence_s):
                item = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Stalled(silence_s) from error
        yield item
        if says_something(item):
            heard = clock()  # after the yield: the time that the reader took is not the model's
