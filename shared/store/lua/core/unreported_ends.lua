-- Reads runs that ended without a worker since the last call: skipped, or stopped before a worker claimed them. They
-- are found in the stream of events after the cursor (`lineage:cursor`), which starts at the end of the stream.
-- ARGV: 1 now  2 entries to look at  3 the cursor of the previous answer, once all up to it was emitted; '' for none
-- Answers {1 when there may be more, 1 when events were missed, the cursor after them, run id, record…}. The cursor is
-- stored only when the next call confirms it, so a lost answer is given again.
-- flags: allow-oom
-- uses: clock records texts
local most, confirmed = tonumber(ARGV[2]), ARGV[3]
local function is_later(a, b)   -- of two ids of entries
  local a_ms, a_n, b_ms, b_n = string.match(a .. ' ' .. b, '^(%d+)-(%d+) (%d+)-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  return a_ms > b_ms or (a_ms == b_ms and tonumber(a_n) > tonumber(b_n))
end
local cursor = redis.call('GET', P .. ':lineage:cursor')
local newest = redis.call('XREVRANGE', P .. ':events', '+', '-', 'COUNT', 1)[1]
if not cursor then
  cursor = newest and newest[1] or '0-0'
  redis.call('SET', P .. ':lineage:cursor', cursor)
  return {0, 0, cursor}
end
-- Only a cursor of this stream: it may have been read before the store was wiped.
if confirmed ~= '' and is_later(confirmed, cursor) and newest and not is_later(confirmed, newest[1]) then
  cursor = confirmed
  redis.call('SET', P .. ':lineage:cursor', cursor)
end
local entries, missed = redis.call('XRANGE', P .. ':events', '(' .. cursor, '+', 'COUNT', most), 0
if #entries > 0 and cursor ~= '0-0' and #redis.call('XRANGE', P .. ':events', cursor, cursor) == 0 then missed = 1 end
local answer = {#entries == most and 1 or 0, missed, cursor}
for _, entry in ipairs(entries) do
  local e = {}
  for i = 1, #entry[2], 2 do e[entry[2][i]] = entry[2][i + 1] end
  if e.type == 'run.ended' and (e.data == R.skipped or e.data == R.stopped) then
    local is_whole, r = pcall(load, e.run)
    if not is_whole then answer[2] = 1 end
    if is_whole and r and r[F.external] == 0 and r[F.worker] == '' then
      answer[#answer + 1] = e.run
      answer[#answer + 1] = whole(cmsgpack.pack(r))
    end
  end
  answer[3] = entry[1]
end
return answer
