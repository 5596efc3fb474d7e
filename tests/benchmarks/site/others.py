"""The asynchronous views once more, in FastAPI and Litestar with SQLAlchemy and asyncpg.

As their documentation shows it: a session for each request, by dependency injection.
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from litestar import Litestar, MediaType, get
from litestar.di import Provide
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# As many connections as there are clients: those beyond the pool's size would not be kept.
engine = create_async_engine(
    f"postgresql+asyncpg://postgres@127.0.0.1/{os.environ['BENCHMARK_DATABASE']}", pool_size=16
)


class Base(DeclarativeBase):
    pass


class Group(Base):
    __tablename__ = "auth_group"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(150))


async def open_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session


async def names(session: AsyncSession, count: int) -> str:
    return "\n".join([(await session.get_one(Group, pk)).name for pk in range(1, count + 1)])


fastapi = FastAPI()


@fastapi.get("/async/0/")
async def nothing() -> Response:
    return Response("", media_type="text/plain")


@fastapi.get("/async/{count}/")
async def read(count: int, session: Annotated[AsyncSession, Depends(open_session)]) -> Response:
    return Response(await names(session, count), media_type="text/plain")


@get("/async/0/", media_type=MediaType.TEXT)
async def litestar_nothing() -> str:
    return ""


@get("/async/{count:int}/", media_type=MediaType.TEXT)
async def litestar_read(count: int, session: AsyncSession) -> str:
    return await names(session, count)


litestar = Litestar(
    route_handlers=[litestar_nothing, litestar_read],
    dependencies={"session": Provide(open_session)},
    openapi_config=None,
)
