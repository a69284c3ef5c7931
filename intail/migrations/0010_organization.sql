-- What an administrator decides: whether people of the domains may join by themselves, and how long the audit log is kept.
ALTER TABLE organizations ADD COLUMN domain_joining BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE organizations ADD COLUMN audit_kept_days BIGINT NOT NULL DEFAULT 400;

-- The end of each organization's audit log and, once old entries were removed, the last of them: what is left still
-- hangs on its hash.
CREATE TABLE audit_chains (
    organization_id TEXT PRIMARY KEY,
    last_seq BIGINT NOT NULL,
    last_hash TEXT NOT NULL,
    removed_seq BIGINT NOT NULL,
    removed_hash TEXT NOT NULL
);

-- Who did what, when, from where, to whom. Appended only; seq is dense within an organization; each hash covers the one
-- before. People and grants stand here by id alone, so that erasing a person leaves no name behind.
CREATE TABLE audit_entries (
    organization_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    about TEXT NOT NULL,
    origin TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (organization_id, seq)
);
CREATE INDEX audit_entries_actor ON audit_entries (organization_id, actor, seq);
CREATE INDEX audit_entries_about ON audit_entries (organization_id, about, seq);

-- Name and address as a search compares them: SQLite's own LOWER knows ASCII only, so sign-ins write it anew.
ALTER TABLE people ADD COLUMN folded TEXT NOT NULL DEFAULT '';
UPDATE people SET folded = LOWER(name || ' ' || email);
CREATE INDEX people_by_name ON people (organization_id, folded, id);

-- Addresses that may join although no domain lets them, or with another role than a member's. Deleted once used.
CREATE TABLE invitations (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    email TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('member', 'administrator', 'auditor')),
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    UNIQUE (organization_id, email)
);
CREATE INDEX invitations_email ON invitations (email);
CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Links that sign somebody in once, made by the operator. Only the hash is kept. Deleted once used.
CREATE TABLE sign_in_links (
    token_hash TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    -- Who is signed in; null: the organization's first administrator, who is added then.
    person_id TEXT REFERENCES people (id) ON DELETE CASCADE,
    email TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_in_links_of_person ON sign_in_links (person_id);
CREATE INDEX sign_in_links_expiry ON sign_in_links (expires_at);

-- Things that one transaction at a time may decide, such as who founds the first organization: a row to hold.
CREATE TABLE turns (
    name TEXT PRIMARY KEY
);
INSERT INTO turns (name) VALUES ('founding');
