-- Deletes a job; its task and its runs stay. ARGV: 1 now  2 task  3 id of this call    Answers 1 when there was one.
-- flags: allow-oom
-- uses: calls jobs
local task, call = ARGV[2], ARGV[3]
if answer_before(call) then return 1 end
local was_there = drop_job(task)
if was_there == 1 then keep_answer(call, 1) end
return was_there
