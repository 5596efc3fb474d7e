"""The comparison notices what differs, and only that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.packages.visitor import NAMES, Answer, Visitor, differences

ANSWER = Answer("GET /", 200, (("vary", "Cookie"),), "Hello NAME!")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"status": 500}, ["GET /: status is 500, not 200"]),
        ({"headers": ()}, ["GET /: headers is [], not [('vary', 'Cookie')]"]),
        ({"body": "Hello other!"}, ["GET /: body is 'Hello other!', not 'Hello NAME!'"]),
    ],
)
def test_differences(change, found):
    assert differences([ANSWER], [replace(ANSWER, **change)]) == found


def test_an_answer_that_is_missing():
    assert differences([ANSWER, ANSWER], [ANSWER]) == ["1 answers, not 2"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("{name}", "{name}", True),
        (NAMES[2], NAMES[2], True),
        ("{name}", NAMES[0], False),  # somebody else's
        ("at 2026-11-28T11:00:00Z", "at 2026-11-29T12:30:10.5Z", True),
        (f"token {'a' * 64}", f"token {'B' * 64}", True),
        ("3 meats", "4 meats", False),
        ("/login/", "/logout/", False),
    ],
)
async def test_what_counts_as_the_same(one, other, same):
    async with Visitor("", NAMES[0]) as first, Visitor("", NAMES[1]) as second:
        texts = first.same(one.format(name=first.name)), second.same(other.format(name=second.name))
    assert (texts[0] == texts[1]) is same
