-- Tests whether Redis lets a script write: a replica, a server that cannot save, or one without enough replicas refuses
-- it before it begins. It changes nothing, and also runs in a full Redis, where runs can still end.
-- flags: allow-oom
return 1
