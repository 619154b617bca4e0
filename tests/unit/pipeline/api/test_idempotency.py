"""Idempotency keys: the same request is carried out once."""

import anyio
import pytest
from fastapi import Response

from pipeline.api.idempotency import IdempotentAnswers
from pipeline.api.problems import Kind, Problem


class Carrying:
    """Counts how often a request was carried out, and answers."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.count = 0

    async def __call__(self) -> Response:
        """Answer with the next status."""
        self.count += 1
        return Response(f"answer {self.count}", self.statuses.pop(0) if self.statuses else 202)


async def _ask(answers: IdempotentAnswers, carrying: Carrying, who: str = "ann", what: str = "a") -> str:
    answer = await answers.once(who, "key-00001", what, carrying)
    return bytes(answer.body).decode() + " again" * ("idempotency-replayed" in answer.headers)


def test_a_request_is_carried_out_once() -> None:
    """Of a principal: another one may take the same key."""

    async def run() -> None:
        answers, carrying = IdempotentAnswers(), Carrying()
        assert [await _ask(answers, carrying) for _ in range(2)] == ["answer 1", "answer 1 again"]
        assert await _ask(answers, carrying, who="bob") == "answer 2"
        with pytest.raises(Problem, match="another request") as refused:
            await _ask(answers, carrying, what="b")
        assert refused.value.kind is Kind.INVALID
        for _ in range(2):
            await answers.once("ann", None, "a", carrying)
        assert carrying.count == 4

    anyio.run(run)


def test_what_failed_may_be_tried_again() -> None:
    """An answer that is an error, and an error that is none."""

    async def run() -> None:
        answers = IdempotentAnswers()
        carrying = Carrying(409, 202)
        assert [await _ask(answers, carrying) for _ in range(3)] == ["answer 1", "answer 2", "answer 2 again"]

        async def fail() -> Response:
            raise ValueError("no")

        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await answers.once("ann", "key-00002", "a", fail)

    anyio.run(run)


def test_a_request_that_runs_is_not_begun_again() -> None:
    """The second one is told to wait."""

    async def run() -> None:
        answers, begun, done = IdempotentAnswers(), anyio.Event(), anyio.Event()

        async def slowly() -> Response:
            begun.set()
            await done.wait()
            return Response("done")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answers.once, "ann", "key-00001", "a", slowly)
            await begun.wait()
            with pytest.raises(Problem, match="being carried out") as refused:
                await answers.once("ann", "key-00001", "a", slowly)
            assert refused.value.kind is Kind.CONFLICT
            done.set()

    anyio.run(run)
