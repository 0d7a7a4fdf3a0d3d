"""From a script to the folder that is a layer."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from lambda_extension._environment import names_alone
from lambda_extension.packaging import _stripping
from lambda_extension.packaging._archive import settle_modes
from lambda_extension.packaging._bytecode import compile_all, drop_sources
from lambda_extension.packaging._dependencies import OWN, install, project_requirements, script_requirements
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._interpreter import bundle, imported_names, prefix_of
from lambda_extension.packaging._launcher import Launcher
from lambda_extension.packaging._registration import RegistrationCall, learn_registration
from lambda_extension.packaging._sizes import INTERPRETER, Size, owners_of, sizes
from lambda_extension.packaging._target import Target

# Folders of a layer that Lambda itself gives a meaning to.
_TAKEN: Final = frozenset({"bin", "extensions", "lib", "python", "nodejs", "java", "ruby"})
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST_NAME: Final = 128
# The extension that is part of this library, within its folder.
_READY_MADE: Final = "lambda_extension/ship/__main__.py"


def check_name(name: str) -> None:
    """Check what an extension is to be called.

    Raises:
        PackagingError: No extension can be, or it would lie where Lambda looks for something else.
    """
    if not name or not set(name) <= _NAME_CHARACTERS or name.startswith(".") or len(name) > _LONGEST_NAME:
        msg = f"{name!r} is no extension's name: use ASCII letters, digits, '-', '_' and '.', and no dot first"
        raise PackagingError(msg)
    if name in _TAKEN:
        msg = f"{name!r} is no extension's name: Lambda gives /opt/{name} a meaning of its own"
        raise PackagingError(msg)


def _usable_name(_: object, __: attrs.Attribute[Any], value: str) -> None:
    check_name(value)


@attrs.frozen(kw_only=True)
class Plan:
    """What to package, and how.

    Attributes:
        script: The extension; None takes the ready-made one, `lambda_extension.ship`.
        name: The extension's name, which is that of its file in `/opt/extensions`.
        target: The Python and the processor that it is for.
        extras: Extras of this library to put in.
        requirements: Files with requirements, in pip's form.
        project: A folder with a `pyproject.toml`, which is installed with its dependencies; where it has no build
            system, these alone are.
        environment: Variables that the extension has where the function's configuration does not set them.
        trial: Variables that it has while it is tried, in place of the function's configuration; none of them go in.
        events: What it registers for; None finds out.
        early: Whether the launcher registers; else the extension does, once it has done what the function waits for.
        lean: Leave hypercorn out, and put what the direct server needs in.
        sources: Whether sources stay, for tracebacks.
        interpreter: A relocatable CPython to take into the layer, for functions whose image has none.
    """

    script: Path | None
    name: str = attrs.field(validator=_usable_name)
    target: Target
    extras: frozenset[str] = frozenset()
    requirements: Sequence[Path] = ()
    project: Path | None = None
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=names_alone)
    trial: Mapping[str, str] = attrs.field(factory=dict, repr=names_alone)
    events: tuple[str, ...] | None = None
    early: bool = True
    lean: bool = False
    sources: bool = True
    interpreter: Path | None = None


@attrs.frozen(kw_only=True)
class Layer:
    """What was made of one extension.

    Attributes:
        registration: What the launcher registers.
        sizes: What each of its packages takes.
        locked: What is in it, one `name==version` each.
        notices: What the user should know, in sentences.
        interpreter: What starts it on this machine; None where nothing does.
    """

    registration: RegistrationCall
    sizes: Sequence[Size]
    locked: Sequence[str]
    notices: Sequence[str]
    interpreter: str | None


def build(plan: Plan, root: Path, scratch: Path) -> Layer:
    """Make the folder of a layer, or put one more extension into it; blocks, for as long as its wheels take to come.

    Args:
        plan: What to package.
        root: An empty folder, which becomes what Lambda lays under `/opt`; or one that has other extensions already.
        scratch: An empty folder, for what is needed only meanwhile.

    Raises:
        PackagingError: No layer can be made of it; the message says what to do.
    """
    home = root / plan.name
    if home.exists():
        msg = f"two extensions are called {plan.name!r}, and Lambda knows one by its name: give one script another"
        raise PackagingError(msg)
    home.mkdir(parents=True)
    asked = _install(plan, home, scratch)
    if plan.lean:
        _stripping.drop(home, "hypercorn", asked, plan.target)
    installed = _stripping.distributions(home)
    owners = owners_of(installed, plan.name)
    locked = [f"{name}=={distribution.version}" for name, distribution in installed.items()]
    _stripping.strip(home)
    if plan.script is not None:
        _copy_script(plan.script, home)
    script = _READY_MADE if plan.script is None else plan.script.name
    notices: list[str] = []
    prefix = None if plan.interpreter is None else prefix_of(plan.interpreter, plan.target, scratch)
    interpreter, python = plan.target.interpreter, plan.target.find_python(prefix)
    starter = python
    if prefix is not None:
        starter = str(bundle(prefix, home, plan.target))
        interpreter = f"/opt/{Path(starter).relative_to(root).as_posix()}"
        files = (path.relative_to(root).as_posix() for path in (home / "python").rglob("*"))
        owners |= dict.fromkeys(files, INTERPRETER)
    if not plan.target.runs_here:
        starter = None
    if python is None:
        notices.append(
            f"there is no Python {plan.target.python} on this machine, so the layer has no bytecode: each cold start "
            f"compiles every module, since /opt cannot be written to. Install that Python, and package again."
        )
    else:
        compile_all(home, plan.target, python=python, runtime_root=f"/opt/{plan.name}")
    compiled = python is not None and not plan.sources
    if compiled:
        drop_sources(home, plan.target)
    entry = Launcher(
        script=str(Path(script).with_suffix(".pyc")) if compiled else script,
        folder=plan.name,
        interpreter=interpreter,
        environment=plan.environment,
    )
    file = root / "extensions" / plan.name
    file.parent.mkdir(exist_ok=True)
    registration = _registration(plan, entry, file, starter)
    if "SHUTDOWN" not in registration.events:
        notices.append(
            "it does not register for SHUTDOWN, so that Lambda kills it as soon as the environment ends, and what it "
            "still holds is lost: ask for SHUTDOWN too"
        )
    file.write_bytes(entry.text(registration if plan.early else None))
    file.chmod(0o755)
    settle_modes(root)
    return Layer(
        registration=registration,
        sizes=sizes(root, plan.name, owners),
        locked=locked,
        notices=notices,
        interpreter=starter,
    )


def _install(plan: Plan, home: Path, scratch: Path) -> list[str]:
    """Install what the extension asks for, and return that."""
    asked = []
    if plan.script is not None:
        asked += script_requirements(plan.script.read_text(encoding="utf-8"), plan.target)
    if plan.project is not None:
        asked += project_requirements(plan.project, plan.target, scratch)
    extras = sorted(plan.extras | ({"direct"} if plan.lean else set()))
    asked.append(f"{OWN}[{','.join(extras)}]" if extras else OWN)
    install(asked, home, plan.target, scratch=scratch, requirement_files=plan.requirements)
    return asked


def _copy_script(script: Path, home: Path) -> None:
    """Copy the script, and the modules and packages beside it that it imports, directly or not."""
    folder = script.parent
    waiting, files = [script], {script}
    while waiting:
        for name in _imported(waiting.pop()):
            package = folder / name
            found = [folder / f"{name}.py"]
            if (package / "__init__.py").exists():
                found = [path for path in sorted(package.rglob("*")) if "__pycache__" not in path.parts]
            new = [path for path in found if path.is_file() and path not in files]
            files.update(new)
            waiting += [path for path in new if path.suffix == ".py"]
    _check_names(script, {file.relative_to(folder) for file in files}, home)
    for file in sorted(files):
        copy = home / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _check_names(script: Path, files: Collection[Path], home: Path) -> None:
    """Refuse what would be found instead of a dependency, or not be found for one or for Python's own."""
    for file in sorted(files):
        name = file.parts[0].removesuffix(".py")
        if file.parts == (script.name,):  # nobody imports it
            taken = (home / file).exists()
        elif name in sys.stdlib_module_names:
            msg = f"{script.parent / file} has the name of a module of Python's own, and that is found first in a layer"
            raise PackagingError(f"{msg}: give it another")
        else:
            taken = any((home / other).exists() for other in (name, f"{name}.py"))
        if taken:
            msg = f"{script.parent / file} would hide what the extension's dependencies have under this name"
            raise PackagingError(f"{msg}: give it another")


def _imported(module: Path) -> set[str]:
    """Return the top-level names that a module imports."""
    try:
        tree = ast.parse(module.read_bytes(), module.name)
    except SyntaxError as error:
        msg = f"{module} is not valid Python: {error}"
        raise PackagingError(msg) from error
    return imported_names(tree)


def _registration(plan: Plan, entry: Launcher, file: Path, starter: str | None) -> RegistrationCall:
    """Find out what the extension registers, by a launcher that leaves this to it."""
    if plan.script is None:
        return RegistrationCall(plan.name, ("INVOKE", "SHUTDOWN"), account_id=True)
    if plan.events is not None:
        return RegistrationCall(plan.name, plan.events, account_id=False)
    variables = {**plan.environment, **plan.trial}
    if starter is not None:
        file.write_bytes(entry.text(None))
        found = learn_registration([starter, "-IuS", str(file)], variables)
    else:
        # What is in the layer does not start here: the script itself is tried, with what is installed for this Python.
        found = learn_registration([sys.executable, str(plan.script)], variables)
    if found.name not in {plan.name, plan.script.name}:
        msg = f"the extension registers as {found.name!r}, but Lambda knows it by its file: say --name {found.name}"
        raise PackagingError(msg)
    return attrs.evolve(found, name=plan.name)
