// Runs the vectors (see ../../README.md) through ioredis: node runner.mjs LUA VECTORS URL
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import Redis from "ioredis";

const FORMAT = 1;
const KINDS = ["string", "hash", "zset", "list"];
const prefix = `rv${randomBytes(4).toString("hex")}:`;
const [lua, vectors, url] = process.argv.slice(2);

const fail = (message) => {
  throw new Error(message);
};
const latin1 = (_, value) => (value?.type === "Buffer" ? Buffer.from(value.data).toString("latin1") : value);
const show = (value) => JSON.stringify(value, latin1);
const mapValues = (object, change) => Object.fromEntries(Object.entries(object).map(([key, each]) => [key, change(each)]));

// Strict reading

function fields(value, needed, allowed = []) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) fail(`must be an object, not ${show(value)}`);
  for (const name in value) if (![...needed, ...allowed].includes(name)) fail(`unknown field ${name}`);
  for (const name of needed) if (!(name in value)) fail(`no field ${name}`);
  return value;
}

function text(value) {
  if (typeof value === "string") return Buffer.from(value);
  const { hex } = fields(value, ["hex"]);
  return /^([0-9a-f]{2})*$/.test(hex) ? Buffer.from(hex, "hex") : fail(`no hex: ${show(hex)}`);
}

function reply(value) {
  if (Array.isArray(value)) return value.map(reply);
  return Number.isInteger(value) ? value : text(value);
}

function state(key, value) {
  if (value === null) return null;
  const kinds = KINDS.filter((kind) => kind in Object(value));
  if (kinds.length !== 1) fail(`${key} must be null, or one of ${KINDS}, not ${show(value)}`);
  const [kind] = kinds;
  const { ttl = "", [kind]: held } = fields(value, [kind], ["ttl"]);
  if (ttl !== "" && ttl !== "none") fail("the only ttl is none");
  const read = { string: text, list: (each) => each.map(text), hash: (each) => mapValues(each, text), zset: (each) => each };
  return { kind, value: read[kind](held), expires: ttl === "" };
}

function takes(slots, count) {
  if (slots.every((slot) => !slot.each)) return count === slots.length;
  const [low, high] = slots[0].bound.match(/\d+/g).map((bound) => bound * slots.length);
  return count % slots.length === 0 && count >= low && count <= high;
}

// The server

async function held(redis, key) {
  const kind = await redis.type(key);
  if (kind === "none") return null;
  const read = {
    string: () => redis.getBuffer(key),
    list: () => redis.lrangeBuffer(key, 0, -1),
    hash: async () => ({ ...(await redis.hgetallBuffer(key)) }),
    zset: async () => {
      const flat = await redis.zrange(key, 0, -1, "WITHSCORES");
      return Object.fromEntries(flat.flatMap((each, at) => (at % 2 ? [] : [[each, Number(flat[at + 1])]])));
    },
  };
  return { kind, value: await read[kind](), expires: (await redis.pttl(key)) > 0 };
}

async function give(redis, key, given) {
  await redis.del(key);
  if (given === null) return;
  const { kind, value, expires } = given;
  if (kind === "string") await redis.set(key, value);
  if (kind === "hash") await redis.hset(key, value);
  if (kind === "list") await redis.rpush(key, ...value);
  if (kind === "zset") await redis.zadd(key, ...Object.entries(value).flatMap(([member, score]) => [score, member]));
  if (expires) await redis.pexpire(key, 3_600_000);
}

async function call(redis, scripts, step, base) {
  const { script: name, keys, args, error } = fields(step, ["script", "keys", "args"], ["reply", "error", "state"]);
  if ("reply" in step === "error" in step) fail("either reply or error");
  const script = scripts[name] ?? fail(`there is no script ${name}`);
  const fits = error?.startsWith("RSARG KEYS") || takes(script.keys, keys.length);
  if (!fits) fail(`${name} does not take ${keys.length} keys`);
  const wanted = error ?? reply(step.reply);
  const words = [script.sha1, keys.length, ...keys.map((key) => base + key), ...args.map(text)];
  const got = await redis.callBuffer("EVALSHA", ...words).catch((raised) => raised);
  if (got instanceof Error) {
    if (!(got instanceof Redis.ReplyError)) throw got;
    if (!error || !`${got.message} `.startsWith(`${error} `)) fail(`${name}: ${got.message}, not ${show(wanted)}`);
  } else if (error || !isDeepStrictEqual(got, wanted)) fail(`${name}: ${show(got)}, not ${show(wanted)}`);
  for (const [key, value] of Object.entries(step.state ?? {})) {
    const [found, expected] = [await held(redis, base + key), state(key, value)];
    if (!isDeepStrictEqual(found, expected)) fail(`${name}: ${key} holds ${show(found)}, not ${show(expected)}`);
  }
}

async function run(redis, scripts, steps, base) {
  const touched = new Set(steps.flatMap((step) => [...(step.keys ?? []), ...Object.keys({ ...step.given, ...step.state })]));
  let at = 0;
  try {
    for (const step of steps) {
      at += 1;
      if (!("given" in step)) await call(redis, scripts, step, base);
      else for (const [key, value] of Object.entries(fields(step, ["given"]).given)) await give(redis, base + key, state(key, value));
    }
  } catch (error) {
    fail(`step ${at}: ${error.message}`);
  } finally {
    if (touched.size) await redis.del(...[...touched].map((key) => base + key));
  }
}

let [passed, failed] = [0, 0];
const failure = (where, message) => {
  failed += 1;
  console.log(`${where}: ${message}`);
};
const { scripts } = JSON.parse(readFileSync(join(lua, "manifest.json")));
const redis = new Redis(url, { maxRetriesPerRequest: 1 });

for (const [name, script] of Object.entries(scripts)) {
  const code = readFileSync(join(lua, script.file));
  const digest = createHash("sha1").update(code).digest("hex");
  const loaded = await redis.script("LOAD", code);
  if (digest !== script.sha1 || loaded !== digest) failure(name, `the digest of ${script.file} is ${digest}, not ${script.sha1}`);
}
for (const primitive of [...new Set(Object.keys(scripts).map((name) => name.split(".")[0]))].sort()) {
  let cases = [];
  try {
    const file = fields(JSON.parse(readFileSync(join(vectors, `${primitive}.json`))), ["format", "primitive", "cases"]);
    if (file.format !== FORMAT || file.primitive !== primitive) fail(`format ${file.format} of ${file.primitive}`);
    cases = file.cases;
  } catch (error) {
    failure(`${primitive}.json`, error.message);
  }
  for (const [at, each] of cases.entries()) {
    try {
      await run(redis, scripts, fields(each, ["name", "steps"]).steps, `${prefix}${primitive}${at}:`);
      passed += 1;
    } catch (error) {
      failure(`${primitive}: ${each.name}`, error.message);
    }
  }
}
await redis.quit();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
