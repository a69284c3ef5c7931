-- Every call made on a person's behalf, in a chain of batches: one row here is the chain's end. Whoever appends moves it
-- in the same transaction, so that two processes can't fork the chain.
CREATE TABLE receipt_heads (
    grant_id TEXT PRIMARY KEY REFERENCES grants (id),
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
CREATE INDEX receipt_heads_oldest ON receipt_heads (oldest_at);

CREATE TABLE receipt_batches (
    grant_id TEXT NOT NULL,
    batch BIGINT NOT NULL,
    organization_id TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    -- One line for each call; org/receipts.rs says how it is read.
    lines TEXT NOT NULL,
    -- Over the hash before, the grant, the number and the lines.
    hash TEXT NOT NULL,
    PRIMARY KEY (grant_id, batch)
);

-- The number of the lease that was given back last: when the next one isn't the one after it, a run broke off.
ALTER TABLE mailboxes ADD COLUMN released_number BIGINT NOT NULL DEFAULT 0;
UPDATE mailboxes SET released_number = lease_number;

-- What signs receipts; the secret part only sealed.
CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    secret_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Somebody leaves: one row until it is done, and its step says what comes next. It names people by id only.
CREATE TABLE leavings (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    -- Null when the whole organization is removed.
    person_id TEXT,
    -- Null when the person never connected.
    grant_id TEXT,
    cause TEXT NOT NULL CHECK (cause IN ('person', 'administrator', 'operator')),
    removes_person BOOLEAN NOT NULL,
    step TEXT NOT NULL CHECK (step IN ('stop', 'revoke', 'erase', 'receipt', 'revoke_later', 'people', 'organization')),
    is_stopped BOOLEAN NOT NULL,
    revocation TEXT NOT NULL CHECK (revocation IN ('open', 'confirmed', 'refused', 'given_up', 'overtaken', 'unneeded')),
    -- The token that is still to be revoked, once its grant has gone.
    refresh_sealed TEXT,
    -- Rows that were erased, by kind, and the sums of what was asked of Google: JSON.
    erased TEXT NOT NULL,
    calls TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    erased_at BIGINT,
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- Raised by everybody who takes it up: who holds an old number can't write.
    claim BIGINT NOT NULL
);
CREATE UNIQUE INDEX leavings_of_grant ON leavings (grant_id);
CREATE INDEX leavings_of_person ON leavings (person_id);
CREATE INDEX leavings_due ON leavings (due_at);

-- What is proved to somebody who left, signed. No names, addresses or content: ids, instants and counts.
CREATE TABLE leaving_receipts (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    person_id TEXT,
    issued_at BIGINT NOT NULL,
    statement TEXT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL
);
CREATE INDEX leaving_receipts_of_person ON leaving_receipts (person_id, issued_at);
CREATE INDEX leaving_receipts_of_organization ON leaving_receipts (organization_id, issued_at);

-- Erasures that were unfinished go on as such rows.
INSERT INTO leavings (id, organization_id, person_id, grant_id, cause, removes_person, step, is_stopped, revocation,
    erased, calls, begun_at, tries, due_at, claim)
SELECT 'rec_' || SUBSTR(id, 5), organization_id, person_id, id, 'person', FALSE, 'stop', FALSE, 'open', '{}', '{}',
    state_since, 0, state_since, 0
FROM grants WHERE state = 'left';
