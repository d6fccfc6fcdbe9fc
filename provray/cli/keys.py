"""`provray keys`: who may ask a service what."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from provray.cli.console import out, print_json
from provray.cli.options import Json
from provray.serve.keys import SCOPES, create_key, read_keys, revoke_key

app = typer.Typer(
    no_args_is_help=True, help="Create, list and revoke the keys of a service (`provray serve`)."
)

File = Annotated[
    Path, typer.Option("--file", help="The key file. It holds hashes only.", show_default=False)
]


@app.command("create")
def create_command(
    file: File,
    name: Annotated[str, typer.Option("--name", help="Whose key it is.", show_default=False)],
    scopes: Annotated[
        str,
        typer.Option(
            "--scopes",
            help=f"Comma-separated: {', '.join(SCOPES)}. `read`: models, lineage and facts; `query`: questions; "
            "`metrics`: what Prometheus reads; `admin`: everything.",
        ),
    ] = "read,query",
    rate: Annotated[
        int | None,
        typer.Option("--rate", min=1, help="Requests a minute. Default: the service's own limit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key. It is printed once and kept nowhere: a lost one is revoked and replaced."""
    chosen = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    key, secret = create_key(file, name, chosen, rate)
    if as_json:
        print_json({"id": key.id, "name": key.name, "scopes": list(key.scopes), "key": secret})
        return
    out.print(
        f"key [bold]{key.id}[/] for {key.name}, scopes {', '.join(key.scopes)}:", soft_wrap=True
    )
    out.print(secret, soft_wrap=True, markup=False)


@app.command("list")
def list_command(file: File, as_json: Json = False) -> None:
    """List keys: id, name, scopes, when they were made and revoked."""
    keys = read_keys(file)
    if as_json:
        hidden = [{k: v for k, v in asdict(key).items() if k != "digest"} for key in keys]
        print_json({"keys": hidden})
        return
    table = Table("id", "name", "scopes", "created", "revoked", "a minute", box=None)
    for key in keys:
        table.add_row(
            key.id,
            key.name,
            ", ".join(key.scopes),
            key.created,
            key.revoked or "–",
            str(key.requests_per_minute or "–"),
        )
    out.print(table)


@app.command("revoke")
def revoke_command(
    file: File,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, see `list`.")],
) -> None:
    """Revoke a key: a running service refuses it within a second or two."""
    key = revoke_key(file, key_id)
    out.print(f"key [bold]{key.id}[/] ({key.name}) is revoked since {key.revoked}", soft_wrap=True)
