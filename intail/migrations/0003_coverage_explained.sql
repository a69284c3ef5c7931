-- How many more messages Google counts than it lists, once a comparison of everything has shown that it does.
ALTER TABLE coverage ADD COLUMN explained BIGINT;
