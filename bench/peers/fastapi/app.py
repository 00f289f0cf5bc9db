"""A peer in Python: the three endpoints on FastAPI and SQLAlchemy. DATABASE_URL says where, for aiosqlite or asyncpg."""

import os
import re
import time
from datetime import datetime, timezone
from typing import Annotated, Any

import orjson
from fastapi import Body, FastAPI
from fastapi.responses import Response
from sqlalchemy import BigInteger, Integer, event, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CLIENT, KEY, TENANT = "bench", "bench-key-0123456789", 1
URL = os.environ["DATABASE_URL"]
ON_SQLITE = URL.startswith("sqlite")
Number = Integer if ON_SQLITE else BigInteger

engine = create_async_engine(URL, pool_size=10, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)

if ON_SQLITE:

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection, _record):
        cursor = connection.cursor()
        for setting in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL", "cache_size=-65536", "mmap_size=1073741824"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()


class Base(DeclarativeBase):
    pass


class CallData(Base):
    __tablename__ = "call_data"
    id: Mapped[int] = mapped_column(Number, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(BigInteger)
    call_id: Mapped[str]
    caller: Mapped[str]
    received_at: Mapped[int] = mapped_column(BigInteger)
    fields: Mapped[str]


class Record(Base):
    __tablename__ = "record"
    id: Mapped[int] = mapped_column(Number, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(BigInteger)
    mobile: Mapped[str]
    call_id: Mapped[str]
    start_time: Mapped[int] = mapped_column(BigInteger)
    doc: Mapped[str]


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


def answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def known(client: Any, key: Any) -> bool:
    return client == CLIENT and key == KEY


def plain_number(number: str) -> str:
    """A phone number by which callers can be compared."""
    digits = re.sub(r"\D+", "", number)
    if number.lstrip().startswith("+"):
        return "+" + digits
    if digits.startswith("00"):
        return "+" + digits[2:]
    return "+49" + digits[1:] if digits.startswith("0") else "+" + digits


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@app.post("/api/CallData")
async def store(clientId: str, code: str, posted: Annotated[dict[str, Any], Body(alias="input", embed=True)]):
    if not known(clientId, code):
        return answer({}, 401)
    caller, call = posted.pop("callerid", None), posted.pop("callid", None)
    if not isinstance(caller, str) or not isinstance(call, str):
        return answer({"choice": "fail", "output": {"error": "Required Attributes: callid, callerid"}})
    fields = orjson.dumps(posted).decode()
    async with sessions() as session, session.begin():
        session.add(CallData(tenant_id=TENANT, call_id=call, caller=plain_number(caller), received_at=now_ms(), fields=fields))
    return answer({"choice": "success", "output": {}})


@app.get("/api/CallData")
async def fetch(clientId: str, code: str, caller: str, callid: str, timeLimit: int = 60):
    if not known(clientId, code):
        return answer({}, 401)
    caller = plain_number(caller)
    newest = (
        select(CallData)
        .where(CallData.tenant_id == TENANT, CallData.caller == caller, CallData.call_id == callid)
        .where(CallData.received_at >= now_ms() - timeLimit * 1000)
        .order_by(CallData.received_at.desc())
        .limit(1)
    )
    async with sessions() as session:
        found = await session.scalar(newest)
    if found is None:
        return answer({"error": "no result found"}, 404)
    received = datetime.fromtimestamp(found.received_at / 1000, timezone.utc)
    timestamp = received.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return answer({"caller": caller, "callid": callid, "timestamp": timestamp, **orjson.loads(found.fields)})


@app.post("/oifde/rest/api/queryRecordHistory")
async def history(query: dict[str, Any]):
    if not known(query.get("tenantId"), query.get("authToken")):
        return answer({}, 401)
    page, size = int(query.get("pageNum", 1)), int(query.get("pageSize", 100))
    wanted = (Record.tenant_id == TENANT, Record.mobile == query["userMobile"])
    newest_first = select(Record).where(*wanted).order_by(Record.start_time.desc(), Record.id.desc())
    async with sessions() as session:
        total = await session.scalar(select(func.count()).select_from(Record).where(*wanted))
        records = (await session.scalars(newest_first.limit(size).offset((page - 1) * size))).all()
    documents = [orjson.loads(record.doc) for record in records]
    return answer({"errorCode": 0, "errorMsg": "Success", "total": total, "recordList": documents})
