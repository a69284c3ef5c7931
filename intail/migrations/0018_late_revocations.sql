-- Whose account a token is that is still to be revoked, sealed as the token is: a revocation that comes late spares what
-- the account permitted since, whoever connected it.
ALTER TABLE leavings ADD COLUMN subject_sealed TEXT;
