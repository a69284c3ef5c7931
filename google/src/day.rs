//! The day by which Google counts a project's quota.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The number of the project's day at an instant, and when the next one begins: at midnight in California, by the clock
/// there (source: the page on quotas of the Google Play Developer API, which says so with both offsets; Gmail's pages
/// don't say when its day begins).
pub fn day(now: Timestamp) -> (i64, Timestamp) {
    const DAY_S: i64 = 24 * 3600;
    let number = (now.as_second() + california_offset_s(now)).div_euclid(DAY_S);
    let midnight = |offset_s: i64| Timestamp::from_second((number + 1) * DAY_S - offset_s).unwrap_or(Timestamp::MAX);
    // Clocks change at two in the morning, so midnight has the offset that holds an hour before by either clock.
    let turns_at = midnight(WINTER_S);
    let before = turns_at.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(turns_at);
    (number, midnight(california_offset_s(before)))
}

/// California's clock, by standard time and by daylight saving time, in seconds after UTC.
const WINTER_S: i64 = -8 * 3600;
const SUMMER_S: i64 = -7 * 3600;

/// The offset of California's clock: daylight saving time from the second Sunday of March to the first Sunday of
/// November, both at two in the morning (source: the Energy Policy Act of 2005, section 110). Written here because a
/// machine needs no time zone files to run Intail.
fn california_offset_s(at: Timestamp) -> i64 {
    let year = at.to_zoned(TimeZone::UTC).year();
    let sunday_s = |month: i8, nth: i8, hour_utc: i64| {
        let date = Date::new(year, month, 1).and_then(|it| it.nth_weekday_of_month(nth, Weekday::Sunday));
        let midnight = date.and_then(|it| it.to_zoned(TimeZone::UTC)).map(|it| it.timestamp().as_second());
        midnight.map(|it| it + hour_utc * 3600)
    };
    match (sunday_s(3, 2, 10), sunday_s(11, 1, 9)) {
        (Ok(from), Ok(to)) if (from..to).contains(&at.as_second()) => SUMMER_S,
        _ => WINTER_S,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_turns_at_midnight_by_california_s_clock_in_summer_and_winter() {
        let turns = |now: &str| day(now.parse().expect("a time")).1.to_string();
        assert_eq!(turns("2026-01-15T12:00:00Z"), "2026-01-16T08:00:00Z");
        assert_eq!(turns("2026-07-15T12:00:00Z"), "2026-07-16T07:00:00Z");
        // The second Sunday of March has 23 hours: it begins by the clock of winter and ends by that of summer.
        assert_eq!(turns("2026-03-07T09:00:00Z"), "2026-03-08T08:00:00Z");
        assert_eq!(turns("2026-03-08T08:00:00Z"), "2026-03-09T07:00:00Z");
        assert_eq!(turns("2026-03-09T06:59:59Z"), "2026-03-09T07:00:00Z");
        // The first Sunday of November has 25.
        assert_eq!(turns("2026-11-01T06:59:59Z"), "2026-11-01T07:00:00Z");
        assert_eq!(turns("2026-11-01T07:00:00Z"), "2026-11-02T08:00:00Z");
        assert_eq!(turns("2026-11-02T07:59:59Z"), "2026-11-02T08:00:00Z");
        for (before, after) in
            [("2026-07-15T06:59:59Z", "2026-07-15T07:00:00Z"), ("2026-01-15T07:59:59Z", "2026-01-15T08:00:00Z")]
        {
            let number = |now: &str| day(now.parse().expect("a time")).0;
            assert_eq!(number(before) + 1, number(after));
        }
    }
}
