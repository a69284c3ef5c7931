-- When somebody last looked at a page of calendars, or asked for a look: what was read before that is looked at again.
ALTER TABLE agendas ADD COLUMN wanted_at BIGINT;
-- When the last pass began that counted whom it didn't see: passes that somebody asked for come too soon for that.
ALTER TABLE directories ADD COLUMN counted_at BIGINT;
