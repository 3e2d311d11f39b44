-- Stores a lineage event once, and the facts in it about its job and its run. The order of events does not matter.
-- ARGV: 1 now  2 digest (16 bytes)  3 the event's time (us)  4 'run' | 'static' (of no run)  5 the event (JSON)
--       6 most events  7 most bytes of all  8 longest life (us)  9 job (dialects/lib/jobs.lua, msgpack) or ''
--       10 run id or ''  11 facets of the run (msgpack {field: JSON})  12 most fields that a run's metadata may have
-- Answers {1 when it is new, 1 when there is such a run (which then has the facets)}.
-- uses: clock jobs latest_values lineage_events
local digest, at_us, kind, body = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local most, most_bytes, life_us = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local job, id, facets, most_fields = ARGV[9], ARGV[10], ARGV[11], tonumber(ARGV[12])

local order = kind == 'run' and P .. ':lineage' or P .. ':lineage:static'
local is_new = redis.call('HSETNX', P .. ':lineage:bodies', digest, body)
if is_new == 1 then
  redis.call('ZADD', order, text(at_us), digest)
  redis.call('ZADD', P .. ':lineage:arrived', text(NOW), digest)
  redis.call('INCRBY', P .. ':lineage:bytes', #body)
  trim_lineage(most, most_bytes, life_us, 10)
end
if job ~= '' then put_job(cmsgpack.unpack(job), at_us) end
local there = id ~= '' and redis.call('EXISTS', P .. ':run:' .. id) or 0
if there == 1 then
  for field, value in pairs(cmsgpack.unpack(facets)) do
    keep_latest(P .. ':meta:' .. id, field, at_us, value, most_fields)
  end
end
return {is_new, there}
