import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.json.JSONArray;
import org.json.JSONObject;
import redis.clients.jedis.Jedis;

/**
 * Calls of one script again and again: Bench LUA STEPS URL, STEPS being an array of calls as in the vectors. Reads
 * "0 1000" (the first of them) or "bare 1000", and says "done" when as many have been made, one after the other.
 */
final class Bench {
    private Bench() {}

    private static List<String> texts(JSONArray array) {
        return IntStream.range(0, array.length()).mapToObj(array::getString).toList();
    }

    public static void main(String[] args) throws Exception {
        Path lua = Path.of(args[0]);
        JSONArray steps = new JSONArray(args[1]);
        JSONObject scripts = new JSONObject(Files.readString(lua.resolve("manifest.json"))).getJSONObject("scripts");
        String file = scripts.getJSONObject(steps.getJSONObject(0).getString("script")).getString("file");
        try (Jedis jedis = new Jedis(args[2]); Scanner orders = new Scanner(System.in)) {
            String digest = jedis.scriptLoad(Files.readString(lua.resolve(file))), bare = jedis.scriptLoad("return 1");
            Map<String, BooleanSupplier> works = new HashMap<>();
            for (int at = steps.length() - 1; at >= 0; at--) {
                List<String> keys = texts(steps.getJSONObject(at).getJSONArray("keys"));
                List<String> words = texts(steps.getJSONObject(at).getJSONArray("args"));
                works.put("bare", () -> jedis.evalsha(bare, keys, words).equals(1L));
                works.put("" + at, () -> {
                    String line = (String) jedis.evalsha(digest, keys, words);
                    return Arrays.stream(line.split(" ")).mapToLong(Long::parseLong).toArray()[1] == 0;
                });
            }
            while (orders.hasNext()) {
                BooleanSupplier work = works.get(orders.next());
                for (int left = orders.nextInt(); left > 0; left--) if (!work.getAsBoolean()) throw new IllegalStateException("refused");
                System.out.println("done");
            }
        }
    }
}
