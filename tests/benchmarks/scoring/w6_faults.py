"""W6: mixed faults on a tenth of the calls: every account ends once, and the calls that it costs."""

import random
from typing import Any

from pipeline.local.gemini.fault_kinds import FaultKind
from tests.benchmarks.scoring import ours, peer_model_handler
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import Run, in_turns, measure, median, report, stand_in
from transforms.clients.hold import Hold
from transforms.score.account_scoring import split_calls
from transforms.score.scoring_engine import Answered, CallStats, ScoringEngine

RATE = 0.1
SAMPLE = 2_000
PEERS_SAMPLE = 400
SECONDS = 0.1
SILENT = frozenset({FaultKind.NO_ANSWER, FaultKind.HALF_OPEN, FaultKind.DRIPPING})
"""google-genai has no deadline: these faults make a peer hang."""


def run(rounds: int, accounts: int) -> None:
    """Measure ours with every kind of fault, and beside Beam's handler with those in which it does not hang."""
    sample = all_accounts()[: min(SAMPLE, accounts)]
    seed = random.SystemRandom().randrange(2**31)
    with stand_in(latency={"mean_seconds": SECONDS}) as gemini:
        clean = measure(gemini, lambda: _scored_and_failed(len(sample))[0])
        ended: list[tuple[int, int]] = []

        def ours_counted() -> int:
            scored, failed = _scored_and_failed(len(sample))
            ended.append((scored, failed))
            return scored

        gemini.configure(faults=_faults(seed, frozenset()))
        whole = in_turns(gemini, {"ours": ours_counted}, rounds)["ours"]
        gemini.configure(faults=_faults(seed, SILENT))
        changes = [item.change for item in sample[:PEERS_SAMPLE]]
        beside = in_turns(
            gemini,
            {
                "ours, k=1": lambda: ours.score(changes, ours.settings(), 1),
                "GeminiModelHandler, batches of 1": lambda: peer_model_handler.score(
                    sample[:PEERS_SAMPLE], threads=ours.THREADS, batch_size=1
                ),
            },
            rounds,
        )
    rows: list[dict[str, Any]] = [
        {
            "who": "ours, k=5, every kind of fault",
            "seed": seed,
            "in": len(sample),
            "scored + dead letters": [f"{scored} + {failed} = {scored + failed}" for scored, failed in ended],
            "calls of the clean run's": f"{median(whole, lambda run: run.calls) / clean.calls:.2f}",
        },
        *(_row(name, runs, len(changes)) for name, runs in beside.items()),
    ]
    report(f"W6: mixed faults at {RATE:.0%}", rows, {"clean": [clean], "ours": whole, **beside})


def _row(name: str, runs: list[Run], accounts: int) -> dict[str, Any]:
    return {
        "who": f"{name}, faults that end",
        "in": accounts,
        "scored": median(runs, lambda run: run.scored),
        "calls an account": round(median(runs, lambda run: run.calls / accounts), 2),
        "seconds": round(median(runs, lambda run: run.seconds), 1),
    }


def _faults(seed: int, left_out: frozenset[FaultKind]) -> list[dict[str, Any]]:
    """Return every kind of fault except some, together on a tenth of the calls."""
    kinds = [kind for kind in FaultKind if kind not in left_out]
    dice = random.Random(seed)
    dice.shuffle(kinds)
    return [{"kind": kind, "rate": RATE / len(kinds), "seed": dice.randrange(2**31)} for kind in kinds]


def _scored_and_failed(count: int) -> tuple[int, int]:
    """Score accounts in one batch, five a call, and return how many have a score and how many an error."""
    engine = ScoringEngine(ours.settings(deadline_seconds=2.0))
    calls = split_calls(all_accounts()[:count], 5, engine.settings.max_prompt_tokens)
    answers = [one for call in engine.submit(calls, CallStats(), Hold(1_800.0)).result() for one in call]
    engine.close()
    scored = sum(isinstance(one, Answered) for one in answers)
    return scored, len(answers) - scored
