-- A sign-in link that was used stays until its time is over, so that a second use of it can be told.
ALTER TABLE sign_in_links ADD COLUMN used_at BIGINT;
