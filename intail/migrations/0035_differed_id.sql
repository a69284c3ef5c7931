-- Google's history ids when its counts and the copy's differed last, of messages and of labels, and how often in a row
-- labels differed by as much: a difference counts if nothing happened since, or if it stays however much happens.
ALTER TABLE coverage ADD COLUMN differed_id TEXT;
ALTER TABLE coverage ADD COLUMN labels_differed_id TEXT;
ALTER TABLE coverage ADD COLUMN labels_misses BIGINT NOT NULL DEFAULT 0;
