-- Forgets a job; its task and its runs stay. ARGV: 1 now  2 task  3 a name for this very call    Answers 1 when there was one.
-- flags: allow-oom
-- uses: calls jobs
if answer_before(ARGV[3]) then return 1 end
local was_there = drop_job(ARGV[2])
if was_there == 1 then keep_answer(ARGV[3], 1) end
return was_there
