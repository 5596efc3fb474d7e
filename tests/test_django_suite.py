"""The comparison with Django's handler says what it has found."""

from tests.django_suite.__main__ import compare


def test_what_passes_on_both_is_fine(capsys):
    assert compare({"a": "passed", "b": "expected failure"}, {"a": "passed", "b": "passed"}) == 0
    assert "fails on ours" in capsys.readouterr().out


def test_what_fails_on_both_is_named_and_fine(capsys):
    assert compare({"a": "failed"}, {"a": "failed"}) == 0
    assert "    a\n" in capsys.readouterr().out


def test_what_fails_is_skipped_or_missing_on_ours_only_is_a_regression(capsys):
    expected = dict.fromkeys("abcd", "passed")
    assert compare(expected, {"a": "failed", "b": "skipped", "d": "passed"}) == 1
    out = capsys.readouterr().out
    assert "REGRESSION a: failed" in out
    assert "REGRESSION b: skipped" in out
    assert "REGRESSION c: not run" in out
    assert "REGRESSION d" not in out
