"""Puts what really exists into generated requests: without it every one of them would be refused, or find nothing."""

import itertools
import json
import os
import zlib

import schemathesis

KEY = os.environ["CALLDATA_KEY"]
TENANT = os.environ["CALLDATA_TENANT"]
CLIENT = os.environ["CALLDATA_CLIENT"]
CALL = os.environ["CALLDATA_CALL"]
CALLER = os.environ["CALLDATA_CALLER"]


def draw(value, one_of):
    """Chance, but the same for the same request, so that a run can be repeated."""
    return zlib.crc32(json.dumps(value, default=str, sort_keys=True).encode(errors="surrogatepass")) % one_of


# What there is in the native interface.
REAL = {"sessions": os.environ["CALLDATA_SESSION"], "webhooks": os.environ["CALLDATA_WEBHOOK"], "erasures": os.environ["CALLDATA_ERASURE"]}
NATIVE = "/v1/"
REQUESTS = itertools.count(1)
FORMATS = ["json", "xml", "html", "text"]
PAGE_SIZES = ["5", "10", "20", "50", "100"]


@schemathesis.hook
def map_query(context, query):
    if not isinstance(query, dict):
        return query
    luck = draw(query, 100)
    if context.operation.path.startswith(NATIVE):
        return native_query(query, luck)
    if luck < 95:
        query["clientId"] = CLIENT
    if "wait" in query and str(query["wait"]).isdigit():
        # Up to 30 s would be too long for all of them.
        query["wait"] = "1" if luck == 1 else "0"
    if luck < 60 and {"caller", "callid"} & query.keys():
        query["caller"], query["callid"] = CALLER, CALL
    if luck < 40 and "caller" in query:
        # The rest is usable as well, so that a record is found and written.
        query["timeLimit"] = "86400"
        query["format"] = FORMATS[luck % 4]
        query.pop("countryCode", None)
        query.pop("wait", None)
    return query


def native_query(query, luck):
    if luck < 60:
        # Most of what is made up would be refused; this is not, unless what is left is.
        usable = {"from": "2024-01-01T00:00:00Z", "to": "2034-01-01T00:00:00+01:00", "countryCode": "+49", "caller": CALLER}
        usable |= {"timeZone": "Europe/Berlin", "format": ["sessions", "csv", "vcon"][luck % 3], "action": "read"}
        query.update({name: value for name, value in usable.items() if name in query})
        for other in ("cursor", "keyId", "message"):
            query.pop(other, None)
        query.pop("text" if luck % 2 else "count", None)
    return query


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    path = context.operation.path
    if not isinstance(path_parameters, dict) or not path.startswith(NATIVE):
        return path_parameters
    # What is there has to stay there.
    if draw(path_parameters, 100) < 70 and context.operation.method != "delete":
        path_parameters["id"] = REAL[path.split("/")[2]]
    return path_parameters


@schemathesis.hook
def map_headers(context, headers):
    if context.operation.path.startswith(NATIVE) and headers and draw(dict(headers), 100) < 60:
        for name in headers:
            if name in ("If-Match", "If-None-Match"):
                headers[name] = "*"
    return headers


def native_body(path, body, luck):
    if path.endswith("callers:erase"):
        # What is there has to stay there.
        body["caller"] = f"+4930999{luck:02}"
    elif "caller" in body and luck < 60:
        body["caller"] = CALLER
    if str(body.get("url")).startswith("http") or (isinstance(body.get("url"), str) and luck < 30):
        # Nothing is to be sent to anybody.
        body["url"] = f"https://calls.invalid/{luck}"
        if isinstance(body.get("events"), list) and all(isinstance(event, str) for event in body["events"]):
            body["events"] = ["session.erased"]
    if luck < 75:
        times = [body, *(item for name in ("turns", "answers") for item in body.get(name) or [] if isinstance(item, dict))]
        for item in times:
            for name in ("startedAt", "endedAt", "updatedAt", "requestedAt", "repliedAt", "createdAt"):
                if item.get(name) is not None:
                    item[name] = f"2026-01-02T10:00:{luck % 60:02}Z"
        if "countryCode" in body:
            body["countryCode"] = "+49"
        if "id" in body:
            body["id"] = None
    return body


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    luck = draw(body, 100)
    if context.operation.path.startswith(NATIVE):
        return native_body(context.operation.path, body, luck)
    if "tenantId" in body and luck < 95:
        body["tenantId"] = TENANT
    if "authToken" in body and luck < 90:
        body["authToken"] = KEY
    if "appKey" in body:
        # Twenty wrong secrets in a row would lock everybody out of the tenant (OIF-A4).
        body["appKey"] = TENANT if luck < 95 else body["appKey"]
        body["appSecret"] = KEY if body["appKey"] == TENANT else body.get("appSecret")
    if "tenantId" in body and luck < 60:
        if isinstance(body.get("params"), dict):
            body["params"]["userMobile"] = CALLER
        else:
            body["callId"], body["userMobile"] = CALL, CALLER
    if "tenantId" in body and luck < 40:
        # The rest is usable as well, so that records are found and written.
        body["pageNum"], body["pageSize"] = "1", PAGE_SIZES[luck % 5]
        for other in ("beginTime", "endTime", "ctiCallId"):
            body.pop(other, None)
    return body


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@schemathesis.hook
def before_call(context, case, **_):
    if case.operation.path.startswith(NATIVE):
        # Each request comes from somewhere else: else those without a key would soon be locked out, all of them alike.
        number = next(REQUESTS)
        case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    # A health check is an empty 200 without a key, whatever else is asked (PAR-A5). A description can say neither.
    if isinstance(case.query, dict):
        case.query.pop("parloa-health-check", None)
