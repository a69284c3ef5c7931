-- How many pages a reading has asked for: Google could hand out pages in a circle for ever.
ALTER TABLE calendars ADD COLUMN pages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agendas ADD COLUMN list_pages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE directories ADD COLUMN pages BIGINT NOT NULL DEFAULT 0;
