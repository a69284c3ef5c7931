//! What to do next with an agenda: decided from its row, its calendars' rows and the time, and from nothing else, so
//! that every decision can be tested by writing rows down.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::agendas::Agenda;
use crate::store::calendars::{Calendar, CalendarState};
use crate::store::channels::Channel;

/// How often the list of calendars is looked at: Intail opens no channel for it, because it rarely changes.
pub const LIST_EVERY: Duration = Duration::from_secs(2 * 3600);
/// How often a calendar is looked at although Google tells of its changes: its notices are not reliable (Google's guide
/// on push).
pub const LOOK_WITH_CHANNEL: SignedDuration = SignedDuration::from_hours(6);
/// How often a calendar is looked at when Google doesn't tell of its changes: a tenth of the time since the last one,
/// within these two.
pub const LOOK_LIVELY: SignedDuration = SignedDuration::from_mins(1);
/// See [`LOOK_LIVELY`].
pub const LOOK_QUIET: SignedDuration = SignedDuration::from_mins(30);
const LIVELINESS: i32 = 10;
/// How long after a notice to look once more: a notice may come before its data, or a part of it, can be read.
pub const TRAILING_LOOK: SignedDuration = SignedDuration::from_secs(10);
/// How often a calendar is compared whole of which only free and busy times can be seen: it comes as occurrences up to
/// a horizon that moves (Google's documents), and nothing tells when one comes over it.
pub const FREE_BUSY_PASS_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often a calendar is compared whole while some of its events can't be read. A sync token tells of an event again
/// only when it changes: one that Google wrote badly once, or that a newer Intail understands, would stay away. Once a
/// day is a page for nearly everybody, and eighty for the largest calendar.
pub const UNREADABLE_PASS_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How often every calendar is compared whole: no sync token is known to have lost a change, and nothing would show it
/// if one did. A page a month for nearly everybody.
pub const WHOLE_PASS_EVERY: SignedDuration = SignedDuration::from_hours(28 * 24);
/// What an agenda says of itself when the list of calendars has no end: those that are known go on, and others may be
/// missing.
pub const LIST_ENDLESS: &str = "list_endless";
/// Google's word for who sees only when somebody is busy.
const FREE_BUSY: &str = "freeBusyReader";

/// One bounded piece of work. A number says which of the calendars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarStep {
    /// Read a page of the list of calendars.
    List,
    /// Read a page of a calendar's events.
    Events(usize),
    /// Close a pass over a whole calendar: delete what it didn't see.
    Settle(usize),
    /// Delete the events of a calendar that is no longer followed, or gone.
    Drop(usize),
    /// Open a channel for a calendar, or a new one before the old one ends.
    Open(usize),
    /// Stop a channel that another one has replaced; the number says which of the channels.
    Stop(usize),
    /// Nothing now; due again then.
    Rest(Option<Timestamp>),
}

/// What the decision needs beside the agenda's row.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The agenda's calendars, the person's first one before the others.
    pub calendars: &'a [Calendar],
    /// Its channels.
    pub channels: &'a [Channel],
    /// Whether Google can reach Intail with notices.
    pub is_reachable: bool,
    /// Whether nothing new may be copied now, because the share of the project's day for that is used up: what is there
    /// is looked at all the same.
    pub is_backfill_held: bool,
    /// When the person connected last: what was read or opened before has to be looked at again.
    pub connected_at: Timestamp,
}

/// The next step.
pub fn plan(agenda: &Agenda, around: Surroundings<'_>, now: Timestamp) -> CalendarStep {
    if let Some(until) = agenda.paused_until.filter(|until| *until > now) {
        return CalendarStep::Rest(Some(until));
    }
    let which = |fits: &dyn Fn(&Calendar) -> bool| around.calendars.iter().position(fits);
    let reached = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    let is_old = |read: Option<Timestamp>| read.is_none_or(|at| at < around.connected_at);
    if agenda.list_due_at <= now || agenda.list_page_token.is_some() || is_old(agenda.listed_at) {
        return CalendarStep::List;
    }
    // What just changed goes before everything else.
    let is_live = |it: &Calendar| it.is_followed() && it.state == CalendarState::Live && !is_standing(it, now);
    if let Some(at) = which(&|it| is_live(it) && it.is_noticed()) {
        return CalendarStep::Events(at);
    }
    if let Some(at) = which(&|it| !it.is_followed() && (it.is_gone || it.state != CalendarState::Idle)) {
        return CalendarStep::Drop(at);
    }
    if let Some(at) = which(&|it| it.state == CalendarState::Dropping) {
        return CalendarStep::Drop(at);
    }
    if let Some(at) = around.channels.iter().position(|it| it.is_replaced || it.expires_at.is_some_and(|at| at <= now))
    {
        return CalendarStep::Stop(at);
    }
    if let Some(at) = which(&|it| wants_channel(it, around, now)) {
        return CalendarStep::Open(at);
    }
    if let Some(at) = which(&|it| is_filling(it) && it.sync_token.is_some()) {
        return CalendarStep::Settle(at);
    }
    // A comparison comes before what was never there; both before a calendar's next look.
    for state in [CalendarState::Reconciling, CalendarState::Backfilling, CalendarState::Idle] {
        if around.is_backfill_held && is_new(state) {
            continue;
        }
        if let Some(at) = which(&|it| it.is_followed() && it.state == state && it.look_at.is_none_or(|at| at <= now)) {
            return CalendarStep::Events(at);
        }
    }
    // Somebody looks at what was read before: what Google doesn't tell of by itself is read again, the list first. The
    // mark of a process whose clock is ahead waits until it is that time here, or it would be looked at until then.
    let wanted_at = agenda.wanted_at.filter(|at| reached(Some(*at)));
    if wanted_at.is_some_and(|wanted| agenda.listed_at.is_some_and(|read| read < wanted)) {
        return CalendarStep::List;
    }
    let is_wanted = |it: &Calendar| {
        let is_before = wanted_at.is_some_and(|wanted| it.synced_at.is_some_and(|read| read < wanted));
        is_before && !is_told(it, around.channels, around.connected_at, now)
    };
    let is_due =
        |it: &Calendar| it.page_token.is_some() || reached(it.look_at) || is_old(it.synced_at) || is_wanted(it);
    if let Some(at) = which(&|it| is_live(it) && is_due(it)) {
        return CalendarStep::Events(at);
    }
    let followed = || around.calendars.iter().filter(|it| it.is_followed());
    let looks = followed().filter_map(|it| it.look_at);
    let openings = followed().filter(|_| around.is_reachable).filter_map(|it| it.channel_due_at);
    CalendarStep::Rest(
        looks.chain(openings).chain(agenda.wanted_at).filter(|at| *at > now).chain([agenda.list_due_at]).min(),
    )
}

/// Whether a calendar in this state is being copied for the first time, or about to be.
pub fn is_new(state: CalendarState) -> bool {
    matches!(state, CalendarState::Backfilling | CalendarState::Idle)
}

/// Whether a pass over the whole calendar runs.
fn is_filling(calendar: &Calendar) -> bool {
    matches!(calendar.state, CalendarState::Backfilling | CalendarState::Reconciling) && calendar.is_followed()
}

/// Whether something stands in the way of reading a calendar, and the time to try again hasn't come: whatever else
/// speaks for a look, Google said no a moment ago.
fn is_standing(calendar: &Calendar, now: Timestamp) -> bool {
    calendar.problem.is_some() && calendar.look_at.is_some_and(|at| at > now)
}

fn wants_channel(calendar: &Calendar, around: Surroundings<'_>, now: Timestamp) -> bool {
    let is_live = calendar.is_followed() && calendar.state == CalendarState::Live;
    let mut own = around.channels.iter().filter(|it| it.calendar_id == calendar.id);
    // A channel from before a reconnect is quiet, however long it would live. If Google says no to a new one, the old
    // one is still the newest: then the time of the next try counts alone.
    let is_old = own.next().is_some_and(|newest| newest.opened_at < around.connected_at);
    let is_old = is_old && calendar.channel_problem.is_none();
    let may_ask = around.is_reachable && is_live && !is_standing(calendar, now);
    may_ask && (is_old || calendar.channel_due_at.is_none_or(|at| at <= now))
}

/// Whether Google tells of a calendar's changes now, by the evidence of a notice that arrived over a channel that
/// hasn't ended.
pub fn is_told(calendar: &Calendar, channels: &[Channel], connected_at: Timestamp, now: Timestamp) -> bool {
    channels.iter().any(|it| it.calendar_id == calendar.id && it.tells(connected_at, now))
}

/// How long a calendar may wait for its next look.
pub fn wait(calendar: &Calendar, is_told: bool, now: Timestamp) -> SignedDuration {
    if is_told {
        return LOOK_WITH_CHANNEL;
    }
    let quiet_for = calendar.active_at.map_or(LOOK_QUIET * LIVELINESS, |at| now.duration_since(at));
    (quiet_for / LIVELINESS).clamp(LOOK_LIVELY, LOOK_QUIET)
}

/// From when on a live calendar is compared whole although its sync token is good: its next look after that does it.
/// None where it isn't live.
pub fn compared_from(calendar: &Calendar) -> Option<Timestamp> {
    let every = match calendar.state {
        CalendarState::Live if calendar.unreadable > 0 => UNREADABLE_PASS_EVERY,
        CalendarState::Live if calendar.entry.access_role == FREE_BUSY => FREE_BUSY_PASS_EVERY,
        CalendarState::Live => WHOLE_PASS_EVERY,
        _ => return None,
    };
    // Live since the last comparison ended.
    Some(calendar.state_since.saturating_add(every).unwrap_or(Timestamp::MAX))
}

/// When events that can't be read are tried again, as far as is known now; none where there are none.
pub fn tried_again_at(calendar: &Calendar) -> Option<Timestamp> {
    let from = compared_from(calendar).filter(|_| calendar.unreadable > 0)?;
    Some(calendar.look_at.map_or(from, |look| from.max(look)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;
    use crate::id::{AgendaId, GrantId, OrganizationId, PersonId};
    use crate::random::Random;
    use crate::store::calendars::{Choice, Entry};
    use crate::store::grants::{Grant, GrantState};

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    fn agenda() -> Agenda {
        let random = Random::seeded(1);
        let grant = Grant {
            id: GrantId::new(&random),
            organization_id: OrganizationId::new(&random),
            person_id: PersonId::new(&random),
            google_subject: "1".into(),
            email: "someone@example.com".into(),
            hosted_domain: None,
            client_id: "client".into(),
            scopes: Vec::new(),
            state: GrantState::Active,
            reason: String::new(),
            state_since: at(0),
            refresh_sealed: None,
            access_sealed: None,
            access_expires_at: None,
            connected_at: at(0),
            suspended_at: None,
        };
        Agenda { list_due_at: at(9_000), listed_at: Some(at(1)), ..Agenda::new(AgendaId::new(&random), &grant, at(0)) }
    }

    fn live(id: &str) -> Calendar {
        let entry = Entry { is_selected: true, ..Entry::default() };
        Calendar {
            state: CalendarState::Live,
            sync_token: Some("s".into()),
            synced_at: Some(at(1)),
            look_at: Some(at(5_000)),
            ..Calendar::new(id, entry, at(0))
        }
    }

    fn channel(is_replaced: bool, ends: i64) -> Channel {
        Channel {
            id: "c".into(),
            agenda_id: agenda().id,
            calendar_id: "a".into(),
            token_hash: "h".into(),
            resource_id: Some("r".into()),
            opened_at: at(1),
            expires_at: Some(at(ends)),
            proved_at: Some(at(2)),
            noticed_at: None,
            is_replaced,
        }
    }

    fn next(calendars: &[Calendar]) -> CalendarStep {
        plan(
            &agenda(),
            Surroundings {
                calendars,
                channels: &[],
                is_reachable: false,
                is_backfill_held: false,
                connected_at: at(0),
            },
            at(100),
        )
    }

    #[test]
    fn the_list_comes_first_and_is_read_to_its_end() {
        let nothing = Surroundings {
            calendars: &[],
            channels: &[],
            is_reachable: false,
            is_backfill_held: false,
            connected_at: at(0),
        };
        assert_eq!(plan(&agenda(), nothing, at(9_000)), CalendarStep::List);
        let unfinished = Agenda { list_page_token: Some("p".into()), ..agenda() };
        assert_eq!(plan(&unfinished, nothing, at(100)), CalendarStep::List);
        assert_eq!(plan(&agenda(), nothing, at(100)), CalendarStep::Rest(Some(at(9_000))));
    }

    #[test]
    fn a_change_that_somebody_told_of_goes_before_a_backfill() {
        let filling = Calendar { state: CalendarState::Idle, sync_token: None, look_at: None, ..live("a") };
        let noticed = Calendar { notices: 1, ..live("b") };
        assert_eq!(next(&[filling.clone(), noticed]), CalendarStep::Events(1));
        assert_eq!(next(&[filling, live("b")]), CalendarStep::Events(0));
    }

    #[test]
    fn what_is_there_is_looked_at_while_nothing_new_may_be_copied() {
        let filling = Calendar { state: CalendarState::Backfilling, sync_token: None, look_at: None, ..live("a") };
        let new = Calendar { state: CalendarState::Idle, sync_token: None, look_at: None, ..live("c") };
        let step = |second: Calendar| {
            let calendars = [filling.clone(), second, new.clone()];
            let around = Surroundings {
                calendars: &calendars,
                channels: &[],
                is_reachable: false,
                is_backfill_held: true,
                connected_at: at(0),
            };
            plan(&agenda(), around, at(100))
        };
        assert_eq!(step(Calendar { look_at: Some(at(99)), ..live("b") }), CalendarStep::Events(1));
        let compared = Calendar { state: CalendarState::Reconciling, sync_token: None, look_at: None, ..live("b") };
        assert_eq!(step(compared), CalendarStep::Events(1));
        assert_eq!(step(live("b")), CalendarStep::Rest(Some(at(5_000))));
    }

    #[test]
    fn what_google_does_not_show_is_not_copied_unless_the_person_says_so() {
        let shown = |is_selected, is_hidden, choice| Calendar {
            entry: Entry { is_selected, is_hidden, ..Entry::default() },
            choice,
            state: CalendarState::Idle,
            look_at: None,
            ..live("a")
        };
        assert_eq!(next(&[shown(true, false, None)]), CalendarStep::Events(0));
        for left in [shown(false, false, None), shown(true, true, None), shown(true, false, Some(Choice::Leave))] {
            assert_eq!(next(&[left]), CalendarStep::Rest(Some(at(9_000))));
        }
        assert_eq!(next(&[shown(false, true, Some(Choice::Follow))]), CalendarStep::Events(0));
        assert_eq!(next(&[Calendar { choice: Some(Choice::Leave), ..live("a") }]), CalendarStep::Drop(0));
        assert_eq!(next(&[Calendar { is_gone: true, state: CalendarState::Idle, ..live("a") }]), CalendarStep::Drop(0));
    }

    #[test]
    fn a_pass_is_read_to_its_end_and_settled_once() {
        let reading = Calendar { state: CalendarState::Reconciling, sync_token: None, look_at: None, ..live("a") };
        assert_eq!(next(std::slice::from_ref(&reading)), CalendarStep::Events(0));
        assert_eq!(next(&[Calendar { sync_token: Some("s".into()), ..reading }]), CalendarStep::Settle(0));
        assert_eq!(next(&[Calendar { page_token: Some("p".into()), ..live("a") }]), CalendarStep::Events(0));
    }

    #[test]
    fn a_calendar_that_can_not_be_read_waits_as_long_as_was_said() {
        let standing = |look_at| Calendar {
            problem: Some("not_understood".into()),
            look_at: Some(at(look_at)),
            channel_due_at: Some(at(6_000)),
            ..live("a")
        };
        let notices = 1;
        let with_page = |look_at| Calendar { page_token: Some("p".into()), ..standing(look_at) };
        let noticed = |look_at| Calendar { notices, ..standing(look_at) };
        let before_a_reconnect = |look_at| Calendar { synced_at: Some(at(-1)), ..standing(look_at) };
        for calendar in [standing(5_000), with_page(5_000), noticed(5_000), before_a_reconnect(5_000)] {
            assert_eq!(next(&[calendar]), CalendarStep::Rest(Some(at(5_000))));
        }
        for calendar in [standing(100), with_page(100), noticed(100), before_a_reconnect(100)] {
            assert_eq!(next(&[calendar]), CalendarStep::Events(0));
        }
        let without_a_channel = Calendar { channel_due_at: None, ..standing(5_000) };
        let calendars = [without_a_channel];
        let around = Surroundings {
            calendars: &calendars,
            channels: &[],
            is_reachable: true,
            is_backfill_held: false,
            connected_at: at(0),
        };
        assert_eq!(plan(&agenda(), around, at(100)), CalendarStep::Rest(Some(at(5_000))));
    }

    #[test]
    fn channels_are_opened_where_google_can_reach_intail_and_renewed_before_they_end() {
        let step = |calendar: Calendar, channels: &[Channel]| {
            let calendars = [calendar];
            let around = Surroundings {
                calendars: &calendars,
                channels,
                is_reachable: true,
                is_backfill_held: false,
                connected_at: at(0),
            };
            plan(&agenda(), around, at(100))
        };
        assert_eq!(step(live("a"), &[]), CalendarStep::Open(0));
        let due = Calendar { channel_due_at: Some(at(2_000)), ..live("a") };
        assert_eq!(step(due.clone(), &[channel(false, 4_000)]), CalendarStep::Rest(Some(at(2_000))));
        assert_eq!(step(due.clone(), &[channel(true, 4_000)]), CalendarStep::Stop(0));
        assert_eq!(step(due.clone(), &[channel(false, 99)]), CalendarStep::Stop(0));
        assert!(is_told(&due, &[channel(false, 4_000)], at(0), at(100)));
        assert!(!is_told(&due, &[channel(false, 99)], at(0), at(100)));
        assert!(!is_told(&due, &[channel(false, 4_000)], at(50), at(100)), "from before a reconnect");
        let unproved = Channel { proved_at: None, ..channel(false, 4_000) };
        assert!(!is_told(&due, &[unproved], at(0), at(100)));
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_after_a_day_and_not_sooner() {
        let unreadable = Calendar { unreadable: 2, state_since: at(1_000), ..live("a") };
        let day = UNREADABLE_PASS_EVERY.as_secs();
        assert_eq!(compared_from(&unreadable), Some(at(1_000 + day)));
        assert_eq!(tried_again_at(&unreadable), Some(at(1_000 + day)));
        let looked_at_later = Calendar { look_at: Some(at(2_000 + day)), ..unreadable.clone() };
        assert_eq!(tried_again_at(&looked_at_later), Some(at(2_000 + day)), "by the look that comes next");
        let month = WHOLE_PASS_EVERY.as_secs();
        let other = Calendar { state_since: at(5), ..live("a") };
        assert_eq!((compared_from(&other), tried_again_at(&other)), (Some(at(5 + month)), None));
        // A comparison that runs counts them anew.
        let running = Calendar { state: CalendarState::Reconciling, ..unreadable.clone() };
        assert_eq!((compared_from(&running), tried_again_at(&running)), (None, None));
        // Whose events come as occurrences is compared each week, and sooner where some can't be read.
        let free_busy = |calendar: Calendar| {
            let entry = Entry { access_role: FREE_BUSY.into(), ..calendar.entry.clone() };
            Calendar { entry, ..calendar }
        };
        let week = FREE_BUSY_PASS_EVERY.as_secs();
        assert_eq!(compared_from(&free_busy(Calendar { state_since: at(5), ..live("a") })), Some(at(5 + week)));
        assert_eq!(tried_again_at(&free_busy(live("a"))), None);
        assert_eq!(compared_from(&free_busy(unreadable)), Some(at(1_000 + day)));
        let at_the_end = Calendar { unreadable: 1, state_since: Timestamp::MAX, ..live("a") };
        assert_eq!(compared_from(&at_the_end), Some(Timestamp::MAX));
    }

    #[test]
    fn a_calendar_that_was_refused_a_channel_after_a_reconnect_waits_for_its_next_try() {
        let old = Channel { opened_at: at(1), ..channel(false, 4_000) };
        let step = |channel_problem: Option<&str>, due| {
            let (channel_problem, channel_due_at) = (channel_problem.map(str::to_owned), Some(at(due)));
            let calendars = [Calendar { channel_problem, channel_due_at, synced_at: Some(at(60)), ..live("a") }];
            let channels = std::slice::from_ref(&old);
            let around = Surroundings {
                calendars: &calendars,
                channels,
                is_reachable: true,
                is_backfill_held: false,
                connected_at: at(50),
            };
            plan(&Agenda { listed_at: Some(at(60)), ..agenda() }, around, at(100))
        };
        assert_eq!(step(None, 2_000), CalendarStep::Open(0), "the old one is quiet");
        assert_eq!(step(Some("forbidden"), 2_000), CalendarStep::Rest(Some(at(2_000))), "Google said no a moment ago");
        assert_eq!(step(Some("forbidden"), 100), CalendarStep::Open(0));
    }

    #[test]
    fn what_somebody_looks_at_is_read_again_once_unless_google_tells_of_it() {
        let step = |wanted: i64, calendar: Calendar, channels: &[Channel]| {
            let calendars = [calendar];
            let around = Surroundings {
                calendars: &calendars,
                channels,
                is_reachable: false,
                is_backfill_held: false,
                connected_at: at(0),
            };
            let wanted_at = Some(at(wanted));
            assert_eq!(plan(&Agenda { wanted_at, ..agenda() }, around, at(wanted)), CalendarStep::List, "{wanted}");
            plan(&Agenda { wanted_at, listed_at: Some(at(100)), ..agenda() }, around, at(100))
        };
        assert_eq!(step(100, live("a"), &[]), CalendarStep::Events(0));
        let read = |second| Calendar { synced_at: Some(at(second)), ..live("a") };
        assert_eq!(step(100, read(100), &[]), CalendarStep::Rest(Some(at(5_000))), "once");
        assert_eq!(step(100, live("a"), &[channel(false, 4_000)]), CalendarStep::Rest(Some(at(5_000))), "told");
        assert_eq!(step(130, live("a"), &[]), CalendarStep::Rest(Some(at(130))), "another's clock is ahead");
        let standing = Calendar { problem: Some("not_understood".into()), ..live("a") };
        assert_eq!(step(100, standing, &[]), CalendarStep::Rest(Some(at(5_000))), "Google said no");
    }

    #[test]
    fn a_lively_calendar_is_looked_at_more_often_than_a_quiet_one() {
        let quiet = |active: Option<i64>| Calendar { active_at: active.map(at), ..live("a") };
        let wait = |calendar: &Calendar, is_told| wait(calendar, is_told, at(100_000)).as_secs();
        assert_eq!(wait(&quiet(Some(99_990)), false), 60);
        assert_eq!(wait(&quiet(Some(94_000)), false), 600);
        assert_eq!(wait(&quiet(Some(0)), false), 1_800);
        assert_eq!(wait(&quiet(None), false), 1_800);
        assert_eq!(wait(&quiet(Some(99_990)), true), 6 * 3600);
    }
}
