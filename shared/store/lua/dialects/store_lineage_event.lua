-- Keeps a lineage event, once, and what it tells of its job and its run, in whatever order events come.
-- ARGV: 1 now  2 digest (16 bytes)  3 the time it tells (us)  4 'run' | 'static' (of no run)  5 the event (JSON)
--       6 most events  7 most bytes of all  8 longest life (us)  9 job (dialects/lib/jobs.lua, msgpack) or ''
--       10 run id or ''  11 facets of the run (msgpack {field: JSON})  12 most fields that a run's metadata may have
-- Answers {1 when it is new, 1 when there is such a run (which then has the facets)}.
-- uses: clock jobs latest_values lineage_events
local digest, at_us, body, id = ARGV[2], tonumber(ARGV[3]), ARGV[5], ARGV[10]
local index = ARGV[4] == 'run' and P .. ':lineage' or P .. ':lineage:static'
local is_new = redis.call('HSETNX', P .. ':lineage:bodies', digest, body)
if is_new == 1 then
  redis.call('ZADD', index, text(at_us), digest)
  redis.call('ZADD', P .. ':lineage:arrived', text(NOW), digest)
  redis.call('INCRBY', P .. ':lineage:bytes', #body)
  trim_lineage(tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), 10)
end
if ARGV[9] ~= '' then put_job(cmsgpack.unpack(ARGV[9]), at_us) end
local there = id ~= '' and redis.call('EXISTS', P .. ':run:' .. id) or 0
if there == 1 then
  for field, value in pairs(cmsgpack.unpack(ARGV[11])) do
    keep_latest(P .. ':meta:' .. id, field, at_us, value, tonumber(ARGV[12]))
  end
end
return {is_new, there}
