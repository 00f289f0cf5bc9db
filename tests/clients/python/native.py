"""The native interface with a client that openapi-python-client makes. Run by scripts/clients."""

import os

from calldata_client import AuthenticatedClient
from calldata_client.api.callers import erase_caller, export_caller, get_erasure, list_audit
from calldata_client.api.sessions import append_turns, create_session, get_session, list_calls, list_sessions, replace_session
from calldata_client.api.webhooks import create_webhook, delete_webhook, list_webhooks, rotate_webhook_secret
from calldata_client.models.additions import Additions
from calldata_client.models.answer import Answer
from calldata_client.models.caller_request import CallerRequest
from calldata_client.models.code import Code
from calldata_client.models.new_webhook import NewWebhook
from calldata_client.models.problem import Problem
from calldata_client.models.session import Session
from calldata_client.models.session_fields_type_0 import SessionFieldsType0
from calldata_client.models.turn import Turn
from calldata_client.types import UNSET

url, key, admin_key = (os.environ["CALLDATA_" + name] for name in ("URL", "KEY", "ADMIN_KEY"))

sessions = AuthenticatedClient(base_url=url, token=key)
caller = "+49 30 123456"
fields = {"customerNumber": "4711", "amount": 1.5, "big": 12345678901234567890, "größe in cm": None, "order": {"lines": [1, "two", None]}}


def start(call_id, second, intent):
    turn = Turn(no="1", user_text="My invoice, please", reply="Which month?", by="bot")
    session = Session(call_id=call_id, caller=caller, started_at=f"2026-01-02T10:00:0{second}.000Z", intent=intent, turns=[turn])
    session.content = {"wish": "an invoice"}
    session.fields = SessionFieldsType0.from_dict(fields)
    return create_session.sync(client=sessions, body=session).id


ids = [start("call-1", 1, "pay"), start("call-2", 2, "ask"), start("call-2", 3, "pay")]

got = get_session.sync_detailed(ids[0], client=sessions)
session, tag = got.parsed, got.headers["ETag"]
assert session.fields.additional_properties == fields, session
assert (session.id, session.call_id, session.caller, session.intent) == (ids[0], "call-1", caller, "pay"), session
assert (session.started_at, session.content, session.source) == ("2026-01-02T10:00:01.000Z", {"wish": "an invoice"}, "native"), session
assert (len(session.received_at), session.flag, session.turns[0].user_text) == (2, UNSET, "My invoice, please"), session

more = Additions(turns=[Turn(no="2", user_text="January")], answers=[Answer(question="Which month?", original="January")])
longer = append_turns.sync_detailed(ids[0], client=sessions, body=more)
assert [turn.no for turn in longer.parsed.turns] == ["1", "2"], longer
assert longer.parsed.answers[0].original == "January", longer

found, cursor = [], UNSET
while cursor is not None:
    page = list_sessions.sync(client=sessions, caller=caller, intent="pay", limit=1, count=True, cursor=cursor)
    assert (len(page.items), page.total) == (1, 2), page
    found.append(page.items[0].id)
    cursor = page.next_ or None
assert found == [ids[2], ids[0]], found

calls = list_calls.sync(client=sessions, caller=caller)
assert [(call.call_id, len(call.sessions)) for call in calls.items] == [("call-2", 2), ("call-1", 1)], calls

session.fields["paid"] = True
session.turns = UNSET
late = replace_session.sync(ids[0], client=sessions, body=session, if_match=tag)
assert isinstance(late, Problem) and late.code == Code.PRECONDITION_FAILED, late
replaced = replace_session.sync(ids[0], client=sessions, body=session, if_match=longer.headers["ETag"])
assert replaced.fields.additional_properties == {**fields, "paid": True} and replaced.turns == [], replaced

wrong = create_session.sync(client=sessions, body=Session(call_id="call-3", caller=caller, started_at="yesterday"))
assert (wrong.status, wrong.code, wrong.field) == (400, Code.INVALID_FIELD, "startedAt"), wrong

person = CallerRequest(caller=caller)
refused = export_caller.sync(client=sessions, body=person)
assert refused.code == Code.NOT_PERMITTED, refused
admin = AuthenticatedClient(base_url=url, token=admin_key)
exported = export_caller.sync(client=admin, body=person)
assert {session.id for session in exported.sessions} == set(ids), exported
assert next(session for session in exported.sessions if session.id == ids[1]).fields.additional_properties == fields, exported
erased = erase_caller.sync(client=admin, body=person)
assert erased.sessions == 3, erased
receipt = get_erasure.sync(erased.id, client=admin)
assert (receipt.id, receipt.caller, receipt.sessions) == (erased.id, erased.caller, 3), receipt
gone = get_session.sync(ids[0], client=sessions)
assert gone.code == Code.NOT_FOUND, gone
audit = list_audit.sync(client=admin, action="erased", caller=erased.caller)
# Noted before it begins, and with their number when it is done.
assert sorted((entry.action, entry.sessions) for entry in audit.items) == [("erased", 0), ("erased", 3)], audit

hook = create_webhook.sync(client=admin, body=NewWebhook(url="https://example.com/hooks/calls", events=["session.erased"]))
rotated = rotate_webhook_secret.sync(hook.id, client=admin)
assert rotated.secret.startswith("whsec_") and rotated.secret != hook.secret
listed = list_webhooks.sync(client=admin)
assert [(item.id, item.events, item.secret) for item in listed.items] == [(hook.id, ["session.erased"], UNSET)], listed
deleted = delete_webhook.sync_detailed(hook.id, client=admin)
assert (deleted.status_code, deleted.parsed) == (204, None), deleted
assert list_webhooks.sync(client=admin).items == []
deleted_again = delete_webhook.sync(hook.id, client=admin)
assert deleted_again.code == Code.NOT_FOUND, deleted_again
print("3 stored, listed, changed, exported and erased, user-defined fields equal; problems, audit and webhooks read")
