"""Formatting of numbers and tables."""

import pytest

from tfadv.report.tables import Table, duration, one_line, percent, percent_interval


@pytest.mark.parametrize(
    ("fraction", "count", "expected"),
    [
        (1.0, 1, "100.0%"),
        (0.5, 4, "50.0%"),
        (999 / 1000, 1000, "99.9%"),
        (1 / 1001, 1001, "0.10%"),
        (9999 / 10_000, 10_000, "99.99%"),
        (49_999 / 50_000, 50_000, "99.998%"),
    ],
)
def test_a_percentage_has_enough_decimals_to_show_one_example(fraction, count, expected):
    assert percent(fraction, count) == expected


@pytest.mark.parametrize("count", [1, 7, 100, 101, 999, 1000, 1001, 10_000, 10_001, 123_456])
def test_one_example_never_rounds_away(count):
    if count > 1:
        assert percent((count - 1) / count, count) != percent(1.0, count)
        assert percent(1 / count, count) != percent(0.0, count)
    assert percent_interval((0.0, 1.0), count) == f"{percent(0.0, count)} to {percent(1.0, count)}"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.00 s"),
        (0.416, "0.42 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, expected):
    assert duration(seconds) == expected


def test_a_cell_holds_no_line_break_and_no_terminal_escape():
    assert one_line("a\nb\t c\x1b[31m") == "a b c [31m"


TABLE = Table(("model", "accuracy", "note"), (("a|b", "9.0%", "fine"), ("<script>", "100.0%", "*")), "Caption.")


def test_markdown_escapes_what_markdown_would_interpret():
    assert TABLE.markdown() == (
        "| model | accuracy | note |\n| :--- | ---: | :--- |\n| a\\|b | 9.0% | fine |\n| &lt;script> | 100.0% | \\* |\n"
    )


def test_latex_escapes_what_latex_would_interpret_and_uses_booktabs():
    table = Table(("model", "accuracy"), ((r"a_b \ 50%&$#{}~^", "9.0%"), ("–", "–")), "50% of |, < and >.")
    assert table.latex() == (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{table}\n"
        "  \\centering\n"
        "  \\caption{50\\% of \\textbar{}, \\textless{} and \\textgreater{}.}\n"
        "  \\begin{tabular}{lr}\n"
        "    \\toprule\n"
        "    model & accuracy \\\\\n"
        "    \\midrule\n"
        "    a\\_b \\textbackslash{} 50\\%\\&\\$\\#\\{\\}\\textasciitilde{}\\textasciicircum{} & 9.0\\% \\\\\n"
        "    -- & -- \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def test_a_table_without_caption_has_none_in_latex():
    assert "caption" not in Table(("a",), (("1",),)).latex()


def test_text_aligns_numbers_right_and_words_left():
    assert TABLE.text() == (
        "model     accuracy  note\n"
        "a|b           9.0%  fine\n"
        "<script>    100.0%  *\n"
    )  # fmt: skip


def test_a_long_head_takes_several_lines_at_the_bottom_of_the_head():
    assert Table(("model", "share of the images broken"), (("x", "1"),)).text() == (
        "        share of the\n"
        "model  images broken\n"
        "x                  1\n"
    )  # fmt: skip


def test_an_empty_table_has_heads_alone():
    empty = Table(("a", "b"), ())
    assert empty.text() == "a  b\n"
    assert not empty.is_numeric(1)


def test_a_ragged_row_is_refused_by_number():
    with pytest.raises(ValueError, match="row 1 holds 1"):
        Table(("a", "b"), (("1", "2"), ("3",)))


def test_a_table_comes_back_from_json():
    assert Table.from_json(TABLE.to_json()) == TABLE
