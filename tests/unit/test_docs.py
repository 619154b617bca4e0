"""Documents: relative links, repository paths in backticks, and the index of ADRs."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from schemas.score import UNCHANGED_CONTEXT_FLAG, Flag, tier_of
from schemas.tables import ACCOUNT_SCORES
from schemas.views import SCORING_VIEWS

ROOT: Final = Path(__file__).parents[2]
_FOLDERS: Final = ("schemas", "transforms", "pipeline", "tests", "infrastructure", "docs", ".github")
_FILES: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in _FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and ".terraform" not in path.parts
) + sorted(path.name for path in ROOT.iterdir() if path.is_file())
DOCUMENTS: Final = [name for name in _FILES if name.endswith(".md")]
WITH_PATHS: Final = [name for name in DOCUMENTS if name.startswith("docs/") or name in {"README.md", "CONTRIBUTING.md"}]

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`([^`]+)`")
_FILE_NAME: Final = re.compile(r"[\w*./-]*\w\.(?:py|sql|md|yaml|yml|toml|tf|sh|jsonl)")


def _prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.*)$", _prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_nowhere(document: Path, link: str) -> bool:
    """Whether a document's link leads to no file or folder, or its anchor to no heading."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return not target.exists() or bool(anchor and anchor not in _anchors(target))


def _paths(document: Path) -> Iterator[str]:
    """Yield the paths in backticks: file names, and text that begins with a folder of the repository."""
    for code in _CODE.findall(_prose(document)):
        for word in code.split():
            name = word.partition(":")[0]
            if _FILE_NAME.fullmatch(name) or (name.split("/", 1)[0] in _FOLDERS and "/" in name):
                yield name


def _exists(name: str) -> bool:
    """Whether a file or folder has this path, or a file's path ends with it; `*`, NAME and <name> match any text."""
    pattern = re.sub(r"NAME|<\w+>", "*", name.rstrip("/"))
    if name.split("/", 1)[0] in _FOLDERS and "/" in name:
        return any(fnmatch(file, pattern) or fnmatch(file, f"{pattern}/*") for file in _FILES)
    return any(fnmatch(f"/{file}", f"*/{pattern}") for file in _FILES)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_resolve(document: str) -> None:
    """A link leads to a file or folder of the repository, and its anchor to a heading."""
    links = [link for link in _LINK.findall(_prose(ROOT / document)) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if leads_nowhere(ROOT / document, link)] == []


@pytest.mark.parametrize("document", WITH_PATHS)
def test_paths_exist(document: str) -> None:
    """A path in backticks, such as `transforms/parse/` or `materiality.yaml`, is in the repository."""
    assert [name for name in _paths(ROOT / document) if not _exists(name)] == []


def test_missing_paths_and_anchors_are_noticed() -> None:
    """Names of files, folders, patterns and headings that are not in the repository count as missing."""
    for name in ("transforms/parse", "transforms/parse/", "enrich/reread_gaps.py", "tests/<folder>/test_docs.py"):
        assert _exists(name)
    for name in ("transforms/pars", "reread_gap.py", "pipeline/graph", "tests/*/no_such_*.py"):
        assert not _exists(name)
    assert leads_nowhere(ROOT / "README.md", "docs/benchmarks.md#no-such-heading")
    assert leads_nowhere(ROOT / "README.md", "docs/no-such-file.md")
    assert not leads_nowhere(ROOT / "README.md", "docs/benchmarks.md#scoring")


def test_columns_of_scores_exist() -> None:
    """A column that docs/what-a-score-is.md names is one of the scores' table or views."""
    page = (ROOT / "docs" / "what-a-score-is.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| `.*\n", page, flags=re.MULTILINE))
    views = {view.name: set(re.findall(r"\w+", view.query)) for view in SCORING_VIEWS}
    known = {column["name"] for column in ACCOUNT_SCORES.columns} | {ACCOUNT_SCORES.name, *views}.union(*views.values())
    flags = {*Flag, UNCHANGED_CONTEXT_FLAG}
    named = {code for code in _CODE.findall(rows) if re.fullmatch(r"[a-z_]+", code)}
    assert len(named) > 20
    assert named <= known | flags


@pytest.mark.parametrize("document", ["README.md", "docs/what-a-score-is.md"])
def test_tiers_begin_where_the_documents_say(document: str) -> None:
    """Each tier's first score, such as `hot from 75`."""
    floors = re.findall(r"\b(hot|warm|cool)\s+from (\d+)", (ROOT / document).read_text(encoding="utf-8"))
    assert [(tier_of(int(floor)), tier_of(int(floor) - 1)) for _, floor in floors] == [
        ("hot", "warm"),
        ("warm", "cool"),
        ("cool", "cold"),
    ]
    assert [tier for tier, _ in floors] == ["hot", "warm", "cool"]


def test_the_index_lists_every_adr() -> None:
    """Each ADR is in docs/adr/README.md once; superseded ones say so there and at their top."""
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    decisions = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert sorted(_LINK.findall(index)) == decisions
    for name in decisions:
        entry = next(line for line in index.splitlines() if f"({name})" in line)
        text = (folder / name).read_text(encoding="utf-8")
        assert re.findall(r"^Superseded by \[(\d{3})\]", text, flags=re.MULTILINE) == re.findall(
            r"superseded by (\d{3})", entry
        )


def test_adrs_have_the_same_headings() -> None:
    """An ADR has Context and Decision, then Measured, Alternatives and Consequences where there are some."""
    order = ["Context", "Decision", "Measured", "Alternatives", "Consequences"]
    for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        text = path.read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
        assert text.startswith(f"# {path.name[:3]}: "), path.name
        assert headings[:2] == order[:2], path.name
        assert headings == [name for name in order if name in headings], path.name
