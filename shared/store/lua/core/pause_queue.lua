-- Pauses or resumes a queue; workers claim nothing from a paused one. ARGV: 1 now  2 queue  3 '1' to pause
-- flags: allow-oom
-- uses: clock events
local queue, pauses = ARGV[2], ARGV[3] == '1'
local changed = redis.call(pauses and 'SADD' or 'SREM', P .. ':queues:paused', queue)
if changed == 1 then event(pauses and 'queue.paused' or 'queue.resumed', '', '', '', queue) end
return changed
