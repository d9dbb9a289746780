"""The rooms of the house: no folder is crowded, and no two folders import each other."""

from __future__ import annotations

from pathlib import Path

from support import rooms

ROOT = Path(__file__).parents[2]
DEPTHS = ("*", "*/*", "*/*/*")
SOURCES = [path for depth in DEPTHS for path in sorted(ROOT.glob(f"{depth}/src")) if (path / rooms.HOUSE).is_dir()]
MOST_MODULES = 15

GENERATED = {"shared/src/windtunnel/v1"}


def test_no_folder_is_crowded() -> None:
    counted = {str(path.relative_to(ROOT)): count for path, count in rooms.modules_per_folder(SOURCES).items()}
    assert len(counted) > 40
    crowded = {folder: count for folder, count in counted.items() if count > MOST_MODULES}
    assert crowded.keys() == GENERATED, f"split these folders by what their modules hold: {crowded}"


def test_no_folders_import_each_other() -> None:
    graph = rooms.import_graph()
    assert len(graph.modules) > 400
    assert rooms.cycles(rooms.room_imports(graph)) == []


def test_a_cycle_is_found_however_long_it_is() -> None:
    line = {"a": {"b"}, "b": {"c"}, "c": set[str](), "d": {"a", "c"}}
    assert rooms.cycles(line) == []
    assert rooms.cycles({**line, "c": {"a"}}) == [["a", "b", "c"]]
    assert rooms.cycles({**line, "c": {"b"}}) == [["b", "c"]]


def test_a_package_and_its_modules_are_one_folder() -> None:
    modules = {"windtunnel", "windtunnel.a", "windtunnel.a.one", "windtunnel.b"}
    packages = rooms.packages_of(modules)
    assert rooms.room_of("windtunnel.a", packages) == rooms.room_of("windtunnel.a.one", packages) == "windtunnel.a"
    assert rooms.room_of("windtunnel.b", packages) == "windtunnel"
