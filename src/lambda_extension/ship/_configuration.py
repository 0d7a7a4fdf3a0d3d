"""From the environment's variables to what is to run, or to everything that is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from lambda_extension._environment import names_alone
from lambda_extension._exceptions import LambdaExtensionError
from lambda_extension.ship._destinations import KINDS, Kind, kind_of
from lambda_extension.ship._references import Reference, reference_of
from lambda_extension.ship._values import listed, suggest
from lambda_extension.ship._variables import DESTINATIONS, FOR_EACH, GENERAL, PREFIX, SPILL, Variable

if TYPE_CHECKING:
    from lambda_extension.processing import FlushPolicy

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@final
class ConfigurationError(LambdaExtensionError):
    """Variables of the ready-made extension are wrong.

    Attributes:
        problems: What is wrong, a sentence each, that names the variable and says what to do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@final
@attrs.frozen(kw_only=True)
class Secret:
    """A variable whose value has to be fetched.

    Attributes:
        name: The variable's whole name.
        variable: The variable.
        reference: What it refers to.
    """

    name: str
    variable: Variable
    reference: Reference


@final
@attrs.frozen(kw_only=True)
class Destination:
    """A destination.

    Attributes:
        name: Its name.
        kind: Its kind.
        arguments: What its sink is made of.
        secrets: What is still to be fetched for that, by argument.
        settings: The values of what each destination has, by argument.
    """

    name: str
    kind: Kind
    arguments: Mapping[str, Any] = attrs.field(repr=names_alone)
    secrets: Mapping[str, Secret]
    settings: Mapping[str, Any]

    def with_secrets(self, texts: Mapping[Reference, str]) -> Destination:
        """Return it with what its secrets refer to.

        Raises:
            ConfigurationError: A secret is not what its variable must be.
        """
        problems: list[str] = []
        arguments = dict(self.arguments)
        for argument, secret in self.secrets.items():
            try:
                arguments[argument] = attrs.evolve(secret.variable, secret=True).read(
                    f"what {secret.name} refers to", texts[secret.reference]
                )
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError(problems)
        return attrs.evolve(self, arguments=arguments, secrets={})


@final
@attrs.frozen(kw_only=True)
class Configuration:
    """What is to run.

    Attributes:
        policy: When telemetry leaves.
        name: The extension's name, where it was given.
        destinations: Where to.
        warnings: What is odd about the variables, a sentence each.
    """

    policy: FlushPolicy
    name: str | None
    destinations: tuple[Destination, ...]
    warnings: tuple[str, ...]


def read(variables: Mapping[str, str]) -> Configuration:
    """Read the variables.

    Args:
        variables: All of the environment's.

    Raises:
        ConfigurationError: Some are missing or wrong; all of them are told.
    """
    reader = _Reader(variables)
    general = reader.values(PREFIX, GENERAL)
    chosen = reader.chosen()
    destinations = tuple(reader.destination(name, kind) for name, kind in chosen.items())
    reader.look_for_others(chosen)
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return Configuration(
        policy=general["policy"],
        name=general.get("name"),
        destinations=destinations,
        warnings=tuple(reader.warnings),
    )


def problems_with(variables: Mapping[str, str]) -> list[str]:
    """Return what is wrong with variables that are not all there is: what is missing may still be set."""
    reader = _Reader(variables, complete=False)
    reader.values(PREFIX, GENERAL)
    chosen = reader.chosen()
    for name, kind in chosen.items():
        reader.destination(name, kind)
    reader.look_for_others(chosen)
    return reader.problems


def prefix_of(destination: str) -> str:
    """Return what the names of a destination's variables begin with."""
    return f"{PREFIX}{destination.upper().replace('-', '_')}_"


def common_to(kind: Kind) -> tuple[Variable, ...]:
    """Return the variables that a destination of this kind shares with others: OTLP's deliveries are its own."""
    return FOR_EACH if kind.make is None else (*FOR_EACH, SPILL)


class _Reader:
    """Reads variables, and notes what is wrong with them."""

    def __init__(self, variables: Mapping[str, str], *, complete: bool = True) -> None:
        # An empty one counts as absent, since that is how templates leave one out.
        self._texts = {
            name: text.strip() for name, text in variables.items() if name.startswith(PREFIX) and text.strip()
        }
        self._complete = complete
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def values(self, prefix: str, variables: Iterable[Variable]) -> dict[str, Any]:
        """Return the values of some variables, by argument, as far as they are right."""
        found: dict[str, Any] = {}
        for variable in variables:
            name = prefix + variable.name
            text = self._texts.get(name, variable.default)
            if text is None:
                self._miss(name, variable)
            else:
                self._put(found, name, variable, text)
        return found

    def chosen(self) -> dict[str, Kind]:
        """Return the destinations that are asked for, and the kind of each."""
        name = PREFIX + DESTINATIONS.name
        found: dict[str, Kind] = {}
        for asked in listed(self._texts.get(name, "").lower()):
            kind = kind_of(asked)
            if kind is None or not _NAME.fullmatch(asked):
                near = suggest(list(KINDS), asked)
                hint = f": perhaps {near}" if near else f": there are {', '.join(KINDS)}, and each of them with -SUFFIX"
                self.problems.append(f"{name} has {asked!r}, which is no destination{hint}")
            elif kind.make is None and kind in found.values():
                self.problems.append(f"{name} has {kind.name} twice, which is exported once: name it once")
            else:
                found[asked] = kind
        return found

    def destination(self, name: str, kind: Kind) -> Destination:
        """Read a destination."""
        prefix = prefix_of(name)
        secrets: dict[str, Secret] = {}
        plain: list[Variable] = []
        for variable in kind.variables:
            reference = reference_of(self._texts.get(prefix + variable.name, ""))
            if reference is None:
                plain.append(variable)
            else:
                secrets[variable.argument] = Secret(name=prefix + variable.name, variable=variable, reference=reference)
        arguments = self.values(prefix, plain)
        settings: dict[str, Any] = {}
        for variable in common_to(kind):
            own = prefix + variable.name
            whose = own if own in self._texts else PREFIX + variable.name
            text = self._texts.get(whose, variable.default)
            if text is not None:
                self._put(settings, whose, variable, text)
        return Destination(name=name, kind=kind, arguments=arguments, secrets=secrets, settings=settings)

    def look_for_others(self, chosen: Mapping[str, Kind]) -> None:
        """Tell of variables that nothing reads: one that is nearly another is a mistake, others may be somebody's."""
        read = {PREFIX + variable.name for variable in (*GENERAL, *FOR_EACH, SPILL)}
        for name, kind in chosen.items():
            read |= {prefix_of(name) + variable.name for variable in (*kind.variables, *common_to(kind))}
        unused = {
            prefix_of(kind.name) + variable.name: kind.name
            for kind in KINDS.values()
            for variable in (*kind.variables, *common_to(kind))
        }
        for name in sorted(self._texts.keys() - read):
            if name in unused:
                where = PREFIX + DESTINATIONS.name
                self.warnings.append(f"{name} has no effect: {unused[name]} is not among {where}")
            elif near := suggest([each.removeprefix(PREFIX) for each in sorted(read)], name.removeprefix(PREFIX)):
                self.problems.append(f"{name} is no variable of this extension: perhaps it is {PREFIX}{near}")
            else:
                self.warnings.append(f"{name} is no variable of this extension")

    def _miss(self, name: str, variable: Variable) -> None:
        if variable.required and self._complete:
            hint = f": of {', '.join(KINDS)}" if variable is DESTINATIONS else ""
            self.problems.append(f"{name} is not set: it must be {variable.form.words} ({variable.meaning}{hint})")

    def _put(self, values: dict[str, Any], name: str, variable: Variable, text: str) -> None:
        try:
            values[variable.argument] = variable.read(name, text)
        except ValueError as error:
            if str(error) not in self.problems:  # of all destinations it is told once
                self.problems.append(str(error))
