//! What to do next with an agenda: decided from its row, its calendars' rows and the time, and from nothing else, so
//! that every decision can be tested by writing rows down.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::agendas::Agenda;
use crate::store::calendars::{Calendar, CalendarState};
use crate::store::channels::Channel;

/// How often the list of calendars is looked at: Google tells nobody when it changes, and it rarely does.
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
/// How long after a notice that led to nothing to look once more: a notice may come before its data can be read.
pub const TRAILING_LOOK: SignedDuration = SignedDuration::from_secs(10);
/// How often a calendar is compared whole of which only free and busy times can be seen: it comes as occurrences up to
/// a horizon that moves (Google's documents), and nothing tells when one comes over it.
pub const FREE_BUSY_PASS_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often a calendar is compared whole that has events which couldn't be read: a token tells of them no more.
pub const UNREADABLE_PASS_EVERY: SignedDuration = SignedDuration::from_hours(24);

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
    if let Some(at) = which(&|it| it.is_followed() && it.state == CalendarState::Live && it.is_noticed()) {
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
        if let Some(at) = which(&|it| it.is_followed() && it.state == state && it.look_at.is_none_or(|at| at <= now)) {
            return CalendarStep::Events(at);
        }
    }
    let is_due = |it: &Calendar| it.page_token.is_some() || reached(it.look_at) || is_old(it.synced_at);
    if let Some(at) = which(&|it| it.is_followed() && it.state == CalendarState::Live && is_due(it)) {
        return CalendarStep::Events(at);
    }
    let followed = || around.calendars.iter().filter(|it| it.is_followed());
    let looks = followed().filter_map(|it| it.look_at);
    let openings = followed().filter(|_| around.is_reachable).filter_map(|it| it.channel_due_at);
    CalendarStep::Rest(looks.chain(openings).filter(|at| *at > now).chain([agenda.list_due_at]).min())
}

/// Whether a pass over the whole calendar runs.
fn is_filling(calendar: &Calendar) -> bool {
    matches!(calendar.state, CalendarState::Backfilling | CalendarState::Reconciling) && calendar.is_followed()
}

fn wants_channel(calendar: &Calendar, around: Surroundings<'_>, now: Timestamp) -> bool {
    let is_live = calendar.is_followed() && calendar.state == CalendarState::Live;
    let mut own = around.channels.iter().filter(|it| it.calendar_id == calendar.id);
    // A channel from before a reconnect is quiet, however long it would live.
    let is_old = own.next().is_some_and(|newest| newest.opened_at < around.connected_at);
    around.is_reachable && is_live && (is_old || calendar.channel_due_at.is_none_or(|at| at <= now))
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

    fn next(calendars: &[Calendar]) -> CalendarStep {
        plan(&agenda(), Surroundings { calendars, channels: &[], is_reachable: false, connected_at: at(0) }, at(100))
    }

    #[test]
    fn the_list_comes_first_and_is_read_to_its_end() {
        let nothing = Surroundings { calendars: &[], channels: &[], is_reachable: false, connected_at: at(0) };
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
    fn channels_are_opened_where_google_can_reach_intail_and_renewed_before_they_end() {
        let channel = |is_replaced, ends| Channel {
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
        };
        let step = |calendar: Calendar, channels: &[Channel]| {
            let calendars = [calendar];
            let around = Surroundings { calendars: &calendars, channels, is_reachable: true, connected_at: at(0) };
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
