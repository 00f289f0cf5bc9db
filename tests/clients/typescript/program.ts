// Stores, fetches and pages with a client that openapi-typescript and openapi-fetch make. Run by scripts/clients.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./calldata.js";

const { CALLDATA_URL: baseUrl = "", CALLDATA_KEY: key = "", CALLDATA_CLIENT: clientId = "", CALLDATA_TENANT: tenantId = "" } = process.env;

const gateway = createClient<paths>({ baseUrl, headers: { "x-functions-key": key } });
const caller = "+4930123456";
const fields = { intent: "pay", amount: 1.5, paid: false, order: { lines: [1, "two", null], note: "Grüße" } };

for (const n of [1, 2, 3, 4, 5, 6]) {
  const input = { callerid: caller, callid: `call-${n}`, timestamp: `2026-01-02T10:00:0${n}Z`, content: "Wants to pay", ...fields };
  const stored = await gateway.POST("/api/CallData", { params: { query: { clientId } }, body: { input } });
  assert.equal(stored.data?.choice, "success");
}

const fetched = await gateway.GET("/api/CallData", { params: { query: { clientId, caller, callid: "call-6" } } });
assert.deepEqual(fetched.data, { caller, callid: "call-6", timestamp: "2026-01-02T10:00:06.000Z", content: "Wants to pay", ...fields });

const token = await gateway.POST("/oifde/rest/api/gettoken", { body: { appKey: tenantId, appSecret: key } });
assert.equal(token.data?.expireTime, 3600);
const authToken = token.data?.authToken ?? "";

const page = async (pageNum: string) => {
  const body = { tenantId, authToken, userMobile: caller, pageSize: "5", pageNum };
  const { data } = await gateway.POST("/oifde/rest/api/queryRecordHistory", { body });
  assert.equal(data?.total, 6);
  return data.recordList;
};
const pages = [await page("1"), await page("2")];
assert.deepEqual(pages.map((records) => records.map((record) => record.callId)), [["call-6", "call-5", "call-4", "call-3", "call-2"], ["call-1"]]);
assert.deepEqual(JSON.parse(pages[1]?.[0]?.callData ?? ""), { content: "Wants to pay", ...fields });

// Digits: scripts/clients posted "price": 1.50 and "big": 12345678901234567890. As JavaScript's numbers they are shorter; as text they are whole.
const query = { clientId, caller: "+4930999999", callid: "digits" };
const numbers = await gateway.GET("/api/CallData", { params: { query } });
assert.ok(typeof numbers.data === "object" && "caller" in numbers.data);
assert.equal(String(numbers.data.price), "1.5");
assert.equal(String(numbers.data.big), "12345678901234567000");
const text = await gateway.GET("/api/CallData", { params: { query }, parseAs: "text" });
assert.ok(text.data?.endsWith('"price":1.50,"big":12345678901234567890}'));

const miss = await gateway.GET("/api/CallData", { params: { query: { clientId, caller, callid: "another" } } });
assert.deepEqual(miss.data, { error: "no result found" });
console.log("6 stored, 6 on pages of 5 and 1, user-defined fields equal; 1.50 read as 1.5, 12345678901234567890 as 12345678901234567000");
