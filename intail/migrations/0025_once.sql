-- A form that is sent twice makes one key: which form made it, as a hash. Two keys without are two.
ALTER TABLE access_keys ADD COLUMN form_hash TEXT;
CREATE UNIQUE INDEX access_keys_of_form ON access_keys (person_id, form_hash);
-- Sums of days that are long past are forgotten, whosever they are.
CREATE INDEX call_counts_by_day ON call_counts (day);
