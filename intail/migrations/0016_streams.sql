-- Three kinds of streams are read by one engine: mailboxes, agendas (a person's calendars) and directories. Each row has
-- the same columns for when it is due and who works on it.
CREATE TABLE agendas (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    person_id TEXT NOT NULL UNIQUE REFERENCES people (id),
    grant_id TEXT NOT NULL UNIQUE REFERENCES grants (id),
    -- The list of calendars: how far it is read, in which pass, and when it is looked at next.
    list_sync_token TEXT,
    list_page_token TEXT,
    list_pass BIGINT NOT NULL,
    listed_at BIGINT,
    list_due_at BIGINT NOT NULL,
    -- Whether private events are stored as busy times only; what is stored follows it.
    busy_only BOOLEAN NOT NULL,
    problem TEXT,
    problem_since BIGINT,
    paused_until BIGINT,
    paused_why TEXT,
    failures BIGINT NOT NULL,
    due_at BIGINT,
    dirty BOOLEAN NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    lease_number BIGINT NOT NULL,
    released_number BIGINT NOT NULL,
    spent_units BIGINT NOT NULL,
    spent_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX agendas_due ON agendas (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX agendas_of_organization ON agendas (organization_id, id);

-- One directory per organization, read with whichever grant sees most.
CREATE TABLE directories (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL UNIQUE REFERENCES organizations (id),
    -- The grant under which it was read last; none before that, and once that person has left.
    grant_id TEXT,
    paused_until BIGINT,
    paused_why TEXT,
    failures BIGINT NOT NULL,
    due_at BIGINT,
    dirty BOOLEAN NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    lease_number BIGINT NOT NULL,
    released_number BIGINT NOT NULL,
    spent_units BIGINT NOT NULL,
    spent_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX directories_due ON directories (due_at) WHERE due_at IS NOT NULL;

-- A calendar in a person's list, and how far its events are read.
CREATE TABLE calendars (
    organization_id TEXT NOT NULL,
    agenda_id TEXT NOT NULL REFERENCES agendas (id),
    calendar_id TEXT NOT NULL,
    etag TEXT NOT NULL,
    name TEXT NOT NULL,
    -- What the person calls it; empty when they don't.
    own_name TEXT NOT NULL,
    zone TEXT NOT NULL,
    access_role TEXT NOT NULL,
    is_primary BOOLEAN NOT NULL,
    is_selected BOOLEAN NOT NULL,
    is_hidden BOOLEAN NOT NULL,
    data_owner TEXT NOT NULL,
    -- Whether the person said that it is to be copied; null while they said nothing.
    choice TEXT CHECK (choice IN ('follow', 'leave')),
    list_pass BIGINT NOT NULL,
    -- It left the list; its events are deleted, and then it.
    is_gone BOOLEAN NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('idle', 'backfilling', 'live', 'reconciling', 'dropping')),
    state_since BIGINT NOT NULL,
    pass BIGINT NOT NULL,
    sync_token TEXT,
    page_token TEXT,
    synced_at BIGINT,
    active_at BIGINT,
    look_at BIGINT,
    notices BIGINT NOT NULL,
    -- How many of these the newest reading began after, and the newest complete one.
    notices_begun BIGINT NOT NULL,
    notices_read BIGINT NOT NULL,
    -- Events that couldn't be read: told, and looked at again with the next pass over everything.
    unreadable BIGINT NOT NULL,
    problem TEXT,
    problem_since BIGINT,
    -- When the channel is opened again, and why the last one couldn't be.
    channel_due_at BIGINT,
    channel_problem TEXT,
    PRIMARY KEY (agenda_id, calendar_id)
);

-- An event in one calendar: a single one, a series, or an occurrence that differs from its series. Instants are
-- microseconds since 1970, days are texts. Neither a description nor an attachment has a column.
CREATE TABLE events (
    organization_id TEXT NOT NULL,
    agenda_id TEXT NOT NULL REFERENCES agendas (id),
    calendar_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    etag TEXT NOT NULL,
    status TEXT NOT NULL,
    event_kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    location TEXT NOT NULL,
    starts_us BIGINT,
    starts_on TEXT,
    ends_us BIGINT,
    ends_on TEXT,
    zone TEXT NOT NULL,
    recurrence TEXT NOT NULL,
    series_id TEXT,
    original_us BIGINT,
    original_on TEXT,
    -- When the original slot begins; a day's in UTC.
    slot_us BIGINT,
    -- Within which time it, or anything of its series, can be shown anywhere; without an end, for ever.
    from_us BIGINT NOT NULL,
    until_us BIGINT,
    -- Whether that time is longer than a month: a few, most of them series.
    is_long BOOLEAN NOT NULL,
    ical_uid TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    visibility TEXT NOT NULL,
    transparency TEXT NOT NULL,
    organizer TEXT NOT NULL,
    attendees TEXT NOT NULL,
    attendees_omitted BOOLEAN NOT NULL,
    links TEXT NOT NULL,
    details TEXT NOT NULL,
    -- Whether it was private and is stored as a busy time only.
    is_busy_only BOOLEAN NOT NULL,
    pass BIGINT NOT NULL,
    PRIMARY KEY (agenda_id, calendar_id, event_id)
);
CREATE INDEX events_in_window ON events (agenda_id, from_us) WHERE NOT is_long;
CREATE INDEX events_of_long ON events (agenda_id, until_us) WHERE is_long;
CREATE INDEX events_by_slot ON events (agenda_id, slot_us) WHERE slot_us IS NOT NULL;
CREATE INDEX events_by_pass ON events (agenda_id, calendar_id, pass);

-- Where Google tells that a calendar changed. Only the token's hash is kept.
CREATE TABLE channels (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    agenda_id TEXT NOT NULL REFERENCES agendas (id),
    calendar_id TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    -- What Google calls it; null until Google has answered.
    resource_id TEXT,
    opened_at BIGINT NOT NULL,
    expires_at BIGINT,
    -- When its first notice came, and its newest.
    proved_at BIGINT,
    noticed_at BIGINT,
    -- Another one took its place; it is to be stopped.
    is_replaced BOOLEAN NOT NULL
);
CREATE INDEX channels_of_calendar ON channels (agenda_id, calendar_id);

-- A change belongs to a stream of any kind, and to a person or, without one, to everybody of the organization.
ALTER TABLE changes RENAME COLUMN mailbox_id TO stream_id;
CREATE INDEX changes_of_everybody ON changes (organization_id, seq) WHERE person_id = '';
