"""What type checkers say of generic views: each comment is what is expected of its line."""

from typing import Any, reveal_type

from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.forms import BaseFormSet, BaseInlineFormSet, Form, ModelForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from pydantic import BaseModel

from asyncviews import Query
from asyncviews.auth import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from asyncviews.generic import (
    AsyncBaseListView,
    AsyncCreateView,
    AsyncDeleteView,
    AsyncDetailView,
    AsyncFormView,
    AsyncListView,
    AsyncRedirectView,
    AsyncTemplateView,
    AsyncUpdateView,
    AsyncYearArchiveView,
    SuccessMessageMixin,
)
from asyncviews.transactions import in_transaction


class UserFilter(BaseModel):
    is_staff: bool | None = None


class Users(LoginRequiredMixin, AsyncListView[User]):
    model = User
    paginate_by = 10

    async def get(self, request: HttpRequest, wanted: Query[UserFilter]) -> HttpResponseBase:
        reveal_type(wanted)  # note: UserFilter
        response = await super().get(request)
        reveal_type(self.object_list)  # note: QuerySet[django.contrib.auth.models.User
        return response

    def get_queryset(self) -> QuerySet[User]:
        reveal_type(super().get_queryset())  # note: QuerySet[django.contrib.auth.models.User
        return super().get_queryset().filter(is_staff=True)

    async def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = await super().get_context_data(**kwargs)
        reveal_type(context)  # note: dict[str, Any]
        paginator, page, users, _ = self.paginate_queryset(self.object_list, 10)
        reveal_type(paginator)  # note: Paginator[django.contrib.auth.models.User]
        reveal_type(page)  # note: Page[django.contrib.auth.models.User]
        reveal_type(users)  # note: QuerySet[django.contrib.auth.models.User
        return context | {"count": await self.object_list.acount()}


class Groups(AsyncListView[Group]):
    model = User  # error: assignment


class UserPage(PermissionRequiredMixin, AsyncDetailView[User]):
    permission_required = "auth.view_user"

    async def get_object(self, queryset: QuerySet[User] | None = None) -> User:
        user = await super().get_object(queryset)
        reveal_type(user)  # note: django.contrib.auth.models.User
        return user

    async def has_permission(self) -> bool:
        return await super().has_permission()


class UserForm(ModelForm[User]):
    def greeting(self) -> str:
        return "hello"


class NewUser(SuccessMessageMixin, AsyncCreateView[User, UserForm]):
    form_class = UserForm

    async def form_valid(self, form: UserForm) -> HttpResponse:
        reveal_type(form.greeting())  # note: str
        response = await super().form_valid(form)
        reveal_type(self.object)  # note: User | None
        return response


class AnyForm(AsyncCreateView[User]):
    fields = ("username",)

    async def form_valid(self, form: ModelForm[User]) -> HttpResponse:
        return await super().form_valid(form)


class Contact(Form): ...


class ContactPage(AsyncFormView[Contact]):
    form_class = Contact

    async def form_valid(self, form: Contact) -> HttpResponse:
        reveal_type(await self.get_form())  # note: Contact
        return await super().form_valid(form)


class WrongForm(AsyncFormView[Contact]):
    form_class = UserForm  # error: assignment


class ContactFormSet(BaseFormSet[Contact]):
    def senders(self) -> int:
        return len(self.forms)


class ContactsPage(AsyncFormView[ContactFormSet]):
    form_class = ContactFormSet

    async def form_valid(self, form: ContactFormSet) -> HttpResponse:
        reveal_type((await self.get_form()).senders())  # note: int
        return await super().form_valid(form)


PermissionFormSet = BaseInlineFormSet[Permission, Group, ModelForm[Permission]]


class GroupPermissions(AsyncUpdateView[Group, PermissionFormSet]):
    async def form_valid(self, form: PermissionFormSet) -> HttpResponse:
        reveal_type(form.instance)  # note: django.contrib.auth.models.Group
        return await super().form_valid(form)


class UserNames(AsyncBaseListView[User]):
    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        reveal_type(self.object_list)  # note: QuerySet[django.contrib.auth.models.User
        return JsonResponse({"names": [user.username for user in self.object_list]})


class Remove(UserPassesTestMixin, AsyncDeleteView[User]):
    async def test_func(self) -> bool:
        return (await self.get_object()).is_active

    def get_success_url(self) -> str:
        reveal_type(self.object)  # note: django.contrib.auth.models.User
        return "/"


class SyncTest(UserPassesTestMixin, AsyncTemplateView):
    def test_func(self) -> bool:
        return True


class Away(AsyncRedirectView):
    async def get_redirect_url(self, *args: Any, **kwargs: Any) -> str | None:
        return await super().get_redirect_url(*args, **kwargs)


class Year(AsyncYearArchiveView[User]):
    date_field = "date_joined"

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _, users, _ = await self.get_dated_items()
        reveal_type(users)  # note: QuerySet[django.contrib.auth.models.User
        return await super().get(request, *args, **kwargs)


class Sync(AsyncListView[User]):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:  # error: override
        return {}


def weigh(kilograms: float, *, times: int = 1) -> float:
    return kilograms * times


async def handler() -> None:
    reveal_type(await in_transaction(weigh, 1.5, times=2))  # note: float
    await in_transaction(weigh, "ribs")  # error: call-overload
    reveal_type(await in_transaction(using="archive")(weigh, 1.5, times=2))  # note: float
    await in_transaction(using="archive")(weigh, "ribs")  # error: call-overload
    in_transaction(using=1)  # error: call-overload
