-- One page of a list, and its exact total. A list is segments read one after another; a segment is the union of sorted
-- sets by score (lib/set_union.lua).
-- ARGV: 1 now  2 offset  3 limit  4 '1' for descending  5 segments (msgpack [[from, to, key suffix, …], …]):
--       only members with from <= score <= to belong to a segment ('-inf', '+inf': all)
--       6 the entry after which the page begins, instead of an offset (msgpack {key suffix, score, id}), or ''
-- Answers {total, number of entries up to the end of this page, id, record, id, record, …}.
-- flags: no-writes
-- uses: clock page_position set_union texts
local offset, down, segments = tonumber(ARGV[2]), ARGV[4] == '1', cmsgpack.unpack(ARGV[5])
local after = ARGV[6] ~= '' and cmsgpack.unpack(ARGV[6])
if after then offset = entries_upto(segments, down, after[1], after[2], after[3]) end

local answer, reader = {0, 0}, {down = down, left = tonumber(ARGV[3])}
function reader.give(id)
  answer[#answer + 1] = id
  answer[#answer + 1] = whole(redis.pcall('GET', P .. ':run:' .. id))
  reader.left = reader.left - 1
end

local total, skip = 0, offset
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
  elseif reader.left > 0 then
    if #keys == 1 and from == '-inf' and to == '+inf' then
      local ids = redis.call(down and 'ZREVRANGE' or 'ZRANGE', keys[1], skip, skip + reader.left - 1)
      for _, id in ipairs(ids) do reader.give(id) end
    else
      read_union(reader, keys, skip, from, to)
    end
    skip = 0
  end
end
answer[1], answer[2] = total, offset + (#answer - 2) / 2
return answer
