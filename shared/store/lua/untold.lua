-- Runs that ended without a worker since somebody last looked: refused or stopped before anybody claimed them. Read from
-- the stream of events, from the place that was noted the time before (`lineage:told`); the first look starts at its end.
-- ARGV: 1 now  2 entries to look at    Answers {1 when there may be more, 1 when events were missed, run id, record…}.
-- flags: allow-oom
-- uses: clock records
local most, told = tonumber(ARGV[2]), redis.call('GET', P .. ':lineage:told')
if not told then
  local newest = redis.call('XREVRANGE', P .. ':events', '+', '-', 'COUNT', 1)[1]
  redis.call('SET', P .. ':lineage:told', newest and newest[1] or '0-0')
  return {0, 0}
end
local entries, missed = redis.call('XRANGE', P .. ':events', '(' .. told, '+', 'COUNT', most), 0
if #entries > 0 and told ~= '0-0' and #redis.call('XRANGE', P .. ':events', told, told) == 0 then missed = 1 end
local answer = {#entries == most and 1 or 0, missed}
for _, entry in ipairs(entries) do
  local e = {}
  for i = 1, #entry[2], 2 do e[entry[2][i]] = entry[2][i + 1] end
  if e.type == 'run.ended' and (e.data == 'skipped' or e.data == 'stopped') then
    local r = load(e.run)
    if r and r[F.external] == 0 and r[F.worker] == '' then
      answer[#answer + 1] = e.run
      answer[#answer + 1] = cmsgpack.pack(r)
    end
  end
  told = entry[1]
end
if #entries > 0 then redis.call('SET', P .. ':lineage:told', told) end
return answer
