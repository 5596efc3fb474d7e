"""A nested body of 10 kB in, validated, and ten of them out, serialized as declared."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field


class Cut(BaseModel):
    name: str = Field(max_length=40)
    kilograms: float = Field(gt=0)
    tags: list[str] = []


class Meat(BaseModel):
    animal: str
    cuts: list[Cut]


class Order(BaseModel):
    customer: str = Field(max_length=60)
    number: int
    meats: list[Meat]


def order() -> dict[str, Any]:
    """Return an order that is 10 kB of JSON."""
    cuts = [
        {"name": f"cut number {number}", "kilograms": number + 0.5, "tags": ["smoked", "dry aged"]}
        for number in range(10)
    ]
    meats = [{"animal": f"animal number {number}", "cuts": cuts} for number in range(14)]
    return {"customer": "Jace", "number": 7, "meats": meats}


BODY = json.dumps(order(), separators=(",", ":")).encode()
ANSWER = [order()] * 10
INVALID_BODY = BODY.replace(b'"number":7', b'"number":"seven"')


def answer(order: Order) -> list[Order]:
    return [order] * 10
