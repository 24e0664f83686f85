"""Commands that are imported when somebody calls them: to list them their names are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group

from deployments.quick_imports import quick_imports


class _Loading(Mapping[str, Any]):
    """Commands by their names, each made by Typer of a function or a group when it is asked for."""

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package = package
        self._places = places

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's own Click
        module, _, attribute = self._places[name].partition(":")
        with quick_imports():
            found = getattr(import_module(f"{self._package}.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
        else:
            alone = typer.Typer()
            alone.command()(found)
            command = get_command_from_info(
                alone.registered_commands[0], pretty_exceptions_short=True, rich_markup_mode="rich"
            )
        command.name = name
        _name_arguments(command)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _name_arguments(command: Any) -> None:  # noqa: ANN401
    """Write all arguments in one way: in capitals; Typer adds brackets and dots."""
    children = getattr(command, "commands", {})
    if not isinstance(children, _Loading):  # those get theirs when they are loaded
        for child in children.values():
            _name_arguments(child)
    for parameter in command.params:
        if parameter.param_type_name == "argument" and parameter.metavar is None:
            parameter.metavar = parameter.name.upper()


def lazy_group(
    package: str,
    commands: Mapping[str, tuple[str, str]],
    elsewhere: Callable[[str], str | None] = lambda name: None,
) -> type[TyperGroup]:
    """The class of a group of commands, in this order, for `typer.Typer(cls=...)`.

    Each has its place, `module:attribute` below `package`, and its line in the list of commands.
    `elsewhere` tells where a command is that is not of this group.
    """
    loading = _Loading(package, {name: place for name, (place, _) in commands.items()})

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:  # noqa: ANN401
            super().__init__(**settings)
            self.commands = loading  # type: ignore[assignment]
            self._is_listing = False

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
            if self._is_listing:
                return TyperCommand(cmd_name, help=commands[cmd_name][1])
            return loading.get(cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
            hint = elsewhere(args[0]) if args and args[0] not in commands else None
            if hint is not None:
                ctx.fail(f"No such command '{args[0]}'. Did you mean `{hint}`?")
            return super().resolve_command(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
            self._is_listing = True
            try:
                super().format_help(ctx, formatter)
            finally:
                self._is_listing = False

    return LazyGroup
