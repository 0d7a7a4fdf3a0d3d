"""The ready-made extension in a layer: what its destinations need, and what it is tried with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.ship._configuration import common_to, prefix_of, problems_with
from lambda_extension.ship._destinations import Kind, kind_of
from lambda_extension.ship._references import reference_of
from lambda_extension.ship._variables import DESTINATIONS, PREFIX, SPILL

_DESTINATIONS: Final = PREFIX + DESTINATIONS.name


def with_destinations(destinations: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a layer sets, its destinations among them.

    Args:
        destinations: Their names.
        environment: The other variables.

    Raises:
        PackagingError: One is wrong. What is missing is not: the function's configuration may set it.
    """
    if _DESTINATIONS in environment:
        msg = f"{_DESTINATIONS} is what --ship sets: leave it out of --env"
        raise PackagingError(msg)
    found = {**environment, _DESTINATIONS: ",".join(destinations)}
    if problems := problems_with(found):
        raise PackagingError("\n".join(problems))
    return found


def extras_for(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the extras of this library that the destinations need."""
    kinds = _kinds(environment).values()
    return frozenset({"delivery"} | {kind.extra for kind in kinds if kind.extra is not None})


def trial_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which nothing leaves this machine, and no secret is fetched, when the layer is tried."""
    found: dict[str, str] = {}
    for name, kind in _kinds(environment).items():
        found |= kind.trial
        prefix = prefix_of(name)
        for variable in kind.variables:
            whole = prefix + variable.name
            if variable.trial is not None:
                found[whole] = variable.trial
            elif variable.secret or reference_of(environment.get(whole, "")) is not None:
                found[whole] = ""  # as if it were not set
        if SPILL in common_to(kind):
            found[prefix + SPILL.name] = "off"
    return found


def _kinds(environment: Mapping[str, str]) -> dict[str, Kind]:
    names = environment[_DESTINATIONS].lower().split(",")
    return {name: kind for name in names if (kind := kind_of(name)) is not None}
