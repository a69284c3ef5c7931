-- The people of an organization as Google's directory tells of them: one copy for each organization, read with the best
-- of its grants, and never one copy for each person.

-- What the grant that reads may see, and how far the present pass is. A page token is good for three days.
ALTER TABLE directories ADD COLUMN view TEXT CHECK (view IN ('administrator', 'public'));
ALTER TABLE directories ADD COLUMN pass BIGINT NOT NULL DEFAULT 0;
ALTER TABLE directories ADD COLUMN part TEXT CHECK (part IN ('people', 'deleted', 'settle'));
ALTER TABLE directories ADD COLUMN page_token TEXT;
ALTER TABLE directories ADD COLUMN began_at BIGINT;
-- When a pass was complete last, what it saw, and how many entries of it couldn't be read.
ALTER TABLE directories ADD COLUMN passed_at BIGINT;
ALTER TABLE directories ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
ALTER TABLE directories ADD COLUMN unreadable BIGINT NOT NULL DEFAULT 0;
ALTER TABLE directories ADD COLUMN next_pass_at BIGINT;
-- How often in a row a pass had to begin anew.
ALTER TABLE directories ADD COLUMN restarts BIGINT NOT NULL DEFAULT 0;
-- When somebody last had a reason to look before that.
ALTER TABLE directories ADD COLUMN wanted_at BIGINT;
-- Since when no grant can read it, and why.
ALTER TABLE directories ADD COLUMN problem TEXT;
ALTER TABLE directories ADD COLUMN problem_since BIGINT;

-- What a grant may see of the directory. One that may see nothing isn't asked again for a day.
CREATE TABLE directory_readers (
    grant_id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    ability TEXT NOT NULL CHECK (ability IN ('administrator', 'public', 'none')),
    asked_at BIGINT NOT NULL
);
CREATE INDEX directory_readers_of_organization ON directory_readers (organization_id, asked_at);

CREATE TABLE directory_people (
    organization_id TEXT NOT NULL,
    -- Google's id of the account: stays when the address changes.
    google_id TEXT NOT NULL,
    -- The primary address, lower-case; empty when Google names none.
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    given_name TEXT NOT NULL,
    family_name TEXT NOT NULL,
    title TEXT NOT NULL,
    department TEXT NOT NULL,
    -- As Google gives it, lower-case: an address as a rule.
    manager_address TEXT NOT NULL,
    -- JSON lists of text.
    phones TEXT NOT NULL,
    aliases TEXT NOT NULL,
    photo_url TEXT NOT NULL,
    -- Whether everybody in the organization may see them, or administrators only.
    is_listed BOOLEAN NOT NULL,
    -- Null: nobody who could tell was asked.
    suspended BOOLEAN,
    archived BOOLEAN,
    is_administrator BOOLEAN,
    -- Which view told this last.
    view TEXT NOT NULL CHECK (view IN ('administrator', 'public')),
    etag TEXT NOT NULL,
    -- The last pass that saw or missed them, and how many complete passes in a row missed them.
    pass BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- Since when an administrator's view calls them deleted, and since when they count as gone.
    deleted_at BIGINT,
    gone_at BIGINT,
    -- What a search compares: name, addresses, title and department, small.
    folded TEXT NOT NULL,
    PRIMARY KEY (organization_id, google_id)
);
CREATE INDEX directory_people_by_name ON directory_people (organization_id, folded, google_id);
CREATE INDEX directory_people_by_pass ON directory_people (organization_id, pass, google_id);
CREATE INDEX directory_people_by_manager ON directory_people (organization_id, manager_address);
CREATE INDEX directory_people_deleted ON directory_people (deleted_at) WHERE deleted_at IS NOT NULL;

-- Every address that leads to somebody: their primary one and the others.
CREATE TABLE directory_aliases (
    organization_id TEXT NOT NULL,
    address TEXT NOT NULL,
    google_id TEXT NOT NULL,
    is_primary BOOLEAN NOT NULL,
    PRIMARY KEY (organization_id, address, google_id)
);
CREATE INDEX directory_aliases_of_person ON directory_aliases (organization_id, google_id);

-- Since when the directory calls the account suspended: nothing is asked under the grant until it is over.
ALTER TABLE grants ADD COLUMN suspended_at BIGINT;

-- How many days after the directory called somebody deleted what was copied of them is erased.
ALTER TABLE organizations ADD COLUMN retention_days BIGINT NOT NULL DEFAULT 30;

-- The directory may want somebody to leave, too.
ALTER TABLE leavings RENAME TO leavings_before;
CREATE TABLE leavings (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    person_id TEXT,
    grant_id TEXT,
    cause TEXT NOT NULL CHECK (cause IN ('person', 'administrator', 'operator', 'directory')),
    removes_person BOOLEAN NOT NULL,
    step TEXT NOT NULL CHECK (step IN ('stop', 'revoke', 'erase', 'receipt', 'revoke_later', 'people', 'organization')),
    is_stopped BOOLEAN NOT NULL,
    revocation TEXT NOT NULL CHECK (revocation IN ('open', 'confirmed', 'refused', 'given_up', 'overtaken', 'unneeded')),
    refresh_sealed TEXT,
    erased TEXT NOT NULL,
    calls TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    erased_at BIGINT,
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    claim BIGINT NOT NULL
);
INSERT INTO leavings (id, organization_id, person_id, grant_id, cause, removes_person, step, is_stopped, revocation,
    refresh_sealed, erased, calls, begun_at, erased_at, tries, due_at, claim)
SELECT id, organization_id, person_id, grant_id, cause, removes_person, step, is_stopped, revocation, refresh_sealed,
    erased, calls, begun_at, erased_at, tries, due_at, claim
FROM leavings_before;
DROP TABLE leavings_before;
CREATE UNIQUE INDEX leavings_of_grant ON leavings (grant_id);
CREATE INDEX leavings_of_person ON leavings (person_id);
CREATE INDEX leavings_due ON leavings (due_at);
