"""The benchmarks' command line: `python -m bench gates --help`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from bench import flat as flat_bench
from bench import gates as gates_bench
from bench import waiting as waiting_bench

app = typer.Typer(help="Measure insitu on this machine.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only.")]


@app.command()
def gates(
    experiments: Annotated[int, typer.Option(min=1)] = 20,
    gates: Annotated[int, typer.Option(min=2)] = 25,
    clients: Annotated[int, typer.Option(min=1)] = 1,
    database: Annotated[str, typer.Option(help="An empty database; a new SQLite file by default.")] = "",
    prefect: Annotated[bool, typer.Option("--prefect", help="Also run a Prefect server and a projector, and measure their lag.")] = False,
    as_json: AsJson = False,
) -> None:
    """Launch linear experiments of human gates at one site and complete them all in a closed loop."""
    with TemporaryDirectory(prefix="insitu-bench-") as folder:
        url = database or f"sqlite:///{Path(folder) / 'bench.db'}"
        result = gates_bench.run(experiments, gates, clients, url)
        if prefect:
            from bench.lag import measure

            result |= measure(Path(folder))
    _show(result, as_json)


@app.command()
def flat(as_json: AsJson = False) -> None:
    """Cost of a completion after 10, 1,000 and 10,000 earlier ones, and with 10, 100 and 1,000 sites."""
    _show(flat_bench.run(), as_json)


@app.command()
def waiting(as_json: AsJson = False) -> None:
    """Memory with 50 and with 5,000 waiting experiments, and the time to come back after kill -9."""
    _show(waiting_bench.run(), as_json)


@app.command()
def pages(
    data: Annotated[Path, typer.Option(help="A folder for the crowd's database, some 600 MB; kept, and used again.")],
    users: Annotated[int, typer.Option(min=1)] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="How long people click, three times.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Time of every page for a coordinator, a sponsor and a manager, at 200 experiments of 20 sites with a million facts."""
    from bench.pages import run, table_of

    result = run(data, users, seconds)
    print(json.dumps(result) if as_json else table_of(result))


def _show(result: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(result) if as_json else json.dumps(result, indent=2))


if __name__ == "__main__":
    app()
