-- One page of a list, and its exact total. A list is segments read one after another; a segment is the union of sorted
-- sets by score. Where a page starts inside a union is found by halving the range of scores, so the cost grows with the
-- logarithm of the offset, not with it. Among equal scores the sets follow one another in the order given.
-- ARGV: 1 now  2 offset  3 limit  4 '1' for descending  5 segments (msgpack [[from, to, key suffix, …], …]):
--       only members with from <= score <= to belong to a segment ('-inf', '+inf': all)
--       6 the entry to go on after, instead of an offset (msgpack {key suffix, score, id}), or ''
-- Answers {total, how many come up to the end of this page, id, record, id, record, …}.
-- flags: no-writes
-- uses: clock texts
local skip, limit, down, segments = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', cmsgpack.unpack(ARGV[5])
local total, answer = 0, {0, 0}
local after = ARGV[6] ~= '' and cmsgpack.unpack(ARGV[6])
local function number(bound)
  if bound == '-inf' then return -math.huge elseif bound == '+inf' then return math.huge end
  return tonumber((string.gsub(bound, '^%(', '')))
end
local function is_before(a, b)   -- as Redis orders members of the same score: by bytes
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
-- How many members of one set with this score come up to and including `id` in reading order, whether it is there or not.
local function ties_upto(key, score, id)
  local first, ties = redis.call('ZCOUNT', key, '-inf', '(' .. score), redis.call('ZCOUNT', key, score, score)
  local low, high = 0, ties   -- the first of them that is not before `id`
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_before(redis.call('ZRANGE', key, first + middle, first + middle)[1], id) then low = middle + 1 else high = middle end
  end
  if down then return ties - low end
  return low + (redis.call('ZSCORE', key, id) == score and 1 or 0)
end
-- How many entries come up to and including `after`, so that a page goes on there whatever has come or gone before it.
local function upto(suffix, score, id)
  local n = 0
  for _, segment in ipairs(segments) do
    local from, to, own = segment[1], segment[2], nil
    for i = 3, #segment do
      if segment[i] == suffix and number(from) <= tonumber(score) and tonumber(score) <= number(to) then own = i end
    end
    for i = 3, #segment do
      local key = P .. ':' .. segment[i]
      if not own then
        n = n + redis.call('ZCOUNT', key, from, to)
      else
        n = n + redis.call('ZCOUNT', key, down and '(' .. score or from, down and to or '(' .. score)
        if i < own then n = n + redis.call('ZCOUNT', key, score, score) end
        if i == own then n = n + ties_upto(key, score, id) end
      end
    end
    if own then return n end
  end
  return n
end
if after then skip = upto(after[1], after[2], after[3]) end
local began = skip
local function take(key, from, to, count, offset)
  local command = down and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
  return redis.call(command, key, from, to, 'WITHSCORES', 'LIMIT', offset, count)
end
local function give(id)
  answer[#answer + 1] = id
  answer[#answer + 1] = whole(redis.pcall('GET', P .. ':run:' .. id))
  limit = limit - 1
end
local function before(keys, score, from, to)   -- how many members come before this score
  local n = 0
  for _, key in ipairs(keys) do
    n = n + redis.call('ZCOUNT', key, down and '(' .. text(score) or from, down and to or '(' .. text(score))
  end
  return n
end
local function merge(keys, from, to)   -- gives what comes next; each set is read only as far as it is needed
  local chunk, heads = math.ceil(limit / #keys) + 4, {}
  local function read_on(head)
    head.found, head.at = take(head.key, from, to, chunk, head.taken), 1
    head.taken, head.score = head.taken + chunk, tonumber(head.found[2])
  end
  for order, key in ipairs(keys) do
    heads[order] = {key = key, taken = 0}
    read_on(heads[order])
  end
  while limit > 0 do
    local first
    for _, head in ipairs(heads) do
      local score = head.score
      if score and (not first or (down and score > first.score) or (not down and score < first.score)) then first = head end
    end
    if not first then return end
    give(first.found[first.at])
    first.at = first.at + 2
    first.score = tonumber(first.found[first.at + 1])
    if not first.score then read_on(first) end
  end
end
local function union(keys, offset, from, to)
  local low, high = math.huge, -math.huge
  for _, key in ipairs(keys) do
    low = math.min(low, tonumber(redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, 1)[2]))
    high = math.max(high, tonumber(redis.call('ZREVRANGEBYSCORE', key, to, from, 'WITHSCORES', 'LIMIT', 0, 1)[2]))
  end
  -- The last score (in reading order) with at most `offset` members before it. Scores of ours are whole numbers below 2^53,
  -- of which as many halvings as there are here find any; between others a half may be no number, and it would never end.
  for _ = 1, 64 do
    if low >= high then break end
    local middle = down and math.floor((low + high) / 2) or math.ceil((low + high) / 2)
    if before(keys, middle, from, to) <= offset then
      if down then high = middle else low = middle end
    else
      if down then low = middle + 1 else high = middle - 1 end
    end
  end
  local score = down and high or low
  offset = offset - before(keys, score, from, to)
  for _, key in ipairs(keys) do
    if limit <= 0 then return end
    local n = redis.call('ZCOUNT', key, text(score), text(score))
    if offset >= n then
      offset = offset - n
    else
      local ties = take(key, text(score), text(score), limit, offset)
      for i = 1, #ties, 2 do give(ties[i]) end
      offset = 0
    end
  end
  if limit <= 0 then return end
  merge(keys, '(' .. text(score), down and from or to)
end
for _, segment in ipairs(segments) do
  local keys, size, from, to = {}, 0, segment[1], segment[2]
  for i = 3, #segment do
    local n = redis.call('ZCOUNT', P .. ':' .. segment[i], from, to)
    if n > 0 then
      keys[#keys + 1] = P .. ':' .. segment[i]
      size = size + n
    end
  end
  total = total + size
  if skip >= size then
    skip = skip - size
  elseif limit > 0 then
    if #keys == 1 and from == '-inf' and to == '+inf' then
      for _, id in ipairs(redis.call(down and 'ZREVRANGE' or 'ZRANGE', keys[1], skip, skip + limit - 1)) do give(id) end
    else
      union(keys, skip, from, to)
    end
    skip = 0
  end
end
answer[1], answer[2] = total, began + (#answer - 2) / 2
return answer
