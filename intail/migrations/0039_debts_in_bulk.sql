-- Messages that a copy or a comparison couldn't fetch, not a change that just happened: they wait behind changes.
ALTER TABLE debts ADD COLUMN in_bulk BOOLEAN NOT NULL DEFAULT FALSE;
