"""What an AndroidManifest.xml says, as far as putting files into its app depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from windtunnel.app_builder.adapters.android.binary_xml import Element, Value, elements

# Ids of android.R.attr. They count, not the names: tools that shrink apps change the names.
_NAME, _VALUE = 0x01010003, 0x01010024
_TARGET_PACKAGE: Final = 0x01010021
_MIN_SDK, _TARGET_SDK = 0x0101020C, 0x01010270
_TEST_ONLY: Final = 0x01010272
_EXTRACT_LIBRARIES: Final = 0x010104EA
_SPLIT_REQUIRED, _REQUIRED_SPLITS = 0x01010591, 0x0101064E
# A preview release states its codename instead of a number.
_PREVIEW_SDK: Final = 10_000
_TEST_LOOP: Final = "com.google.intent.action.TEST_LOOP"
_LOOPS: Final = "com.google.test.loops"
_SPLITS_REQUIRED: Final = "com.android.vending.splits.required"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says.

    Attributes:
        package: name of the package.
        min_sdk: first Android version that the app runs on; 0: the manifest does not say.
        target_sdk: 0: the manifest does not say.
        split: name of the split that this APK is; empty: it is a whole app or the base of one.
        needs_splits: the app does not run without further APKs.
        test_only: made for the developer's own device: stores and farms refuse it.
        extracts_libraries: None: the manifest does not say.
        runner: of the first instrumentation.
        target_package: which that instrumentation tests.
        game_loop: an activity takes game loops.
        scenarios: number of them.
    """

    package: str = ""
    min_sdk: int = 0
    target_sdk: int = 0
    split: str = ""
    needs_splits: bool = False
    test_only: bool = False
    extracts_libraries: bool | None = None
    runner: str = ""
    target_package: str = ""
    game_loop: bool = False
    scenarios: int = 0


def read_manifest(data: bytes) -> Manifest:
    """Reads a manifest.

    Args:
        data: binary XML.

    Returns:
        What it says.

    Raises:
        NotBinaryXml: it is not binary XML, or is damaged.
    """
    found = list(elements(data))
    root = _at(found, "manifest")
    application = _at(found, "manifest", "application")
    sdks = _at(found, "manifest", "uses-sdk")
    instrumentation = _at(found, "manifest", "instrumentation")
    metadata = {_text(one, _NAME): one for one in _at(found, "manifest", "application", "meta-data")}
    actions = [one for one in found if one.path[-2:] == ("intent-filter", "action")]
    loops = metadata.get(_LOOPS)
    extracts = _first(application, _EXTRACT_LIBRARIES)
    return Manifest(
        package=_named(root, "package"),
        min_sdk=max((_level(one, _MIN_SDK, 0) for one in sdks), default=0),
        target_sdk=max((_level(one, _TARGET_SDK, 0) for one in sdks), default=0),
        split=_named(root, "split") or _named(root, "configForSplit"),
        needs_splits=_needs_splits(root, application, metadata.get(_SPLITS_REQUIRED)),
        test_only=_is_true(_first(application, _TEST_ONLY)),
        extracts_libraries=None if extracts is None else _is_true(extracts),
        runner=_text(instrumentation[0], _NAME) if instrumentation else "",
        target_package=_text(instrumentation[0], _TARGET_PACKAGE) if instrumentation else "",
        game_loop=any(_text(one, _NAME) == _TEST_LOOP for one in actions),
        scenarios=_level(loops, _VALUE, 0) if loops is not None else 0,
    )


def _needs_splits(root: list[Element], application: list[Element], metadata: Element | None) -> bool:
    stated = metadata is not None and _is_true(_value(metadata, _VALUE))
    required = (_first(part, _SPLIT_REQUIRED) for part in (root, application))
    return stated or any(map(_is_true, required)) or bool(_first(root, _REQUIRED_SPLITS))


def _at(found: Iterable[Element], *path: str) -> list[Element]:
    return [one for one in found if one.path == path]


def _value(element: Element, resource: int) -> Value:
    attribute = element.by_resource(resource)
    return attribute.value if attribute is not None else None


def _first(found: list[Element], resource: int) -> Value:
    return next((value for one in found if (value := _value(one, resource)) is not None), None)


def _text(element: Element, resource: int) -> str:
    value = _value(element, resource)
    return value if isinstance(value, str) else ""


def _named(found: list[Element], name: str) -> str:
    attribute = found[0].by_name(name) if found else None
    return attribute.value if attribute is not None and isinstance(attribute.value, str) else ""


def _is_true(value: Value) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _level(element: Element, resource: int, missing: int) -> int:
    """An SDK level or another number; text that is not a number is the codename of a preview."""
    value = _value(element, resource)
    if isinstance(value, str) and value:
        return int(value) if value.isascii() and value.isdigit() else _PREVIEW_SDK
    return value if isinstance(value, int) and not isinstance(value, bool) else missing
