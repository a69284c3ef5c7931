-- Entries of Google's list of a person's calendars of which nothing could be kept.
ALTER TABLE agendas ADD COLUMN list_unreadable BIGINT NOT NULL DEFAULT 0;
