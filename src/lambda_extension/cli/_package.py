"""`lambda-extension package`: from a script to a layer, with what it weighs and what its start costs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import click
from rich import box
from rich.table import Table

from lambda_extension.cli._terminal import Terminal
from lambda_extension.packaging._archive import write_zip
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._layer import Layer, Plan, build
from lambda_extension.packaging._ready_made import extras_for, trial_environment, with_destinations
from lambda_extension.packaging._sizes import too_heavy
from lambda_extension.packaging._target import Target
from lambda_extension.packaging._trial import try_layer
from lambda_extension.simulator._watching._plain import plain


def package(
    scripts: Sequence[Path],
    destinations: Sequence[str],
    output: Path | None,
    shape: str,
    lock: Path | None,
    **options: Any,
) -> None:
    """Make, write, weigh and try a layer.

    Args:
        scripts: The extensions.
        destinations: Those of the ready-made extension; none leaves it out.
        output: Where to write.
        shape: `layer`, `directory` or `container`.
        lock: Where to write what is in it.
        **options: Those of `_plans`.

    Raises:
        click.ClickException: No layer can be made, or it does not start.
    """
    terminal = Terminal()
    with tempfile.TemporaryDirectory(prefix="lambda-extension-") as scratch:
        root = Path(scratch, "layer")
        root.mkdir()
        try:
            plans = _plans(scripts, destinations, **options)
            path = _place(output, plans[0].name, shape)
            layers = [build(plan, root, Path(scratch, "meanwhile", plan.name)) for plan in plans]
            _write(root, path, shape)
            _print(plans, layers, path, terminal)
            if lock is not None:
                lines = sorted({line for layer in layers for line in layer.locked})
                lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            for plan, layer in zip(plans, layers, strict=True):
                if layer.interpreter is None:
                    what = f"{plan.name} was not tried: what is in it does not start on this machine."
                    terminal.paragraph((what, ""))
                else:
                    anyio.run(_try, root, plan, layer, layer.interpreter, terminal)
        except (PackagingError, ValueError) as error:
            raise click.ClickException(plain_lines(str(error))) from None


def _plans(
    scripts: Sequence[Path],
    destinations: Sequence[str],
    *,
    name: str | None,
    python: str,
    arch: Literal["x86_64", "arm64"],
    variables: Sequence[tuple[str, str]],
    trial_variables: Sequence[tuple[str, str]],
    **options: Any,
) -> list[Plan]:
    """Return what to package, each in a folder of its own; `options` are those of `Plan`."""
    if len(scripts) + bool(destinations) > 1 and name is not None:
        msg = "--name names one extension: of several, each has the name of its script, and the ready-made one is ship"
        raise PackagingError(msg)
    target = Target(python, arch)
    environment = dict(variables)
    options |= {"target": target, "trial": dict(trial_variables)}
    plans = [
        Plan(script=script.absolute(), name=name or script.stem, environment=environment, **options)
        for script in scripts
    ]
    if destinations:
        environment = with_destinations(destinations, environment)
        extras = extras_for(environment)
        plans.append(Plan(script=None, name=name or "ship", environment=environment, extras=extras, **options))
    return plans


def plain_lines(text: str) -> str:
    """Return text of others with nothing in it that a terminal would obey but its line breaks."""
    return "\n".join(map(plain, text.splitlines()))


def _place(output: Path | None, name: str, shape: str) -> Path:
    """Return where to put the layer, before anything is made that could not be put there."""
    path = output or Path(f"{name}.zip" if shape == "layer" else f"{name}-{shape}")
    problem = None
    if shape != "layer" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        problem = f"{path} is not empty" if path.is_dir() else f"{path} is a file, and a folder is to be made"
    elif shape == "layer" and path.is_dir():
        problem = f"{path} is a folder, and a zip file is to be written: say -o {path / f'{name}.zip'}"
    elif not path.absolute().parent.is_dir():
        problem = f"there is no folder {str(path.parent)!r} to write {path.name!r} into"
    if problem is not None:
        raise click.ClickException(problem)
    return path


def _write(root: Path, path: Path, shape: str) -> None:
    """Put the layer where it was asked for."""
    if shape == "layer":
        write_zip(root, path)
        return
    shutil.copytree(root, path / "opt" if shape == "container" else path, dirs_exist_ok=True)
    if shape == "container":
        lines = "# Into the Dockerfile of the function: layers cannot be attached to images.\nCOPY opt/ /opt/\n"
        (path / "Dockerfile.lines").write_text(lines, encoding="utf-8")


def _print(plans: Sequence[Plan], layers: Sequence[Layer], path: Path, terminal: Terminal) -> None:
    files = unzipped = zipped = 0
    for plan, layer in zip(plans, layers, strict=True):
        title = plan.name if len(plans) > 1 else None
        table = Table("package", "files", "unzipped", "zipped", box=box.SIMPLE_HEAD, title=title)
        for column in table.columns[1:]:
            column.justify = "right"
        for size in layer.sizes:
            table.add_row(size.name, f"{size.files:,}", _kb(size.unzipped), _kb(size.zipped))
            files, unzipped, zipped = files + size.files, unzipped + size.unzipped, zipped + size.zipped
        if plan is plans[-1]:
            zipped = path.stat().st_size if path.is_file() else zipped
            table.add_section()
            table.add_row("together", f"{files:,}", _kb(unzipped), _kb(zipped))
        terminal.console.print(table)
    for plan, layer in zip(plans, layers, strict=True):
        events = ", ".join(layer.registration.events) or "nothing"
        what = f"{plan.name} for Python {plan.target.python} on {plan.target.arch}, registers for {events}"
        terminal.paragraph((f"{path}:", "bold"), (what, ""))
    # What is wrong with the machine is said once, and not for each extension.
    notices = dict.fromkeys(notice for layer in layers for notice in layer.notices)
    for notice in (*notices, *too_heavy(zipped, unzipped)):
        terminal.paragraph(("warning:", "yellow"), (notice, ""))


def _kb(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"


async def _try(root: Path, plan: Plan, layer: Layer, interpreter: str, terminal: Terminal) -> None:
    """Run the layer in the simulator, and print what its start costs and what of it was not needed."""
    ready_made = trial_environment(plan.environment) if plan.script is None else {}
    variables = {**plan.environment, **ready_made, **plan.trial}
    trial = await try_layer(root, plan.name, interpreter, variables)
    terminal.paragraph(
        (f"Tried in the simulator on this machine: {plan.name} registered {trial.registered:.0f} ms", ""),
        (f"and ready {trial.ready:.0f} ms after its start, median of three runs.", ""),
    )
    unused = [size for size in layer.sizes if size.modules and not size.modules & trial.imported]
    if unused:
        names = ", ".join(f"{size.name} ({_kb(size.unzipped)})" for size in unused)
        terminal.paragraph(("note:", "dim"), (f"never imported in that run: {names}", ""))
    # What is tried to be imported counts as imported, be it there or not.
    if {"trio", "asyncio"} <= trial.imported and any("trio" in size.modules for size in layer.sizes):
        terminal.paragraph(("warning:", "yellow"), ("it imports trio and asyncio both, and pays for one in vain", ""))
