"""Values that the words before them name: passwords, tokens, dates of birth, ids; and tokens by their prefixes. Pure.

No library knows sentences such as "das Passwort lautet …" (docs/adr/021). A text is searched only for the kinds of
which it has a word: nearly all mail has none. Every repetition is bounded.
"""

import re
from dataclasses import dataclass
from typing import Final

import ahocorasick_rs

from transforms.prompt.personal_numbers import ID_MARK

SECRET_MARK: Final = "[secret]"  # noqa: S105 - what stands in place of one
BIRTH_DATE_MARK: Final = "[birth date]"


@dataclass(frozen=True)
class _Rule:
    """A pattern whose group `value` becomes the mark; searched in texts that have one of the `stems`, in lower case."""

    mark: str
    stems: tuple[str, ...]
    pattern: re.Pattern[str]

    def marked(self, found: re.Match[str]) -> str:
        """Return what was found with the mark in place of the value."""
        start, text = found.start(), found[0]
        return text[: found.start("value") - start] + self.mark + text[found.end("value") - start :]


_IS: Final = r"(?:is|was|lautet|ist|war|est|es|é|è|to|är|er|on)"
_QUOTE: Final = r"[\"'“”„«»`]?"
_COLON: Final = r"[:=\uff1a]"
_WORDS: Final = r"(?:\s[^\W\d_]{1,15}){0,3}?"
_PHRASES: Final = (
    r"pass(?:word|wort|phrase|code|ord)|pwd|pw|kennwort|mot de passe|mdp|contraseña|senha|wachtwoord|hasło|lösenord"
    r"|adgangskode|salasana|jelszó|heslo|parola|şifre|pin|(?:one[- ]time|verification|security|access|login) code|otp"
    r"|パスワード|密码|密碼|пароль|비밀번호"
)
_PHRASE_STEMS: Final = (
    "passw|passph|passc|passord|pass:|pwd|pw:|pw |pw=|kennwort|mot de passe|mdp|contrase|senha|wachtwoord|hasło"
    "|lösenord|adgangskode|salasana|jelszó|heslo|parola|şifre|pin:|pin |e code|n code|y code|s code|otp"
    "|パスワード|密码|密碼|пароль|비밀번호"
)
_ODD: Final = r"(?=[^\s,;]{0,80}[\d!#$%&*_~^@+=])"
"""What follows has a digit or a sign, as passwords have and words have not."""
_MIXED: Final = r"(?=\S{0,200}\d)(?=\S{0,200}[A-Za-z])"
_NO_END: Final = r"[^\s\"“”«»,;\[\]]"
"""What a password may hold; a mark in its place is none."""
_KEY_NAMES: Final = (
    r"(?:x-)?api[-_ ]?(?:key|token|secret|schlüssel)|(?:clé|clave|chave|chiave)(?: de| d['\u2019]| )? ?api"
    r"|(?:access|auth|refresh|session)[-_ ]?token|client[-_ ]?secret|secret(?:[-_ ]access)?[-_ ]?key"
    r"|\w{0,12}secret_\w{0,12}key|token|bearer|secret"
)
_KNOWN_KEYS: Final = (
    r"gh[pousr]_\w{20,255}|github_pat_\w{20,255}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[a-z]-[\w-]{10,255}"
    r"|https://hooks\.slack\.com/[\w/-]{10,200}|[sr]k_(?:live|test)_\w{16,255}|AIza[\w-]{30,60}"
    r"|SG\.[\w-]{16,40}\.[\w-]{30,60}|sk-[\w-]{20,255}|glpat-[\w-]{16,255}|npm_\w{30,60}|pypi-[\w-]{50,255}"
    r"|ya29\.[\w-]{20,400}|00D\w{12,15}![\w.]{20,200}|eyJ[\w-]{8,4000}\.[\w-]{8,4000}(?:\.[\w-]{0,2000})?"
)
_KEY_STEMS: Final = (
    "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|akia|asia|xox|hooks.slack|k_live_|k_test_|aiza"
    "|sg.|sk-|glpat-|npm_|pypi-|eyj|00d|ya29."
)
_MONTH: Final = r"[^\W\d_]{3,12}\.?"
_DATE: Final = "|".join(
    (
        r"\d{1,4}[-./]\s?\d{1,2}[-./]\s?\d{2,4}",
        rf"\d{{1,2}}(?:st|nd|rd|th|\.|er|º)?\s(?:of\s|de\s)?{_MONTH}\s?(?:de\s|,\s?)?\d{{4}}",
        rf"{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}",
        r"\d{4}年\d{1,2}月\d{1,2}日",
    )
)
_BORN: Final = (
    r"born|date of birth|birth ?date|birthday|d\.?o\.?b\.?|geboren|geburts(?:datum|tag)|geb\.|née?(?:\(e\))? le"
    r"|date de naissance|nacid[oa] el|fecha de nacimiento|nat[oa] il|data di nascita|nascid[oa] em|data de nascimento"
    r"|geboortedatum|data urodzenia|urodzon[ya]|född|fødselsdato|født|syntymäaika|生年月日|出生日期|дата рождения"
    r"|doğum tarihi"
)
_BORN_STEMS: Final = (
    "born|birth|dob|d.o.b|geboren|geburts|geb.|né le|née le|né(e) le|naissance|nacido el|nacida el|nacimiento"
    "|nato il|nata il|nascita|nascido em|nascida em|nascimento|geboortedatum|urodz|född|fødselsdato|født|syntym"
    "|生年月日|出生日期|рождения|doğum"
)
_ID_NAMES: Final = (
    r"(?-i:SSN|SIN|BSN|TFN|NINO|PAN|CPF|CNP|CURP|DNI|NIE|PESEL|AHV|CPR|NIR|T\.?C\.)|ss#|social (?:security|insurance)"
    r"|aadhaar|tax file|steuer-?id|identifikationsnummer|idnr|burgerservicenummer|rijksregisternummer|personnummer"
    r"|fødselsnummer|henkilötunnus|hetu|codice fiscale|rodné číslo|t\.?c\.? kimlik|주민등록번호|身份证"
    r"|passport|reisepass|personalausweis|passeport|pasaporte|passaporto|driver['\u2019]?s licen[cs]e"
    r"|sécu(?:rité sociale)?"
)
_ID_STEMS: Final = (
    "ssn|ss#|sin |sin:|bsn|tfn|nino|pan |pan:|cpf|cnp|curp|dni|nie |nie:|pesel|ahv|cpr|nir|t.c.|social secur"
    "|social insur|aadhaar|tax file|steuer|identifik|idnr|burgerserv|rijksreg|personnummer|fødselsn|henkilö|hetu"
    "|codice f|rodné|kimlik|주민|身份证|passport|reisepass|personalausweis|passeport|pasaporte|passaporto|driver|sécu"
)
_NUMBER: Final = r"(?:[- ]?(?:no|nr|number|nummer|card|kort|ul|号|n[º°]))?\.?(?:\s(?:meu|mio|mój|meus))?"


def _rule(mark: str, stems: str, pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> _Rule:
    return _Rule(mark, tuple(stems.split("|")), re.compile(pattern, flags))


_RULES: Final = (
    _rule(SECRET_MARK, "://", r"://[^\s:/@]{1,80}:(?P<value>[^\s:/@\[]{1,80})(?=@)"),
    _rule(
        SECRET_MARK,
        "private key",
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----\s{0,2}(?P<value>(?![\s\[])[^-]{1,8000}?)(?=\s{0,2}-----END|\Z)",
    ),
    _rule(SECRET_MARK, _KEY_STEMS, rf"(?<![\w-])(?P<value>{_KNOWN_KEYS})", re.NOFLAG),
    _rule(
        SECRET_MARK,
        "api|token|secret|bearer",
        rf"\b(?:{_KEY_NAMES})(?:{_WORDS}(?:\s?{_COLON}|\s{_IS}\s)|\s)\s?{_QUOTE}(?P<value>{_MIXED}[\w!.~/+=-]{{10,510}}[\w=])",
    ),
    _rule(  # Password: hunter22
        SECRET_MARK,
        _PHRASE_STEMS,
        rf"\b(?:{_PHRASES}|pass){_WORDS}(?:\s{_IS})?\s?{_COLON}\s?{_QUOTE}"
        rf"(?P<value>{_ODD}{_NO_END}{{3,120}}(?![.!?]){_NO_END}!?|{_NO_END}{{4,80}}(?=[,;.]?(?:\s?\Z|\n)))",
    ),
    _rule(  # the password for the portal is …
        SECRET_MARK,
        _PHRASE_STEMS,
        rf"\b(?:{_PHRASES}){_WORDS}\s{_IS}\s{_QUOTE}(?P<value>{_ODD}{_NO_END}{{3,120}}(?![.?]){_NO_END})",
    ),
    _rule(  # with password …
        SECRET_MARK,
        _PHRASE_STEMS,
        rf"\b(?:{_PHRASES})\s{_QUOTE}(?P<value>{_MIXED}{_NO_END}{{5,120}}(?![.?]){_NO_END})",
    ),
    _rule(
        BIRTH_DATE_MARK,
        _BORN_STEMS,
        rf"(?:\b|(?<=\W))(?:{_BORN})[\s:\uff1a,=]{{0,3}}(?:(?:is|on|am|op|ist|the)\s){{0,2}}(?P<value>{_DATE})",
    ),
    _rule(BIRTH_DATE_MARK, "geboren", rf"\bam\s(?P<value>{_DATE})(?=\s(?:in\s\w{{1,30}}\s)?geboren)"),
    _rule(
        ID_MARK,
        _ID_STEMS,
        rf"(?:\b|(?<=\W))(?:{_ID_NAMES}){_NUMBER}[\s:\uff1a#,]{{0,3}}(?:{_IS}\s)?"
        r"(?P<value>(?=(?:[A-Z ./-]{0,6}\d){4})(?-i:[A-Z0-9](?:[ ./-]?[A-Z0-9]){5,17})(?!\w))",
    ),
)
_STEMS: Final = tuple(dict.fromkeys(stem for rule in _RULES for stem in rule.stems))
_RULES_BY_STEM: Final = tuple(tuple(n for n, rule in enumerate(_RULES) if stem in rule.stems) for stem in _STEMS)
_AUTOMATON: Final = ahocorasick_rs.AhoCorasick(_STEMS, implementation=ahocorasick_rs.Implementation.DFA)


def without_named_values(text: str, lowered: str) -> str:
    """Return a text with marks in place of passwords, tokens, dates of birth and ids that a word before them names.

    `lowered` is the text in lower case, which says what there is to search for.
    """
    matches = _AUTOMATON.find_matches_as_indexes(lowered, overlapping=True)
    if not matches:
        return text
    found = {index for index, _, _ in matches}
    for number in sorted({number for index in found for number in _RULES_BY_STEM[index]}):
        rule = _RULES[number]
        text = rule.pattern.sub(rule.marked, text)
    return text
