"""`python -m tests.benchmarks.redaction [--misses]`: what redaction finds and what it takes by mistake, by kind."""

import argparse
from collections import defaultdict
from collections.abc import Iterable

from tests.benchmarks.ratios import keep
from tests.fixtures.text_sets import Snippet, redaction_snippets
from transforms.prompt.redaction import redact


def scored(snippets: Iterable[Snippet]) -> dict[str, list[tuple[Snippet, bool]]]:
    """Return each kind's snippets, with whether redaction does what it should."""
    kinds: defaultdict[str, list[tuple[Snippet, bool]]] = defaultdict(list)
    for snippet in snippets:
        kinds[snippet.kind].append((snippet, snippet.is_handled_by(redact(snippet.text))))
    return kinds


def run(*, shows_misses: bool = False) -> None:
    """Print recall for each kind of personal data, and false alarms for each kind of other number."""
    kinds = scored(redaction_snippets())
    lines, figures = [f"\nRedaction: {sum(map(len, kinds.values()))} labelled snippets"], {}
    for kind, results in kinds.items():
        is_personal, total = results[0][0].is_personal, len(results)
        wrong = [snippet.text for snippet, is_right in results if not is_right]
        name, count = ("found", total - len(wrong)) if is_personal else ("false alarms", len(wrong))
        figures[kind] = {name: count, "of": total}
        lines.append(f"  {kind:14} {name:12} {count:>4} of {total:>3}  {count / total:6.1%}")
        if shows_misses:
            lines += [f"      {text!r}\n   -> {redact(text)!r}" for text in wrong]
    print("\n".join(lines))  # noqa: T201 - a report for people
    keep("Redaction", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.redaction")
    parser.add_argument("--misses", action="store_true", help="print each snippet that is not handled as it should be")
    run(shows_misses=parser.parse_args().misses)
