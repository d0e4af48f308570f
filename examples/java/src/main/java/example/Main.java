// Limits requests by tenant and runs a job under a lock: one limit, one lock, whatever language the other services are of.
package example;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Executors;
import redis.clients.jedis.JedisPooled;
import riskscale.Riskscale;

public final class Main {
  private static final JedisPooled JEDIS = new JedisPooled(System.getenv("REDIS_URL"));
  private static final Riskscale CLIENT = new Riskscale((command, words) ->
      JEDIS.sendCommand(() -> command.getBytes(StandardCharsets.UTF_8), words.toArray(String[]::new)));

  static void work(HttpExchange exchange, String tenant) throws IOException {
    var item = new Riskscale.RateGcraItem().key(Riskscale.key("", tenant, "rate", "api", "60s", "gcra")).cost(1);
    var limit = new Riskscale.RateGcra().count(10).windowUs(60_000_000).burst(10).charge(1).items(List.of(item));
    var decision = CLIENT.rateGcra(limit).items().get(0);
    if (decision.retryUs() == 0) {
      answer(exchange, 200, "{\"remaining\": %d}".formatted(decision.remaining()));
    } else {
      exchange.getResponseHeaders().set("Retry-After", String.valueOf((decision.retryUs() + 999_999) / 1_000_000));
      answer(exchange, 429, "{\"error\": \"too many requests\"}");
    }
  }

  /** Runs it when its turn comes, within 10 s. A job that may outlive its lease renews it: lockRenew. */
  static void alone(HttpExchange exchange, String name) throws IOException, InterruptedException {
    String lock = Riskscale.key("", name, "lock"), queue = Riskscale.key("", name, "queue");
    String wait = Riskscale.key("", name, "wait"), owner = UUID.randomUUID().toString();
    var acquire = new Riskscale.LockAcquire().lockKey(lock).queueKey(queue).waitKey(wait).owner(owner);
    acquire.ttlUs(30_000_000).metadata("java");
    var giveUp = System.nanoTime() + 10_000_000_000L;
    Riskscale.LockAcquireReply lease;
    Riskscale.LockReleaseReply end;
    try {
      for (lease = CLIENT.lockAcquire(acquire); lease.acquired() == 0 && System.nanoTime() < giveUp; ) {
        Thread.sleep(Math.max(1, lease.waitUs() / 1000)); // a poller is told when to look again
        lease = CLIENT.lockAcquire(acquire);
      }
      Thread.sleep(lease.acquired() == 1 ? 20 : 0); // the job
    } finally { // releases also the place in the queue of one who gives up
      end = CLIENT.lockRelease(new Riskscale.LockRelease().lockKey(lock).queueKey(queue).waitKey(wait).owner(owner));
    }
    var said = "{\"fence\": %d, \"from_us\": %d, \"to_us\": %d}".formatted(lease.fence(), lease.atUs(), end.atUs());
    answer(exchange, lease.acquired() == 1 ? 200 : 503, lease.acquired() == 1 ? said : "{\"error\": \"busy\"}");
  }

  static void serve(HttpExchange exchange) throws IOException {
    var path = exchange.getRequestURI().getPath().split("/", 3);
    try {
      switch (path.length == 3 ? path[1] : "") {
        case "work" -> work(exchange, path[2]);
        case "jobs" -> alone(exchange, path[2]);
        default -> answer(exchange, 404, "{\"error\": \"GET /work/TENANT, POST /jobs/NAME\"}");
      }
    } catch (RuntimeException | InterruptedException error) {
      answer(exchange, 500, "{\"error\": \"%s\"}".formatted(error.getClass().getSimpleName()));
    }
  }

  static void answer(HttpExchange exchange, int status, String body) throws IOException {
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(status, body.length());
    exchange.getResponseBody().write(body.getBytes(StandardCharsets.US_ASCII));
    exchange.close();
  }

  public static void main(String[] args) throws IOException {
    var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", Main::serve);
    server.setExecutor(Executors.newCachedThreadPool());
    server.start();
    System.out.println("listening on " + server.getAddress().getPort());
  }
}
