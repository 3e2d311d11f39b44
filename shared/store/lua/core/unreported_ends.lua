-- Runs that ended without a worker since somebody last looked: refused or stopped before anybody claimed them. Read
-- from the stream of events, from the place that was noted the time before (`lineage:cursor`); the first look starts at
-- its end.
-- ARGV: 1 now  2 entries to look at  3 the place that the caller was given last, all up to which it has told; '' for
--       none
-- Answers {1 when there may be more, 1 when events were missed, the place behind them, run id, record…}. The place is
-- noted only when it comes back with the next look: an answer that is lost is given again.
-- flags: allow-oom
-- uses: clock records texts
local most, confirmed = tonumber(ARGV[2]), ARGV[3]
local function is_later(a, b)   -- of two ids of entries
  local a_ms, a_n, b_ms, b_n = string.match(a .. ' ' .. b, '^(%d+)-(%d+) (%d+)-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  return a_ms > b_ms or (a_ms == b_ms and tonumber(a_n) > tonumber(b_n))
end
local told = redis.call('GET', P .. ':lineage:cursor')
local newest = redis.call('XREVRANGE', P .. ':events', '+', '-', 'COUNT', 1)[1]
if not told then
  told = newest and newest[1] or '0-0'
  redis.call('SET', P .. ':lineage:cursor', told)
  return {0, 0, told}
end
-- Of this stream.
if confirmed ~= '' and is_later(confirmed, told) and newest and not is_later(confirmed, newest[1]) then
  told = confirmed
  redis.call('SET', P .. ':lineage:cursor', told)
end
local entries, missed = redis.call('XRANGE', P .. ':events', '(' .. told, '+', 'COUNT', most), 0
if #entries > 0 and told ~= '0-0' and #redis.call('XRANGE', P .. ':events', told, told) == 0 then missed = 1 end
local answer = {#entries == most and 1 or 0, missed, told}
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
