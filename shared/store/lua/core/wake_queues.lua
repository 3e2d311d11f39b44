-- Wakes the workers of queues. ARGV: 1 now  2 most wakeups a queue may have  3… triples: queue, message id, message
-- flags: allow-oom
-- uses: wakeups
local most = tonumber(ARGV[2])
for i = 3, #ARGV, 3 do wake_queue(most, ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return 1
