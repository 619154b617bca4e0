"""The size of the product: lines, the longest files and functions, and the number of files in each folder.

python -m tests.benchmarks.structure [CHECKOUT]
"""

import ast
import sys
from collections import Counter
from pathlib import Path
from typing import Final

PRODUCT: Final = ("schemas", "transforms", "pipeline")
SHOWN: Final = 5


def run(root: Path) -> None:
    """Print the figures of a checkout."""
    files = [path for folder in PRODUCT for path in sorted((root / folder).rglob("*.py"))]
    lines = {path.relative_to(root).as_posix(): len(path.read_text("utf-8").splitlines()) for path in files}
    functions = Counter[str]()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                functions[f"{path.relative_to(root).as_posix()}:{node.name}"] = node.end_lineno - node.lineno + 1
    folders = Counter(Path(name).parent.as_posix() for name in lines if not name.endswith("__init__.py"))
    of_folder = {folder: sum(lines[name] for name in lines if name.startswith(f"{folder}/")) for folder in PRODUCT}
    print(f"product lines {sum(lines.values()):,} in {len(lines)} files: {of_folder}")  # noqa: T201 - a report
    for what, counts in (("lines of a file", Counter(lines)), ("lines of a function", functions)):
        print(f"most {what}: {', '.join(f'{name} {count}' for name, count in counts.most_common(SHOWN))}")  # noqa: T201
    print(f"most files of a folder: {folders.most_common(SHOWN)}")  # noqa: T201
    print(f"files at the top of transforms/: {folders['transforms']}, of pipeline/: {folders['pipeline']}")  # noqa: T201


if __name__ == "__main__":
    run(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2])
