"""Stores, fetches and pages with a client that openapi-python-client makes. Run by scripts/clients."""

import json
import os

from calldata_client import Client
from calldata_client.api.calldata import fetch_call_data, store_call_data
from calldata_client.api.records import get_token, query_record_history
from calldata_client.models.history_request import HistoryRequest
from calldata_client.models.miss import Miss
from calldata_client.models.post_request import PostRequest
from calldata_client.models.posted_input import PostedInput
from calldata_client.models.token_request import TokenRequest

url, key, client_id, tenant_id = (os.environ["CALLDATA_" + name] for name in ("URL", "KEY", "CLIENT", "TENANT"))

gateway = Client(base_url=url, headers={"x-functions-key": key})
caller = "+4930123456"
fields = {"intent": "pay", "amount": 1.5, "big": 12345678901234567890, "order": {"lines": [1, "two", None], "note": "Grüße"}}

for n in range(1, 7):
    posted = PostedInput(callerid=caller, callid=f"call-{n}", timestamp=f"2026-01-02T10:00:0{n}Z", content="Wants to pay")
    posted.additional_properties = fields
    stored = store_call_data.sync(client=gateway, client_id=client_id, body=PostRequest(input_=posted))
    assert stored.choice == "success", stored

fetched = fetch_call_data.sync(client=gateway, client_id=client_id, caller=caller, callid="call-6")
assert (fetched.timestamp, fetched.content) == ("2026-01-02T10:00:06.000Z", "Wants to pay"), fetched
assert fetched.additional_properties == fields, fetched

token = get_token.sync(client=gateway, body=TokenRequest(app_key=tenant_id, app_secret=key))
assert token.expire_time == 3600, token


def page(number):
    asked = HistoryRequest(tenant_id=tenant_id, auth_token=token.auth_token, user_mobile=caller, page_size="5", page_num=number)
    answer = query_record_history.sync(client=gateway, body=asked)
    assert answer.total == 6, answer
    return answer.record_list


pages = [page("1"), page("2")]
assert [[record.call_id for record in records] for records in pages] == [["call-6", "call-5", "call-4", "call-3", "call-2"], ["call-1"]]
assert json.loads(pages[1][0].call_data) == {"content": "Wants to pay", **fields}

# Digits: scripts/clients posted "price": 1.50 and "big": 12345678901234567890. The integer is whole, the fraction is a float; the text is whole.
asked = {"client": gateway, "client_id": client_id, "caller": "+4930999999", "callid": "digits"}
numbers = fetch_call_data.sync_detailed(**asked)
assert (repr(numbers.parsed["price"]), repr(numbers.parsed["big"])) == ("1.5", "12345678901234567890"), numbers
assert numbers.content.endswith(b'"price":1.50,"big":12345678901234567890}'), numbers

miss = fetch_call_data.sync(client=gateway, client_id=client_id, caller=caller, callid="another")
assert isinstance(miss, Miss) and miss.error == "no result found", miss
print("6 stored, 6 on pages of 5 and 1, user-defined fields equal; 1.50 read as 1.5, 12345678901234567890 whole")
