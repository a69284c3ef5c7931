-- A person's log of calls begins with the first attempt to connect, before there is a grant: the log has the id that the
-- grant has then, and goes with it.
CREATE TABLE call_logs (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    person_id TEXT NOT NULL UNIQUE REFERENCES people (id)
);
INSERT INTO call_logs (id, organization_id, person_id) SELECT id, organization_id, person_id FROM grants;

-- A chain's end belongs to the log from now on; neither database can turn a reference over in place.
ALTER TABLE receipt_heads RENAME TO receipt_heads_before;
DROP INDEX receipt_heads_oldest;
CREATE TABLE receipt_heads (
    grant_id TEXT PRIMARY KEY REFERENCES call_logs (id),
    organization_id TEXT NOT NULL,
    batch BIGINT NOT NULL,
    hash TEXT NOT NULL,
    -- What the batches that are kept take up, and when the oldest of them began.
    kept_bytes BIGINT NOT NULL,
    oldest_at BIGINT,
    -- The last batch that was dropped for age or size: the chain is verified from here on.
    checkpoint_batch BIGINT NOT NULL,
    checkpoint_hash TEXT NOT NULL
);
INSERT INTO receipt_heads (grant_id, organization_id, batch, hash, kept_bytes, oldest_at, checkpoint_batch,
    checkpoint_hash)
SELECT grant_id, organization_id, batch, hash, kept_bytes, oldest_at, checkpoint_batch, checkpoint_hash
FROM receipt_heads_before;
DROP TABLE receipt_heads_before;
CREATE INDEX receipt_heads_oldest ON receipt_heads (oldest_at);
