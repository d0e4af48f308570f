import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.json.JSONArray;
import org.json.JSONObject;

/** Strict reading of vectors. Texts are bytes as ISO 8859-1, so that strings compare as what they are. */
final class Vectors {
    private Vectors() {}

    /** What is wrong with a vector, or with what the server answered. */
    static final class Wrong extends Exception {
        static final long serialVersionUID = 1L;

        Wrong(String message) {
            super(message);
        }
    }

    static byte[] bytes(String latin1) {
        return latin1.getBytes(StandardCharsets.ISO_8859_1);
    }

    static String latin1(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    static byte[] key(String prefix, String key) {
        return (prefix + key).getBytes(StandardCharsets.UTF_8);
    }

    static JSONObject fields(Object value, Set<String> needed, Set<String> allowed) throws Wrong {
        if (!(value instanceof JSONObject object)) throw new Wrong("must be an object, not " + value);
        for (String name : object.keySet())
            if (!needed.contains(name) && !allowed.contains(name)) throw new Wrong("unknown field " + name);
        for (String name : needed) if (!object.has(name)) throw new Wrong("no field " + name);
        return object;
    }

    /** A text, an integer, or a list of them; what the server sends is brought into the same form. */
    static Object plain(Object value) throws Wrong {
        if (value instanceof byte[] text) return latin1(text);
        if (value instanceof Number number) return number.longValue();
        if (value instanceof String text) return latin1(text.getBytes(StandardCharsets.UTF_8));
        if (value instanceof JSONObject) return latin1(HexFormat.of().parseHex(fields(value, Set.of("hex"), Set.of()).getString("hex")));
        List<Object> list = new ArrayList<>();
        for (Object each : (Iterable<?>) value) list.add(plain(each));
        return list;
    }

    static Object state(Object value) throws Wrong {
        if (value == JSONObject.NULL) return null;
        JSONObject object = fields(value, Set.of(), Set.of("string", "hash", "zset", "list", "ttl"));
        Map<String, Object> state = new HashMap<>();
        for (String kind : object.keySet()) {
            if (kind.equals("hash") || kind.equals("zset")) {
                Map<String, Object> held = new HashMap<>();
                for (String field : object.getJSONObject(kind).keySet())
                    held.put((String) plain(field), plain(object.getJSONObject(kind).get(field)));
                state.put(kind, held);
            } else state.put(kind, plain(object.get(kind)));
        }
        return state;
    }

    static boolean takes(JSONArray slots, int count) {
        String[] bound = slots.getJSONObject(0).optString("bound", "n=1..1").split("[=,]|\\.\\.");
        int low = Integer.parseInt(bound[1]) * slots.length(), high = Integer.parseInt(bound[2]) * slots.length();
        return count % slots.length() == 0 && low <= count && count <= high;
    }

    static Map<String, Object> states(JSONObject step, String field) throws Wrong {
        Map<String, Object> states = new HashMap<>();
        if (step.has(field))
            for (String key : step.getJSONObject(field).keySet()) states.put(key, state(step.getJSONObject(field).get(key)));
        return states;
    }
}
