-- Processes that share the project's quota, by when each was seen last.
CREATE TABLE engines (
    id TEXT PRIMARY KEY,
    since BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- What it had spent in the minute before it ended in good order; null while it runs, or if it was killed.
    left_spent BIGINT
);

-- What the project spent, by day of Google's quota (days since 1970, Pacific standard time).
CREATE TABLE quota_days (
    day BIGINT PRIMARY KEY,
    units BIGINT NOT NULL
);

-- Until when Google wants no more questions of the whole project: one row, or none.
CREATE TABLE quota_hold (
    name TEXT PRIMARY KEY CHECK (name = 'project'),
    until_at BIGINT NOT NULL
);

-- What the mailbox cost in the minute before it was given back: whoever works on it next counts it too.
ALTER TABLE mailboxes ADD COLUMN spent_units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN spent_at BIGINT;
-- What its backfill has cost since when: how fast it really goes.
ALTER TABLE mailboxes ADD COLUMN filled_units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN filling_since BIGINT;

-- How much of the project's day backfill may use, in percent.
ALTER TABLE organizations ADD COLUMN backfill_day_percent BIGINT NOT NULL DEFAULT 80;

CREATE INDEX fills_thread ON fills (mailbox_id, thread_id);
