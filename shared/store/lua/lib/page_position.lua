-- The position of an entry in a list, so that a page continues after it even if others were added or removed.
-- uses: clock
local function bound(limit)
  if limit == '-inf' then return -math.huge elseif limit == '+inf' then return math.huge end
  return tonumber((string.gsub(limit, '^%(', '')))
end

local function is_before(a, b)   -- as Redis orders members of the same score: by bytes
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many members of one set with this score come up to and including `id` in reading order; it may be absent.
local function ties_upto(key, score, id, down)
  local first, ties = redis.call('ZCOUNT', key, '-inf', '(' .. score), redis.call('ZCOUNT', key, score, score)
  local low, high = 0, ties   -- a binary search for the first that is not before `id`
  while low < high do
    local middle = math.floor((low + high) / 2)
    local member = redis.call('ZRANGE', key, first + middle, first + middle)[1]
    if is_before(member, id) then low = middle + 1 else high = middle end
  end
  if down then return ties - low end
  return low + (redis.call('ZSCORE', key, id) == score and 1 or 0)
end

-- The place in a segment of the set with this suffix, if the score lies in the segment.
local function place_in(segment, suffix, score)
  if tonumber(score) < bound(segment[1]) or tonumber(score) > bound(segment[2]) then return nil end
  for i = 3, #segment do
    if segment[i] == suffix then return i end
  end
end

local function entries_upto(segments, down, suffix, score, id)
  local n = 0
  for _, segment in ipairs(segments) do
    local from, to, own = segment[1], segment[2], place_in(segment, suffix, score)
    for i = 3, #segment do
      local key = P .. ':' .. segment[i]
      if not own then
        n = n + redis.call('ZCOUNT', key, from, to)
      else
        n = n + redis.call('ZCOUNT', key, down and '(' .. score or from, down and to or '(' .. score)
        if i < own then n = n + redis.call('ZCOUNT', key, score, score) end
        if i == own then n = n + ties_upto(key, score, id, down) end
      end
    end
    if own then return n end
  end
  return n
end
