-- A present history id of Google's that counted what couldn't be read yet, and since when it is known: the cursor goes
-- there once everything below it can be read.
ALTER TABLE mailboxes ADD COLUMN ahead TEXT;
ALTER TABLE mailboxes ADD COLUMN ahead_at BIGINT;
