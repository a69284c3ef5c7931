-- How many days before a person connects their mail is copied from; null copies everything.
ALTER TABLE organizations ADD COLUMN backfill_days BIGINT;

-- What was received before this isn't copied (milliseconds since 1970); null where everything is. Pinned when the
-- mailbox is first read, so that it stays the same day after day.
ALTER TABLE mailboxes ADD COLUMN copied_from_ms BIGINT;

-- When the newest page is listed once more after a pass: what Google counted when the pass began may have come into the
-- listing later.
ALTER TABLE mailboxes ADD COLUMN relist_at BIGINT;
