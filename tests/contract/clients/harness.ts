// Calls what each line of standard input names, {"method", "call"}, and prints a line of what the client said.
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { Riskscale, RiskscaleError, key } from "./riskscale.js";

const redis = new Redis(process.argv[2] ?? "");
const client = new Riskscale((command, ...words) => redis.call(command, ...words));
const methods = client as unknown as Record<string, (call: unknown) => Promise<unknown>>;

async function run(method: string, call: unknown): Promise<object> {
  try {
    if (method === "key") return { reply: key(...(call as [string, string, ...string[]])) };
    return { reply: (await methods[method]?.(call)) ?? null };
  } catch (error) {
    if (!(error instanceof RiskscaleError)) throw error;
    return { error: { word: error.word, argument: error.argument } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { method, call } = JSON.parse(line) as { method: string; call: unknown };
  console.log(JSON.stringify(await run(method, call)));
}
redis.disconnect();
