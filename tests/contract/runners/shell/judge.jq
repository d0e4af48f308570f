# Beside each command of the plan (slurped) the line that redis-cli printed: the first of each case that is wrong.

def answer: if startswith("error:") then {error: (.[6:] | fromjson)} else fromjson end;
def right($got): .wanted as $wanted
  | if ($got | type) == "object" and ($got | has("error")) then .check == "error" and ($got.error + " " | startswith($wanted + " "))
    elif .check == "error" then false
    elif .check == "set" then ($got | type) == "array" and ($got | sort) == ($wanted | sort)
    elif .check == "above" then ($got | type) == "number" and $got > $wanted
    else .check == "any" or $got == $wanted end;

($replies | split("\n")[:-1]) as $lines
| map(select(.send)) as $sent
| if ($lines | length) != ($sent | length) then "\($sent | length) commands, \($lines | length) replies", "0 1"
  else
    (map(select(.wrong)) + ([$sent, $lines] | transpose
      | map(.[1] as $line | .[0] | select(right($line | answer) | not) | {case, wrong: "\(.at // ""): \(.key // "") \($line), not \(.wanted)"}))
     | group_by(.case) | map(.[0])) as $wrong
    | ($wrong[] | "\(.case): \(.wrong)"),
      "\((map(.case) | unique | length) - ($wrong | length)) \($wrong | length)"
  end
