"""Crowds in processes of their own, which do as they are told through pipes."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.locks.crowd import Crowd, Held, Turn


class Processes:
    """So many, until the end of the block; they count grants in memory that they share."""

    def __init__(self, url: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a hub does not outlive a fork
        self.grants: Any = context.Value("l", 0, lock=False)
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_obey, args=(url, self.grants, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # at which it ends
        for process in self._processes:
            process.join(10)
            process.kill()
            process.join()

    def contend(self, turn: Turn) -> list[Held]:
        """All at once."""
        for pipe in self._pipes:
            pipe.send(("contend", turn))
        return [each for pipe in self._pipes for each in _answer(pipe)]

    def bare(self, threads: bool, count: int) -> list[float]:
        """One alone, while the others do nothing."""
        self._pipes[0].send(("bare", threads, count))
        taken: list[float] = _answer(self._pipes[0])
        return taken


def _answer(pipe: Connection) -> Any:
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _obey(url: str, grants: Any, pipe: Connection) -> None:
    crowd = Crowd(url, grants)
    try:
        while True:
            method, *arguments = pipe.recv()
            try:
                answer = getattr(crowd, method)(*arguments)
            except Exception as error:
                answer = error
            pipe.send(answer)
    except EOFError:
        crowd.close()
