// The native interface with a client that openapi-generator makes. Run by scripts/clients.
import calldata.client.ApiClient;
import calldata.client.ApiException;
import calldata.client.api.CallersApi;
import calldata.client.api.SessionsApi;
import calldata.client.api.WebhooksApi;
import calldata.client.model.*;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class Native {
    static final ObjectMapper mapper = ApiClient.createDefaultObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
        .setNodeFactory(JsonNodeFactory.withExactBigDecimals(true));
    static final String caller = "+49 30 123456";
    static final Map<String, Object> fields = new HashMap<>(Map.of("customerNumber", "4711", "amount", new BigDecimal("1.50"),
        "big", new BigInteger("12345678901234567890"), "order", Map.of("lines", Arrays.asList(1, "two", null))));

    public static void main(String[] arguments) throws Exception {
        fields.put("größe in cm", null);
        var sessions = new SessionsApi(client("CALLDATA_KEY"));
        var ids = List.of(start(sessions, "call-1", 1, "pay"), start(sessions, "call-2", 2, "ask"), start(sessions, "call-2", 3, "pay"));
        var id = ids.get(0);

        var got = sessions.getSessionWithHttpInfo(id, null);
        var session = got.getData();
        equal(fields, session.getFields());
        equal(List.of(id, "call-1", caller, "pay"), List.of(session.getId(), session.getCallId(), session.getCaller(), session.getIntent()));
        equal(List.of("2026-01-02T10:00:01.000Z", Map.of("wish", "an invoice")), List.of(session.getStartedAt(), session.getContent()));
        equal(List.of(2, "native", "bot"), List.of(session.getReceivedAt().size(), session.getSource(), session.getTurns().get(0).getBy()));

        var more = new Additions().addTurnsItem(new Turn().no("2").userText("January"))
            .addAnswersItem(new Answer().question("Which month?").original("January"));
        var longer = sessions.appendTurnsWithHttpInfo(id, more, null, null);
        equal(List.of("1", "2"), longer.getData().getTurns().stream().map(Turn::getNo).toList());
        equal("January", longer.getData().getAnswers().get(0).getOriginal());

        var found = new ArrayList<String>();
        String cursor = null;
        do {
            var page = sessions.listSessions(caller, null, null, null, null, "pay", null, null, null, 1, cursor, true);
            equal(List.of(1, 2L), List.of(page.getItems().size(), page.getTotal()));
            found.add(page.getItems().get(0).getId());
            cursor = page.getNext();
        } while (cursor != null);
        equal(List.of(ids.get(2), id), found);

        var calls = sessions.listCalls(caller, null, null, null, null, null, null, null, null, null, null);
        equal(List.of("call-2 2", "call-1 1"), calls.getItems().stream().map(call -> call.getCallId() + " " + call.getSessions().size()).toList());

        var paid = new HashMap<>(fields);
        paid.put("paid", true);
        session.fields(paid).turns(null);
        equal(Code.PRECONDITION_FAILED, problem(() -> sessions.replaceSession(id, session, tag(got.getHeaders()))).getCode());
        var replaced = sessions.replaceSession(id, session, tag(longer.getHeaders()));
        equal(List.of(paid, List.of()), List.of(replaced.getFields(), replaced.getTurns()));

        var wrong = problem(() -> sessions.createSession(new Session().callId("call-3").caller(caller).startedAt("yesterday"), null));
        equal(List.of(400, Code.INVALID_FIELD, "startedAt"), List.of(wrong.getStatus(), wrong.getCode(), wrong.getField()));

        var person = new CallerRequest().caller(caller);
        equal(Code.NOT_PERMITTED, problem(() -> new CallersApi(client("CALLDATA_KEY")).exportCaller(person)).getCode());
        var callers = new CallersApi(client("CALLDATA_ADMIN_KEY"));
        var exported = callers.exportCaller(person).getSessions();
        equal(3, exported.size());
        equal(fields, exported.stream().filter(one -> one.getId().equals(ids.get(1))).findFirst().orElseThrow().getFields());
        var erased = callers.eraseCaller(person);
        var receipt = callers.getErasure(erased.getId());
        equal(List.of(3L, erased.getCaller(), 3L), List.of(erased.getSessions(), receipt.getCaller(), receipt.getSessions()));
        equal(Code.NOT_FOUND, problem(() -> sessions.getSession(id, null)).getCode());
        var audit = callers.listAudit(null, null, null, "erased", erased.getCaller(), null, null, null).getItems();
        // Noted before it begins, and with their number when it is done.
        equal(List.of("erased 0", "erased 3"), audit.stream().map(entry -> entry.getAction() + " " + entry.getSessions()).sorted().toList());

        var webhooks = new WebhooksApi(client("CALLDATA_ADMIN_KEY"));
        var hook = webhooks.createWebhook(new NewWebhook().url("https://example.com/hooks/calls").addEventsItem("session.erased"));
        var rotated = webhooks.rotateWebhookSecret(hook.getId());
        equal(List.of(true, false), List.of(rotated.getSecret().startsWith("whsec_"), rotated.getSecret().equals(hook.getSecret())));
        var listed = webhooks.listWebhooks().getItems();
        equal(List.of(hook.getId() + " [session.erased] null"), listed.stream().map(one -> one.getId() + " " + one.getEvents() + " " + one.getSecret()).toList());
        equal(204, webhooks.deleteWebhookWithHttpInfo(hook.getId()).getStatusCode());
        equal(List.of(), webhooks.listWebhooks().getItems());
        equal(Code.NOT_FOUND, problem(() -> webhooks.deleteWebhook(hook.getId())).getCode());
        System.out.println("3 stored, listed, changed, exported and erased, user-defined fields equal; problems, audit and webhooks read");
    }

    static ApiClient client(String key) {
        var client = new ApiClient(ApiClient.createDefaultHttpClientBuilder(), mapper, System.getenv("CALLDATA_URL"));
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + System.getenv(key)));
        return client;
    }

    static String start(SessionsApi sessions, String callId, int second, String intent) throws ApiException {
        var turn = new Turn().no("1").userText("My invoice, please").reply("Which month?").by("bot");
        var session = new Session().callId(callId).caller(caller).startedAt("2026-01-02T10:00:0" + second + ".000Z").intent(intent)
            .content(Map.of("wish", "an invoice")).fields(fields).addTurnsItem(turn);
        return sessions.createSession(session, null).getId();
    }

    static String tag(Map<String, List<String>> headers) {
        return headers.get("etag").get(0);
    }

    interface Request {
        void send() throws ApiException;
    }

    static Problem problem(Request request) throws Exception {
        try {
            request.send();
        } catch (ApiException error) {
            return mapper.readValue(error.getResponseBody(), Problem.class);
        }
        throw new AssertionError("no problem");
    }

    static void equal(Object expected, Object seen) {
        if (!expected.equals(seen)) throw new AssertionError("expected " + expected + ", saw " + seen);
    }
}
