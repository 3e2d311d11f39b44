-- Reads the union of sorted sets by score, from an offset on. It finds the offset by halving the range of scores, so
-- the cost grows with its logarithm. Among equal scores the sets follow one another in the order given.
-- reader: {down = whether the greatest comes first, left = how many members are still wanted, give = takes each}
-- uses: clock
local function read_range(reader, key, from, to, count, offset)
  local command = reader.down and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
  return redis.call(command, key, from, to, 'WITHSCORES', 'LIMIT', offset, count)
end

-- How many members come before this score.
local function count_before(reader, keys, score, from, to)
  local n, limit = 0, '(' .. text(score)
  for _, key in ipairs(keys) do
    n = n + redis.call('ZCOUNT', key, reader.down and limit or from, reader.down and to or limit)
  end
  return n
end

-- The last score (in reading order) with at most `offset` members before it. Our scores are whole numbers below 2^53,
-- so 64 halvings find any; the bound ends the search among foreign scores, whose middle may be no number.
local function score_at(reader, keys, offset, from, to)
  local low, high = math.huge, -math.huge
  for _, key in ipairs(keys) do
    low = math.min(low, tonumber(redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, 1)[2]))
    high = math.max(high, tonumber(redis.call('ZREVRANGEBYSCORE', key, to, from, 'WITHSCORES', 'LIMIT', 0, 1)[2]))
  end
  for _ = 1, 64 do
    if low >= high then break end
    local middle = reader.down and math.floor((low + high) / 2) or math.ceil((low + high) / 2)
    if count_before(reader, keys, middle, from, to) <= offset then
      if reader.down then high = middle else low = middle end
    else
      if reader.down then low = middle + 1 else high = middle - 1 end
    end
  end
  return reader.down and high or low
end

-- Gives the next members; each set is read only as far as needed.
local function merge(reader, keys, from, to)
  local chunk, heads = math.ceil(reader.left / #keys) + 4, {}
  local function read_on(head)
    head.found, head.at = read_range(reader, head.key, from, to, chunk, head.taken), 1
    head.taken, head.score = head.taken + chunk, tonumber(head.found[2])
  end
  for order, key in ipairs(keys) do
    heads[order] = {key = key, taken = 0}
    read_on(heads[order])
  end
  while reader.left > 0 do
    local first
    for _, head in ipairs(heads) do
      local score = head.score
      if score and not first then first = head end
      if score and (reader.down and score > first.score or not reader.down and score < first.score) then
        first = head
      end
    end
    if not first then return end
    reader.give(first.found[first.at])
    first.at = first.at + 2
    first.score = tonumber(first.found[first.at + 1])
    if not first.score then read_on(first) end
  end
end

local function read_union(reader, keys, offset, from, to)
  local score = score_at(reader, keys, offset, from, to)
  local own = text(score)
  offset = offset - count_before(reader, keys, score, from, to)
  for _, key in ipairs(keys) do
    if reader.left <= 0 then return end
    local n = redis.call('ZCOUNT', key, own, own)
    if offset >= n then
      offset = offset - n
    else
      local ties = read_range(reader, key, own, own, reader.left, offset)
      for i = 1, #ties, 2 do reader.give(ties[i]) end
      offset = 0
    end
  end
  if reader.left <= 0 then return end
  merge(reader, keys, '(' .. own, reader.down and from or to)
end
