"""Find suspected prompt injections: CRM text that addresses a model. Pure.

The text itself is not changed: the model sees it within the fence, and the score's row is flagged. The account gets a
call of its own, so that an injection can only change its own score. Other defences cover phrasings that no rule here
knows; see docs/adr/021.
"""

import base64
import functools
import itertools
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import ahocorasick_rs
from confusable_homoglyphs import confusables  # type: ignore[import-untyped]


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
    is_weak: bool = False
    """People write so, too: it counts beside another rule, or in a text that speaks of scores."""


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
_NOT_OF_BUSINESS: Final = (
    r"(?! (?:for|of|in|on|about|from|regarding|zur|zum|für|vom|pour|du|del?|para|voor)\b)(?! \w+, son\b)"
)
"""Orders for a delivery, or rules of a tariff, are between people."""
_SCORE: Final = (
    r"(?:score|scoring|rating|tier|confidence(?! (?:interval|level))|points?|bewertung|punkte\w*|note"
    r"|puntuaci[oó]n|punteggio|pontuaç[aã]o)"
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


def _weak(kind: InjectionKind, stems: tuple[str, ...], *alternatives: str) -> Rule:
    return Rule(kind, stems, re.compile("|".join(alternatives)), is_weak=True)


def _words(words: str) -> tuple[str, ...]:
    return tuple(words.split("|"))


def _encodings(*words: str) -> tuple[str, ...]:
    """Return what words look like in lower case in base64, at each of its three offsets, and in hexadecimal."""
    found = []
    for word in words:
        for offset in range(3):
            encoded = base64.b64encode(bytes(offset) + word.encode()).decode()
            found.append(encoded[-(-offset * 4 // 3) : (offset + len(word)) * 4 // 3].lower())
        found.append(word.encode().hex())
        found.append("".join(f"%{byte:x}" for byte in word.encode()))
    return tuple(found)


_ENCODED: Final = (
    *_encodings(
        "Ignore all", "ignore all", "Ignore pre", "ignore pre", "nstructions", "Score this", "score this", "ignore"
    ),
    "vtaber nyy",  # rot13
)


_PLAIN_RULES: Final = (
    _rule(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,4}}?\W+{_GIVEN}(?:\W+\w+){{0,3}}?\W+{_ORDERS}\b{_NOT_OF_BUSINESS}",
    ),
    _weak(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,3}}?\W+{_ORDERS}(?:\W+\w+){{0,2}}?\W+"
        rf"(?:above|before|so far|oben|précédente?s?|anteriores|precedenti)\b{_NOT_OF_BUSINESS}",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        _FORGET_STEMS,
        rf"\b{_FORGET}(?:\W+\w+){{0,2}}?\W+(?:every|all|each|the) (?:other|remaining) (?:account|compan|record)",
    ),
    _weak(
        InjectionKind.OVERRIDE,
        _pairs(("new", "updated", "revised"), ("task", "instruction", "directive", "system prompt")),
        r"\b(?:new|updated|revised) (?:task|instructions?|directive|system prompt) ?:",
    ),
    _rule(
        InjectionKind.OVERRIDE,
        ("忽略", "无视", "無視", "忘れ", "игнорир", "무시"),
        r"(?:忽略|无视).{0,4}(?:之前|以上|前面|先前|所有).{0,6}(?:指令|指示|规则|提示|要求)|(?:以前|これまで|上記)の(?:すべての)?(?:指示|命令)を?(?:無視|忘れ)",
        r"игнорир\w+\W+(?:все\W+)?(?:предыдущ|прошл)\w+ (?:инструкц|указани|правил)\w+"
        r"|이전.{0,4}(?:지시|명령).{0,4}무시",
    ),
    _weak(
        InjectionKind.ROLE,
        ("you are",),
        rf"\byou are (?:now|no longer|actually|an?)\b(?:\W+\w+){{0,4}}?\W+"
        rf"(?:{_MODEL}|mode|admin\w*|developer|unbound)\b",
    ),
    _weak(
        InjectionKind.ROLE,
        _pairs(("act", "behave", "respond", "pretend", "roleplay", "role-play"), ("as ", "like ")),
        r"\b(?:act|behave|respond|pretend|role-?play) (?:as|like) "
        r"(?:if you|an? (?:unrestricted|different|system|admin))",
    ),
    _weak(InjectionKind.ROLE, (" mode",), r"\b(?:maintenance|developer|debug|god|admin|jailbreak|dan) mode\b"),
    _weak(
        InjectionKind.ROLE,
        ("admin", "developer", "operator", "root user"),
        r"\bas (?:the|your|an?) (?:system )?(?:administrator|admin|developer|operator|root user)\b.{0,40}\b(?:i|you)\b",
    ),
    _weak(
        InjectionKind.ROLE,
        _MODEL_STEMS,
        r"\b(?:note|message|attention|hint|memo|hinweis|nachricht|remarque|nota"
        r"|dear|hello|hey|hi|liebe[rs]?|chère?|estimad[oa])"
        rf"(?: (?:to|for|an|für|à|para|per)(?: \w+){{0,3}})? {_MODEL}\b",
    ),
    _weak(
        InjectionKind.ROLE,
        ("system", "assistant", "developer"),
        rf"(?:\A|[\n.!?#>] {{0,3}}){_LABEL}(?: (?:message|prompt|note))? ?:",
    ),
    _weak(
        InjectionKind.ROLE,
        ("call the ", "execute the "),
        r"\b(?:call the (?:tool|function)|execute the (?:tool|function|command))\b",
    ),
    _weak(
        InjectionKind.ROLE,
        ("du bist", "sie sind"),
        r"\b(?:du bist|sie sind) (?:jetzt|nun|ab sofort)\b.{0,40}\b(?:modus|assistent|ki|modell)\b",
    ),
    _weak(
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
        rf"\b(?:our|this|their|its) {_SCORE} (?:must|should|shall|has to|needs to|is to)\b.{{0,24}}?"
        r"\b(?:9\d|100|hot|highest|maximum)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        _pairs(("must", "should", "shall", "has to"), ("be", "stay", "remain", "never")),
        rf"\b{_SCORE} (?:must|should|shall|has to) (?:never )?(?:be|stay|remain)\b.{{0,24}}?\b(?:9\d|100)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("=100", ":100", "= 100", ": 100", "=9", ":9", "= 9", ": 9"),
        rf"\b{_SCORE} ?[=:] ?(?:100|9\d)\b",
    ),
    _weak(
        InjectionKind.SCORE_DEMAND,
        ("tier a", "tier hot", "confidence 1", "confidence of 1"),
        r"\b(?:tier a|tier hot|confidence (?:of )?(?:1\.0|100))\b",
    ),
    _weak(
        InjectionKind.SCORE_DEMAND,
        ("bewerte", "einstuf", "donne", "attribue", "mets", "mettez", "notez"),
        r"\b(?:bewerte\w*|einstuf\w*)\b.{0,40}\b(?:mit|auf|als) (?:9\d|100|hot|heiss)",
        r"\b(?:donne\w*|attribue\w*|mets|mettez|notez)\b.{0,40}\b(?:score|note)\b.{0,16}\d{2,3}",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("punt", "pont", "score"),
        r"\b(?:asigna\w*|otorga\w*|dale|pon|atribua|dê|assegna\w*|dai)\b.{0,40}\b"
        r"(?:(?:puntuaci[oó]n|pontua\w+|punteggio) (?:m[aá]s|m[aá]xim|massim)\w*"
        r"|(?:9\d|100) (?:puntos|pontos|punti))\b",
    ),
    _rule(InjectionKind.SCORE_DEMAND, ("100",), r"(?:评分|分数|打分|スコア|点数).{0,8}100"),
    _weak(
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
        r"[\"'“](?:score|tier|confidence|account_name|drivers)[\"'”] ?: ?[\"'“]?(?:\d|hot|high)",
    ),
    _weak(
        InjectionKind.OUTPUT_FORMAT,
        ("antworte", "erwidere", "répond", "responde"),
        r"\b(?:antworte|erwidere)\w* (?:nur|ausschliesslich) (?:mit|in)\b|\brépond\w* (?:uniquement|seulement)\b",
        r"\bresponde (?:solo|sólo|únicamente|apenas)\b",
    ),
    _rule(
        InjectionKind.DELIMITER,
        ("<", "[inst", "[/inst"),
        r"</(?:crm|system|instructions?|context|data|assistant|prompt|accounts?|documents?)(?:_\w+)?>",
        r"<\|[a-z_]{2,20}\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>",
    ),
    _rule(
        InjectionKind.DELIMITER,
        tuple("".join(it) for it in itertools.product("#=*-", ("", " "), ("end", "begin", "start", "stop", "new"))),
        r"(?<![#=*-])[#=*-]{3,40} ?(?:end|begin|start|stop|new) (?:of )?(?:the )?"
        r"(?:context|data|input|prompt|instructions?|accounts?|conversation|task)\b",
    ),
    _weak(
        InjectionKind.DELIMITER,
        ("<",),
        r"<(?:crm|system|instructions?|context|data|user|assistant|prompt|accounts?|documents?)(?:_\w+)?>",
    ),
    _rule(
        InjectionKind.DELIMITER,
        ("```json", "```\n#", "~~~system", "~~~\nend", "}]\n", "{{"),
        r"```json|```\n#|~~~(?:system|\nend of)|\]\}\]\n|\{\{ ?(?:system|score|override)",
    ),
    _weak(InjectionKind.DELIMITER, ("```", "#"), rf"```|(?:\A|\n)#{{1,3}} ?(?:{_LABEL}|instructions?|response)\b"),
    _weak(
        InjectionKind.DISCLOSURE,
        ("prompt", "instructions", "other accounts"),
        r"\b(?:print|reveal|show|repeat|output|leak|tell me|disclose|list)\b(?:\W+\w+){0,4}?\W+"
        r"(?:system prompt|(?:your|the|hidden) (?:instructions|prompt)|other accounts(?! (?:we|i)\b))\b",
    ),
)
_HIDDEN_RULES: Final = (
    _rule(  # leetspeak
        InjectionKind.OVERRIDE,
        _words(
            "1gno|1gn0|1gn@|!gno|!gn0|!gn@|ign0|ign@|1nstr|!nstr|ructi0ns|ruct10ns|ructi@ns|sc0r|5core|pr3v|d1sr|f0rg"
        ),
        r"\b1gn[o0@]r[e3]|!gn[o0@]r[e3]|\bign[0@]r[e3]\b|[1!]nstruct[i1][o0@]ns|instruct(?:i[0@]|10)ns|\bsc0r[e3]\b|\b5core\b"
        r"|\bpr3v[i1][o0]us|\bd1sregard|\bf0rget",
    ),
    _rule(  # letters apart, words joined
        InjectionKind.OVERRIDE,
        _words("i g n|i.g.n|i-g-n|i_g_n|s c o r|s.c.o.r|s-c-o-r|s_c_o_r|ignore_|ignore/|ig nore"),
        r"\bi(?P<a>[ ._-])g(?P=a)n(?P=a)o(?P=a)r(?P=a)e|\bs(?P<b>[ ._-])c(?P=b)o(?P=b)r(?P=b)e(?P=b)[tu]"
        r"|\bignore(?P<c>[_/])(?:all(?P=c))?prev|\big nore\b",
    ),
    _rule(InjectionKind.OVERRIDE, _ENCODED, "|".join(map(re.escape, _ENCODED))),
    _rule(
        InjectionKind.OVERRIDE,
        ("longer apply", "are cancelled", "are void", "real task", "the remaining accounts", "you were told"),
        r"\b(?:instructions|directions) (?:above |before )?(?:no longer apply|are cancelled|are void)"
        r"|\bthe real task (?:starts|is)"
        r"|\bskip the remaining accounts|\bforget (?:everything|all|what) you were told",
    ),
    _weak(
        InjectionKind.OVERRIDE,
        (
            "ignorer",
            "unohda",
            "yok say",
            "figyelmen",
            "ignoraț",
            "\u03b1\u03b3\u03bd\u03cc\u03b7",
            "ignorujte",
            "تجاهل",
        ),
        r"\bignorer\b.{0,30}instruks|\bunohda\b.{0,30}ohjeet|talimat.{0,30}yok say|figyelmen kívül.{0,30}utasítás"
        r"|\bignorați\b.{0,10}instrucțiun|\b\u03b1\u03b3\u03bd\u03cc\u03b7\w+.{0,30}\u03bf\u03b4\u03b7\u03b3"
        r"|\bignorujte\b.{0,30}pokyn|تجاهل.{0,10}التعليمات",
    ),
    _rule(  # neighbours' scores
        InjectionKind.SCORE_DEMAND,
        ("other compan", "other account", "others", "competitors", "only our"),
        r"\b\d{1,3} for (?:the )?other (?:compan|account)"
        r"|\b(?:others|other (?:companies|accounts)|competitors)\b.{0,30}\b(?:us|ours) (?:an? )?\d{1,3}\b"
        r"|\b(?:others|other (?:companies|accounts)|competitors)\b.{0,30}\b(?:get|to|at) (?:zero|0)\b"
        r"|\bonly ours? (?:is|are) (?:hot|warm)\b",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("whoever ", "assessor", "scorer", "scoring system", "assessing system", "evaluator"),
        r"\bwhoever (?:scores|rates|assesses|evaluates) (?:this|us)\b"
        r"|\b(?:assessor|scorer|scoring system|assessing system|evaluator)\b ?(?::|must|should|has to)",
    ),
    _rule(
        InjectionKind.SCORE_DEMAND,
        ("probability", "likelihood", "everything 100", "the top score", "score for us", "out of 100"),
        r"\bset (?:the )?(?:probability|likelihood)\b.{0,30}\b(?:9\d|100)\b"
        r"|\bscore everything 100|\b(?:give|deserves?)\b.{0,30}\bthe top score\b"
        r"|\bscore for us is (?:ninety|9\d|100)|\b(?:lead|account|company) is an? \d{2} out of 100",
    ),
    _rule(  # continuations of examples
        InjectionKind.OUTPUT_FORMAT,
        ("example: account", "score of this account", "id,score", "answer: hot", "assistant: 9", "assistant: 100"),
        r"\bexample: account \w+, score \d|\bscore of this account\? a: ?\d|\bid,score\n"
        r"|\banswer: hot\b|\bassistant: (?:9\d|100)\b",
    ),
)
RULES: Final = _PLAIN_RULES + _HIDDEN_RULES
_AIM: Final = re.compile(
    r"\b(?:scor(?:e|ed|es|ing)|highest|maximum|hot|100|9\d|approved|all (?:other )?accounts"
    r"|this (?:account|lead|customer|company)"
    r"|unrestricted|system prompt|best mark|meilleure note|puntuaci[oó]n m[aá]s|scorul|poeng\w*"
    r"|pisteet|puan\w*|pontsz\w+"
    r"|skóre|competitors?)\b|最高|درجة"
)
"""What a text speaks of that wants a score; beside it, a weak rule counts."""

_STEMS: Final = tuple(dict.fromkeys(itertools.chain.from_iterable(rule.stems for rule in RULES)))
_RULES_BY_STEM: Final = tuple(tuple(rule for rule in RULES if stem in rule.stems) for stem in _STEMS)
_AUTOMATON: Final = ahocorasick_rs.AhoCorasick(_STEMS, implementation=ahocorasick_rs.Implementation.DFA)
"""Finds all stems in one pass over a text; searching for one after the other takes ten times as long (docs/adr/021)."""

_BLANKS: Final = re.compile(r"[ \t]+")
_JOINERS: Final = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")


def find_injections(text: str) -> frozenset[InjectionKind]:
    """Return the kinds of prompt injection that are suspected in a text; none for nearly all mail between people."""
    return frozenset(rule.kind for rule in matching_rules(text))


def matching_rules(text: str) -> list[Rule]:
    """Return the rules that match a text; none if only a weak one does, in a text that does not speak of scores."""
    plain = normalized(text)
    stems = {index for index, _, _ in _AUTOMATON.find_matches_as_indexes(plain, overlapping=True)}
    rules = dict.fromkeys(itertools.chain.from_iterable(_RULES_BY_STEM[index] for index in sorted(stems)))
    matching = [rule for rule in rules if rule.pattern.search(plain)]
    is_one_weak = len(matching) == 1 and matching[0].is_weak
    return [] if is_one_weak and not _AIM.search(plain) else matching


def normalized(text: str) -> str:
    """Return a text as the rules expect it: case-folded, in NFKC, without joining characters and double blanks."""
    plain = text if text.isascii() else _JOINERS.sub("", unicodedata.normalize("NFKC", text))
    plain = plain.casefold() if plain.isascii() else _plain_letters(plain.casefold())
    return _BLANKS.sub(" ", plain) if "  " in plain or "\t" in plain else plain


_OTHER_SCRIPT: Final = re.compile("[\u0370-\u058f\u13a0-\u13ff\u1d00-\u1dbf\u2c80-\u2cff\ua640-\ua69f]")
"""Scripts with letters that look like Latin ones: Greek, Cyrillic, Armenian, Cherokee, Coptic."""
_MIXED_WORD: Final = re.compile(r"[^\W\d_]*[A-Za-z][^\W\d_]*")


def _plain_letters(text: str) -> str:
    """Return a text with Latin letters for those that look like them, in words that mix them with Latin ones."""
    if not _OTHER_SCRIPT.search(text):
        return text
    return _MIXED_WORD.sub(lambda word: word[0] if word[0].isascii() else word[0].translate(_look_alikes()), text)


@functools.cache
def _look_alikes() -> dict[int, str]:
    """Return the Latin letter that a letter of another script looks like, by its code point (Unicode's confusables)."""
    alikes = {}
    for letter, others in confusables.confusables_data.items():
        latin = [
            other["c"] for other in others if other["c"].isascii() and other["c"].isalpha() and len(other["c"]) == 1
        ]
        if len(letter) == 1 and not letter.isascii() and latin and not unicodedata.name(letter, "").startswith("LATIN"):
            alikes[ord(letter)] = latin[0]
    return alikes
