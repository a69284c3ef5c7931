-- Entries of Google's lists and history of a mailbox of which nothing could be read, when everything is compared because
-- of them, and when that was done last.
ALTER TABLE mailboxes ADD COLUMN unreadable BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN compare_at BIGINT;
ALTER TABLE mailboxes ADD COLUMN compared_at BIGINT;
