-- Which label a pass over the whole mailbox is at, once it has listed the mailbox itself.
ALTER TABLE mailboxes ADD COLUMN listing_label TEXT;

-- Messages that the listing of one label named, until that label is compared with what is stored.
CREATE TABLE sightings (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    label_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, label_id, message_id)
);
