"""The files by which events are judged."""

from pathlib import Path

import pytest

from pipeline.resources.rule_files import RuleFiles


def test_files_are_read_once(tmp_path: Path) -> None:
    """A server judges by the rules with which it started, although the file was spoiled since."""
    file = tmp_path / "materiality.yaml"
    file.write_text("entities:\n  Account: {include: [Rating]}\n")
    files = RuleFiles(file)
    rules = files.rules
    file.write_text("[")
    assert files.rules is rules
    with pytest.raises(ValueError, match="materiality"):
        _ = RuleFiles(file).rules
