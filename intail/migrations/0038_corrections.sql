-- What one process learns of Google's limits, when Google refuses the whole project earlier than we counted, holds for
-- all of them: how much less is spent, in thousandths, and until when.
ALTER TABLE quota_holds ADD COLUMN less BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quota_holds ADD COLUMN less_until BIGINT;
