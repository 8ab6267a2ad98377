"""Runs commands as a user does."""

from typer.testing import CliRunner

from kseg import cli


def kseg_command(*arguments, stdin=None):
    return CliRunner().invoke(cli.application, [str(argument) for argument in arguments], input=stdin)


def refused(*arguments, stdin=None):
    """Runs a command that must fail, and returns its one line on stderr."""
    done = kseg_command(*arguments, stdin=stdin)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
