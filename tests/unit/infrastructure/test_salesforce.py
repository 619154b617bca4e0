"""The metadata of the Salesforce channel: what is deployed is what the pipeline reads by default."""

import json
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from schemas.change_event import ACCOUNT_ENTITY, ACCOUNT_FIELD
from tests.fixtures.changes import ACCOUNT_FIELDS

FOLDER: Final = Path(__file__).parents[3] / "infrastructure" / "salesforce"
PROJECT: Final = json.loads((FOLDER / "sfdx-project.json").read_text("utf-8"))
CHANNEL: Final = "AccountScoring__chn"
_NAMESPACE: Final = "{http://soap.sforce.com/2006/04/metadata}"
_MEMBERS: Final = sorted(FOLDER.glob("channel/platformEventChannelMembers/*"))


def _read(file: Path, tag: str) -> ET.Element:
    root = ET.parse(file).getroot()  # noqa: S314 - our own files
    assert root.tag == _NAMESPACE + tag
    return root


def _texts(element: ET.Element, path: str) -> list[str]:
    return [it.text or "" for it in element.findall("/".join(_NAMESPACE + step for step in path.split("/")))]


def _member(file: Path) -> tuple[str, list[str]]:
    """Return the entity of a member and its enriched fields; its file must be named as Salesforce names it."""
    root = _read(file, "PlatformEventChannelMember")
    (event,) = _texts(root, "selectedEntity")
    assert _texts(root, "eventChannel") == [CHANNEL]
    # A developer name has no double underscore, neither the channel's nor that of a custom object.
    name = f"{CHANNEL}_{event}".replace("__", "_")
    assert file.name == f"{name}.platformEventChannelMember-meta.xml"
    custom, _, _ = event.rpartition("__ChangeEvent")
    return (f"{custom}__c" if custom else event.removesuffix("ChangeEvent")), _texts(root, "enrichedFields/name")


def test_the_channel_has_the_entities_that_count_by_default() -> None:
    """One member for each, and no others: an entity that counts would not come, another would only be skipped."""
    entities = [_member(file)[0] for file in _MEMBERS]
    assert sorted(entities) == sorted(ACCOUNT_FIELDS)


@pytest.mark.parametrize("file", _MEMBERS, ids=lambda file: file.name.split(".")[0])
def test_each_related_entity_is_enriched_with_its_account(file: Path) -> None:
    """With the first of the fields that name the account; an account's record id names it."""
    entity, enriched = _member(file)
    assert enriched == ([] if entity == ACCOUNT_ENTITY else [ACCOUNT_FIELDS[entity][0]])
    assert entity == ACCOUNT_ENTITY or enriched == [ACCOUNT_FIELD]


def test_the_channel_is_one_of_change_events() -> None:
    """Of the type `data`: the type `event` is for platform events."""
    (file,) = FOLDER.glob("channel/platformEventChannels/*")
    assert file.name == f"{CHANNEL}.platformEventChannel-meta.xml"
    assert _texts(_read(file, "PlatformEventChannel"), "channelType") == ["data"]


def test_the_manifest_lists_every_component() -> None:
    """So that a deployment by manifest leaves none out; fields are enriched from API version 51 on."""
    root = _read(FOLDER / "package.xml", "Package")
    types = root.findall(f"{_NAMESPACE}types")
    listed = {_texts(it, "name")[0]: _texts(it, "members") for it in types}
    members = [file.name.split(".")[0] for file in _MEMBERS]
    assert listed == {"PlatformEventChannel": [CHANNEL], "PlatformEventChannelMember": members}
    assert _texts(root, "version") == [PROJECT["sourceApiVersion"]]
    assert float(PROJECT["sourceApiVersion"]) >= 51


def test_the_project_deploys_the_folder_of_the_channel() -> None:
    """Every component is below the project's folder."""
    (folder,) = PROJECT["packageDirectories"]
    assert folder["default"]
    assert {file.relative_to(FOLDER).parts[0] for file in FOLDER.rglob("*-meta.xml")} == {folder["path"]}
