-- Google's history id when its counts and the copy's differed last: a difference counts if nothing happened since.
ALTER TABLE coverage ADD COLUMN differed_id TEXT;
