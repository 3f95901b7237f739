"""`python -m benchmarks NAME`: one command for each benchmark."""

import click
import typer
from typer.core import TyperGroup

from benchmarks import classical, crf, grading, metrics, models


class _Names(TyperGroup):
    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        if args[0] not in self.commands:
            ctx.fail(f"no benchmark named {args[0]!r}; there are: {', '.join(sorted(self.commands))}")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Names, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


@app.callback(epilog="Example: [bold]python -m benchmarks grading --json grading.json[/]")
def main() -> None:
    """Time the course's code side by side with its peers on this machine."""


for benchmark in (classical, crf, grading, metrics, models):
    app.command(benchmark.__name__.rpartition(".")[2], epilog=benchmark.EXAMPLE)(benchmark.run)

if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
