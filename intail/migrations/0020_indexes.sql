-- What differs from a series is found by the series: without this, deleting one looks through its whole calendar.
CREATE INDEX events_of_series ON events (agenda_id, calendar_id, series_id) WHERE series_id IS NOT NULL;
-- A page counts a person's events by calendar, and how many of them are busy times only, every time it is shown.
CREATE INDEX events_counted ON events (agenda_id, calendar_id, is_busy_only);
-- What the feed tells everybody of one person of the directory goes with that person.
CREATE INDEX changes_about_everybody ON changes (organization_id, subject_id) WHERE person_id = '';
