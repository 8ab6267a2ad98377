import pytest

from kseg.progress import Reporter


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_the_bar_is_drawn_on_stderr_of_a_terminal_and_lines_go_to_stdout(monkeypatch, capsys, terminal, quiet):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    reporter = Reporter(quiet=quiet)
    for total in (2, None):
        with reporter.task("predicting [b]", total) as advance:
            advance(2, note="half")
            reporter.line("one [b]line[/b]")
    shown = capsys.readouterr()
    assert shown.out == ("" if quiet else "one [b]line[/b]\n" * 2)
    assert ("predicting [b]" in shown.err and "half" in shown.err) == (terminal and not quiet)
