-- What counting by label found, what of it is explained, and since when; when labels were last compared because of it.
ALTER TABLE coverage ADD COLUMN explained_at BIGINT;
ALTER TABLE coverage ADD COLUMN labels_differ TEXT;
ALTER TABLE coverage ADD COLUMN labels_explained TEXT;
ALTER TABLE coverage ADD COLUMN labels_explained_at BIGINT;
ALTER TABLE coverage ADD COLUMN labels_repaired_at BIGINT;
