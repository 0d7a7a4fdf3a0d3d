"""The public surface, and the direction of imports."""

from __future__ import annotations

import ast
import inspect
import py_compile
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lambda_extension
import lambda_extension.delivery
import lambda_extension.delivery.sinks
import lambda_extension.logs
import lambda_extension.otel
import lambda_extension.processing
import lambda_extension.records
import lambda_extension.serving
import lambda_extension.simulator
import lambda_extension.telemetry

SOURCE = Path(lambda_extension.__file__).parent

# A room may import only from those that stand before it, and from itself.
LAYERS = [
    ["_lazy", "_exceptions", "_budget", "_threads", "_validators", "early"],
    ["serving"],
    ["_api", "_environment"],
    ["telemetry"],
    ["logs"],
    ["_session"],
    ["processing"],
    ["records"],
    ["delivery"],
    ["otel"],
    ["ship"],
    ["simulator"],
    ["packaging"],
    ["cli"],
    ["__main__"],
]
# What a room may import later, inside a function, from one above it, or for a type alone.
LATE = {"logs": {"processing"}, "telemetry": {"_session"}}


@pytest.mark.parametrize(
    "module",
    [
        lambda_extension,
        lambda_extension.delivery,
        lambda_extension.delivery.sinks,
        lambda_extension.logs,
        lambda_extension.otel,
        lambda_extension.processing,
        lambda_extension.records,
        lambda_extension.serving,
        lambda_extension.simulator,
        lambda_extension.telemetry,
    ],
    ids=lambda module: module.__name__,
)
def test_all_is_sorted_and_is_what_the_module_offers(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]  # a module's
    assert names == sorted(names)
    offered = {name for name in dir(module) if name.isidentifier() and name[0] != "_"}
    assert offered - {"annotations"} == set(names)
    assert all(getattr(module, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # type: ignore[attr-defined]  # noqa: B018 - it is asked for


# What all entry points take, in this order; `run` subscribes to nothing, and two know which events they need.
TAIL = ["required", "receiver", "name", "events", "account_id", "runtime_api", "environment", "http_client"]


@pytest.mark.parametrize(
    ("entry", "without"),
    [
        (lambda_extension.open_extension, set()),
        (lambda_extension.open_telemetry, {"events"}),
        (lambda_extension.run, {"required", "receiver"}),
        (lambda_extension.run_telemetry, {"events"}),
    ],
)
def test_entry_points_take_the_same_tail_of_keywords(entry: Callable[..., object], without: set[str]) -> None:
    parameters = inspect.signature(entry).parameters
    tail = [name for name in TAIL if name not in without]
    assert list(parameters)[-len(tail) :] == tail
    first = inspect.signature(lambda_extension.open_extension).parameters
    assert all(parameters[name] == first[name] for name in tail)


def test_public_objects_name_the_package_as_their_home() -> None:
    names = set(dir(lambda_extension)) - {"early", "telemetry"}
    assert {getattr(lambda_extension, name).__module__ for name in names} == {"lambda_extension"}


def test_only_what_users_import_has_a_list_of_names() -> None:
    """A private module with one would be a second list of each name."""
    listing = [
        path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.py"))
        if "_templates" not in path.parts and "\n__all__ = " in path.read_text(encoding="utf-8")
    ]
    assert listing == ["cli/__init__.py", "early.py", "simulator/pytest_plugin.py"]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lambda_extension"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("index", range(len(LAYERS)), ids=lambda index: "+".join(LAYERS[index]))
def test_imports_point_down(index: int) -> None:
    below = {name for layer in LAYERS[: index + 1] for name in layer}
    for name in LAYERS[index]:
        home = SOURCE / name
        for path in home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]:
            if path.exists() and "_templates" not in path.parts:  # which are users' files
                assert imports_of(path) <= below | LATE.get(name, set()), path


def test_every_room_has_its_place() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} <= {name for layer in LAYERS for name in layer}


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_root_imports_nothing_that_can_wait() -> None:
    modules = loaded_by(
        "import lambda_extension; [getattr(lambda_extension, name) for name in lambda_extension.__all__]"
    )
    ours = {f"lambda_extension.{name}" for name in ("delivery", "logs", "otel", "simulator")}
    assert not modules & ({"httpx", "hypercorn", "trio"} | ours)


@pytest.mark.parametrize("name", ["open_extension", "open_telemetry", "run"])
def test_nothing_heavy_is_imported_before_register(name: str) -> None:
    modules = loaded_by(f"from lambda_extension import {name}, telemetry")
    assert not modules & {"attr", "attrs", "h11", "msgspec"}
    assert "attrs" not in loaded_by("import lambda_extension\nfrom lambda_extension.telemetry import FunctionLog")


def test_delivery_can_be_set_up_before_httpx_and_tenacity_are_imported() -> None:
    modules = loaded_by(
        "from lambda_extension.delivery import Delivery, HTTPSink\nDelivery(HTTPSink('https://logs.example.com'))"
    )
    assert not modules & {"httpx", "tenacity"}


def test_an_extension_without_telemetry_never_imports_hypercorn() -> None:
    modules = loaded_by(
        "import anyio, lambda_extension\n"
        "async def main():\n"
        "    try:\n"
        "        async with lambda_extension.open_extension(runtime_api='127.0.0.1:1', name='x'): pass\n"
        "    except lambda_extension.ConnectError: pass\n"
        "anyio.run(main)"
    )
    assert "hypercorn" not in modules


def test_a_package_without_its_source_imports_everything_at_once(tmp_path: Path) -> None:
    """Layers may hold bytecode alone."""
    package = tmp_path / "shop"
    package.mkdir()
    head = (
        "from lambda_extension._lazy import import_on_use\n"
        "TYPE_CHECKING = False\n"
        "if TYPE_CHECKING or not import_on_use(__name__):\n"
        "    from shop._orders import Order as Order\n"
    )
    (package / "__init__.py").write_text(head)
    (package / "_orders.py").write_text("class Order: pass\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import shop\n"
    code += "print('shop._orders' in sys.modules, shop.Order)"
    for eager in (False, True):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.startswith(f"{eager} <class 'shop")
        for path in package.glob("*.py"):
            py_compile.compile(str(path), str(path.with_suffix(".pyc")))
            path.unlink()
