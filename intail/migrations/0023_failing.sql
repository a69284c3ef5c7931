-- Since when a stream's tries fail one after the other, why the newest did, and since when for that reason. They say
-- something only while `failures` isn't 0.
ALTER TABLE mailboxes ADD COLUMN failed_since BIGINT;
ALTER TABLE mailboxes ADD COLUMN failed_why TEXT;
ALTER TABLE mailboxes ADD COLUMN failed_why_since BIGINT;
ALTER TABLE agendas ADD COLUMN failed_since BIGINT;
ALTER TABLE agendas ADD COLUMN failed_why TEXT;
ALTER TABLE agendas ADD COLUMN failed_why_since BIGINT;
ALTER TABLE directories ADD COLUMN failed_since BIGINT;
ALTER TABLE directories ADD COLUMN failed_why TEXT;
ALTER TABLE directories ADD COLUMN failed_why_since BIGINT;
