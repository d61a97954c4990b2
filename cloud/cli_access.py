"""`gatehouse cloud user` and `key`: who may come in. Works while the aggregator runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_reporting import DATA_DIR, EXIT_FAILURE, DataDir, reporting
from devices.instants import format_instant

if TYPE_CHECKING:
    from cloud.access.door import Door
    from cloud.access.rights import Grant

ACTOR = "cli"
Roles = Annotated[
    list[str],
    typer.Option("--role", help="viewer, engineer, manager, auditor or admin; `engineer@site-1` at one site only."),
]

user = typer.Typer(no_args_is_help=True, help="People who may sign in. Works while the aggregator runs.")
key = typer.Typer(no_args_is_help=True, help="Keys of scripts. Works while the aggregator runs.")


@contextmanager
def _door(data_dir: Path) -> Iterator["tuple[Door, int]"]:
    from cloud.access.door import Door
    from cloud.aggregator import server_now_ms
    from cloud.facts.database import open_database
    from cloud.settings import Places

    data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_database(Places(data_dir).facts)
    try:
        with reporting():
            yield Door(engine), server_now_ms()
    finally:
        engine.dispose()


def _grants(roles: list[str]) -> "list[Grant]":
    from cloud.access.rights import EVERYWHERE, Grant, Role

    found = []
    for text in roles:
        role, _, site = text.partition("@")
        if role not in {one.value for one in Role}:
            raise typer.BadParameter(f"{role!r}: expected viewer, engineer, manager, auditor or admin")
        found.append(Grant(Role(role), site or EVERYWHERE))
    return found


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")], role: Roles, data_dir: DataDir = DATA_DIR
) -> None:
    """Add a user and print the one-time link to sign in with; it is good for a day."""
    grants = _grants(role)
    with _door(data_dir) as (door, now_ms):
        added = door.users.add(name, grants, actor=ACTOR, now_ms=now_ms)
        _print_link(door, added.id, now_ms)


@user.command("link")
def link_user(name: Annotated[str, typer.Argument(help="Name of the user.")], data_dir: DataDir = DATA_DIR) -> None:
    """Print a new one-time link for somebody who has no password, or forgot it."""
    with _door(data_dir) as (door, now_ms):
        _print_link(door, name, now_ms)


@user.command("disable")
def disable_user(name: Annotated[str, typer.Argument(help="Name of the user.")], data_dir: DataDir = DATA_DIR) -> None:
    """Let somebody in no more; their sessions end at once."""
    with _door(data_dir) as (door, now_ms):
        door.users.disable(name, actor=ACTOR, now_ms=now_ms)


@user.command("list")
def list_users(data_dir: DataDir = DATA_DIR) -> None:
    """Users and what they may do."""
    with _door(data_dir) as (door, _):
        for one in door.users.all():
            rights = " ".join(f"{grant.role.value}@{grant.site}" for grant in one.grants)
            ended = "" if one.disabled_ms is None else "\t(disabled)"
            typer.echo(f"{one.name}\t{rights}{ended}")


@key.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")], role: Roles, data_dir: DataDir = DATA_DIR
) -> None:
    """Add a key for a script and print it; nobody can see it again."""
    grants = _grants(role)
    with _door(data_dir) as (door, now_ms):
        _, shown = door.keys.add(name, grants, actor=ACTOR, now_ms=now_ms)
        typer.echo(shown)


@key.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID")], data_dir: DataDir = DATA_DIR) -> None:
    """End a key; it fails from the next request on."""
    with _door(data_dir) as (door, now_ms):
        if not door.keys.revoke(key_id, actor=ACTOR, now_ms=now_ms):
            typer.echo(f"gatehouse cloud: there is no live key {key_id!r}", err=True)
            raise typer.Exit(EXIT_FAILURE)


@key.command("list")
def list_keys(data_dir: DataDir = DATA_DIR) -> None:
    """Keys, when they were made and what they may do."""
    with _door(data_dir) as (door, _):
        for one in door.keys.all():
            rights = " ".join(f"{grant.role.value}@{grant.site}" for grant in one.grants)
            ended = "" if one.revoked_ms is None else "\t(revoked)"
            typer.echo(f"{one.id}\t{one.name}\t{format_instant(one.created_ms)}\t{rights}{ended}")


def _print_link(door: "Door", name: str, now_ms: int) -> None:
    token = door.sessions.make_link(name, actor=ACTOR, now_ms=now_ms)
    typer.echo(f"/sign-in#{token}")
    typer.echo("Open it behind the address of the aggregator; it works once, within a day.", err=True)
