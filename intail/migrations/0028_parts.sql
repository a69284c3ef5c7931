-- What each process may spend of the project's minute until it says more, and what it would like to: the parts never
-- add up to more than the whole.
DROP TABLE engines;
CREATE TABLE engines (
    id TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    -- In millionths of the project's minute, of the service of which it is most.
    most BIGINT NOT NULL,
    wish BIGINT NOT NULL,
    -- Whether it has ended: what it spent still counts.
    has_ended BOOLEAN NOT NULL,
    -- What a process is called that comes in its place after a crash; null where nobody knows that.
    place TEXT
);

-- The parts are shared out by one process at a time.
INSERT INTO turns (name) VALUES ('parts');

-- What each stream cost within its last minute, as `microseconds:units` with a space between: one sum with the time of
-- the last hand-over counted what was long over anew with each.
ALTER TABLE mailboxes ADD COLUMN spent TEXT NOT NULL DEFAULT '';
UPDATE mailboxes SET spent = spent_at || ':' || spent_units WHERE spent_at IS NOT NULL;
ALTER TABLE mailboxes DROP COLUMN spent_units;
ALTER TABLE mailboxes DROP COLUMN spent_at;
ALTER TABLE agendas ADD COLUMN spent TEXT NOT NULL DEFAULT '';
UPDATE agendas SET spent = spent_at || ':' || spent_units WHERE spent_at IS NOT NULL;
ALTER TABLE agendas DROP COLUMN spent_units;
ALTER TABLE agendas DROP COLUMN spent_at;
ALTER TABLE directories ADD COLUMN spent TEXT NOT NULL DEFAULT '';
ALTER TABLE directories DROP COLUMN spent_units;
ALTER TABLE directories DROP COLUMN spent_at;

-- When everything was copied for the first time: what is missing later was missed, and is no backfill.
ALTER TABLE mailboxes ADD COLUMN copied_at BIGINT;
UPDATE mailboxes SET copied_at = state_since WHERE state = 'live' OR listing_pass > 1;
-- When the present pass did something last, and how long it stood still before that, in seconds.
ALTER TABLE mailboxes ADD COLUMN filled_at BIGINT;
ALTER TABLE mailboxes ADD COLUMN filling_stood_s BIGINT NOT NULL DEFAULT 0;
