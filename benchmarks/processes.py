"""Crews in processes of their own, which do as they are told through pipes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self


class Crew(Protocol):
    """What one process has: methods that are called by name."""

    def close(self) -> None:
        """At its end."""


class Processes:
    """So many, until the end of the block; ``shared`` is a number in memory that they have in common.

    ``new_crew`` is called in each, with the server's URL and that number.
    """

    def __init__(self, url: str, count: int, new_crew: Callable[[str, Any], Crew]) -> None:
        context = multiprocessing.get_context("spawn")  # a hub does not outlive a fork
        self.shared: Any = context.Value("l", 0, lock=False)
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_obey, args=(new_crew, url, self.shared, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # at which it ends
        for process in self._processes:
            process.join(10)
            process.kill()
            process.join()

    def all_do(self, method: str, *arguments: object) -> list[Any]:
        """The same at the same time; what each of them answers."""
        return self.each_does([(method, *arguments)] * len(self._pipes))

    def each_does(self, orders: Sequence[tuple[Any, ...]]) -> list[Any]:
        """A method and its arguments for each of them, at the same time."""
        for pipe, order in zip(self._pipes, orders, strict=True):
            pipe.send(order)
        return [_answer(pipe) for pipe in self._pipes]

    def one_does(self, method: str, *arguments: object) -> Any:
        """The first alone, while the others do nothing."""
        self._pipes[0].send((method, *arguments))
        return _answer(self._pipes[0])


def _answer(pipe: Connection) -> Any:
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _obey(new_crew: Callable[[str, Any], Crew], url: str, shared: Any, pipe: Connection) -> None:
    crew = new_crew(url, shared)
    try:
        while True:
            method, *arguments = pipe.recv()
            try:
                answer = getattr(crew, method)(*arguments)
            except Exception as error:
                answer = error
            pipe.send(answer)
    except EOFError:
        crew.close()
