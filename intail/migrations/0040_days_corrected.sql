-- Google refused a day earlier than we counted: what was counted then is all that is spent on a day, until then.
ALTER TABLE quota_holds ADD COLUMN day_units BIGINT;
ALTER TABLE quota_holds ADD COLUMN day_units_until BIGINT;
