-- When the names of a mailbox's labels were last asked for.
ALTER TABLE mailboxes ADD COLUMN labels_at BIGINT;
