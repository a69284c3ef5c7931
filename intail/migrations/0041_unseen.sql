-- What a comparison didn't see and is still asked for, counted once its listing is complete.
ALTER TABLE mailboxes ADD COLUMN unseen BIGINT NOT NULL DEFAULT 0;
