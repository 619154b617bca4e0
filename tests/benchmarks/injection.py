"""`python -m tests.benchmarks.injection [--misses]`: which texts are suspected injections, and by which rules."""

import argparse

from tests.benchmarks.ratios import keep
from tests.fixtures.text_sets import held_out, injections, ordinary_mail
from transforms.prompt.prompt_injection import RULES, matching_rules


def run(*, shows_misses: bool = False) -> None:
    """Print recall by kind, false alarms, and of each rule what it finds, finds alone, and takes by mistake."""
    kinds, mail = injections(), ordinary_mail()
    found = {text: matching_rules(text) for texts in kinds.values() for text in texts}
    alarms = {text: matching_rules(text) for text in mail}
    false = [text for text, rules in alarms.items() if rules]
    lines = [f"\nSuspected prompt injections: {len(found)} injections, {len(mail)} ordinary texts"]
    figures: dict[str, object] = {}
    for kind, texts in kinds.items():
        figures[kind] = sum(bool(found[text]) for text in texts)
        lines.append(f"  {kind:14} found {figures[kind]:>3} of {len(texts)}")
        if shows_misses:
            lines += [f"      {text!r}" for text in texts if not found[text]]
    figures |= {"found": sum(map(bool, found.values())), "false alarms": len(false)}
    lines.append(f"  all            found {figures['found']:>3} of {len(found)}")
    lines.append(f"  ordinary mail  false alarms {len(false)} of {len(mail)}  {len(false) / len(mail):.1%}")
    lines += [f"      {text!r}" for text in false] if shows_misses else []
    for kind, texts in held_out().items():
        figures[f"held out, {kind}"] = sum(bool(matching_rules(text)) for text in texts)
        lines.append(f"  held out: {kind}, suspected {figures[f'held out, {kind}']} of {len(texts)}")
    lines.append("  rule: found, found by it alone, false alarms, false alarms by it alone")
    for rule in RULES:
        of_it, by_mistake = ([rules for rules in texts.values() if rule in rules] for texts in (found, alarms))
        alone = [sum(len(rules) == 1 for rules in texts) for texts in (of_it, by_mistake)]
        name = f"{rule.kind}: {rule.pattern.pattern[:48]!r}"
        lines.append(f"    {len(of_it):>3} {alone[0]:>3} {len(by_mistake):>3} {alone[1]:>3}  {name}")
    print("\n".join(lines))  # noqa: T201 - a report for people
    keep("Suspected prompt injections", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.injection")
    parser.add_argument("--misses", action="store_true", help="print what is missed and what is taken by mistake")
    run(shows_misses=parser.parse_args().misses)
