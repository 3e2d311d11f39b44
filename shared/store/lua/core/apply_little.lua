-- As apply, but runs in a full Redis too: for a file that changes little, such as one that lowers limits.
-- ARGV and answers: as apply
-- flags: allow-oom
-- uses: apply
return apply_tasks()
