# From the vectors of one primitive: the commands that redis-cli is to send, a line each, and what each must answer.
# {case, at, send, check, wanted}, or {case, wrong} for a case that is not of the format. See ../../README.md.

def hexdigits: "0123456789abcdef";
def byte: hexdigits[./16 | floor:][:1] + hexdigits[. % 16:][:1];
def continued: [64 * 64 * 64, 64 * 64, 64, 1] as $by | . as $x | $by | map(128 + (($x / .) | floor) % 64);
def utf8: explode | map(
  if . < 128 then . elif . < 2048 then (continued | (.[2] + 64), .[3])
  elif . < 65536 then (continued | (.[1] + 96), .[2], .[3]) else (continued | (.[0] + 112), .[1], .[2], .[3]) end);
def from_hex: if test("\\A([0-9a-f]{2})*\\z") then . else error("no hex: \(.)") end
  | [range(0; length; 2) as $at | .[$at:$at + 2] | split("") | map(. as $digit | hexdigits | index($digit)) | .[0] * 16 + .[1]];

# As redis-cli quotes words: what it reads between quotes, and how it shows them.
def named: {"7": "\\a", "8": "\\b", "9": "\\t", "10": "\\n", "13": "\\r", "34": "\\\"", "92": "\\\\"};
def repr: map(named[tostring] // if . >= 32 and . < 127 then [.] | implode else "\\x" + byte end) | join("");
def only($needed; $allowed): if type != "object" then error("must be an object, not \(.)") else . end
  | (keys - $needed - $allowed) as $more | ($needed - keys) as $less
  | if $more != [] then error("unknown field \($more[0])") elif $less != [] then error("no field \($less[0])") else . end;
def text: if type == "string" then (if test("\\A[ !#-\\[\\]-~]*\\z") then . else utf8 | repr end)
  else only(["hex"]; []) | .hex | from_hex | repr end;
def word: "\"\(text)\"";
def reply: if type == "array" then map(reply) elif type == "number" then . else text end;

def kind: only([]; ["string", "hash", "zset", "list", "ttl"]) | (keys - ["ttl"]) as $kinds
  | if ($kinds | length) != 1 then error("must be null, or one kind: \(.)") else $kinds[0] end;
def pairs($value): to_entries | map("\(.key | word) \(.value | $value)");

# What is sent, and what must come back.
def send($words; $check; $wanted): {send: ($words | join(" ")), $check, $wanted};
def give($key): ($key | word) as $word | send(["DEL", $word]; "any"; null),
  if . == null then empty else
    kind as $kind | .[$kind] as $held
    | ({string: "SET", hash: "HSET", zset: "ZADD", list: "RPUSH"}[$kind]) as $command
    | (if $kind == "string" then [$held | word] elif $kind == "list" then $held | map(word)
       elif $kind == "hash" then $held | to_entries | map((.key | word), (.value | word))
       else $held | to_entries | map((.value | tostring), (.key | word)) end) as $words
    | send([$command, $word] + $words; "any"; null),
      if .ttl then empty else send(["PEXPIRE", $word, "3600000"]; "any"; null) end
  end;
def holds($key): ($key | word) as $word
  | if . == null then send(["EXISTS", $word]; "is"; 0) else
      kind as $kind | .[$kind] as $held
      | if $kind == "string" then send(["GET", $word]; "is"; $held | text)
        elif $kind == "list" then send(["LRANGE", $word, "0 -1"]; "is"; $held | map(text))
        elif $kind == "hash" then
          send(["HGETALL", $word]; "is"; $held | with_entries(.key |= text | .value |= text))
        else send(["ZRANGE", $word, "0 -1 WITHSCORES"]; "set"; $held | to_entries | map([(.key | text), .value])) end,
        send(["PTTL", $word]; if .ttl then "is" else "above" end; if .ttl then -1 else 0 end)
    end;

def takes($slots): . as $count | ($slots | length) as $width
  | ($slots[0].bound // "n=1..1" | [match("\\d+"; "g").string | tonumber]) as $bound
  | $count % $width == 0 and $count >= $bound[0] * $width and $count <= $bound[1] * $width;
def call($base): only(["script", "keys", "args"]; ["reply", "error", "state"])
  | if has("reply") == has("error") then error("either reply or error") else . end
  | .script as $name | ($scripts[0].scripts[$name] // error("there is no script \($name)")) as $script
  | if (.error // "" | startswith("RSARG KEYS")) or (.keys | length | takes($script.keys)) then .
    else error("\($name) does not take \(.keys | length) keys") end
  | send(["EVALSHA", $script.sha1, (.keys | length | tostring)] + (.keys | map($base + . | word)) + (.args | map(word));
      if has("error") then "error" else "is" end; .error // (.reply | reply)),
    (.state // {} | to_entries[] | .key as $key | .value | holds($base + $key) + {$key});

def touched: [.steps[] | (.keys // [])[], (.given // {} | keys[]), (.state // {} | keys[])] | unique;
def steps($base): .steps | to_entries[] | "step \(.key + 1): \(.value.script // "given")" as $at | .value
  | (if has("given") then only(["given"]; []) | .given | to_entries[] | .key as $key | .value | give($base + $key)
     else call($base) end)
  | {at: $at} + .;

only(["format", "primitive", "cases"]; [])
| if .format != 1 or .primitive != $primitive then error("format \(.format) of \(.primitive)") else . end
| .cases | to_entries[] | "\($prefix)\($primitive)\(.key):" as $base | .value
| "\($primitive): \(.name?)" as $case
| (try (only(["name", "steps"]; []) | [steps($base), (touched | send(["DEL"] + map($base + . | word); "any"; null))]
    | if length == 1 then .[:0] else . end)
   catch [{wrong: .}])
| (if . == [] then [{send: "PING", check: "any"}] else . end)[] | {case: $case} + .
