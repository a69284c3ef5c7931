-- The heartbeat that goes through the topic as notices do: one row, or none before the first beat.
CREATE TABLE heartbeat (
    name TEXT PRIMARY KEY CHECK (name = 'notices'),
    -- What the newest beat carries, so that nobody else's is taken for it.
    token TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    -- Whether the newest beat is still on its way.
    is_pending BOOLEAN NOT NULL,
    -- When a beat arrived last, and when that one was sent.
    arrived_at BIGINT,
    arrived_sent_at BIGINT,
    due_at BIGINT NOT NULL
);

-- When Google told of the mailbox last, in a notice of its own.
ALTER TABLE mailboxes ADD COLUMN told_at BIGINT;
-- Changes that were found since then and that no notice told of, and when the newest of them was found.
ALTER TABLE mailboxes ADD COLUMN untold BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN untold_at BIGINT;
