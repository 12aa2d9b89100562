import io

import pytest

from softcord.progress import Bar, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> str:
        """What a person sees at the end: what was written after the line was last erased."""
        return self.getvalue().rpartition("\r\x1b[K")[2]


def test_all_items_come_through_in_order():
    assert list(track(range(5), "count", enabled=True, stream=Terminal())) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("enabled", [True, False])
def test_items_without_a_length_come_through(enabled):
    assert list(track((n for n in range(3)), "count", enabled=enabled, stream=Terminal())) == [0, 1, 2]


def test_a_terminal_shows_how_many_items_are_done():
    terminal = Terminal()
    seen = [terminal.screen() for _ in track("abcd", "segment", enabled=True, stream=terminal)]
    assert [screen.partition(",")[0] for screen in seen] == [
        f"segment [{'#' * 0}{'-' * 24}] 0/4",
        f"segment [{'#' * 6}{'-' * 18}] 1/4",
        f"segment [{'#' * 12}{'-' * 12}] 2/4",
        f"segment [{'#' * 18}{'-' * 6}] 3/4",
    ]


def test_nothing_is_left_on_the_terminal_at_the_end():
    terminal = Terminal()
    list(track("ab", "segment", enabled=True, stream=terminal))
    assert terminal.screen() == ""


def test_nothing_is_left_on_the_terminal_after_an_error():
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Bar(2, "segment", enabled=True, stream=terminal):
        raise KeyboardInterrupt
    assert terminal.screen() == ""


def test_nothing_is_written_unless_it_is_asked_for():
    terminal = Terminal()
    list(track("ab", "segment", stream=terminal))
    assert terminal.getvalue() == ""


def test_nothing_is_written_to_what_is_no_terminal():
    file = io.StringIO()
    list(track("ab", "segment", enabled=True, stream=file))
    assert file.getvalue() == ""


def test_nothing_is_written_for_no_items():
    terminal = Terminal()
    assert list(track([], "segment", enabled=True, stream=terminal)) == []
    assert terminal.getvalue() == ""


def test_standard_error_is_the_default(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    list(track("a", "segment", enabled=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "segment [" in captured.err


def test_a_hidden_bar_leaves_a_clean_line_for_other_text():
    terminal = Terminal()
    with Bar(2, "segment", enabled=True, stream=terminal) as bar:
        bar.hide()
        assert terminal.screen() == ""
        bar.advance()
        assert "1/2" in terminal.screen()


def test_text_can_be_printed_from_inside_a_loop_that_knows_nothing_of_the_bar():
    terminal = Terminal()
    for _ in track("ab", "segment", enabled=True, stream=terminal):
        assert "segment [" in terminal.screen()
        Bar.hide_current()
        assert terminal.screen() == ""
    length = len(terminal.getvalue())
    Bar.hide_current()
    assert len(terminal.getvalue()) == length


def test_the_bar_fits_in_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    with Bar(2, "segment", enabled=True, stream=terminal):
        assert len(terminal.screen()) == 19


@pytest.mark.parametrize(
    ("passed_s", "left"), [(10, "about 0:30 left"), (75, "about 3:45 left"), (4000, "about 3:20:00 left")]
)
def test_the_time_left_is_the_mean_time_of_what_is_done(monkeypatch, passed_s, left):
    clock = iter([0.0, passed_s])
    monkeypatch.setattr("softcord.progress.time.monotonic", lambda: next(clock))
    terminal = Terminal()
    bar = Bar(4, "segment", enabled=True, stream=terminal)
    bar.advance()
    assert terminal.screen().endswith(left)


def test_a_bar_can_be_told_how_much_is_done_in_all():
    terminal = Terminal()
    with Bar(4, "download", enabled=True, stream=terminal) as bar:
        bar.reach(2)
        drawn = terminal.getvalue()
        assert "2/4" in terminal.screen()
        bar.reach(2)
        assert terminal.getvalue() == drawn
        bar.reach(9)
        assert "4/4" in terminal.screen()
