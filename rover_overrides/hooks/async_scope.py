"""Makes what cacheops keeps for a thread, or does to a function, work for async code."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import funcy
from asgiref.sync import sync_to_async

__all__ = [
    "ContextDecorator",
    "NestingDepth",
    "cached_as_async",
    "cached_async",
    "iscoroutinefunction",
]


class NestingDepth:
    """The number of blocks around the running code.

    It is kept across `await`, and in another thread that runs code for it.
    """

    def __init__(self) -> None:
        self._depth: ContextVar[int] = ContextVar("depth", default=0)

    @property
    def depth(self) -> int:
        """The number of blocks around the running code."""
        return self._depth.get()

    @depth.setter
    def depth(self, depth: int) -> None:
        self._depth.set(depth)


class ContextDecorator(funcy.ContextDecorator):  # type: ignore[misc]
    """A context manager that decorates functions.

    Around an `async def` it lasts until that has finished.
    """

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function wrapped in the context."""
        if not iscoroutinefunction(func):
            decorated: Callable[..., Any] = super().__call__(func)
            return decorated

        @wraps(func)
        async def inner(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await func(*args, **kwargs)

        return inner


def cached_async(
    cache: Any, get_key: Callable[..., str], func: Callable[..., Any], timeout: int | None
) -> Callable[..., Any]:
    """Return an `async def` that stores its results in a simple cache of cacheops.

    The blocking calls of the cache run in a thread.
    """
    # Imported late, because upstream's modules import this one.
    from cacheops.conf import settings
    from cacheops.simple import CacheMiss

    def read_cache(key: str) -> tuple[bool, Any]:
        try:
            return True, cache._get(key)
        except CacheMiss:
            return False, None

    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not settings.CACHEOPS_ENABLED:
            return await func(*args, **kwargs)
        key = await sync_to_async(get_key)(func, args, kwargs)
        hit, result = await sync_to_async(read_cache)(key)
        if not hit:
            result = await func(*args, **kwargs)
            await sync_to_async(cache._set)(key, result, timeout)
        return result

    return wrapper


def cached_as_async(
    func: Callable[..., Any],
    cond_dnfs: Mapping[str, Any],
    dbs: Sequence[str],
    qs_keys: Sequence[str],
    extra: Any,
    timeout: int,
    lock: bool,
    keep_fresh: bool,
) -> Callable[..., Any]:
    """Return an `async def` that is cached like querysets, with blocking calls in a thread."""
    # Imported late, because upstream's modules import this one.
    from cacheops import query, transaction
    from cacheops.conf import settings
    from cacheops.sharding import get_prefix
    from cacheops.signals import cache_read
    from cacheops.utils import get_cache_key

    def call_keys(args: Any, kwargs: Any) -> tuple[str, Callable[..., str]] | None:
        if not settings.CACHEOPS_ENABLED or transaction.transaction_states.is_dirty(dbs):
            return None
        extra_val = extra(*args, **kwargs) if callable(extra) else extra
        prefix = get_prefix(func=func, _cond_dnfs=cond_dnfs, dbs=dbs)
        return prefix, lambda *more: get_cache_key(func, args, kwargs, qs_keys, extra_val, *more)

    def guard_arguments(prefix: str, key: str, other: str) -> dict[str, Any]:
        """Return arguments that keep the result from being stored if the call is invalidated.

        This is what `keep_fresh` does for plain functions.
        """
        if not keep_fresh:
            return {}
        if settings.CACHEOPS_INSIDEOUT:
            never = {"expected_checksum": "never match"}
            return {
                "expected_checksum": query.cache_thing(
                    prefix, key, "", cond_dnfs, timeout, dbs=dbs, **never
                )
            }
        query.cache_thing(prefix, other, "PRECALL", cond_dnfs, timeout, dbs=dbs)
        return {"precall_key": other}

    @wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        prefix_and_key = await sync_to_async(call_keys)(args, kwargs)
        if prefix_and_key is None:
            return await func(*args, **kwargs)
        prefix, key_of = prefix_and_key
        key = f"{prefix}as:{key_of()}"
        async with _enter_in_thread(
            query.getting(key, cond_dnfs, prefix, lock=lock), thread_sensitive=not lock
        ) as data:
            cache_read.send(sender=None, func=func, hit=data is not None)
            if data is not None:
                return data[0]
            guarded = await sync_to_async(guard_arguments)(
                prefix, key, f"{prefix}asp:{key_of(secrets.token_hex())}"
            )
            result = await func(*args, **kwargs)
            await sync_to_async(query.cache_thing)(
                prefix, key, result, cond_dnfs, timeout, dbs=dbs, **guarded
            )
            return result

    return wrapper


@asynccontextmanager
async def _enter_in_thread(manager: Any, *, thread_sensitive: bool) -> AsyncIterator[Any]:
    """Enter and exit a blocking context manager in a thread.

    One that waits for a lock gets a thread of its own: the holder of the lock may need the thread
    that such calls share.
    """
    entered = await sync_to_async(manager.__enter__, thread_sensitive=thread_sensitive)()
    try:
        yield entered
    except BaseException:
        if not await sync_to_async(manager.__exit__, thread_sensitive=thread_sensitive)(
            *sys.exc_info()
        ):
            raise
    else:
        await sync_to_async(manager.__exit__, thread_sensitive=thread_sensitive)(None, None, None)
