-- What the project spent is counted for each of Google's services: units of Gmail, requests of the calendar and of the
-- directory.
CREATE TABLE quota_uses (
    service TEXT NOT NULL,
    day BIGINT NOT NULL,
    units BIGINT NOT NULL,
    PRIMARY KEY (service, day)
);
INSERT INTO quota_uses (service, day, units) SELECT 'gmail', day, units FROM quota_days;
DROP TABLE quota_days;

-- Until when a service wants no more questions of the whole project.
CREATE TABLE quota_holds (
    service TEXT PRIMARY KEY,
    until_at BIGINT NOT NULL
);
INSERT INTO quota_holds (service, until_at) SELECT 'gmail', until_at FROM quota_hold;
DROP TABLE quota_hold;

-- What a process had spent in the minute before it ended, in thousandths of the project's minute, of the service of
-- which it had spent most.
ALTER TABLE engines ADD COLUMN left_thousandths BIGINT;
DELETE FROM engines;
ALTER TABLE engines DROP COLUMN left_spent;
