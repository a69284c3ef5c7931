-- What is known beside the approval's state: how Google's block showed itself, and when a grant succeeded last.
ALTER TABLE organizations ADD COLUMN approval_way TEXT NOT NULL DEFAULT '';
ALTER TABLE organizations ADD COLUMN approved_at BIGINT;
-- Whether people may connect a Workspace account of the organization that isn't the one they sign in with.
ALTER TABLE organizations ADD COLUMN secondary_accounts BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE organizations SET approved_at = approval_since WHERE approval = 'approved';

-- People who wanted to connect before the administrator let Intail in: they are told once it does.
CREATE TABLE approval_waits (
    person_id TEXT PRIMARY KEY REFERENCES people (id),
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    since BIGINT NOT NULL
);
CREATE INDEX approval_waits_of_organization ON approval_waits (organization_id, since);

-- Attempts of the last minutes: a flood from one organization is noticed without reading its people.
CREATE INDEX attempts_begun ON attempts (begun_at);
