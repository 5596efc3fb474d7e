"""The smokehouse's orders: generic views, filtered, in pages, and open to those who are logged in."""

from collections.abc import Callable
from typing import Annotated, Any

from django import forms
from django.contrib.auth import alogin
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, reverse_lazy
from pydantic import BaseModel, BeforeValidator, Field

from asyncviews import Query
from asyncviews.auth import LoginRequiredMixin, UserPassesTestMixin
from asyncviews.generic import (
    AsyncCreateView,
    AsyncDeleteView,
    AsyncDetailView,
    AsyncListView,
    AsyncUpdateView,
    SuccessMessageMixin,
)
from demo_site.models import Order
from demo_site.schemas import Text

ORDERS = Order.objects.select_related("taken_by")

NoneIfEmpty = BeforeValidator(lambda value: value or None)
"""What a form sends for a field that was left empty."""


class OrderFilter(BaseModel):
    """What the list can be filtered by: each field is a lookup of the database."""

    status: Annotated[Order.Status | None, NoneIfEmpty] = None
    customer__icontains: Annotated[Text | None, NoneIfEmpty] = Field(None, alias="customer")


class OrderForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable at run time
    pickup_on = forms.DateField(
        label="Fetched on", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    class Meta:
        model = Order
        fields = ("customer", "meat", "kilograms", "pickup_on", "status", "note")


class OrderList(AsyncListView[Order]):
    """All orders, or those that the query asks for, ten a page."""

    queryset = ORDERS
    paginate_by = 10
    template_name = "demo_site/orders/list.html"
    statuses = Order.Status
    wanted: OrderFilter

    async def get(self, request: HttpRequest, wanted: Query[OrderFilter]) -> HttpResponseBase:
        self.wanted = wanted
        return await super().get(request)

    def get_queryset(self) -> QuerySet[Order]:
        return super().get_queryset().filter(**self.wanted.model_dump(exclude_none=True))


class OrderDetail(AsyncDetailView[Order]):
    queryset = ORDERS
    template_name = "demo_site/orders/detail.html"

    async def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = await super().get_context_data(**kwargs)
        same_day = Order.objects.filter(pickup_on=self.object.pickup_on)
        return context | {"others": await same_day.exclude(pk=self.object.pk).acount()}


class TakeOrder(LoginRequiredMixin, SuccessMessageMixin, AsyncCreateView[Order, OrderForm]):
    form_class = OrderForm
    template_name = "demo_site/orders/form.html"
    success_message = "Took the order of %(customer)s."

    async def form_valid(self, form: OrderForm) -> HttpResponse:
        form.instance.taken_by_id = (await self.request.auser()).pk
        return await super().form_valid(form)


class ChangeOrder(LoginRequiredMixin, SuccessMessageMixin, AsyncUpdateView[Order, OrderForm]):
    queryset = ORDERS
    form_class = OrderForm
    template_name = "demo_site/orders/form.html"
    success_message = "Changed the order of %(customer)s."


class DeleteOrder(
    LoginRequiredMixin, UserPassesTestMixin, SuccessMessageMixin, AsyncDeleteView[Order]
):
    """Only for who has taken the order."""

    queryset = ORDERS
    template_name = "demo_site/orders/confirm_delete.html"
    success_url = reverse_lazy("orders")
    success_message = "Deleted the order."
    permission_denied_message = "Only who has taken an order deletes it."

    async def test_func(self) -> bool:
        order = await self.get_object()
        return order.taken_by == await self.request.auser()


class SignUp(AsyncCreateView[User]):
    """A new user, who is logged in at once."""

    form_class = UserCreationForm
    template_name = "demo_site/orders/sign_up.html"
    success_url = reverse_lazy("orders")

    async def form_valid(self, form: "forms.ModelForm[User]") -> HttpResponse:
        response = await super().form_valid(form)
        await alogin(self.request, self.object)
        return response


login: Callable[..., HttpResponseBase] = LoginView.as_view(
    template_name="demo_site/orders/login.html", next_page="orders"
)

urlpatterns = [
    path("", OrderList.as_view(), name="orders"),
    path("new/", TakeOrder.as_view(), name="take-order"),
    path("<int:pk>/", OrderDetail.as_view(), name="order"),
    path("<int:pk>/change/", ChangeOrder.as_view(), name="change-order"),
    path("<int:pk>/delete/", DeleteOrder.as_view(), name="delete-order"),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(next_page="orders"), name="logout"),
    path("sign-up/", SignUp.as_view(), name="sign-up"),
]
