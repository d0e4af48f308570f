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
  private final Riskscale client;

  private Main(Riskscale client) {
    this.client = client;
  }

  void work(HttpExchange exchange, String tenant) throws IOException {
    var item = new Riskscale.RateGcraItem().key(Riskscale.key("", tenant, "rate", "api", "60s", "gcra")).cost(1);
    var limit = new Riskscale.RateGcra().count(10).windowUs(60_000_000).burst(10).charge(1).items(List.of(item));
    var decision = client.rateGcra(limit).items().get(0);
    if (decision.retryUs() != 0) {
      exchange.getResponseHeaders().set("Retry-After", String.valueOf((decision.retryUs() + 999_999) / 1_000_000));
      answer(exchange, 429, "{\"error\": \"too many requests\"}");
    } else {
      answer(exchange, 200, "{\"remaining\": %d}".formatted(decision.remaining()));
    }
  }

  /** Runs it when its turn comes, within 10 s. A job that may outlive its lease renews it: lockRenew. */
  void alone(HttpExchange exchange, String name) throws IOException, InterruptedException {
    var owner = UUID.randomUUID().toString();
    var lock = Riskscale.key("", name, "lock");
    var queue = Riskscale.key("", name, "queue");
    var wait = Riskscale.key("", name, "wait");
    var acquire = new Riskscale.LockAcquire().lockKey(lock).queueKey(queue).waitKey(wait);
    acquire.owner(owner).ttlUs(30_000_000).metadata("java");
    var release = new Riskscale.LockRelease().lockKey(lock).queueKey(queue).waitKey(wait).owner(owner);
    var giveUp = System.nanoTime() + 10_000_000_000L;
    Riskscale.LockAcquireReply lease = null;
    Riskscale.LockReleaseReply end;
    try {
      lease = client.lockAcquire(acquire);
      while (lease.acquired() == 0 && System.nanoTime() < giveUp) {
        Thread.sleep(Math.max(1, lease.waitUs() / 1000)); // a poller is told when to look again
        lease = client.lockAcquire(acquire);
      }
      if (lease.acquired() == 1) {
        Thread.sleep(20); // the job
      }
    } finally {
      end = client.lockRelease(release); // also the place in the queue of one who gives up
    }
    if (lease.acquired() == 0) {
      answer(exchange, 503, "{\"error\": \"busy\"}");
    } else {
      var said = "{\"fence\": %d, \"from_us\": %d, \"to_us\": %d}";
      answer(exchange, 200, said.formatted(lease.fence(), lease.atUs(), end.atUs()));
    }
  }

  private void serve(HttpExchange exchange) throws IOException {
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

  private static void answer(HttpExchange exchange, int status, String body) throws IOException {
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(status, 0);
    try (var out = exchange.getResponseBody()) {
      out.write(body.getBytes(StandardCharsets.UTF_8));
    }
  }

  public static void main(String[] args) throws IOException {
    var jedis = new JedisPooled(System.getenv("REDIS_URL"));
    var main = new Main(new Riskscale((command, words) ->
        jedis.sendCommand(() -> command.getBytes(StandardCharsets.UTF_8), words.toArray(String[]::new))));
    var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", main::serve);
    server.setExecutor(Executors.newCachedThreadPool());
    server.start();
    System.out.println("listening on " + server.getAddress().getPort());
  }
}
