import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import org.json.JSONArray;
import org.json.JSONObject;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.exceptions.JedisDataException;

/** Runs the vectors (see ../../../../../README.md) through Jedis: Runner LUA VECTORS URL. */
final class Runner {
    private final Jedis jedis;
    private final JSONObject scripts;
    private int failed;

    private Runner(Jedis jedis, JSONObject scripts) {
        this.jedis = jedis;
        this.scripts = scripts;
    }

    private Object held(byte[] key) throws Vectors.Wrong {
        String kind = jedis.type(key);
        Map<String, Object> state = new HashMap<>(), members = new HashMap<>();
        switch (kind) {
            case "none": return null;
            case "string": state.put(kind, Vectors.plain(jedis.get(key))); break;
            case "list": state.put(kind, Vectors.plain(jedis.lrange(key, 0, -1))); break;
            case "hash": jedis.hgetAll(key).forEach((field, value) -> members.put(Vectors.latin1(field), Vectors.latin1(value))); break;
            default: jedis.zrangeWithScores(key, 0, -1).forEach(e -> members.put(Vectors.latin1(e.getBinaryElement()), (long) e.getScore()));
        }
        if (!state.containsKey(kind)) state.put(kind, members);
        if (jedis.pttl(key) < 0) state.put("ttl", "none");
        return state;
    }

    private void give(byte[] key, Object given) throws Vectors.Wrong {
        jedis.del(key);
        if (!(given instanceof Map<?, ?> state)) return;
        if (state.get("string") instanceof String text) jedis.set(key, Vectors.bytes(text));
        if (state.get("list") instanceof List<?> list) for (Object each : list) jedis.rpush(key, Vectors.bytes((String) each));
        if (state.get("hash") instanceof Map<?, ?> hash)
            for (Map.Entry<?, ?> e : hash.entrySet()) jedis.hset(key, Vectors.bytes((String) e.getKey()), Vectors.bytes((String) e.getValue()));
        if (state.get("zset") instanceof Map<?, ?> zset)
            for (Map.Entry<?, ?> e : zset.entrySet()) jedis.zadd(key, ((Long) e.getValue()).doubleValue(), Vectors.bytes((String) e.getKey()));
        if (!state.containsKey("ttl")) jedis.pexpire(key, 3_600_000L);
    }

    private void call(JSONObject step, String prefix) throws Vectors.Wrong {
        Vectors.fields(step, Set.of("script", "keys", "args"), Set.of("reply", "error", "state"));
        String name = step.getString("script"), error = step.optString("error");
        if (step.has("reply") == step.has("error")) throw new Vectors.Wrong("either reply or error");
        if (!scripts.has(name)) throw new Vectors.Wrong("there is no script " + name);
        JSONObject script = scripts.getJSONObject(name);
        List<byte[]> keys = new ArrayList<>(), args = new ArrayList<>();
        for (Object each : step.getJSONArray("keys")) keys.add(Vectors.key(prefix, (String) each));
        for (Object each : step.getJSONArray("args")) args.add(Vectors.bytes((String) Vectors.plain(each)));
        if (!error.startsWith("RSARG KEYS") && !Vectors.takes(script.getJSONArray("keys"), keys.size()))
            throw new Vectors.Wrong(name + " does not take " + keys.size() + " keys");
        try {
            Object got = Vectors.plain(jedis.evalsha(Vectors.bytes(script.getString("sha1")), keys, args));
            if (!step.has("reply") || !got.equals(Vectors.plain(step.get("reply"))))
                throw new Vectors.Wrong(name + ": " + got + ", not " + step.opt("reply") + error);
        } catch (JedisDataException raised) {
            if (error.isEmpty() || !(raised.getMessage() + " ").startsWith(error + " "))
                throw new Vectors.Wrong(name + ": " + raised.getMessage() + ", not " + step.opt("reply") + error);
        }
        for (Map.Entry<String, Object> each : Vectors.states(step, "state").entrySet()) {
            Object found = held(Vectors.key(prefix, each.getKey()));
            if (!Objects.equals(found, each.getValue()))
                throw new Vectors.Wrong(name + ": " + each.getKey() + " holds " + found + ", not " + each.getValue());
        }
    }

    private void run(JSONArray steps, String prefix) throws Vectors.Wrong {
        Set<String> touched = new TreeSet<>();
        int at = 0;
        try {
            for (Object each : steps) {
                at++;
                JSONObject step = (JSONObject) each;
                if (step.has("keys")) for (Object key : step.getJSONArray("keys")) touched.add((String) key);
                if (!step.has("given")) call(step, prefix);
                else
                    for (Map.Entry<String, Object> given : Vectors.states(Vectors.fields(step, Set.of("given"), Set.of()), "given").entrySet()) {
                        touched.add(given.getKey());
                        give(Vectors.key(prefix, given.getKey()), given.getValue());
                    }
            }
        } catch (Vectors.Wrong wrong) {
            throw new Vectors.Wrong("step " + at + ": " + wrong.getMessage());
        } finally {
            for (String key : touched) jedis.del(Vectors.key(prefix, key));
        }
    }

    private void failure(String where, Exception why) {
        failed++;
        System.out.println(where + ": " + why.getMessage());
    }

    private Set<String> load(Path lua) throws Exception {
        Set<String> primitives = new TreeSet<>();
        for (String name : scripts.keySet()) {
            JSONObject script = scripts.getJSONObject(name);
            byte[] code = Files.readAllBytes(lua.resolve(script.getString("file")));
            String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(code));
            if (!digest.equals(script.getString("sha1")) || !digest.equals(Vectors.latin1(jedis.scriptLoad(code))))
                failure(name, new Vectors.Wrong("the digest of " + script.getString("file") + " is " + digest + ", not " + script.getString("sha1")));
            primitives.add(name.split("\\.")[0]);
        }
        return primitives;
    }

    private static JSONArray cases(Path vectors, String primitive) throws Exception {
        JSONObject file = new JSONObject(Files.readString(vectors.resolve(primitive + ".json")));
        Vectors.fields(file, Set.of("format", "primitive", "cases"), Set.of());
        if (file.getInt("format") != 1 || !file.getString("primitive").equals(primitive))
            throw new Vectors.Wrong("format " + file.get("format") + " of " + file.get("primitive"));
        return file.getJSONArray("cases");
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 3) {
            System.err.println("usage: Runner LUA VECTORS URL");
            System.exit(2);
        }
        Path lua = Path.of(args[0]), vectors = Path.of(args[1]);
        JSONObject manifest = new JSONObject(Files.readString(lua.resolve("manifest.json")));
        int passed = 0;
        try (Jedis jedis = new Jedis(args[2])) {
            Runner runner = new Runner(jedis, manifest.getJSONObject("scripts"));
            String prefix = "rv" + UUID.randomUUID() + ":";
            for (String primitive : runner.load(lua)) {
                JSONArray cases = new JSONArray();
                try {
                    cases = cases(vectors, primitive);
                } catch (Exception wrong) {
                    runner.failure(primitive + ".json", wrong);
                }
                for (int at = 0; at < cases.length(); at++) {
                    String name = cases.getJSONObject(at).optString("name");
                    try {
                        JSONObject vector = Vectors.fields(cases.get(at), Set.of("name", "steps"), Set.of());
                        runner.run(vector.getJSONArray("steps"), prefix + primitive + at + ":");
                        passed++;
                    } catch (Vectors.Wrong | RuntimeException wrong) {
                        runner.failure(primitive + ": " + name, wrong);
                    }
                }
            }
            System.out.println(passed + " passed, " + runner.failed + " failed");
            System.exit(runner.failed > 0 ? 1 : 0);
        }
    }
}
