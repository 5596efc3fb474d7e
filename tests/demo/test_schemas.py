"""What the demo reads: defaults, joining, limits."""

import pytest
from pydantic import ValidationError

from demo_site.schemas import SmokeQuery


@pytest.mark.parametrize(
    ("to_smoke", "phrase"),
    [
        ([], "meats"),
        ("", "meats"),
        (" , ", "meats"),
        ("ribs", "ribs"),
        ("Ribs", "Ribs"),
        ("ribs,brisket", "ribs and brisket"),
        (" ribs , lemon chicken ", "ribs and lemon chicken"),
        ("ribs,brisket,salmon", "ribs, brisket, and salmon"),
        ("a,b,c,d", "a, b, c, and d"),
        (["a,b", "c"], "a, b, and c"),
    ],
)
def test_phrase(to_smoke, phrase):
    assert SmokeQuery(to_smoke=to_smoke).phrase() == phrase


def test_the_smoker_gets_items_in_lower_case():
    assert SmokeQuery(to_smoke="Ribs, Lemon Chicken").meats() == ["ribs", "lemon chicken"]


@pytest.mark.parametrize("query", [{}, {"to_smoke": "", "flavor": ""}, {"flavor": " "}])
def test_what_is_absent_or_empty_has_a_default(query):
    smoke_query = SmokeQuery.model_validate(query)
    assert smoke_query.meats() == [
        "ribs",
        "brisket",
        "lemon chicken",
        "salmon",
        "bison sirloin",
        "sausage",
    ]
    assert smoke_query.flavor == "Sweet Baby Ray's"


def test_nobody_can_change_the_defaults():
    SmokeQuery().to_smoke.append("tofu")
    SmokeQuery().meats().append("tofu")
    assert SmokeQuery().phrase() == "meats"
    assert "tofu" not in SmokeQuery().meats()


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"to_smoke": ",".join("abcdefghijklmnopqrstu")}, ("to_smoke",)),
        ({"to_smoke": f"ribs,{'x' * 61}"}, ("to_smoke", 1)),
        ({"to_smoke": "ribs\nforged"}, ("to_smoke", 0)),
        ({"flavor": "x" * 61}, ("flavor",)),
        ({"flavor": "\x1b[2J"}, ("flavor",)),
    ],
)
def test_limits(query, where):
    with pytest.raises(ValidationError) as raised:
        SmokeQuery.model_validate(query)
    assert [error["loc"] for error in raised.value.errors()] == [where]


def test_what_just_fits():
    query = SmokeQuery(to_smoke=",".join(["x" * 60] * 20), flavor="Jalapeño 🌶 " + "y" * 49)
    assert len(query.meats()) == 20
