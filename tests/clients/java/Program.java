// Stores, fetches and pages with a client that openapi-generator makes. Run by scripts/clients.
import calldata.client.ApiClient;
import calldata.client.api.CalldataApi;
import calldata.client.api.RecordsApi;
import calldata.client.model.*;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

public class Program {
    public static void main(String[] arguments) throws Exception {
        var env = System.getenv();
        String key = env.get("CALLDATA_KEY"), clientId = env.get("CALLDATA_CLIENT"), tenantId = env.get("CALLDATA_TENANT");

        // The mapper keeps fractions as they are written; the interceptor passes the key.
        var mapper = ApiClient.createDefaultObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .setNodeFactory(JsonNodeFactory.withExactBigDecimals(true));
        var client = new ApiClient(ApiClient.createDefaultHttpClientBuilder(), mapper, env.get("CALLDATA_URL"));
        client.setRequestInterceptor(request -> request.header("x-functions-key", key));
        var callData = new CalldataApi(client);
        var caller = "+4930123456";
        Map<String, Object> fields = new TreeMap<>(Map.of("intent", "pay", "paid", false, "amount", new BigDecimal("1.50"),
            "big", new BigInteger("12345678901234567890"), "order", Map.of("lines", Arrays.asList(1, "two", null), "note", "Grüße")));

        for (int n = 1; n <= 6; n++) {
            var input = new PostedInput().callerid(caller).callid("call-" + n).timestamp("2026-01-02T10:00:0" + n + "Z").content("Wants to pay");
            fields.forEach(input::putAdditionalProperty);
            equal("success", callData.storeCallData(new PostRequest().input(input), clientId, null).getChoice());
        }

        var fetched = callData.fetchCallData(clientId, caller, "call-6", null, null, null, null, null, null).getCallData();
        equal(List.of("2026-01-02T10:00:06.000Z", "Wants to pay"), List.of(fetched.getTimestamp(), fetched.getContent()));
        equal(fields, new TreeMap<>(fetched.getAdditionalProperties()));

        var records = new RecordsApi(client);
        var token = records.getToken(new TokenRequest().appKey(tenantId).appSecret(key));
        equal(3600L, token.getExpireTime());
        var asked = new HistoryRequest().tenantId(tenantId).authToken(token.getAuthToken()).userMobile(caller).pageSize("5");
        var first = records.queryRecordHistory(asked.pageNum("1"));
        var second = records.queryRecordHistory(asked.pageNum("2"));
        equal(List.of(6L, 6L), List.of(first.getTotal(), second.getTotal()));
        equal(List.of("call-6", "call-5", "call-4", "call-3", "call-2"), first.getRecordList().stream().map(record -> record.getCallId()).toList());
        equal(List.of("call-1"), second.getRecordList().stream().map(record -> record.getCallId()).toList());
        var learned = new TreeMap<String, Object>(mapper.readValue(second.getRecordList().get(0).getCallData(), Map.class));
        equal("Wants to pay", learned.remove("content"));
        equal(fields, learned);

        // Digits: scripts/clients posted "price": 1.50 and "big": 12345678901234567890. As the generator sets it up, a fraction is a double.
        var numbers = callData.fetchCallData(clientId, "+4930999999", "digits", null, null, null, null, null, null).getCallData();
        equal("{big=12345678901234567890, price=1.50}", new TreeMap<>(numbers.getAdditionalProperties()).toString());
        client.setObjectMapper(ApiClient.createDefaultObjectMapper());
        numbers = new CalldataApi(client).fetchCallData(clientId, "+4930999999", "digits", null, null, null, null, null, null).getCallData();
        equal("{big=12345678901234567890, price=1.5}", new TreeMap<>(numbers.getAdditionalProperties()).toString());

        // A miss has no caller, and its error among the further members.
        var miss = callData.fetchCallData(clientId, caller, "another", null, null, null, null, null, null).getCallData();
        equal(true, miss.getCaller() == null);
        equal(Map.of("error", "no result found"), miss.getAdditionalProperties());
        System.out.println("6 stored, 6 on pages of 5 and 1, user-defined fields equal; 1.50 and 12345678901234567890 whole (1.50 read as 1.5 unless set)");
    }

    static void equal(Object expected, Object seen) {
        if (!expected.equals(seen)) throw new AssertionError("expected " + expected + ", saw " + seen);
    }
}
