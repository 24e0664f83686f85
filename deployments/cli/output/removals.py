"""Removing a thing on the command line: what goes is said, then it is asked, then it goes."""

from __future__ import annotations

import sys
from dataclasses import asdict

import typer

from deployments.cli.output.terminal import print_json, print_plain
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError
from storage.removal.removing import RemovalPlan, plan_removal, remove, require_idle

_MOST_PLACES = 10


def remove_thing(noun: RemovalNoun, key: str, *, yes: bool, json_output: bool) -> None:
    """Show what goes with a thing, ask, and remove it.

    JSON is the plan, and `removed`; there nobody is asked, so that only `yes` removes.

    Raises:
        NotFoundError: there is no such thing.
        JobAtWorkError: a job is at work on it.
        InvalidInputError: nobody can be asked, and `yes` is not given; nothing was removed.
        typer.Exit: the answer was no.
    """
    database = open_database()
    plan = plan_removal(database, noun, key)
    require_idle(database, noun, plan.subject)
    if not json_output:
        _print_plan(plan)
    if not yes:
        if json_output:
            print_json({**asdict(plan), "removed": False})
        if json_output or not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise InvalidInputError("Nothing was removed: give --yes to remove all of this.")
        if not typer.confirm("Remove all of this?"):
            print_plain("Nothing was removed.")
            raise typer.Exit(1)
    remove(database, plan)
    if json_output:
        print_json({**asdict(plan), "removed": True})
    else:
        print_plain(f"The {noun.value} {plan.name} is removed.")


def _print_plan(plan: RemovalPlan) -> None:
    print_plain(f"The {plan.noun.value} {plan.name} ({plan.subject}) goes, with")
    for name in plan.runs:
        print_plain(f"  the run {name}")
    for table, count in plan.rows.items():
        print_plain(f"  {count:,} rows of {table}")
    print_plain(f"  {plan.file_count:,} files, {plan.byte_count:,} bytes")
    for place in plan.places[:_MOST_PLACES]:
        print_plain(f"    {place}")
    if len(plan.places) > _MOST_PLACES:
        print_plain(f"    and {len(plan.places) - _MOST_PLACES} more places; --json has all")
    if plan.stays:
        print_plain("It stays:")
        for one in plan.stays:
            print_plain(f"  {one}")
    for one in plan.warnings:
        print_plain(f"Note: {one}.")
    if plan.is_unfinished:
        print_plain("An earlier removal of it was broken off; this ends it.")
