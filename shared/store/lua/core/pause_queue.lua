-- Lets nothing more be claimed from a queue, or lets it again. ARGV: 1 now  2 queue  3 '1' to pause
-- flags: allow-oom
-- uses: clock events
local changed = redis.call(ARGV[3] == '1' and 'SADD' or 'SREM', P .. ':queues:paused', ARGV[2])
if changed == 1 then event(ARGV[3] == '1' and 'queue.paused' or 'queue.resumed', '', '', '', ARGV[2]) end
return changed
