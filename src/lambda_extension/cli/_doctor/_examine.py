"""All checks of an extension or of a layer, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from lambda_extension.cli._doctor._behaviour import check_calm, check_rough, check_rules
from lambda_extension.cli._doctor._binaries import Compiled, compiled_in
from lambda_extension.cli._doctor._check import Check
from lambda_extension.cli._doctor._file import can_start, check_file
from lambda_extension.cli._doctor._layer import check_layer, foreign_machine
from lambda_extension.cli._doctor._observe import bare_python, observe
from lambda_extension.cli._layers import extension_files, lacks_interpreter, laid_out, specs_of, stand_in
from lambda_extension.cli._setup import command_of, search_path
from lambda_extension.simulator import ExtensionSpec

Report = Callable[[Check], object]
_STARTS: Final = "registers and asks for next in time"


def is_layer(path: Path) -> bool:
    """Tell whether a path is to be examined as a layer: a folder or a zip file."""
    return path.is_dir() or path.suffix == ".zip"


async def examine(path: Path, variables: Mapping[str, str], report: Report) -> None:
    """Check an extension's file or a layer; those checks that run it come last, and not if it cannot be started.

    Takes some seconds, and at most for the limits that Lambda sets to init, invocations and shutdown.

    Args:
        path: A file, or a layer's folder or zip file.
        variables: Of the function, for those checks that run it.
        report: Called with each check as it is done.

    Raises:
        LayerError: The layer cannot be unpacked.
        OSError: Something cannot be read.
    """
    if is_layer(path):
        await _examine_layer(path, variables, report)
        return
    for check in check_file(path):
        report(check)
    if can_start(path) and not _is_foreign(compiled_in(path), [path], report):
        specs = [ExtensionSpec(command_of(path), name=path.name)]
        await _observe(specs, {"PATH": search_path(), **variables}, None, report)


async def _examine_layer(layer: Path, variables: Mapping[str, str], report: Report) -> None:
    with laid_out([layer]) as root, bare_python() as path:
        compiled = compiled_in(root)
        for check in check_layer(layer, root, compiled):
            report(check)
        files = extension_files(root)
        for file in files:
            for check in check_file(file, root):
                report(check)
        if not files or not all(map(can_start, files)):
            return
        if _is_foreign(compiled, files, report):
            return
        lacking = [file for file in files if lacks_interpreter(file) and stand_in(file, path) is None]
        for file in lacking:
            reason = "the interpreter that its first line names is not here, nor in PATH: with that, it can be run"
            report(Check(_STARTS, "skip", reason, file.name))
        if not lacking:
            await _observe(specs_of(root, path), {"PATH": path, **variables}, root, report)


def _is_foreign(compiled: Compiled, files: Sequence[Path], report: Report) -> bool:
    """Tell whether files cannot be run here though they may be right, and say so of each."""
    machine = foreign_machine(compiled)
    if machine is None:
        return False
    for file in files:
        report(Check(_STARTS, "skip", f"it is for {machine}: on such a machine, it can be run", file.name))
    return True


async def _observe(
    specs: Sequence[ExtensionSpec], environment: Mapping[str, str], root: Path | None, report: Report
) -> None:
    names = [spec.resolved_name for spec in specs]
    calm = await observe(specs, environment=environment, opt=root, rough=False)
    for name in names:
        for check in check_calm(name, calm, root):
            report(check)
    if not calm.started:
        return
    rough = await observe(specs, environment=environment, opt=root, rough=True)
    for name in names:
        for check in check_rough(name, calm, rough):
            report(check)
    for check in check_rules(calm, rough):
        report(check)
