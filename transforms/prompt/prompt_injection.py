"""Find suspected prompt injections: CRM text that addresses a model. Pure.

The text itself is not changed: the model sees it within the fence, and the score's row is flagged. The account gets a
call of its own, so that an injection can only change its own score. Other defences cover phrasings that no rule here
knows; see docs/adr/021.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import ahocorasick_rs


class InjectionKind(StrEnum):
    """What a suspected prompt injection tries to do."""

    OVERRIDE = "override"
    """Cancel the instruction: "ignore all previous instructions"."""
    ROLE = "role"
    """Give the model another role, or claim authority: "you are now …", "as the administrator"."""
    SCORE_DEMAND = "score_demand"
    """Demand a score, tier or confidence."""
    OUTPUT_FORMAT = "output_format"
    """Dictate the answer: "reply only with …", ready-made JSON."""
    DELIMITER = "delimiter"
    """Pretend that the data ends: closing tags, chat markers, "### END OF CONTEXT"."""
    DISCLOSURE = "disclosure"
    """Ask for the prompt, or for other accounts' data."""


@dataclass(frozen=True)
class Rule:
    """A pattern over normalised text, which is searched only in texts that have one of the `stems`.

    Every text that matches must have one. Stems that are rare in mail make the search cheap.
    """

    kind: InjectionKind
    stems: tuple[str, ...]
    pattern: re.Pattern[str]


_ORDERS: Final = (
    r"(?:instruct\w*|prompts?|rules?|directives?|guidelines?|commands?|context|told|anweisung\w*|regeln?|vorgaben?"
    r"|consignes?|règles?|instrucciones|reglas|órdenes|istruzion\w*|regole|instruç\w*|regras?|instructies|regels?"
    r"|instrukc\w*|instruktion\w*)"
)
_GIVEN: Final = (
    r"(?:previous|prior|above|earlier|preceding|former|all|any|your|the|system|original|foregoing|vorherig\w*"
    r"|bisherig\w*|obig\w*|alle[ns]?|deine?|ihre|précédente?s?|toutes|vos|anteriores|previas|tus|todas|precedenti|tutte"
    r"|tue|vorige|eerdere|poprzedni\w*|tidigare|alla)"
)
_FORGET: Final = (
    r"(?:ignor\w*|disregard\w*|forget|overrid\w*|bypass|(?:do not|don'?t) (?:follow|obey)|missacht\w*|vergiss|vergessen"
    r"|oublie\w*|olvid\w*|dimentic\w*|esque[cç]\w*|negeer|vergeet|zignoruj|glöm)"
)
_FORGET_STEMS: Final = (
    *("ignor", "disregard", "forget", "overrid", "bypass", "not follow", "not obey", "n't follow", "n't obey", "dont "),
    *("missacht", "vergiss", "vergess", "oublie", "olvid", "dimentic", "esquec", "esqueç", "negeer", "vergeet", "glöm"),
)
_SCORE: Final = (
    r"(?:score|scoring|rating|tier|confidence|points?|bewertung|punkte\w*|note|puntuaci[oó]n|punteggio|pontuaç[aã]o)"
)
_SCORE_STEMS: Final = (
    *("scor", "rating", "tier", "confidence", "point", "bewertung", "punkt", "note", "puntuaci", "punteggio", "pontua"),
)
_MODEL: Final = (
    r"(?:ai|a\.i\.|llm|language model|model|assistant|chat ?bot|bot|gpt|chatgpt|gemini|claude|copilot|ki|sprachmodell"
    r"|ia|modèle|modelo|modello|assistente|asistente)"
)
_MODEL_STEMS: Final = (
    *(" ai", " a.i", "llm", "model", "modèle", "assist", "asist", "chat", " bot", "gpt", "gemini", "claude", "copilot"),
    *(" ki", " ia"),
)
_LABEL: Final = r"(?:system|assistant|developer)"


def _pairs(*words: tuple[str, ...]) -> tuple[str, ...]:
    """Return each combination of words, joined by a blank."""
    return tuple(" ".join(combination) for combination in itertools.product(*words))


def _rule(kind: InjectionKind, stems: tuple[str, ...], *alternatives: str) -> Rule:
    return Rule(kind, stems, re.compile("|".join(alternatives)))


RULES: Final = (
    _rule(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,4}}?\W+{_GIVEN}(?:\W+\w+){{0,3}}?\W+{_ORDERS}\b",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,3}}?\W+{_ORDERS}(?:\W+\w+){{0,2}}?\W+"
        r"(?:above|before|so far|oben|précédente?s?|anteriores|precedenti)\b",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,2}}?\W+(?:every|all|each|the) (?:other|remaining) (?:account|compan|record)",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        _pairs(("new", "updated", "revised"), ("task", "instruction", "directive", "system prompt")),
        r"\b(?:new|updated|revised) (?:task|instructions?|directive|system prompt) ?:",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        ("忽略", "无视", "無視", "忘れ", "игнорир", "무시"),
        r"(?:忽略|无视).{0,4}(?:之前|以上|前面|先前|所有)|(?:以前|これまで|上記)の(?:すべての)?(?:指示|命令)を?(?:無視|忘れ)",
        r"игнорир\w+\W+(?:все\W+)?(?:предыдущ|прошл)\w+|이전.{0,4}(?:지시|명령).{0,4}무시",
    ),
    _rule(
        InjectionKind.ROLE,
        ("you are",),
        rf"\byou are (?:now|no longer|actually|an?)\b(?:\W+\w+){{0,4}}?\W+"
        rf"(?:{_MODEL}|mode|admin\w*|developer|unbound)\b",
    ),
    _rule(
        InjectionKind.ROLE,
        _pairs(("act", "behave", "respond", "pretend", "roleplay", "role-play"), ("as ", "like ")),
        r"\b(?:act|behave|respond|pretend|role-?play) (?:as|like) "
        r"(?:if you|an? (?:unrestricted|different|system|admin))",
    ),
    _rule(InjectionKind.ROLE, (" mode",), r"\b(?:maintenance|developer|debug|god|admin|jailbreak|dan) mode\b"),
    _rule(
        InjectionKind.ROLE,
        ("admin", "developer", "operator", "root user"),
        r"\bas (?:the|your|an?) (?:system )?(?:administrator|admin|developer|operator|root user)\b.{0,40}\b(?:i|you)\b",
    ),
    _rule(
        InjectionKind.ROLE,
        _MODEL_STEMS,
        r"\b(?:note|message|attention|hint|memo|hinweis|nachricht|remarque|nota"
        r"|dear|hello|hey|hi|liebe[rs]?|chère?|estimad[oa])"
        rf"(?: (?:to|for|an|für|à|para|per)(?: \w+){{0,3}})? {_MODEL}\b",
    ),
    _rule(
        InjectionKind.ROLE,
        ("system", "assistant", "developer"),
        rf"(?:\A|[\n.!?#>] {{0,3}}){_LABEL}(?: (?:message|prompt|note))? ?:",
    ),
    _rule(
        InjectionKind.ROLE,
        ("call the ", "execute the "),
        r"\b(?:call the (?:tool|function)|execute the (?:tool|function|command))\b",
    ),
    _rule(
        InjectionKind.ROLE,
        ("du bist", "sie sind"),
        r"\b(?:du bist|sie sind) (?:jetzt|nun|ab sofort)\b.{0,40}\b(?:modus|assistent|ki|modell)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        _pairs(("score", "rate", "rank", "grade", "classify"), ("this", "our", "us", "my", "the")),
        r"\b(?:score|rate|rank|grade|classify) (?:this|our|us|my|the)\b(?:\W+\w+){0,4}?\W+"
        r"(?:\d{1,3}|hot|highest|top|maximum|tier)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        _SCORE_STEMS,
        rf"\b(?:set|give|assign|make|raise|bump|keep|return|report|put)\b(?:\W+\w+){{0,5}}?\W+{_SCORE}s?\b(?:\W+\w+){{0,4}}?"
        r"\W+(?:\d{1,3}|zero|maximum|hot|highest)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        _pairs(("our", "this", "their", "its"), _SCORE_STEMS),
        rf"\b(?:our|this|their|its) {_SCORE} (?:must|should|shall|has to|needs to|is to)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        _pairs(("must", "should", "shall", "has to"), ("be", "stay", "remain", "never")),
        rf"\b{_SCORE} (?:must|should|shall|has to) (?:never )?(?:be|stay|remain)\b.{{0,24}}\d",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("=100", ":100", "= 100", ": 100", "=9", ":9", "= 9", ": 9"),
        rf"\b{_SCORE} ?[=:] ?(?:100|9\d)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("tier a", "tier hot", "confidence 1", "confidence of 1"),
        r"\b(?:tier a|tier hot|confidence (?:of )?(?:1\.0|100))\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("bewerte", "einstuf", "donne", "attribue", "mets", "mettez", "notez"),
        r"\b(?:bewerte\w*|einstuf\w*)\b.{0,40}\b(?:mit|auf|als) (?:\d{2,3}|hot|heiss)",
        r"\b(?:donne\w*|attribue\w*|mets|mettez|notez)\b.{0,40}\b(?:score|note)\b.{0,16}\d{2,3}",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("punt", "pont", "score"),
        r"\b(?:asigna\w*|otorga\w*|dale|pon|atribua|dê|assegna\w*|dai)\b.{0,40}\b"
        r"(?:puntuaci[oó]n|puntos|pontua\w+|punteggio|punti|score)\b",
    ),
    _rule(InjectionKind.SCORE_DEMAND, ("100",), r"(?:评分|分数|打分|スコア|点数).{0,8}100|100\W?[分点]"),
    _rule(
        InjectionKind.OUTPUT_FORMAT,
        _pairs(
            (
                *("reply", "respond", "answer", "output", "return", "print", "write", "only", "just", "exactly"),
                *("nothing but", "with", "in", "as", "the", "following"),
            ),
            ("json", "yaml", "xml", "csv", "plain text", "tier", "score", "the word"),
        ),
        r"\b(?:reply|respond|answer|output|return|print|write)(?: (?:only|just|exactly|nothing but))?"
        r"(?: (?:with|in|as))?(?: only)?(?: the)?(?: following)? "
        r"(?:json|yaml|xml|csv|plain text|tier|scores?|the word)\b",
    ),
    _rule(
        InjectionKind.OUTPUT_FORMAT,
        ("score", "tier", "confidence", "account_name", "drivers"),
        r"[\"'“](?:score|tier|confidence|account_name|drivers)[\"'”] ?:",
    ),
    _rule(
        InjectionKind.OUTPUT_FORMAT,
        ("antworte", "erwidere", "répond", "responde"),
        r"\b(?:antworte|erwidere)\w* (?:nur|ausschliesslich) (?:mit|in)\b|\brépond\w* (?:uniquement|seulement)\b",
        r"\bresponde (?:solo|sólo|únicamente|apenas)\b",
    ),
    _rule(
        InjectionKind.DELIMITER,
        ("<", "[inst", "[/inst"),
        r"</?(?:crm|system|instructions?|context|data|user|assistant|prompt|accounts?|documents?)(?:_\w+)?>",
        r"<\|[a-z_]{2,20}\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>",
    ),
    _rule(
        InjectionKind.DELIMITER,
        tuple("".join(it) for it in itertools.product("#=*-", ("", " "), ("end", "begin", "start", "stop", "new"))),
        r"(?<![#=*-])[#=*-]{3,40} ?(?:end|begin|start|stop|new) (?:of )?(?:the )?"
        r"(?:context|data|input|prompt|instructions?|accounts?|conversation|task)\b",
    ),
    _rule(InjectionKind.DELIMITER, ("```", "#"), rf"```|(?:\A|\n)#{{1,3}} ?(?:{_LABEL}|instructions?|response)\b"),
    _rule(
        InjectionKind.DISCLOSURE,
        ("prompt", "instructions", "other accounts"),
        r"\b(?:print|reveal|show|repeat|output|leak|tell me|disclose|list)\b(?:\W+\w+){0,4}?\W+"
        r"(?:system prompt|(?:your|the|hidden) (?:instructions|prompt)|other accounts)\b",
    ),
)
_STEMS: Final = tuple(dict.fromkeys(itertools.chain.from_iterable(rule.stems for rule in RULES)))
_RULES_BY_STEM: Final = tuple(tuple(rule for rule in RULES if stem in rule.stems) for stem in _STEMS)
_AUTOMATON: Final = ahocorasick_rs.AhoCorasick(_STEMS, implementation=ahocorasick_rs.Implementation.DFA)
"""Finds all stems in one pass over a text; searching for one after the other takes ten times as long (docs/adr/021)."""

_BLANKS: Final = re.compile(r"[ \t]+")
_JOINERS: Final = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")


def find_injections(text: str) -> frozenset[InjectionKind]:
    """Return the kinds of prompt injection that are suspected in a text; none for nearly all mail between people."""
    plain = normalized(text)
    stems = {index for index, _, _ in _AUTOMATON.find_matches_as_indexes(plain, overlapping=True)}
    rules = set(itertools.chain.from_iterable(_RULES_BY_STEM[index] for index in stems))
    return frozenset(rule.kind for rule in rules if rule.pattern.search(plain))


def normalized(text: str) -> str:
    """Return a text as the rules expect it: case-folded, in NFKC, without joining characters and double blanks."""
    plain = text if text.isascii() else _JOINERS.sub("", unicodedata.normalize("NFKC", text))
    plain = plain.casefold()
    return _BLANKS.sub(" ", plain) if "  " in plain or "\t" in plain else plain
