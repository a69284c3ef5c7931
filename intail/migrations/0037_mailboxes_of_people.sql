-- A person's mailbox is looked up whenever a page of theirs is shown: without this, by looking through everybody's.
CREATE INDEX mailboxes_of_person ON mailboxes (person_id);
