"""Views with forms answer as Django's do, and leave the same rows, files and messages behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django import forms
from django.contrib.messages import views as messages_views
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.forms import BaseFormSet, formset_factory, inlineformset_factory
from django.http import HttpResponse
from django.test import override_settings
from django.views.generic import CreateView, DeleteView, DetailView, FormView, UpdateView
from django.views.generic.edit import FormMixin, ModelFormMixin

from asyncviews import Query
from asyncviews.generic import (
    AsyncCreateView,
    AsyncDeleteView,
    AsyncDetailView,
    AsyncFormMixin,
    AsyncFormView,
    AsyncUpdateView,
    SuccessMessageMixin,
)
from tests.generic.models import Article, Author, Tag
from tests.generic.twins import Ask, ask, get, post, twins

ARTICLES = Article.objects.select_related("author").prefetch_related("tags")
FIELDS = ["title", "slug", "author", "tags", "published_on", "changed_at"]
VALID = {
    "title": "New",
    "slug": "new",
    "author": "3",
    "tags": ["1", "2"],
    "published_on": "2026-01-02",
    "changed_at": "2026-01-02 12:00",
}


class Contact(forms.Form):
    name = forms.CharField(max_length=10)
    author = forms.ModelChoiceField(Author.objects.all(), required=False)

    def clean_name(self):
        """Look into the database, as validation does where names are unique."""
        if Author.objects.filter(name=self.cleaned_data["name"]).exists():
            raise forms.ValidationError("There is one already.")
        return self.cleaned_data["name"]


class Upload(forms.Form):
    cover = forms.FileField()
    name = forms.CharField(initial="ribs")


# FormView


def contacts(**attributes):
    defaults = {
        "form_class": Contact,
        "success_url": "/articles/1/",
        "template_name": "generic/form.html",
    }
    return twins(FormView, AsyncFormView, **defaults | attributes)


@pytest.mark.parametrize("user", [None, "guest"])
def test_a_form(compare, user):
    asks = [get(), post(), post(name="Ada"), post(name="Dora", author="2"), ask("put")]
    [page, empty, taken, valid, _] = compare(contacts(), *asks, user=user)
    assert '<option value="3">Cleo</option>' in page.content
    assert "This field is required." in empty.content
    assert "There is one already." in taken.content
    assert (valid.status, valid.headers["Location"]) == (302, "/articles/1/")


@pytest.mark.parametrize(
    "attributes",
    [
        {"initial": {"name": "ribs", "author": 2}},
        {"prefix": "contact"},
        {"success_url": None},
        {"form_class": None},
        {"get_initial": lambda self: {"author": Author.objects.get(name="Cleo")}},
        {"get_prefix": lambda self: "p"},
        {"get_form_class": lambda self: Contact},
        {"get_success_url": lambda self: f"/{Author.objects.count()}/"},
        {"get_form_kwargs": lambda self: FormMixin.get_form_kwargs(self) | {"auto_id": False}},
        {"extra_context": {"extra": "more"}},
    ],
)
def test_the_attributes_of_a_form(compare, attributes):
    asks = [get(), post(name="Ada"), post(name="Dora"), post(**{"contact-name": "Dora"})]
    compare(contacts(**attributes), *asks)


def test_the_hooks_of_a_form(compare):
    def djangos_valid(self, form):
        Author.objects.create(pk=9, name=form.cleaned_data["name"])
        return FormView.form_valid(self, form)

    async def our_valid(self, form):
        await Author.objects.acreate(pk=9, name=form.cleaned_data["name"])
        return await AsyncFormView.form_valid(self, form)

    def djangos_invalid(self, form):
        response = FormView.form_invalid(self, form)
        response.status_code = 422
        return response

    async def our_invalid(self, form):
        response = await AsyncFormView.form_invalid(self, form)
        response.status_code = 422
        return response

    def djangos_form(self, form_class=None):
        form = FormView.get_form(self, form_class)
        form.fields["name"].max_length = 5
        return form

    async def our_form(self, form_class=None):
        form = await AsyncFormView.get_form(self, form_class)
        form.fields["name"].max_length = 5
        return form

    views = contacts(
        djangos={
            "form_valid": djangos_valid,
            "form_invalid": djangos_invalid,
            "get_form": djangos_form,
        },
        our={"form_valid": our_valid, "form_invalid": our_invalid, "get_form": our_form},
    )

    def authors():
        return list(Author.objects.values_list("name"))

    [_, invalid, _] = compare(views, get(), post(), post(name="Dora"), left=authors)
    assert invalid.status == 422


@pytest.mark.parametrize("memory", [2_500_000, 0], ids=["in memory", "in a temporary file"])
def test_an_upload(compare, memory):
    kinds = []

    def read(form):
        kinds.append(type(form.cleaned_data["cover"]))
        return HttpResponse(form.cleaned_data["cover"].read())

    async def form_valid(self, form):
        return read(form)

    views = contacts(
        form_class=Upload,
        djangos={"form_valid": lambda self, form: read(form)},
        our={"form_valid": form_valid},
    )
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=memory):
        [_, sent, _, read_back] = compare(
            views, get(), upload(), post(name="ribs"), upload(name="ribs")
        )
    assert "This field is required." in sent.content
    assert read_back.content == "a cover"
    assert all((kind is TemporaryUploadedFile) is (memory == 0) for kind in kinds)


def upload(**data):
    return Uploading(path="/", method="post", data=data)


class Uploading(Ask):
    """Has a new file for each client: the first would read it to its end."""

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        file = SimpleUploadedFile("cover.txt", b"a cover")
        return {**value, "cover": file} if name == "data" else value


def test_a_formset_is_a_form(compare):
    count = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "0"}
    views = contacts(form_class=formset_factory(Contact, extra=2), get_initial=lambda self: [])
    asks = [get(), post(**count, **{"form-0-name": "Ada"}), post(**count), post()]
    [page, taken, valid, _] = compare(views, *asks)
    assert page.content.count("<option") == 8
    assert "There is one already." in taken.content
    assert valid.status == 302


class Contacts(BaseFormSet):
    """As a project writes a formset that is a type parameter, with or without `django_stubs_ext`."""

    form, extra, min_num, max_num, absolute_max = Contact, 2, 0, 9, 9
    can_order = can_delete = validate_min = validate_max = False
    renderer = None


class ContactsPage(AsyncFormView[Contacts]):
    form_class = Contacts
    success_url = "/"
    template_name = "generic/form.html"

    def get_initial(self):
        return []


def test_a_formset_is_a_type_parameter(visit):
    count = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "0"}
    asks = [get(), post(**count, **{"form-1-name": "Ada"}), post(**count)]
    [page, taken, valid] = visit(ContactsPage, *asks)
    assert page.content.count("<option") == 8
    assert "There is one already." in taken.content
    assert valid.status == 302


def test_a_formset_below_an_object(compare):
    formset_class = inlineformset_factory(Author, Article, fields=["title"], extra=0)
    views = twins(
        UpdateView,
        AsyncUpdateView[Author, formset_class],
        model=Author,
        form_class=formset_class,
        template_name="generic/form.html",
        get_initial=lambda self: [],
        get_success_url=lambda self: f"/{len(self.object)}/",
    )
    sent = {"articles-TOTAL_FORMS": "2", "articles-INITIAL_FORMS": "2"}
    for number, pk in enumerate((2, 4)):
        sent |= {f"articles-{number}-id": pk, f"articles-{number}-title": f"New {pk}"}
    asks = [get("/1/"), post("/1/", **sent), post("/1/", **sent | {"articles-0-title": ""})]
    [page, changed, wrong] = compare(views, *asks, route="<int:pk>/")
    assert 'value="Article 2"' in page.content
    assert changed.headers["Location"] == "/2/"
    assert "This field is required." in wrong.content


def test_success_messages(compare):
    attributes = {
        "form_class": Contact,
        "success_url": "/",
        "success_message": "Hello %(name)s",
        "template_name": "generic/form.html",
    }

    class Djangos(messages_views.SuccessMessageMixin, FormView): ...

    class Ours(SuccessMessageMixin, AsyncFormView): ...

    views = twins(Djangos, Ours, **attributes)
    [_, _, page, _] = compare(views, post(), post(name="Dora"), get(), get())
    assert "messages=success:Hello Dora;" in page.content


def test_a_form_below_an_object(compare):
    """As Django's documentation combines FormMixin and DetailView."""

    class Djangos(FormMixin, DetailView):
        def post(self, request, *args, **kwargs):
            self.object = self.get_object()
            form = self.get_form()
            return self.form_valid(form) if form.is_valid() else self.form_invalid(form)

    class Ours(AsyncFormMixin, AsyncDetailView):
        async def post(self, request, *args, **kwargs):
            from asgiref.sync import sync_to_async

            self.object = await self.get_object()
            form = await self.get_form()
            valid = await sync_to_async(form.is_valid)()
            return await (self.form_valid(form) if valid else self.form_invalid(form))

    attributes = {"queryset": ARTICLES, "form_class": Contact, "success_url": "/done/"}
    views = twins(Djangos, Ours, template_name="generic/article_form.html", **attributes)
    asks = [get("/1/"), post("/1/"), post("/1/", name="Dora")]
    [page, _, _] = compare(views, *asks, route="<int:pk>/")
    assert (page.context["object"][1], page.context["form"][0]) == (1, "Contact")


class Typed(AsyncFormView[Contact]):
    form_class = Contact
    template_name = "generic/form.html"

    async def post(self, request, to: Query[int]):
        self.success_url = f"/{to}/"
        return await super().post(request)


@pytest.mark.parametrize(("query", "status"), [("?to=7", 302), ("?to=x", 422)])
def test_put_has_the_parameters_of_post(visit, query, status):
    [posted, put] = visit(Typed, post(f"/{query}", name="Dora"), ask("put", f"/{query}"))
    assert (posted.status, put.status) == (status, 422 if status == 422 else 200)


# CreateView and UpdateView


@pytest.mark.parametrize("user", [None, "guest"])
def test_an_object_is_created(compare, user):
    views = twins(CreateView, AsyncCreateView, model=Article, fields=FIELDS)
    asks = [get(), post(), post(**VALID), post(**VALID), ask("put")]
    [page, empty, created, again, _] = compare(views, *asks, user=user)
    assert '<option value="2">fish</option>' in page.content
    assert "This field is required." in empty.content
    assert (created.status, created.headers["Location"]) == (302, "/articles/5/")
    assert "Article with this Slug already exists." in again.content


@pytest.mark.parametrize("user", [None, "guest"])
def test_an_object_is_changed(compare, user):
    views = twins(UpdateView, AsyncUpdateView, queryset=ARTICLES, fields=FIELDS)
    taken = VALID | {"slug": "article-1"}
    asks = [get("/2/"), post("/2/"), post("/2/", **taken), post("/2/", **VALID), get("/99/")]
    asks += [post("/99/"), ask("put", "/2/")]
    found = compare(views, *asks, route="<int:pk>/", user=user)
    page, _, refused, changed, *missing, _ = found
    assert 'value="Article 2"' in page.content
    assert '<option value="2" selected>fish</option>' in page.content
    assert "Article with this Slug already exists." in refused.content
    assert changed.headers["Location"] == "/articles/2/"
    assert [answer.status for answer in missing] == [404, 404]


class ArticleForm(forms.ModelForm):
    class Meta:
        model = Article
        fields = FIELDS


@pytest.mark.parametrize(
    ("django", "ours"), [(CreateView, AsyncCreateView), (UpdateView, AsyncUpdateView)]
)
@pytest.mark.parametrize(
    "attributes",
    [
        {"model": Article},
        {"model": Article, "fields": ["title"], "form_class": ArticleForm},
        {"queryset": ARTICLES, "form_class": ArticleForm},
        {"queryset": ARTICLES, "fields": FIELDS},
        {"model": Article, "fields": FIELDS, "success_url": "/{id}-{slug}/"},
        {"model": Article, "fields": FIELDS, "prefix": "p", "template_name_suffix": "_detail"},
        {"model": Article, "fields": FIELDS, "initial": {"title": "A title", "author": 2}},
        {"model": Author, "fields": ["name"], "template_name": "generic/form.html"},
        {"get_form_class": lambda self: ArticleForm, "model": Article},
        {"fields": FIELDS},
    ],
)  # fmt: skip
def test_the_attributes_of_model_forms(compare, django, ours, attributes):
    asks = [get("/2/"), post("/2/"), post("/2/", **VALID)]
    compare(twins(django, ours, **attributes), *asks, route="<int:pk>/")


def creating(djangos, ours):
    """Return two views that create an article, each with its own ``form_valid()``."""
    return twins(
        CreateView,
        AsyncCreateView,
        model=Article,
        fields=FIELDS,
        djangos={"form_valid": djangos},
        our={"form_valid": ours},
    )


def test_who_creates_it_is_known(compare):
    def djangos(self, form):
        form.instance.title += f" by {self.request.user}"
        return CreateView.form_valid(self, form)

    async def ours(self, form):
        form.instance.title += f" by {await self.request.auser()}"
        return await AsyncCreateView.form_valid(self, form)

    views = creating(djangos, ours)

    def titles():
        return list(Article.objects.values_list("title", flat=True))

    [_] = compare(views, post(**VALID), user="guest", left=titles)


def test_what_a_hook_that_has_become_async_writes(compare):
    """As the guide's table has it, for one who has a session."""
    from asgiref.sync import sync_to_async

    def djangos(self, form):
        self.object = form.save(commit=False)
        self.object.title += f" by {self.request.user}"
        self.object.save()
        form.save_m2m()
        self.request.session["new"] = self.object.pk
        return HttpResponse(f"{self.request.session['new']}")

    async def ours(self, form):
        self.object = form.save(commit=False)
        self.object.title += f" by {await self.request.auser()}"
        await self.object.asave()
        await sync_to_async(form.save_m2m)()
        await self.request.session.aset("new", self.object.pk)
        return HttpResponse(f"{await self.request.session.aget('new')}")

    views = creating(djangos, ours)

    def tags():
        article = Article.objects.get(slug="new")
        return article.title, list(article.tags.values_list("pk", flat=True))

    [answer] = compare(views, post(**VALID), user="guest", left=tags)
    assert answer.content == "5"


def test_an_upload_is_saved(compare, tmp_path):
    def saved():
        path = Path(Article.objects.get(slug="new").cover.path)
        content = path.read_text()
        path.unlink()
        return path.relative_to(tmp_path), content

    views = twins(CreateView, AsyncCreateView, model=Article, fields=[*FIELDS, "cover"])
    compare(views, upload(**VALID), left=saved)


def test_an_inline_formset_is_saved_with_its_object(compare):
    """What needs a transaction is a plain function."""
    from django.db import transaction

    from asyncviews.transactions import in_transaction

    formset_class = inlineformset_factory(Author, Article, fields=["title", "slug"], extra=1)

    def save(form, formset):
        author = form.save()
        for number, article in enumerate(formset.save(commit=False)):
            article.published_on = "2026-01-01"
            article.changed_at = "2026-01-01T00:00Z"
            article.title += f" {number} of {author}"
            article.save()
        return HttpResponse(author.name)

    def djangos(self, form):
        formset = formset_class(self.request.POST, instance=self.object)
        if not formset.is_valid():
            return self.render_to_response(self.get_context_data(form=form, articles=formset))
        with transaction.atomic(using=self.object._state.db):
            return save(form, formset)

    async def ours(self, form):
        from asgiref.sync import sync_to_async

        formset = formset_class(self.request.POST, instance=self.object)
        if not await sync_to_async(formset.is_valid)():
            context = await self.get_context_data(form=form, articles=formset)
            return self.render_to_response(context)
        return await in_transaction(using=self.object._state.db)(save, form, formset)

    views = twins(
        UpdateView,
        AsyncUpdateView,
        model=Author,
        fields=["name"],
        template_name="generic/article_form.html",
        djangos={"form_valid": djangos},
        our={"form_valid": ours},
    )
    sent = {
        "name": "Dora",
        "articles-TOTAL_FORMS": "1",
        "articles-INITIAL_FORMS": "0",
        "articles-0-title": "One",
    }
    asks = [post("/3/", **sent), post("/3/", **sent, **{"articles-0-slug": "one"})]
    [_, valid] = compare(views, *asks, route="<int:pk>/")
    assert valid.content == "Dora"


def test_forms_live_on_the_requests_thread(visit):
    """They are made, validated, saved and rendered there, by code that may block."""
    threads = {}

    class Watched(ArticleForm):
        def __init__(self, *args, **kwargs):
            threads["made"] = threading.current_thread()
            super().__init__(*args, **kwargs)

        def clean(self):
            threads["validated"] = threading.current_thread()
            return super().clean()

        def save(self, *args, **kwargs):
            threads["saved"] = threading.current_thread()
            return super().save(*args, **kwargs)

        def __str__(self):
            threads["rendered"] = threading.current_thread()
            return "the form"

    class Page(AsyncUpdateView):
        model = Article
        form_class = Watched
        template_name = "generic/form.html"

        async def form_valid(self, form):
            threads["form_valid"] = threading.current_thread()
            return await super().form_valid(form)

    [page, _] = visit(Page, get("/1/"), post("/1/", **VALID), route="<int:pk>/")
    assert "the form" in page.content
    loop = threads.pop("form_valid")
    assert set(threads) == {"made", "validated", "saved", "rendered"}
    assert set(threads.values()) == {threading.main_thread()}  # of who waits for the loop
    assert loop is not threading.main_thread()


# DeleteView


@pytest.mark.parametrize("user", [None, "guest"])
@pytest.mark.parametrize("method", ["post", "delete"])
def test_an_object_is_deleted(compare, user, method):
    views = twins(DeleteView, AsyncDeleteView, model=Article, success_url="/gone/{slug}/")
    asks = [get("/2/"), ask(method, "/2/"), get("/2/"), ask(method, "/2/"), ask("put", "/1/")]
    [page, gone, *missing, _] = compare(views, *asks, route="<int:pk>/", user=user)
    assert "Delete Article 2?" in page.content
    assert (gone.status, gone.headers["Location"]) == (302, "/gone/article-2/")
    assert [answer.status for answer in missing] == [404, 404]


class Confirm(forms.Form):
    sure = forms.BooleanField()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"success_url": "/", "form_class": Confirm},
        {"success_url": "/", "template_name_suffix": "_detail"},
        {"get_success_url": lambda self: f"/{self.object.author}/"},
        {"success_url": "/", "queryset": Article.objects.filter(author=2)},
        {"success_url": "/", "context_object_name": "thing", "initial": {"sure": True}},
    ],
)
def test_the_attributes_of_a_deletion(compare, attributes):
    asks = [get("/1/"), post("/2/"), post("/1/", sure="on"), ask("delete", "/3/")]
    compare(
        twins(DeleteView, AsyncDeleteView, **{"model": Article} | attributes),
        *asks,
        route="<int:pk>/",
    )


def test_the_hooks_of_a_deletion(compare):
    def djangos(self, form):
        Tag.objects.all().delete()
        return DeleteView.form_valid(self, form)

    async def ours(self, form):
        await Tag.objects.all().adelete()
        return await AsyncDeleteView.form_valid(self, form)

    def tags():
        return Tag.objects.count()

    views = twins(
        DeleteView,
        AsyncDeleteView,
        model=Article,
        success_url="/",
        djangos={"form_valid": djangos},
        our={"form_valid": ours},
    )
    compare(views, post("/1/"), ask("delete", "/2/"), route="<int:pk>/", left=tags)


@pytest.mark.parametrize(
    "name", ["get_form_class", "get_form_kwargs", "get_initial", "get_prefix", "get_success_url"]
)
def test_hooks_that_stay_synchronous(compare, name):
    def hook(self):
        seen.append(type(self).__mro__[1])
        return getattr(ModelFormMixin, name)(self)

    seen = []
    views = twins(UpdateView, AsyncUpdateView, model=Article, fields=FIELDS, **{name: hook})
    compare(views, post("/1/", **VALID), route="<int:pk>/")
    assert {UpdateView, AsyncUpdateView} == set(seen)
