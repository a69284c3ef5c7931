-- Keys are rotated while Intail runs: in which order the database was told of them, and since when nothing is sealed
-- under an older one.
ALTER TABLE key_proofs ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
ALTER TABLE key_proofs ADD COLUMN resealed_at BIGINT;
UPDATE key_proofs SET resealed_at = created_at, place = (
    SELECT COUNT(*) FROM key_proofs AS other
    WHERE other.created_at < key_proofs.created_at
        OR (other.created_at = key_proofs.created_at AND other.key_id <= key_proofs.key_id)
);
CREATE UNIQUE INDEX key_proofs_place ON key_proofs (place);

-- Who runs: which keys each process holds, and under which it seals.
CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    since BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- What stands for each key, separated by spaces; and the id of one.
    holds TEXT NOT NULL,
    seals_under TEXT NOT NULL
);

-- Numbers of a feed that were given out after the backup that this database was restored from, and what they told of is
-- unknown here: who has read that far begins anew.
CREATE TABLE feed_gaps (
    organization_id TEXT NOT NULL,
    after_seq BIGINT NOT NULL,
    until_seq BIGINT NOT NULL,
    restored_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, after_seq)
);
