"""Which rule the hooks of a middleware class have, and why where that is a thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.utils.deprecation import MiddlewareMixin

from asyncviews.inline_marks import marked_hooks
from asyncviews.inline_packages import Call, installed, known, not_read
from asyncviews.inline_rules import (
    HOOKS,
    INLINE,
    RULES,
    THREAD,
    Rule,
    dotted_path,
    in_thread,
)
from asyncviews.internals import IS_CHECKED

MARK = "inline_capable"
"""The attribute with which a middleware class says that all it defines only computes."""

HARMLESS = {
    "ddtrace.contrib.internal.django.middleware.traced_middleware_wrapper.<locals>"
    ".wrapped_middleware": ("ddtrace", "4.16"),
    "elasticapm.contrib.django.middleware.process_request_wrapper": ("elastic-apm", "6.26"),
    "elasticapm.contrib.django.middleware.process_response_wrapper": ("elastic-apm", "6.26"),
}
"""Wrappers of hooks that only compute themselves, with the package and the version that was read."""


def rules_of(middleware: Any) -> dict[str, Rule]:
    """Return the rules for a middleware, which may have methods that its class does not have."""
    cls = type(middleware)
    found = rules(cls)
    own = getattr(middleware, "__dict__", {}).keys()
    return _as_read(found) if own & _read(cls) else found


def rules(cls: type) -> dict[str, Rule]:
    """Return the rule of each hook of a middleware class; a thread where nobody knows better."""
    entry = known(cls)
    if entry and call_of(cls):
        return dict(entry.rules)
    marked = marked_hooks().get(cls, ())
    reason = why_whole(cls) or why_unknown(cls)
    found = {}
    for hook in HOOKS:
        if owner := next((c for c in cls.__mro__ if hook in vars(c)), None):
            if hook in marked:
                found[hook] = _unless_patched(owner, hook, INLINE)
            else:
                found[hook] = in_thread(reason) if reason else _rule(owner, hook)
    own = {name for c in cls.__mro__ if is_marked(c) for name in vars(c)}
    return _as_read(found) if own & _read(cls) else found


def call_of(cls: type) -> Call | None:
    """Return how to call a synchronous middleware class of a package that is known; else None."""
    entry = known(cls)
    if entry is None or entry.call is None or not IS_CHECKED:
        return None
    return entry.call if not why_whole(cls) else None


def why_whole(cls: type) -> str:
    """Return why a class of which it is known how to call it is called as a whole, if it is."""
    entry = known(cls)
    if entry is None or entry.call is None:
        return ""
    if reason := not_read(entry) or entry.call.whole(cls):
        return reason
    for owner in cls.__mro__[:-1]:
        for name in vars(owner):
            if (_is_method(owner, name) or name == "__call__") and (who := patcher(owner, name)):
                return f"patched by {who}"
    return ""


def _read(cls: type) -> set[str]:
    """Return what the known classes among a class and its bases define besides hooks.

    The conditions of rules were read in it, and hold as long as nobody replaces it.
    """
    read = (c for c in cls.__mro__ if _table(c) is not None)
    return {name for c in read for name in vars(c) if _is_method(c, name)} - {*HOOKS}


def _table(cls: type) -> Mapping[str, Rule] | None:
    """Return the rules for the hooks that a class defines, if somebody has read them."""
    if entry := known(cls):
        return None if entry.call or not_read(entry) else entry.rules
    return RULES.get(dotted_path(cls))


def _is_method(cls: type, name: str) -> bool:
    """Whether a class defines a method or a property of that name, and no special one."""
    return not name.startswith("__") and hasattr(vars(cls)[name], "__get__")


def _as_read(rules: dict[str, Rule]) -> dict[str, Rule]:
    """Return the rules for a class that has replaced some of what the hooks that were read call.

    A hook that is marked, or never blocks, still runs inline: what was read does not block, and the
    mark says the same of what was replaced. A condition may be wrong now.
    """
    reason = in_thread("it overrides what the hook's condition was read in")
    keeps = (rule.settled() is False or rule == THREAD for rule in rules.values())
    return {
        hook: rule if kept else reason
        for (hook, rule), kept in zip(rules.items(), keeps, strict=True)
    }


def why_unknown(cls: type) -> str:
    """Return why nobody knows what the hooks of a class do; empty if somebody does."""
    if not IS_CHECKED:
        return f"Django {django.get_version()} is not known"
    if entry := known(cls):
        return not_read(entry)
    unknown = unknown_bases(cls)
    if not unknown:
        return ""
    if unknown[0] is not cls:
        return f"its base {dotted_path(unknown[0])} is not known"
    read = next((c for c in cls.__mro__ if _table(c) is not None), None)
    if read is None:
        return "not known"
    names = {name for c in unknown for name in vars(c) if name in HOOKS or _is_method(c, name)}
    listed = ", ".join(sorted(names)) or "nothing"
    return f"a subclass of {read.__name__} that overrides {listed}, and is not marked"


def unknown_bases(cls: type) -> list[type]:
    """Return which of a class and its bases are neither in a table nor marked."""
    if not issubclass(cls, MiddlewareMixin) or not IS_CHECKED:
        return [cls]
    classes = [c for c in cls.__mro__ if c not in (MiddlewareMixin, object)]
    return [c for c in classes if _table(c) is None and not is_marked(c)]


def is_marked(cls: type) -> bool:
    """Whether the class itself, not a base of it, is marked."""
    return vars(cls).get(MARK) is True


def _rule(owner: type, hook: str) -> Rule:
    if is_marked(owner):
        refused = iscoroutinefunction(vars(owner)[hook])
        return in_thread("a coroutine function, which Django refuses") if refused else INLINE
    rule = (_table(owner) or {}).get(hook, in_thread("it may block"))
    if django.VERSION[:2] not in rule.versions:
        return in_thread(f"Django {django.get_version()} is not known")
    return _unless_patched(owner, hook, rule)


def _unless_patched(owner: type, hook: str, rule: Rule) -> Rule:
    called = [
        hook,
        *(name for name in vars(owner) if _is_method(owner, name) and name not in HOOKS),
    ]
    who = next(filter(None, (patcher(owner, name) for name in called)), "")
    if rule.asks_hook:
        who = who or patcher(owner, hook, at_all=True)
    return in_thread(f"patched by {who}") if who else rule


# Who has replaced a method


def patcher(owner: type, name: str, *, at_all: bool = False) -> str:
    """Return who has replaced a method of a class, as tools that trace requests do, or its code.

    That is the name of a package; empty if nobody has, or, unless it is asked whether somebody has
    `at_all`, if what was put around the method only computes.
    """
    member = vars(owner)[name]
    function = getattr(member, "fget", None) or getattr(member, "func", None) or member
    function = getattr(function, "__func__", function)
    while not at_all and (inside := _inside_harmless(function)):
        function = inside
    if type(function) is not FunctionType:
        is_code = callable(function) and not isinstance(function, type)
        return wrapper_of(function) if is_code else ""
    if function.__globals__["__name__"] != owner.__module__ or hasattr(function, "__wrapped__"):
        return wrapper_of(function)
    around, _ = _functions_in(function)
    if around is not None:
        return wrapper_of(around)
    compiled = _compiled(owner.__module__)
    is_own = not compiled or function.__code__ in compiled.get(function.__qualname__, ())
    return "" if is_own else "somebody"


def wrapper_of(function: Any) -> str:
    """Return the package whose code runs first when a function is called."""
    wrapper = getattr(function, "_self_wrapper", None)
    if wrapper is not None:
        return _package(wrapper.__module__)
    if type(function) is FunctionType:
        return _package(function.__globals__["__name__"])
    return _package(type(function).__module__)


def _inside_harmless(function: Any) -> Any:
    """Return what a wrapper that only computes is around; None if there is none."""
    around = getattr(function, "_self_wrapper", None)
    inside = getattr(function, "__wrapped__", None)
    if around is None and type(function) is FunctionType:
        around, inside = _functions_in(function)
    if around is None:
        return None
    name = f"{around.__module__}.{around.__qualname__}"
    package, read = HARMLESS.get(name, ("", ""))
    return inside if package and installed(package) == read else None


def _functions_in(function: FunctionType) -> tuple[Any, Any]:
    """Return what was put around a function, and what it was, if its code was replaced as by ddtrace."""
    found = [each for each in function.__code__.co_consts if isinstance(each, FunctionType)]
    return (found[0], found[-1]) if found else (None, None)


def _package(module: str) -> str:
    return module.partition(".")[0]


@cache
def _compiled(module: str) -> dict[str, list[CodeType]]:
    """Return the code of the functions of a module as its file has it, by qualified name.

    Some tools put other code into a function; nothing else tells that. It is empty if the module's
    loader does not give any code.
    """
    spec = sys.modules[module].__spec__
    get_code: Any = getattr(spec.loader, "get_code", None) if spec else None
    found: dict[str, list[CodeType]] = {}
    for code in _functions(get_code(module)) if get_code else ():
        found.setdefault(code.co_qualname, []).append(code)
    return found


def _functions(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _functions(const)
