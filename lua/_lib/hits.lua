local function bad_cost() return out_of_range('cost', 1, 1000000000000000) end
-- One request under one rule, which most are: the same as below, without its tables.
local function hit(rule, charge, cost)
  cost = integer(cost, 1, 1000000000000000)
  if not cost then return bad_cost() end
  local algorithm, limit, key = rule.algorithm, rule.limit, KEYS[1]
  local state = algorithm.load(key)
  if not state then return { now_us, -2, 0, 0 } end
  local never = cost > limit.capacity
  local wait = algorithm.wait(limit, state, never and 0 or cost)
  if never then wait = -1 end
  if charge and wait == 0 then
    algorithm.take(limit, state, cost)
    algorithm.save(key, limit, state)
  end
  return { now_us, wait, algorithm.view(limit, state) }
end
-- Decides requests one after the other. Request r asks for cost ARGV[first_cost + r - 1] of every rule
-- {algorithm, limit}; its keys are KEYS[(r - 1) * #rules + 1] and on, one a rule. All keys are read and
-- type-checked before the first write, each once, so that a key named twice counts twice.
local function hits(rules, first_cost, most)
  local width, total = #rules, #KEYS
  if total == 0 or total % width ~= 0 or total > most then
    return rsarg('KEYS', 'must name ' .. width .. ' a request, 1 to ' .. most .. ' in all')
  end
  local requests = total / width
  if #ARGV ~= first_cost + requests then return rsarg('ARGV', 'must hold one cost a request, then now_us') end
  local charge = ARGV[first_cost - 1]
  if charge ~= '0' and charge ~= '1' then return rsarg('charge', 'must be 0 or 1') end
  if total == 1 then return hit(rules[1], charge == '1', ARGV[first_cost]) end
  local costs, states, rule_of = {}, {}, {}
  for r = 1, requests do
    local cost = integer(ARGV[first_cost + r - 1], 1, 1000000000000000)
    if not cost then return bad_cost() end
    costs[r] = cost
  end
  for i = 1, total do
    local key, rule = KEYS[i], rules[(i - 1) % width + 1]
    if rule_of[key] == nil then
      rule_of[key], states[key] = rule, rule.algorithm.load(key) or false
    elseif rule_of[key] ~= rule then
      return rsarg('KEYS', 'names one key under two limits')
    end
  end
  local reply, at, dirty = { now_us }, 1, {}
  for r = 1, requests do
    local first, admitted = (r - 1) * width, charge == '1'
    for j = 1, width do
      local rule, state = rules[j], states[KEYS[first + j]]
      local wait = -2
      if state then
        local never = costs[r] > rule.limit.capacity
        wait = rule.algorithm.wait(rule.limit, state, never and 0 or costs[r])
        if never then wait = -1 end
      end
      reply[at + j * 3 - 2] = wait
      admitted = admitted and wait == 0
    end
    for j = 1, width do
      local key, rule = KEYS[first + j], rules[j]
      local state, left, reset = states[key], 0, 0
      if admitted then
        rule.algorithm.take(rule.limit, state, costs[r])
        dirty[key] = true
      end
      if state then left, reset = rule.algorithm.view(rule.limit, state) end
      reply[at + j * 3 - 1], reply[at + j * 3] = left, reset
    end
    at = at + width * 3
  end
  for i = 1, total do
    local key = KEYS[i]
    if dirty[key] then
      dirty[key] = nil
      rule_of[key].algorithm.save(key, rule_of[key].limit, states[key])
    end
  end
  return reply
end
