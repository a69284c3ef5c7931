-- The first whole schema. One text for SQLite and PostgreSQL: instants are BIGINT microseconds since 1970, sealed secrets
-- are base64 text, history ids are twenty digits, lists are JSON text. The organization is the partition key throughout.
-- No column can hold a body, a snippet or an attachment.

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    approval TEXT NOT NULL CHECK (approval IN ('unknown', 'asked', 'approved', 'blocked')),
    approval_since BIGINT NOT NULL,
    approval_evidence TEXT NOT NULL,
    feed_seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE organization_domains (
    domain TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id)
);

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('member', 'administrator', 'auditor')),
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    UNIQUE (issuer, subject)
);
CREATE INDEX people_of_organization ON people (organization_id, id);

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES people (id),
    form_token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_of_person ON sessions (person_id);

-- An authorization that was begun: at sign-in or at Connect. Kept after its end, so that a replay gets its own sentence.
CREATE TABLE attempts (
    state_hash TEXT PRIMARY KEY,
    purpose TEXT NOT NULL CHECK (purpose IN ('sign_in', 'connect')),
    browser_hash TEXT NOT NULL,
    person_id TEXT REFERENCES people (id),
    nonce TEXT NOT NULL,
    verifier_sealed TEXT NOT NULL,
    return_to TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT
);
CREATE INDEX attempts_of_person ON attempts (person_id, begun_at);
CREATE INDEX attempts_expiry ON attempts (expires_at);

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    person_id TEXT NOT NULL UNIQUE REFERENCES people (id),
    google_subject TEXT NOT NULL,
    email TEXT NOT NULL,
    hosted_domain TEXT,
    client_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'partial', 'needs_person', 'needs_administrator', 'needs_operator', 'left')),
    reason TEXT NOT NULL,
    state_since BIGINT NOT NULL,
    refresh_sealed TEXT,
    access_sealed TEXT,
    access_expires_at BIGINT,
    connected_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX grants_google_subject ON grants (google_subject);

CREATE TABLE mailboxes (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    person_id TEXT NOT NULL REFERENCES people (id),
    grant_id TEXT NOT NULL UNIQUE REFERENCES grants (id),
    email TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('backfilling', 'live', 'reconciling')),
    state_since BIGINT NOT NULL,
    cursor TEXT,
    cursor_at BIGINT,
    noticed_at BIGINT,
    notices BIGINT NOT NULL,
    notices_read BIGINT NOT NULL,
    dirty BOOLEAN NOT NULL,
    look_at BIGINT,
    probe_at BIGINT,
    watch_since BIGINT,
    watch_set_at BIGINT,
    watch_expires_at BIGINT,
    watch_due_at BIGINT NOT NULL,
    watch_problem TEXT,
    listing_page TEXT,
    listing_done BOOLEAN NOT NULL,
    listing_pass BIGINT NOT NULL,
    pinned TEXT,
    total_messages BIGINT,
    oldest_ms BIGINT,
    paused_until BIGINT,
    paused_why TEXT,
    failures BIGINT NOT NULL,
    due_at BIGINT,
    lease_owner TEXT,
    lease_until BIGINT,
    lease_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mailboxes_due ON mailboxes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mailboxes_email ON mailboxes (email);
CREATE INDEX mailboxes_of_organization ON mailboxes (organization_id, id);

-- Messages that a listing named and that are still to be fetched, newest first by place.
CREATE TABLE fills (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    message_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, message_id)
);
CREATE INDEX fills_in_order ON fills (mailbox_id, place);

CREATE TABLE messages (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    message_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    history_id TEXT NOT NULL,
    labels TEXT NOT NULL,
    subject TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    sender_address TEXT NOT NULL,
    headers TEXT NOT NULL,
    listing_pass BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, message_id)
);
CREATE INDEX messages_newest ON messages (mailbox_id, received_ms, message_id);
CREATE INDEX messages_of_thread ON messages (mailbox_id, thread_id, received_ms);

CREATE TABLE message_labels (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    label_id TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, label_id, received_ms, message_id)
);

CREATE TABLE labels (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    label_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('system', 'user')),
    PRIMARY KEY (mailbox_id, label_id)
);

-- An item that failed and must be retried; it neither blocks the mailbox nor is forgotten.
CREATE TABLE debts (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    message_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    tries BIGINT NOT NULL,
    since BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, message_id)
);
CREATE INDEX debts_due ON debts (mailbox_id, due_at);

-- The one ordered feed. seq is dense within an organization and given inside the transaction that it describes.
CREATE TABLE changes (
    organization_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    person_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (organization_id, seq)
);
CREATE INDEX changes_of_person ON changes (person_id, seq);

CREATE TABLE call_counts (
    organization_id TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    day TEXT NOT NULL,
    call TEXT NOT NULL,
    outcome TEXT NOT NULL,
    calls BIGINT NOT NULL,
    units BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (grant_id, day, call, outcome)
);

-- What the operator has to mend: one row per kind of fault, gone once the thing works again.
CREATE TABLE operator_faults (
    kind TEXT PRIMARY KEY,
    detail TEXT NOT NULL,
    since BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);

CREATE TABLE access_keys (
    key_hash TEXT PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES people (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX access_keys_of_person ON access_keys (person_id);

-- A known text, sealed: proves at start that the key file is the one this database was sealed with.
CREATE TABLE key_proofs (
    key_id TEXT PRIMARY KEY,
    proof_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
