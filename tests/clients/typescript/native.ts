// The native interface with a client that openapi-typescript and openapi-fetch make. Run by scripts/clients.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./calldata.js";

const { CALLDATA_URL: baseUrl = "", CALLDATA_KEY: key = "", CALLDATA_ADMIN_KEY: adminKey = "" } = process.env;

// A session is also given as a vCon, of type unknown: the second type says that JSON is read.
type Json = "application/json" | "application/problem+json";
const sessions = createClient<paths, Json>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const caller = "+49 30 123456";
const fields = { customerNumber: "4711", amount: 1.5, paid: false, "größe in cm": null, order: { lines: [1, "two", null] } };

const start = async (callId: string, second: number, intent: string) => {
  const turns = [{ no: "1", userText: "My invoice, please", reply: "Which month?", by: "bot" }];
  const body = { callId, caller, startedAt: `2026-01-02T10:00:0${second}.000Z`, intent, content: { wish: "an invoice" }, fields, turns };
  const { data, response } = await sessions.POST("/v1/sessions", { body });
  assert.equal(response.status, 201);
  return data?.id ?? "";
};
const id = await start("call-1", 1, "pay");
const ids = [id, await start("call-2", 2, "ask"), await start("call-2", 3, "pay")];

const path = { id };
const { data: got, response } = await sessions.GET("/v1/sessions/{id}", { params: { path } });
const { receivedAt, turns: said, ...rest } = got ?? assert.fail();
const expected = { id, callId: "call-1", caller, startedAt: "2026-01-02T10:00:01.000Z", intent: "pay", source: "native", answers: [] };
assert.deepEqual(rest, { ...expected, content: { wish: "an invoice" }, fields });
assert.deepEqual([receivedAt?.length, said?.[0]?.userText, said?.[0]?.by], [2, "My invoice, please", "bot"]);

const additions = { turns: [{ no: "2", userText: "January" }], answers: [{ question: "Which month?", original: "January" }] };
const longer = await sessions.POST("/v1/sessions/{id}/turns", { params: { path }, body: additions });
assert.deepEqual(longer.data?.turns?.map((turn) => turn.no), ["1", "2"]);
assert.equal(longer.data?.answers?.[0]?.original, "January");
assert.deepEqual(longer.data?.fields, fields);

const found: (string | null | undefined)[] = [];
for (let cursor: string | undefined; ; ) {
  const { data } = await sessions.GET("/v1/sessions", { params: { query: { caller, intent: "pay", limit: 1, count: true, cursor } } });
  assert.deepEqual([data?.items.length, data?.total], [1, 2]);
  found.push(data?.items[0]?.id);
  if (!data?.next) break;
  cursor = data.next;
}
assert.deepEqual(found, [ids[2], ids[0]]);

const calls = await sessions.GET("/v1/calls", { params: { query: { caller } } });
assert.deepEqual(calls.data?.items.map((call) => [call.callId, call.sessions.length]), [["call-2", 2], ["call-1", 1]]);

const replace = (tag: string | null) => {
  const params = { path, header: { "If-Match": tag ?? assert.fail() } };
  return sessions.PUT("/v1/sessions/{id}", { params, body: { callId: "call-1", caller, fields: { ...fields, paid: true } } });
};
const late = await replace(response.headers.get("ETag"));
assert.deepEqual([late.response.status, late.error?.code], [412, "precondition-failed"]);
const replaced = await replace(longer.response.headers.get("ETag"));
assert.deepEqual([replaced.data?.fields, replaced.data?.turns], [{ ...fields, paid: true }, []]);

const wrong = await sessions.POST("/v1/sessions", { body: { callId: "call-3", caller, startedAt: "yesterday" } });
assert.deepEqual([wrong.error?.status, wrong.error?.code, wrong.error?.field], [400, "invalid-field", "startedAt"]);

const refused = await sessions.POST("/v1/callers:export", { body: { caller } });
assert.equal(refused.error?.code, "not-permitted");
const admin = createClient<paths, Json>({ baseUrl, headers: { Authorization: `Bearer ${adminKey}` } });
const exported = await admin.POST("/v1/callers:export", { body: { caller } });
assert.equal(exported.data?.sessions.length, 3);
assert.deepEqual(exported.data?.sessions.find((session) => session.id === ids[1])?.fields, fields);
const erased = await admin.POST("/v1/callers:erase", { body: { caller } });
assert.equal(erased.data?.sessions, 3);
const receipt = await admin.GET("/v1/erasures/{id}", { params: { path: { id: erased.data?.id ?? "" } } });
assert.deepEqual([receipt.data?.id, receipt.data?.caller], [erased.data?.id, erased.data?.caller]);
const gone = await sessions.GET("/v1/sessions/{id}", { params: { path } });
assert.equal(gone.error?.code, "not-found");
const audit = await admin.GET("/v1/audit", { params: { query: { action: "erased", caller: erased.data?.caller } } });
// Noted before it begins, and with their number when it is done.
assert.deepEqual(audit.data?.items.map((entry) => `${entry.action} ${entry.sessions}`).sort(), ["erased 0", "erased 3"]);

const hook = await admin.POST("/v1/webhooks", { body: { url: "https://example.com/hooks/calls", events: ["session.erased"] } });
assert.match(hook.data?.secret ?? "", /^whsec_/);
const of = { params: { path: { id: hook.data?.id ?? "" } } };
const rotated = await admin.POST("/v1/webhooks/{id}:rotateSecret", of);
assert.match(rotated.data?.secret ?? "", /^whsec_/);
assert.notEqual(rotated.data?.secret, hook.data?.secret);
const hooks = async () => (await admin.GET("/v1/webhooks")).data?.items.map((item) => [item.id, item.events, item.secret]);
assert.deepEqual(await hooks(), [[hook.data?.id, ["session.erased"], undefined]]);
const deleted = await admin.DELETE("/v1/webhooks/{id}", of);
assert.deepEqual([deleted.response.status, deleted.data, await hooks()], [204, undefined, []]);
const deletedAgain = await admin.DELETE("/v1/webhooks/{id}", of);
assert.equal(deletedAgain.error?.code, "not-found");
console.log("3 stored, listed, changed, exported and erased, user-defined fields equal; problems, audit and webhooks read");
