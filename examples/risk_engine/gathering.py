"""A client whose commands travel together when many requests are under way."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import redis.asyncio

AT_ONCE = 1
"""Batches under way. The next one gathers meanwhile: the more there is to do, the more each of them holds."""
LONGEST = 128
BLOCKING = frozenset({"XREAD"})

Command = tuple[tuple[Any, ...], dict[str, Any], "asyncio.Future[Any]"]


class GatheringRedis(redis.asyncio.Redis):
    """Sends a command at once while little is under way, else together with those that come meanwhile.

    A batch is a pipeline and no transaction: each command succeeds or fails by itself.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._under_way = 0
        self._waiting: list[Command] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As in the base class."""
        alone: Any = super().execute_command
        if args[0] in BLOCKING:
            return await alone(*args, **options)
        if self._under_way < AT_ONCE:
            self._under_way += 1
            try:
                return await alone(*args, **options)
            finally:
                self._ended()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((args, options, answer))
        return await answer

    def _ended(self) -> None:
        self._under_way -= 1
        wanted = [each for each in self._waiting if not each[2].done()]
        batch, self._waiting = wanted[:LONGEST], wanted[LONGEST:]
        if batch:
            self._under_way += 1
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, batch: list[Command]) -> None:
        try:
            async with self.pipeline(transaction=False) as pipeline:
                for args, options, _ in batch:
                    pipeline.execute_command(*args, **options)
                answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            answers = [copy.copy(error) for _ in batch]  # who raises one adds to its traceback
        finally:
            self._ended()
        for (_, _, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
