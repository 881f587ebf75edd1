"""`insitu prefect`: the Prefect server that `insitu up` starts."""

from __future__ import annotations

import typer

from insitu.cli.opening import Data, opened

app = typer.Typer(name="prefect", help="The Prefect server that `insitu up` starts.", no_args_is_help=True)


@app.callback()
def prefect() -> None:
    """The Prefect server that `insitu up` starts."""


@app.command()
def password(data: Data = None) -> None:
    """Print what its pages ask for at the first visit; whoever has it may do everything there."""
    from flows.lock import lock_of
    from insitu.prefect_start import prefect_home
    from protocols.errors import InvalidInput

    settings = opened(data).settings
    if settings.prefect_api_url:
        raise InvalidInput(
            f"PREFECT_API_URL names a Prefect server that insitu did not start ({settings.prefect_api_url}). "
            "Whoever runs it knows its password."
        )
    typer.echo(lock_of(prefect_home(settings.data)))
