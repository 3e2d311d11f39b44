-- As apply, in a full Redis too: for a file that changes little, such as one that lowers what fills it.
-- ARGV and answers: as apply
-- flags: allow-oom
-- uses: apply
return apply_tasks()
