// Calls what each line of standard input names, {"method", "call"}, and prints a line of what the client said.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONObject;
import redis.clients.jedis.JedisPooled;
import riskscale.Riskscale;

public final class Harness {
  private static Object given(Object value, Class<?> type, String item) throws ReflectiveOperationException {
    if (type == long.class) {
      return ((Number) value).longValue();
    }
    if (type.isEnum()) {
      return Arrays.stream(type.getEnumConstants()).filter(each -> each.toString().equals(value)).findFirst().orElseThrow();
    }
    if (type == List.class) {
      var items = new ArrayList<Object>();
      for (var each : (JSONArray) value) {
        items.add(made(Class.forName(item), (JSONObject) each));
      }
      return items;
    }
    return value;
  }

  private static Object made(Class<?> type, JSONObject fields) throws ReflectiveOperationException {
    var object = type.getConstructor().newInstance();
    for (var name : fields.keySet()) {
      var setter = Arrays.stream(type.getMethods()).filter(each -> each.getName().equals(name)).findFirst().orElseThrow();
      var singular = Character.toUpperCase(name.charAt(0)) + name.substring(1, name.length() - 1);
      setter.invoke(object, given(fields.get(name), setter.getParameterTypes()[0], type.getName() + singular));
    }
    return object;
  }

  private static Object plain(Object reply) throws ReflectiveOperationException {
    if (reply instanceof List<?> list) {
      var items = new JSONArray();
      for (var each : list) {
        items.put(plain(each));
      }
      return items;
    }
    if (!(reply instanceof Record)) {
      return reply;
    }
    var fields = new JSONObject();
    for (var component : reply.getClass().getRecordComponents()) {
      fields.put(component.getName(), plain(component.getAccessor().invoke(reply)));
    }
    return fields;
  }

  private static Object run(Riskscale client, String name, Object call) throws ReflectiveOperationException {
    if (name.equals("load")) {
      client.load();
      return JSONObject.NULL;
    }
    if (name.equals("key")) {
      var parts = ((JSONArray) call).toList().toArray(String[]::new);
      return Riskscale.key(parts[0], parts[1], Arrays.copyOfRange(parts, 2, parts.length));
    }
    var method = Arrays.stream(Riskscale.class.getMethods()).filter(each -> each.getName().equals(name)).findFirst().orElseThrow();
    try {
      return plain(method.invoke(client, made(method.getParameterTypes()[0], (JSONObject) call)));
    } catch (InvocationTargetException error) {
      if (error.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw error;
    }
  }

  public static void main(String[] args) throws IOException, ReflectiveOperationException {
    var jedis = new JedisPooled(args[0]);
    var client = new Riskscale((command, words) ->
        jedis.sendCommand(() -> command.getBytes(StandardCharsets.UTF_8), words.toArray(String[]::new)));
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (var line = lines.readLine(); line != null; line = lines.readLine()) {
      var words = new JSONObject(line);
      var answer = new JSONObject();
      try {
        answer.put("reply", run(client, words.getString("method"), words.opt("call")));
      } catch (Riskscale.RiskscaleException error) {
        answer.put("error", new JSONObject().put("word", error.word()).put("argument", error.argument()));
      }
      out.println(answer);
    }
    jedis.close();
  }
}
