-- How many pages a listing of a mailbox has asked for, and when it may go on: Google could hand out pages in a circle for
-- ever.
ALTER TABLE mailboxes ADD COLUMN listing_pages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN listing_at BIGINT;
