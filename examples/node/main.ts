// Limits requests by tenant and runs a job under a lock: one limit, one lock, whatever language the other services are of.
import { randomUUID } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { Riskscale, key } from "./riskscale.js";

const redis = new Redis(process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379");
const client = new Riskscale((command, ...words) => redis.call(command, ...words));
const LIMIT = { count: 10, windowUs: 60_000_000, burst: 10, charge: 1 };

async function work(tenant: string, response: ServerResponse): Promise<void> {
  const items = [{ key: key("", tenant, "rate", "api", "60s", "gcra"), cost: 1 }];
  const [decision] = (await client.rateGcra({ ...LIMIT, items })).items;
  if (decision?.retryUs === 0) return answer(response, 200, { remaining: decision.remaining });
  response.setHeader("Retry-After", Math.ceil((decision?.retryUs ?? 0) / 1e6));
  answer(response, 429, { error: "too many requests" });
}

/** Runs it when its turn comes, within 10 s. A job that may outlive its lease renews it: lockRenew. */
async function alone(name: string, job: () => Promise<void>, response: ServerResponse): Promise<void> {
  const [lockKey, queueKey, waitKey] = [key("", name, "lock"), key("", name, "queue"), key("", name, "wait")];
  const lock = { lockKey, queueKey, waitKey, owner: randomUUID() };
  const giveUp = performance.now() + 10_000;
  let lease;
  try {
    do {
      lease = await client.lockAcquire({ ...lock, ttlUs: 30_000_000, metadata: "node" });
      if (lease.acquired === 0) await sleep(lease.waitUs / 1000); // a poller is told when to look again
    } while (lease.acquired === 0 && performance.now() < giveUp);
    if (lease.acquired === 1) await job();
  } finally {
    const end = await client.lockRelease(lock); // also the place in the queue of one who gives up
    if (lease?.acquired === 1) answer(response, 200, { fence: lease.fence, from_us: lease.atUs, to_us: end.atUs });
    else answer(response, 503, { error: "busy" });
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  const [, what, name] = (request.url ?? "").split("/");
  const done =
    what === "work" && name ? work(decodeURIComponent(name), response)
    : what === "jobs" && name ? alone(decodeURIComponent(name), () => sleep(20), response)
    : Promise.resolve(answer(response, 404, { error: "GET /work/TENANT, POST /jobs/NAME" }));
  done.catch((error: unknown) => {
    if (!response.headersSent) answer(response, 500, { error: String(error) });
  });
});
server.listen(Number(process.env["PORT"] ?? 8080), "127.0.0.1", () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
