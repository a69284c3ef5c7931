-- What is proved of each mailbox's copy: the last audit against Google's own counts, and when the next one is due.
CREATE TABLE coverage (
    mailbox_id TEXT PRIMARY KEY REFERENCES mailboxes (id),
    organization_id TEXT NOT NULL,
    due_at BIGINT,
    audited_at BIGINT,
    history_id TEXT,
    google_count BIGINT,
    held_count BIGINT,
    misses BIGINT NOT NULL,
    repaired_at BIGINT
);
