-- Since when the directory says that the account somebody signs in with is suspended or deleted at Google: what was
-- copied is shown to nobody by their sessions and keys, until Google lets them sign in again.
ALTER TABLE people ADD COLUMN shut_out_at BIGINT;
