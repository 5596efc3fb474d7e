"""What comes in from outside, as pydantic models: queries, and what a third-party API answers."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, field_validator

from asyncviews import CommaSeparated

Meat = Literal["ribs", "brisket", "lemon chicken", "salmon", "bison sirloin", "sausage"]
MEATS: tuple[Meat, ...] = get_args(Meat)
FLAVOR = "Sweet Baby Ray's"


def check_printable(text: str) -> str:
    """Refuse what could forge a line of the log, or give orders to the terminal that shows it."""
    if not text.isprintable():
        raise ValueError("only printable characters, on one line")
    return text


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=60),
    AfterValidator(check_printable),
]


class SmokeQuery(BaseModel):
    """``?to_smoke=ribs,brisket&flavor=Honey``; what is absent or empty has a default."""

    to_smoke: CommaSeparated[Text] = Field(default=[], max_length=20)
    flavor: Text = FLAVOR

    @field_validator("flavor")
    @classmethod
    def replace_empty_flavor(cls, flavor: str) -> str:
        return flavor or FLAVOR

    def meats(self) -> list[str]:
        """Return what the smoker gets."""
        return [item.lower() for item in self.to_smoke] or list(MEATS)

    def phrase(self) -> str:
        """Return what the answer calls it: "a", "a and b", "a, b, and c"."""
        match self.to_smoke:
            case []:
                return "meats"
            case [only]:
                return only
            case [first, second]:
                return f"{first} and {second}"
        *others, last = self.to_smoke
        return f"{', '.join(others)}, and {last}"


class Weather(BaseModel):
    """What the weather API answers."""

    place: str
    sky: str
    celsius: float
