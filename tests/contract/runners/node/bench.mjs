// Calls of one script again and again: bench.mjs LUA STEPS URL, STEPS being an array of calls as in the vectors. Reads
// "0 1000" (the first of them) or "bare 1000", and says "done" when as many have been made, one after the other.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Redis from "ioredis";

const [lua, text, url] = process.argv.slice(2);
const steps = JSON.parse(text);
const redis = new Redis(url);
const { file } = JSON.parse(readFileSync(join(lua, "manifest.json"))).scripts[steps[0].script];
const digest = await redis.script("LOAD", readFileSync(join(lua, file), "utf8"));
const bare = await redis.script("LOAD", "return 1");
const words = steps.map(({ keys, args }) => [keys.length, ...keys, ...args]);

const works = {
  ...words.map((each) => async () => (await redis.evalsha(digest, ...each)).split(" ").map(Number)[1] === 0),
  bare: async () => (await redis.evalsha(bare, ...words[0])) === 1,
};
for await (const line of createInterface({ input: process.stdin })) {
  const [what, count] = line.split(" ");
  for (let at = 0; at < Number(count); at += 1) {
    if (!(await works[what]())) throw new Error("refused");
  }
  console.log("done");
}
await redis.quit();
