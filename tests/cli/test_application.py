import pytest

import kseg
from kseg import training, zoo
from tests.cli.command import kseg_command


def test_version_is_printed():
    assert kseg_command("--version").output == f"kseg {kseg.__version__}\n"


def test_debug_shows_where_an_error_came_from(tmp_path):
    done = kseg_command("--debug", "train", tmp_path / "nowhere.toml")
    assert isinstance(done.exception, FileNotFoundError)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("train", "recipe.toml"), "interrupted; the same `kseg train` resumes after the last epoch\n"),
        (("compare", "a", "b", "--data", "streets"), "interrupted\n"),
    ],
)
def test_an_interruption_says_how_to_resume(command, told, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Recipe, "from_toml", interrupt)
    monkeypatch.setattr(zoo, "load", interrupt)
    done = kseg_command(*command)
    assert (done.exit_code, done.stderr) == (130, told)
