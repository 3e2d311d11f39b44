-- Forgets a job; its task and its runs stay. ARGV: 1 now  2 task    Answers 1 when there was one.
-- flags: allow-oom
-- uses: clock newest jobs
return drop_job(ARGV[2])
