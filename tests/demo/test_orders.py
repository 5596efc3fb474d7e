"""The smokehouse's orders: listed, filtered, taken, changed, deleted, by those who may."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.urls import reverse

from demo_site.models import Order

pytestmark = pytest.mark.django_db

VALID = {
    "customer": "Ada",
    "meat": "ribs",
    "kilograms": "2.5",
    "pickup_on": "2026-12-24",
    "status": "open",
    "note": "",
}


@pytest.fixture
def cook():
    return User.objects.create_user("cook", password="smoke-all-day")


@pytest.fixture
def browse():
    """Send a request of a client that may be logged in, and follow where it leads."""
    client = AsyncClient(headers={"accept": "text/html"})

    def browse(path, data=None, *, user=None, **headers):
        if user:
            client.force_login(user)
        call = client.get if data is None else client.post
        return async_to_sync(call)(path, data, follow=True, headers=headers)

    return browse


@pytest.fixture
def orders(cook):
    day = dt.date(2026, 12, 1)
    return Order.objects.bulk_create(
        Order(
            customer=f"Guest {number}",
            meat="ribs",
            kilograms=Decimal("1.5"),
            pickup_on=day + dt.timedelta(days=number // 2),
            status=Order.Status.READY if number % 3 == 0 else Order.Status.OPEN,
            taken_by=cook if number % 2 else None,
        )
        for number in range(13)
    )


def listed(response):
    return [order.customer for order in response.context["object_list"]]


def test_the_list_has_pages(browse, orders, django_assert_num_queries):
    with django_assert_num_queries(2):
        first = browse("/orders/")
    assert listed(first) == [f"Guest {number}" for number in range(10)]
    assert "Page 1 of 2, 13 orders" in first.text
    assert listed(browse("/orders/?page=2")) == ["Guest 10", "Guest 11", "Guest 12"]
    assert browse("/orders/?page=3").status_code == 404


@pytest.mark.parametrize(
    ("query", "customers"),
    [
        ("?status=ready", ["Guest 0", "Guest 3", "Guest 6", "Guest 9", "Guest 12"]),
        ("?status=ready&customer=T+1", ["Guest 12"]),
        ("?status=&customer=t+12", ["Guest 12"]),
        ("?status=fetched", []),
    ],
)
def test_the_list_can_be_filtered(browse, orders, query, customers):
    assert listed(browse(f"/orders/{query}")) == customers


def test_the_pages_of_a_filtered_list_are_filtered(browse, orders):
    page = browse("/orders/?customer=guest").text
    assert 'href="?customer=guest&amp;page=2"' in page


@pytest.mark.parametrize("query", ["?status=burned", f"?customer={'x' * 61}"])
def test_a_filter_that_does_not_fit_is_explained(browse, query):
    response = browse(f"/orders/{query}")
    assert response.status_code == 422
    assert "Unprocessable Content" in response.text


def test_an_order(browse, orders):
    page = browse(orders[1].get_absolute_url()).text
    assert "<h1>1.5 kg of ribs for Guest 1</h1>" in page
    assert "with 1 other order\n" in page or "with 1 other order<" in page
    assert "by cook" in page
    assert browse("/orders/999/").status_code == 404


@pytest.mark.parametrize("path", ["/orders/new/", "/orders/1/change/", "/orders/1/delete/"])
def test_who_changes_something_is_asked_who_it_is(browse, path):
    response = browse(path)
    assert response.redirect_chain == [(f"{reverse('login')}?next={path}", 302)]
    response = browse(path, accept="application/json")
    assert (response.status_code, response.json()["title"]) == (401, "Authentication required")


def test_logging_in_leads_back(browse, cook):
    sent = {"username": "cook", "password": "smoke-all-day", "next": "/orders/new/"}
    response = browse("/orders/login/?next=/orders/new/", sent)
    assert response.redirect_chain == [("/orders/new/", 302)]
    assert "Take an order" in response.text


def test_signing_up_logs_in(browse):
    sent = {"username": "ada", "password1": "smoke-all-day", "password2": "smoke-all-day"}
    response = browse("/orders/sign-up/", sent)
    assert response.redirect_chain == [("/orders/", 302)]
    assert "<span>ada</span>" in response.text


def test_an_order_is_taken(browse, cook):
    response = browse("/orders/new/", VALID, user=cook)
    order = Order.objects.get()
    assert (order.customer, order.taken_by) == ("Ada", cook)
    assert response.redirect_chain == [(order.get_absolute_url(), 302)]
    assert "Took the order of Ada." in response.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kilograms": "0"}, "Ensure this value is greater than or equal to 0.1."),
        ({"meat": "tofu"}, "Select a valid choice."),
        ({"pickup_on": "tomorrow"}, "Enter a valid date."),
        ({}, "This customer has ordered that for this day already."),
    ],
)
def test_an_order_that_is_not_valid_is_explained(browse, cook, wrong, said):
    browse("/orders/new/", VALID, user=cook)
    assert said in browse("/orders/new/", VALID | wrong).text
    assert Order.objects.count() == 1


def test_an_order_is_changed(browse, cook, orders):
    path = f"/orders/{orders[2].pk}/change/"
    assert 'value="Guest 2"' in browse(path, user=cook).text
    response = browse(path, VALID)
    assert "Changed the order of Ada." in response.text
    assert Order.objects.get(pk=orders[2].pk).customer == "Ada"


def test_only_who_has_taken_an_order_deletes_it(browse, cook, orders):
    others, own = orders[:2]
    assert browse(f"/orders/{others.pk}/delete/", {}, user=cook).status_code == 403
    assert "Delete 1.5 kg of ribs for Guest 1?" in browse(f"/orders/{own.pk}/delete/").text
    response = browse(f"/orders/{own.pk}/delete/", {})
    assert response.redirect_chain == [("/orders/", 302)]
    assert "Deleted the order." in response.text
    assert not Order.objects.filter(pk=own.pk).exists()
    assert Order.objects.filter(pk=others.pk).exists()


def test_the_front_page_links_to_the_orders(browse):
    assert f'<a href="{reverse("orders")}">' in browse("/").text


def test_what_a_customer_is_called_is_no_markup(browse, cook):
    name = "<script>alert(1)</script>"
    page = browse("/orders/new/", VALID | {"customer": name, "note": name}, user=cook).text
    assert "<script>" not in page
    assert "<script>" not in browse(f"/orders/?customer={name}").text
