-- What may be kept of people's mail: the organization's floor and each person's own choice, as JSON. Whichever is
-- stricter counts.
CREATE TABLE privacy_floors (
    organization_id TEXT PRIMARY KEY REFERENCES organizations (id),
    policy TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE TABLE privacy_choices (
    person_id TEXT PRIMARY KEY REFERENCES people (id),
    organization_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    since BIGINT NOT NULL
);

-- What an organization's hidden subjects are tagged with, sealed.
CREATE TABLE privacy_keys (
    organization_id TEXT PRIMARY KEY REFERENCES organizations (id),
    key_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- How far what is stored of a mailbox follows its rules.
CREATE TABLE privacy_work (
    mailbox_id TEXT PRIMARY KEY REFERENCES mailboxes (id),
    organization_id TEXT NOT NULL,
    -- The rules that every stored message follows.
    applied TEXT NOT NULL,
    -- The rules that are being applied now, and the message after which to go on.
    target TEXT,
    place TEXT NOT NULL,
    -- What was loosened since everything was last read under the rules.
    looser_labels BOOLEAN NOT NULL,
    looser_parties BOOLEAN NOT NULL,
    looser_subject BOOLEAN NOT NULL,
    -- Whether the person asked to read that again.
    rereading BOOLEAN NOT NULL
);

-- Messages that the rules leave out. Only enough is kept to count them, and not to fetch them again and again.
CREATE TABLE exclusions (
    organization_id TEXT NOT NULL,
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    message_id TEXT NOT NULL,
    history_id TEXT NOT NULL,
    -- Whether a label alone leaves it out: labels change, addresses don't.
    by_label BOOLEAN NOT NULL,
    -- Whether it was in the spam or the trash: Google's count may leave those out.
    is_aside BOOLEAN NOT NULL,
    listing_pass BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, message_id)
);

-- plain, hashed (the subject is a tag) or dropped.
ALTER TABLE messages ADD COLUMN subject_form TEXT NOT NULL DEFAULT 'plain';
